"""Settings of training that are usual for V2: those of the original's scripts, by trainer. Torch-free."""

from __future__ import annotations

from typing import Any

from easyanimate_dit.training.preset import DIT, LORA, VAE

_V2: dict[str, Any] = {"loss": "variational", "timesteps": "uniform"}

TRAINING: dict[str, dict[str, Any]] = {
    "dit": DIT
    | _V2
    | {"trainable": ["transformer_blocks", "proj_out", "pos_embed", "long_connect_fc"], "slow_rate": 0.1},
    "lora": LORA | _V2 | {"low_vram": True},
    "vae": VAE
    | {
        "loss.mse": 0.1,
        "loss.kl": 6.3e-8,
        "data.batch_size": 2,
        "data.video_size": 128,
        "data.image_size": 128,
        "data.num_frames": 9,
    },
}
