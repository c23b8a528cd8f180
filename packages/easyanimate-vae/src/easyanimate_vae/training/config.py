"""Settings of VAE training: what `ea train vae --config FILE` accepts."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path  # noqa: TC003 (read_config reads the annotations)
from typing import Any, Literal

from easyanimate_core.training import DataConfig, OptimizerConfig


@dataclass(frozen=True, kw_only=True)
class LossConfig:
    """Weights of the parts of the loss; pixels are in [-1, 1].

    Args:
        l1: Mean absolute error.
        mse: Mean squared error.
        colour: Mean squared error of the differences red-green, green-blue, blue-red: keeps hue, which is a small part
            of the plain error.
        first_frame: How much more the first frame of a clip counts than another. A causal decoder knows nothing before
            it, so it comes out worst, and in image to video it is the one that is looked at.
        kl: Divergence of the posterior from a unit normal, mean over latent values.
        anchor: Pull of the first three latent channels towards the average colour below them, as brightness and two
            differences; falls linearly to zero over `anchor_share` of the run. It breaks the grey plateau that a fresh
            model stays on for long.
        anchor_share: See `anchor`.
    """

    l1: float = 0.75
    mse: float = 4.0
    colour: float = 1.0
    first_frame: float = 1.0
    kl: float = 1e-4
    anchor: float = 0.0
    anchor_share: float = 0.33


@dataclass(frozen=True, kw_only=True)
class VaeTrainingConfig:
    """Everything a run is determined by.

    Args:
        out: Output folder.
        kind: "video" trains an `AutoencoderKLMagvit`, "frames" a `FrameAutoencoder`.
        model: Its configuration.
        weights: Folder of a VAE to start from; `model` may change its configuration. None starts from fresh weights.
        trainable: "all", or "decoder": the encoder stays, so that transformers trained on its latents still fit.
        data: The training clips.
        loss: Weights of the loss.
        optimizer: AdamW and its learning rate.
        max_steps: Length of the run in optimiser steps.
        checkpoint_every: Steps between checkpoints.
        log_every: Steps between lines of the loss log.
        mixed_precision: "no", "bf16" or "fp16".
        seed: Seed of weights, data order and posterior noise.
    """

    out: Path
    kind: Literal["video", "frames"] = "video"
    model: dict[str, Any] = field(default_factory=dict)
    weights: Path | None = None
    trainable: Literal["all", "decoder"] = "all"
    data: DataConfig = field(default_factory=DataConfig)
    loss: LossConfig = field(default_factory=LossConfig)
    optimizer: OptimizerConfig = field(default_factory=OptimizerConfig)
    max_steps: int = 10_000
    checkpoint_every: int = 500
    log_every: int = 20
    mixed_precision: str = "no"
    seed: int = 0
