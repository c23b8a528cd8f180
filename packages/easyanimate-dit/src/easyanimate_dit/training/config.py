"""Settings of transformer training: `ea train dit` and `ea train lora`."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path  # noqa: TC003 (read_config reads the annotations)
from typing import Annotated, Literal

from easyanimate_core.errors import RequestError
from easyanimate_core.number_range import NOT_NEGATIVE, POSITIVE, SHARE, Range, check_ranges
from easyanimate_train.config import RunConfig


@dataclass(frozen=True, kw_only=True)
class TaskConfig:
    """Tasks beside text to video: start and end images, areas.

    Args:
        start_share: Share of the clips that are trained with their first frame given as a start image. This,
            `ends_share` and `area_share` apply to data without masks; with `data.mask_rule` the masks decide.
        ends_share: Share of the clips that are trained with a start and an end image given.
        area_share: Share of the clips of which a rectangle is to be made, and what is around it is given.
        given_frames: Frames that a given image is repeated for, as in generation.
        image_share: Share of the clips with given frames whose first frame also goes through the image encoder.
        blank_share: V4: share of the clips without given frames whose inpaint latents are zeros, as in generation; the
            others have an encoded mask.
    """

    start_share: Annotated[float, SHARE] = 0.0
    ends_share: Annotated[float, SHARE] = 0.0
    area_share: Annotated[float, SHARE] = 0.0
    given_frames: Annotated[int, Range(1)] = 3
    image_share: Annotated[float, SHARE] = 0.5
    blank_share: Annotated[float, SHARE] = 0.9

    def __post_init__(self) -> None:
        """Refuse shares outside 0 to 1."""
        check_ranges(self, "task.")
        if self.start_share + self.ends_share + self.area_share > 1:
            raise RequestError(
                "task.start_share, task.ends_share and task.area_share are more than all clips.",
                received=f"{self.start_share}, {self.ends_share} and {self.area_share}",
                expected="together at most 1",
            )


@dataclass(frozen=True, kw_only=True)
class ValidationConfig:
    """Clips that are generated during training.

    Args:
        prompts: Prompt of a clip that is generated at every validation; can be repeated.
        seed: Seed of the clips, the same at every validation.
    """

    prompts: tuple[str, ...] = ()
    seed: Annotated[int, NOT_NEGATIVE] = 0

    def __post_init__(self) -> None:
        """Refuse a seed that is none."""
        check_ranges(self, "validation.")


@dataclass(frozen=True, kw_only=True)
class DitTrainingConfig(RunConfig):
    """Settings of transformer training.

    Args:
        model: Key of the model version to train.
        weights: Weights to start from, as for `ea run --weights`: a name, or a folder in the original's layout.
        fresh: Start from randomly initialised weights of the transformer.
        trainable: Train only parameters whose names contain this, such as "transformer_blocks.6"; can be repeated.
            None trains the whole transformer.
        slow: Train parameters whose names contain this at `slow_rate` times the learning rate; can be repeated.
        slow_rate: Factor of the learning rate for the parameters that `slow` names. The original has 0.5 in V3 and V4,
            0.1 before.
        cache: Keep latents and text states on disk, so that each clip and caption is encoded only once.
        cache_folder: Folder of the cache, which several runs may share (default: `cache` in the output folder).
        task: Tasks beside text to video.
        timesteps: Distribution of the timesteps: uniform, or logit-normal as in V3 and V4. That is
            floor(1000 sigmoid(N(0, 1))).
        loss: Loss function: mean squared error, or the variational loss of V1 to V3, which also trains the variance.
        snr: With the variational loss, compare the clean latents instead of the noise at early timesteps.
        motion_sub_loss: Weight of an additional loss on the differences of neighbouring frames. The original has 0.25
            where it is used.
        noise_offset: Strength of offset noise, a random value added to all noise of a channel.
        validation: Clips that are generated every `validate_every` steps.
    """

    model: str = "v4"
    weights: str = "auto"
    fresh: bool = False
    trainable: tuple[str, ...] = ()
    slow: tuple[str, ...] = ()
    slow_rate: Annotated[float, NOT_NEGATIVE] = 0.5
    cache: bool = False
    cache_folder: Path | None = None
    task: TaskConfig = field(default_factory=TaskConfig)
    timesteps: Literal["uniform", "logit_normal"] = "logit_normal"
    loss: Literal["mse", "variational"] = "mse"
    snr: bool = False
    motion_sub_loss: Annotated[float, NOT_NEGATIVE] = 0.0
    noise_offset: Annotated[float, NOT_NEGATIVE] = 0.0
    validation: ValidationConfig = field(default_factory=ValidationConfig)


@dataclass(frozen=True, kw_only=True)
class LoraConfig:
    """Settings of a LoRA.

    Args:
        rank: Rank of every LoRA matrix.
        alpha: Scale of the LoRA: its weight is alpha / rank.
        targets: Train only modules whose path contains this, such as "attn1." or "blocks.3."; can be repeated. None
            trains all modules for which the original has LoRA weights.
        text_encoder: Also train a LoRA of the first text encoder, at half the learning rate. `cache` then does not keep
            its states.
        dora: Train a DoRA, which learns the norm and the direction of the weights separately. Liu et al., arXiv
            2402.09353.
        format: Format of `lora.safetensors`: the original's, or peft's, which diffusers also reads.
    """

    rank: Annotated[int, Range(1)] = 16
    alpha: Annotated[float, POSITIVE] = 16.0
    targets: tuple[str, ...] = ()
    text_encoder: bool = False
    dora: bool = False
    format: Literal["original", "peft"] = "original"

    def __post_init__(self) -> None:
        """Refuse a rank of 0, and a LoRA that cannot be written."""
        check_ranges(self, "lora.")
        if self.dora and self.format != "peft":
            raise RequestError(
                "The original's format cannot hold DoRA.",
                received=f"lora.dora: true, lora.format: {self.format}",
                fix="set lora.format to peft",
            )


@dataclass(frozen=True, kw_only=True)
class LcmConfig:
    """Settings of an LCM-LoRA: consistency distillation to a few sampling steps.

    Such a LoRA is used with `--sampler lcm`, about 4 steps and no guidance. `loss`, `snr`, `timesteps` and
    `motion_sub_loss` have no effect on it.

    Args:
        enabled: Train an LCM-LoRA, which generates in about 4 steps and without guidance.
        num_ddim_steps: Number of DDIM steps of the teacher, the transformer without LoRA.
        guidance: Range of the teacher's guidance w, drawn for each clip; w is the guidance scale of `ea run` minus 1.
        timestep_scaling: Factor of the timesteps in the boundary condition; the sampler `lcm` has 10. The larger, the
            less of the noisy latents is kept.
        loss: Distillation loss: mean squared error, or pseudo-Huber, which large errors dominate less.
        huber_c: Constant c of the pseudo-Huber loss; errors well below it count squared.
    """

    enabled: bool = False
    num_ddim_steps: Annotated[int, Range(1)] = 50
    guidance: tuple[float, ...] = (5.0, 15.0)
    timestep_scaling: Annotated[float, POSITIVE] = 10.0
    loss: Literal["l2", "huber"] = "l2"
    huber_c: Annotated[float, POSITIVE] = 0.001

    def __post_init__(self) -> None:
        """Refuse values out of range."""
        check_ranges(self, "lcm.")
        is_range = len(self.guidance) == 2 and self.guidance[0] <= self.guidance[1]  # noqa: PLR2004
        if not is_range:
            raise RequestError(
                "lcm.guidance must be a range.", received=self.guidance, expected="the lowest and the highest value"
            )


@dataclass(frozen=True, kw_only=True)
class LoraTrainingConfig(DitTrainingConfig):
    """Settings of LoRA training; the transformer's own weights are frozen.

    Args:
        lora: Settings of the LoRA.
        lcm: Settings of an LCM-LoRA.
    """

    lora: LoraConfig = field(default_factory=LoraConfig)
    lcm: LcmConfig = field(default_factory=LcmConfig)

    def __post_init__(self) -> None:
        """Refuse settings that contradict each other."""
        super().__post_init__()
        if self.lcm.enabled and self.lora.text_encoder:
            raise RequestError(
                "An LCM-LoRA cannot train the text encoder.",
                received="lcm.enabled: true, lora.text_encoder: true",
                fix="leave one of them out",
            )
