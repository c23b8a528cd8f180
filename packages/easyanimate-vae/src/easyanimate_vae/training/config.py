"""Settings of VAE training: what `ea train vae --config FILE` accepts."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any


@dataclass(frozen=True, kw_only=True)
class DataConfig:
    """Where clips come from.

    Args:
        kind: Key of a dataset plugin ("shapes", "json").
        path: File or folder, for kinds that read one.
        options: Passed to the dataset.
        batches: Batches used in turn, each [clips, frames]; 1 frame trains on images.
    """

    kind: str = "json"
    path: Path | None = None
    options: dict[str, Any] = field(default_factory=dict)
    batches: tuple[tuple[int, ...], ...] = ((4, 8), (2, 16), (16, 1))


@dataclass(frozen=True, kw_only=True)
class LossConfig:
    """Weights of the parts of the loss; pixels are in [-1, 1].

    Args:
        l1: Mean absolute error.
        mse: Mean squared error.
        colour: Mean squared error of the differences red-green, green-blue, blue-red: keeps hue, which is a small part
            of the plain error.
        kl: Divergence of the posterior from a unit normal, mean over latent values.
        anchor: Pull of the first three latent channels towards the average colour below them; falls linearly to zero
            over `anchor_share` of the run. It breaks the grey plateau that a fresh model stays on for long.
        anchor_share: See `anchor`.
    """

    l1: float = 0.75
    mse: float = 4.0
    colour: float = 1.0
    kl: float = 1e-4
    anchor: float = 0.0
    anchor_share: float = 0.33


@dataclass(frozen=True, kw_only=True)
class VaeTrainingConfig:
    """Everything a run is determined by.

    Args:
        out: Output folder.
        model: Configuration of `AutoencoderKLMagvit`.
        weights: Folder of a VAE to start from; None starts from fresh weights.
        data: The training clips.
        loss: Weights of the loss.
        learning_rate: Peak, reached after `warmup_steps`, held for `flat_share` of the run, then falling to 2 %.
        warmup_steps: Steps of linear warm-up.
        flat_share: Share of the run before the decay begins.
        betas: Of AdamW.
        weight_decay: Of AdamW.
        max_grad_norm: Gradients are clipped to this norm.
        max_steps: Length of the run in optimiser steps.
        checkpoint_every: Steps between checkpoints.
        log_every: Steps between lines of the loss log.
        mixed_precision: "no", "bf16" or "fp16".
        seed: Seed of weights, data order and posterior noise.
    """

    out: Path
    model: dict[str, Any] = field(default_factory=dict)
    weights: Path | None = None
    data: DataConfig = field(default_factory=DataConfig)
    loss: LossConfig = field(default_factory=LossConfig)
    learning_rate: float = 1e-4
    warmup_steps: int = 100
    flat_share: float = 0.5
    betas: tuple[float, ...] = (0.9, 0.99)
    weight_decay: float = 0.01
    max_grad_norm: float = 1.0
    max_steps: int = 10_000
    checkpoint_every: int = 500
    log_every: int = 20
    mixed_precision: str = "no"
    seed: int = 0
