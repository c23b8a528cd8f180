"""Settings of training that are usual for V3: those of the original's scripts, by trainer. Torch-free."""

from __future__ import annotations

from typing import Any

from easyanimate_dit.training.preset import ABNORMAL_NORM, DIT, LORA, VAE

_V3: dict[str, Any] = {"loss": "variational", "data.mask_rule": "v3"}

TRAINING: dict[str, dict[str, Any]] = {
    "dit": DIT
    | ABNORMAL_NORM
    | _V3
    | {
        "timesteps": "logit_normal",
        "trainable": ["transformer_blocks", "proj_out", "pos_embed", "long_connect_fc"],
        "slow_rate": 0.5,
    },
    "lora": LORA | _V3 | {"timesteps": "uniform", "low_vram": True},
    "vae": VAE | {"loss.kl": 1.5e-7, "data.video_size": 256, "data.image_size": 256, "data.num_frames": 25},
}
