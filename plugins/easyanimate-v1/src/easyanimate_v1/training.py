"""Settings of training that are usual for V1: those of the original's scripts, by trainer. Torch-free."""

from __future__ import annotations

from typing import Any

from easyanimate_dit.training.preset import DIT, LORA, VAE

_V1: dict[str, Any] = {
    "loss": "variational",
    "timesteps": "uniform",
    "data.batch_size": 2,
    "data.num_frames": 16,
    "data.stride": 2,
    "data.buckets": False,
    "data.random_frames": False,
}

TRAINING: dict[str, dict[str, Any]] = {
    "dit": DIT
    | _V1
    | {"trainable": ["attn_temporal"], "slow_rate": 0.1, "ema_decay": 0.9999, "data.empty_text_share": 0.1},
    "lora": LORA | _V1 | {"optimizer.learning_rate": 2e-5, "checkpoint_every": 500, "data.workers": 8},
    "vae": VAE | {"kind": "frames", "data.video_size": 256, "data.num_frames": 16},
}
