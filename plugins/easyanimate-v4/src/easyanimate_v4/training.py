"""Settings of training that are usual for V4: those of the original's scripts, by trainer. Torch-free."""

from __future__ import annotations

from typing import Any

from easyanimate_dit.training.preset import ABNORMAL_NORM, DIT, LORA, VAE

_V4: dict[str, Any] = {
    "loss": "mse",
    "timesteps": "logit_normal",
    "motion_sub_loss": 0.25,
    "optimizer.max_grad_norm": 0.05,
    "data.mask_rule": "v4",
    "data.random_size": True,
}

TRAINING: dict[str, dict[str, Any]] = {
    "dit": DIT | ABNORMAL_NORM | _V4 | {"slow_rate": 0.5, "data.token_size": 512},
    "lora": LORA | _V4 | {"low_vram": True},
    "vae": VAE | {"loss.kl": 1.5e-7, "data.video_size": 256, "data.image_size": 256, "data.num_frames": 25},
}
