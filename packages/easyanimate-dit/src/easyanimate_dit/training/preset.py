"""Default settings from the original's training scripts, which plugins extend for their version. Torch-free.

Source: `scripts/train*.sh` of aigc-apps/EasyAnimate, as of V1 (April 2024) to V4 (August 2024).
"""

from __future__ import annotations

from typing import Any

_COMMON: dict[str, Any] = {
    "optimizer.schedule": "constant",
    "optimizer.betas": [0.9, 0.999],
    "optimizer.epsilon": 1e-10,
    "optimizer.weight_decay": 3e-2,
    "optimizer.max_grad_norm": 1.0,
    "mixed_precision": "bf16",
    "gradient_checkpointing": True,
    "seed": 42,
    "data.batch_size": 1,
    "data.num_frames": 144,
    "data.video_size": 512,
    "data.image_size": 512,
    "data.random_frames": True,
}

DIT: dict[str, Any] = _COMMON | {
    "optimizer.learning_rate": 2e-5,
    "optimizer.warmup_steps": 100,
    "checkpoint_every": 500,
    "data.workers": 8,
}
"""Defaults of `ea train dit`."""

ABNORMAL_NORM: dict[str, Any] = {"optimizer.abnormal_after": 1000, "optimizer.first_norm_ratio": 5.0}
"""V3 and V4 clip abnormally large gradients further, but not those of a LoRA."""

LORA: dict[str, Any] = _COMMON | {
    "optimizer.learning_rate": 1e-4,
    "optimizer.warmup_steps": 0,
    "checkpoint_every": 100,
    "data.workers": 4,
    "lora.rank": 128,
    "lora.alpha": 64.0,
}
"""Defaults of `ea train lora`."""

VAE: dict[str, Any] = {
    "optimizer.learning_rate": 1e-4,
    "optimizer.schedule": "constant",
    "optimizer.warmup_steps": 0,
    "optimizer.betas": [0.5, 0.9],
    "optimizer.weight_decay": 0.0,
    "loss.l1": 1.0,
    "loss.mse": 0.0,
    "loss.colour": 0.0,
    "loss.perceptual": 1.0,
    "loss.adversarial": 0.5,
    "ema_decay": 0.9999,
    "checkpoint_every": 1000,
    "seed": 23,
    "data.workers": 8,
}
"""Defaults of `ea train vae` for a video VAE, which V1 does not have."""
