"""Settings of transformer training: what the files for `ea train dit` and `ea train lora` hold."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path  # noqa: TC003 (read_config reads the annotations)
from typing import Literal

from easyanimate_core.errors import RequestError
from easyanimate_train.config import RunConfig


@dataclass(frozen=True, kw_only=True)
class TaskConfig:
    """What the transformer learns to do beside text to video.

    Args:
        start_share: Share of the clips of which a start image is given. This and `ends_share` count for data without
            masks; data with `mask_rule` decides by its masks.
        ends_share: Share of which a start and an end image are given.
        given_frames: Frames that an image is repeated for, as at generation.
        image_share: Share of the clips of which something is given that are seen through the image encoder, too.
        blank_share: V4: share of the clips of which nothing is given that are told so by zeros, as at generation; the
            others by a coded mask.
    """

    start_share: float = 0.0
    ends_share: float = 0.0
    given_frames: int = 3
    image_share: float = 0.5
    blank_share: float = 0.9

    def __post_init__(self) -> None:
        """Refuse shares that are none."""
        shares = (self.start_share, self.ends_share, self.start_share + self.ends_share, self.image_share)
        if not all(0 <= share <= 1 for share in (*shares, self.blank_share)):
            raise RequestError(
                "The shares of a task lie between 0 and 1.",
                received=self,
                expected="start_share and ends_share together at most 1",
            )


@dataclass(frozen=True, kw_only=True)
class ValidationConfig:
    """Clips that are made during training.

    Args:
        prompts: What they show.
        seed: Of their noise, the same at every validation.
    """

    prompts: tuple[str, ...] = ()
    seed: int = 0


@dataclass(frozen=True, kw_only=True)
class DitTrainingConfig(RunConfig):
    """Everything a run is determined by.

    Args:
        model: Key of the model version.
        weights: As `ea run --weights` takes it: a name, or a folder in the original's layout with every part.
        fresh: Start from fresh weights of the transformer instead of those in the folder.
        trainable: Names of modules that are trained, such as "transformer_blocks.6"; none: the whole transformer.
        slow: Names of modules that are trained at `slow_rate` times the learning rate.
        slow_rate: See `slow`; the original has a half in V3 and V4, a tenth before.
        cache: Keep latents and text states on disk, so that each clip and caption is encoded once.
        cache_folder: Where; several runs may share it. None takes `out/cache`.
        task: What is learnt.
        timesteps: "uniform", or "logit_normal" as V3 and V4 draw them: floor(1000 sigmoid(N(0, 1))).
        loss: "mse" of what the model predicts, or "variational": V1's to V3's own, which learns the variance, too.
        snr: Of "variational": judge early steps by the clean latents instead of the noise.
        motion_sub_loss: Weight of the loss on differences of neighbouring frames (the original: 0.25 where used).
        noise_offset: Adds this much of a number that is the same for a whole channel to the noise.
        validation: Clips made every `validate_every` steps.
    """

    model: str = "v4"
    weights: str = "auto"
    fresh: bool = False
    trainable: tuple[str, ...] = ()
    slow: tuple[str, ...] = ()
    slow_rate: float = 0.5
    cache: bool = False
    cache_folder: Path | None = None
    task: TaskConfig = field(default_factory=TaskConfig)
    timesteps: Literal["uniform", "logit_normal"] = "logit_normal"
    loss: Literal["mse", "variational"] = "mse"
    snr: bool = False
    motion_sub_loss: float = 0.0
    noise_offset: float = 0.0
    validation: ValidationConfig = field(default_factory=ValidationConfig)


@dataclass(frozen=True, kw_only=True)
class LoraConfig:
    """What a LoRA may change.

    Args:
        rank: Of every change.
        alpha: The changes count alpha / rank.
        targets: Parts of the paths of the transformer's modules that are trained, such as "attn1." or "blocks.3.";
            none: every module that the original gives LoRA weights.
        text_encoder: Train the first text encoder, too, at half the learning rate; its states are then not kept by
            `cache`.
        dora: Learn the norm of each row of the weights apart from its direction (Liu et al., arXiv 2402.09353).
        format: What `lora.safetensors` is written as: "original", or "peft", which diffusers and peft read, too.
    """

    rank: int = 16
    alpha: float = 16.0
    targets: tuple[str, ...] = ()
    text_encoder: bool = False
    dora: bool = False
    format: Literal["original", "peft"] = "original"

    def __post_init__(self) -> None:
        """Refuse a LoRA of nothing, and one that cannot be written."""
        if self.rank < 1:
            raise RequestError("The rank of a LoRA must be positive.", received=self.rank, expected="1 or more")
        if self.dora and self.format != "peft":
            raise RequestError(
                "The original's format cannot hold DoRA.",
                received=f"lora.dora: true, lora.format: {self.format}",
                fix="set lora.format to peft",
            )


@dataclass(frozen=True, kw_only=True)
class LcmConfig:
    """Distillation to a few steps (LCM-LoRA): the LoRA learns to jump from noise to the guided clip at once.

    Such a LoRA is used with `--sampler lcm`, about 4 steps and without guidance. `loss`, `snr`, `timesteps` and
    `motion_sub_loss` have no effect on it.

    Args:
        enabled: Whether the LoRA is one.
        num_ddim_steps: Steps that the frozen transformer would take from noise to clip; the LoRA learns each of them.
        guidance: Lowest and highest w that the frozen transformer is guided with, drawn for each clip; w is 1 less than
            the guidance scale of `ea run`.
        timestep_scaling: How fast the noise that goes in stops counting as a part of the clip. The sampler has 10.
        loss: "l2", or "huber", which judges large errors less.
        huber_c: Errors below count squared.
    """

    enabled: bool = False
    num_ddim_steps: int = 50
    guidance: tuple[float, ...] = (5.0, 15.0)
    timestep_scaling: float = 10.0
    loss: Literal["l2", "huber"] = "l2"
    huber_c: float = 0.001

    def __post_init__(self) -> None:
        """Refuse what has no sense."""
        is_range = len(self.guidance) == 2 and self.guidance[0] <= self.guidance[1]  # noqa: PLR2004
        if not is_range:
            raise RequestError(
                "lcm.guidance is a range.", received=self.guidance, expected="the lowest and the highest number"
            )
        if self.num_ddim_steps < 1 or self.timestep_scaling <= 0 or self.huber_c <= 0:
            raise RequestError(
                "A setting of lcm is out of range.",
                received=f"num_ddim_steps {self.num_ddim_steps}, timestep_scaling {self.timestep_scaling}, "
                f"huber_c {self.huber_c}",
                expected="num_ddim_steps 1 or more, the others above 0",
            )


@dataclass(frozen=True, kw_only=True)
class LoraTrainingConfig(DitTrainingConfig):
    """Everything a run is determined by that trains a LoRA; the transformer's weights stay as they are.

    Args:
        lora: What is trained; the other settings are those of the transformer.
        lcm: Distillation to a few steps.
    """

    lora: LoraConfig = field(default_factory=LoraConfig)
    lcm: LcmConfig = field(default_factory=LcmConfig)

    def __post_init__(self) -> None:
        """Refuse what no run can have."""
        super().__post_init__()
        if self.lcm.enabled and self.lora.text_encoder:
            raise RequestError(
                "A distillation leaves the text encoder as it is.",
                received="lcm.enabled: true, lora.text_encoder: true",
                fix="leave one of them out",
            )
