"""Settings of VAE training: `ea train vae`."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path  # noqa: TC003 (read_config reads the annotations)
from typing import Annotated, Any, Literal

from easyanimate_core.errors import RequestError, near_misses
from easyanimate_core.number_range import NOT_NEGATIVE, Range, check_ranges
from easyanimate_train.config import OptimizerConfig, RunConfig

KINDS = {"video": "easyanimate_vae:AutoencoderKLMagvit", "frames": "easyanimate_vae:FrameAutoencoder"}
"""Places of the classes of this package, by `kind`."""


@dataclass(frozen=True, kw_only=True)
class LossConfig:
    """Weights of the losses, each a mean over pixels in [-1, 1] or over latent values.

    The original sums instead, over the pixels of a frame and over the latent values of a clip. Its KL weight k is
    `kl: k C t h w / (3 H W)` here, for clips of C x t x h x w latent values and frames of H x W pixels: its 1e-6 is
    6.3e-8 for clips of 9 frames (V2) and 1.5e-7 for 25 frames (V3). Its other weights are the same here.

    Args:
        l1: Weight of the mean absolute error of the pixels.
        mse: Weight of the mean squared error of the pixels.
        colour: Weight of the mean squared error of the differences between colour channels, which preserves hue.
        perceptual: Weight of the perceptual loss, LPIPS on VGG16, which preserves sharpness and texture. The original
            has 1. Needs the extra `lpips`.
        vgg: File of VGG16's weights for the perceptual loss (default: downloaded once).
        first_frame: Weight of the first frame of a clip relative to the others. A causal decoder knows nothing before
            it, so it is the worst, and in image to video it is the one that is compared.
        kl: Weight of the KL divergence of the posterior from a unit normal, a mean over latent values.
        anchor: Initial weight of a loss that anchors the first three latent channels to brightness and two colour
            differences; it falls linearly to 0. A fresh model otherwise stays on a grey plateau for long.
        anchor_share: Share of the run in which the anchor loss falls to 0.
        adversarial: Weight of the adversarial loss, relative to the gradients of the reconstruction losses (0: no
            discriminator). The original has 0.5.
        adversarial_start: First step with the adversarial loss, from which the discriminator is trained. The
            original's 50001 counts two for every batch.
    """

    l1: Annotated[float, NOT_NEGATIVE] = 0.75
    mse: Annotated[float, NOT_NEGATIVE] = 4.0
    colour: Annotated[float, NOT_NEGATIVE] = 1.0
    perceptual: Annotated[float, NOT_NEGATIVE] = 0.0
    vgg: Path | None = None
    first_frame: Annotated[float, NOT_NEGATIVE] = 1.0
    kl: Annotated[float, NOT_NEGATIVE] = 1e-4
    anchor: Annotated[float, NOT_NEGATIVE] = 0.0
    anchor_share: Annotated[float, Range(above=0, most=1)] = 0.33
    adversarial: Annotated[float, NOT_NEGATIVE] = 0.0
    adversarial_start: Annotated[int, NOT_NEGATIVE] = 25_000

    def __post_init__(self) -> None:
        """Refuse weights that are none."""
        check_ranges(self)


@dataclass(frozen=True, kw_only=True)
class DiscriminatorOptimizerConfig(OptimizerConfig):
    """Optimiser of the discriminator, as in the original but for gradient clipping."""

    schedule: Literal["constant", "linear", "cosine", "flat"] = "constant"
    warmup_steps: Annotated[int, NOT_NEGATIVE] = 0
    betas: Annotated[tuple[float, ...], Range(0, below=1)] = (0.5, 0.9)
    weight_decay: Annotated[float, NOT_NEGATIVE] = 0.0


@dataclass(frozen=True, kw_only=True)
class DiscriminatorConfig:
    """The discriminators of frames and of clips, which exist when `loss.adversarial` is not 0.

    Args:
        width: Channels of the discriminators' first convolution.
        num_levels: Number of convolutions with stride 2; frames must be at least 3 * 2**num_levels pixels wide.
        optimizer: Optimiser of the discriminators; its schedule counts all steps, from the first one on.
    """

    width: Annotated[int, Range(1)] = 64
    num_levels: Annotated[int, Range(1, 16)] = 3
    optimizer: DiscriminatorOptimizerConfig = field(default_factory=DiscriminatorOptimizerConfig)

    def __post_init__(self) -> None:
        """Refuse sizes that are none."""
        check_ranges(self)


@dataclass(frozen=True, kw_only=True)
class ValidationConfig:
    """Clips that are reconstructed every `validate_every` steps.

    Args:
        path: Dataset of held-out clips, of the kind `data.kind`. With neither this nor `options`, clips come from the
            training data, cut at other frames, which says little about unseen clips.
        options: Options of the validation dataset that differ from `data.options`, such as another seed.
        num_clips: Number of clips to reconstruct.
        fps: Frames per second of the written clips.
    """

    path: Path | None = None
    options: dict[str, Any] = field(default_factory=dict[str, Any])
    num_clips: Annotated[int, Range(1)] = 4
    fps: Annotated[float, Range(above=0, most=1000)] = 8.0

    def __post_init__(self) -> None:
        """Refuse values out of range."""
        check_ranges(self)


@dataclass(frozen=True, kw_only=True)
class VaeTrainingConfig(RunConfig):
    """Settings of VAE training.

    Args:
        kind: Class of the VAE: "video" is `AutoencoderKLMagvit`, "frames" is `FrameAutoencoder`, and
            "my_package.vae:MyVae" is a VAE of your own. Set `data.chunk_frames` where it encodes several frames at a
            time.
        model: Configuration of the VAE; with weights, values that differ from theirs.
        version: Key of a model version whose VAE to start from. `weights` is then as for `ea run`, by default "auto".
        weights: Folder of a VAE to start from, or of a model with a VAE. With neither this nor `version` nor
            `image_weights`, training starts from fresh weights.
        image_weights: Folder of an image VAE to start a video VAE from.
        image_prefer: What V4's decoder decodes as the image VAE does at the start, where it cannot do both: single
            frames or clips.
        trainable: Part of the VAE that is trained; with "decoder", transformers trained on its latents still fit.
        loss: Weights of the losses.
        discriminator: The discriminators, for `loss.adversarial`.
        validation: Clips that are reconstructed every `validate_every` steps.
    """

    kind: str = "video"
    model: dict[str, Any] = field(default_factory=dict[str, Any])
    version: str | None = None
    weights: str | None = None
    image_weights: Path | None = None
    image_prefer: Literal["frame", "clip"] = "frame"
    trainable: Literal["all", "decoder", "encoder"] = "all"
    loss: LossConfig = field(default_factory=LossConfig)
    discriminator: DiscriminatorConfig = field(default_factory=DiscriminatorConfig)
    validation: ValidationConfig = field(default_factory=ValidationConfig)

    def __post_init__(self) -> None:
        """Refuse settings that contradict each other."""
        super().__post_init__()
        if self.kind not in KINDS and ":" not in self.kind:
            raise RequestError(
                "There is no such kind of VAE.",
                received=self.kind,
                expected=f"{', '.join(KINDS)}, or the place of a class, such as my_package.vae:MyVae",
                fix=near_misses(self.kind, KINDS),
            )
        if self.image_weights is not None and (self.weights or self.version or self.kind != "video"):
            raise RequestError(
                "image_weights starts a video VAE, and excludes other weights.",
                received=f"image_weights with kind {self.kind}, weights {self.weights}, version {self.version}",
                expected="kind video, no weights and no version",
            )
        if self.loss.adversarial and self.trainable == "encoder":
            raise RequestError(
                "An adversarial loss needs a decoder that is trained.",
                received="trainable encoder",
                fix="set trainable to all or decoder, or loss.adversarial to 0",
            )
