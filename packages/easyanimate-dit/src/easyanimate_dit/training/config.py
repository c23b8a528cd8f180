"""Settings of transformer training: what the files for `ea train dit` and `ea train lora` hold."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path  # noqa: TC003 (read_config reads the annotations)
from typing import Literal

from easyanimate_core.training import DataConfig, OptimizerConfig


@dataclass(frozen=True, kw_only=True)
class TaskConfig:
    """What the transformer learns to do, as shares of the samples; the rest is text to video.

    Args:
        start_share: A start image is given.
        ends_share: A start and an end image are given.
        given_frames: Frames that an image is repeated for, as at generation.
        image_share: Share of the samples with a start image that see it through the image encoder, too.
        empty_caption_share: Samples without a caption, for guidance.
    """

    start_share: float = 0.3
    ends_share: float = 0.1
    given_frames: int = 3
    image_share: float = 0.5
    empty_caption_share: float = 0.1


@dataclass(frozen=True, kw_only=True)
class DitTrainingConfig:
    """Everything a run is determined by.

    Args:
        out: Output folder.
        model: Key of the model version.
        weights: Folder in the original's layout with every part; its transformer is trained on.
        data: The training clips; items are taken up to `cache_items`.
        cache_items: Items whose latents are computed once, before the first step. 0 computes them at every step.
        task: What is learnt.
        timesteps: "uniform", or "logit_normal" as the original draws them: floor(1000 sigmoid(N(0, 1))).
        loss: "mse" of what the model predicts, or "variational": V1's to V3's own, which learns the variance, too.
        motion_sub_loss: Weight of the loss on differences of neighbouring frames (the original: 0.25 where used).
        optimizer: AdamW and its learning rate.
        ema_decay: Decay of the averaged weights, which are the ones that are kept; 0 keeps the last.
        max_steps: Length of the run in optimiser steps.
        checkpoint_every: Steps between checkpoints.
        log_every: Steps between lines of the loss log.
        mixed_precision: "no", "bf16" or "fp16".
        seed: Seed of data order, noise and timesteps.
    """

    out: Path
    model: str = "v4"
    weights: Path
    data: DataConfig = field(default_factory=DataConfig)
    cache_items: int = 0
    task: TaskConfig = field(default_factory=TaskConfig)
    timesteps: Literal["uniform", "logit_normal"] = "logit_normal"
    loss: Literal["mse", "variational"] = "mse"
    motion_sub_loss: float = 0.0
    optimizer: OptimizerConfig = field(default_factory=OptimizerConfig)
    ema_decay: float = 0.0
    max_steps: int = 10_000
    checkpoint_every: int = 500
    log_every: int = 20
    mixed_precision: str = "no"
    seed: int = 0


@dataclass(frozen=True, kw_only=True)
class LoraConfig:
    """What a LoRA may change.

    Args:
        rank: Of every change.
        alpha: The changes count alpha / rank.
        targets: Parts of the paths of the modules that are trained, such as "attn1." or "blocks.3."; none: every module
            that the original gives LoRA weights.
    """

    rank: int = 16
    alpha: float = 16.0
    targets: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class LoraTrainingConfig(DitTrainingConfig):
    """Everything a run is determined by that trains a LoRA; the transformer's weights stay as they are.

    Args:
        lora: What is trained; the other settings are those of the transformer.
    """

    lora: LoraConfig = field(default_factory=LoraConfig)
