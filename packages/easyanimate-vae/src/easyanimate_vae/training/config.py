"""Settings of VAE training: what `ea train vae --config FILE` accepts."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path  # noqa: TC003 (read_config reads the annotations)
from typing import Any, Literal

from easyanimate_core.errors import RequestError, near_misses
from easyanimate_train.config import OptimizerConfig, RunConfig

KINDS = {"video": "easyanimate_vae:AutoencoderKLMagvit", "frames": "easyanimate_vae:FrameAutoencoder"}
"""Places of the classes of this package, by `kind`."""


@dataclass(frozen=True, kw_only=True)
class LossConfig:
    """Weights of the parts of the loss, each a mean over pixels or latent values; pixels are in [-1, 1].

    The original sums instead: over the pixels of a frame, and over the latent values of a clip. A weight k of its KL is
    `kl: k C t h w / (3 H W)` here, for clips of C x t x h x w latent values and frames of H x W pixels; its 1e-6 is
    6.3e-8 for clips of 9 frames (V2) and 1.5e-7 for 25 (V3). Its other weights are the same here.

    Args:
        l1: Mean absolute error.
        mse: Mean squared error.
        colour: Mean squared error of the differences red-green, green-blue, blue-red: keeps hue, which is a small part
            of the plain error.
        perceptual: LPIPS on VGG16, which sees sharpness and texture (the original: 1). Needs the extra `lpips`.
        vgg: File of VGG16's weights for `perceptual`; none downloads it once.
        first_frame: How much more the first frame of a clip counts than another. A causal decoder knows nothing before
            it, so it comes out worst, and in image to video it is the one that is looked at.
        kl: Divergence of the posterior from a unit normal, mean over latent values.
        anchor: Pull of the first three latent channels towards the average colour below them, as brightness and two
            differences; falls linearly to zero over `anchor_share` of the run. It breaks the grey plateau that a fresh
            model stays on for long.
        anchor_share: See `anchor`.
        adversarial: Pull of the discriminator, as a share of that of the errors above (the original: 0.5); 0 trains
            without one.
        adversarial_start: Step from which it pulls and learns. The original's 50001 counts two for every batch.
    """

    l1: float = 0.75
    mse: float = 4.0
    colour: float = 1.0
    perceptual: float = 0.0
    vgg: Path | None = None
    first_frame: float = 1.0
    kl: float = 1e-4
    anchor: float = 0.0
    anchor_share: float = 0.33
    adversarial: float = 0.0
    adversarial_start: int = 25_000


@dataclass(frozen=True, kw_only=True)
class DiscriminatorOptimizerConfig(OptimizerConfig):
    """How the discriminator's weights are changed: as in the original, but for the clipping."""

    schedule: Literal["constant", "linear", "cosine", "flat"] = "constant"
    warmup_steps: int = 0
    betas: tuple[float, ...] = (0.5, 0.9)
    weight_decay: float = 0.0


@dataclass(frozen=True, kw_only=True)
class DiscriminatorConfig:
    """The two critics, of frames and of clips; they are there when `loss.adversarial` is.

    Args:
        width: Channels after the first convolution.
        num_levels: Convolutions that halve the size; frames must have at least 3 * 2**num_levels pixels.
        optimizer: Changes them; its schedule counts all steps, also those before `loss.adversarial_start`.
    """

    width: int = 64
    num_levels: int = 3
    optimizer: DiscriminatorOptimizerConfig = field(default_factory=DiscriminatorOptimizerConfig)


@dataclass(frozen=True, kw_only=True)
class ValidationConfig:
    """Clips that are coded and decoded every `validate_every` steps.

    Args:
        path: Data of the kind of `data.kind` that is not trained on. With neither this nor `options`, clips are taken
            from the training data at other places, which says little about clips that were never seen.
        options: Options of the dataset that differ from `data.options`, such as another seed.
        num_clips: How many.
        fps: Frames per second of the files.
    """

    path: Path | None = None
    options: dict[str, Any] = field(default_factory=dict[str, Any])
    num_clips: int = 4
    fps: float = 8.0

    def __post_init__(self) -> None:
        """Refuse a validation of nothing."""
        if self.num_clips < 1 or self.fps <= 0:
            raise RequestError(
                "The validation's settings are out of range.",
                received=f"num_clips {self.num_clips}, fps {self.fps}",
                expected="num_clips 1 or more, fps above 0",
            )


@dataclass(frozen=True, kw_only=True)
class VaeTrainingConfig(RunConfig):
    """Everything a run is determined by.

    Args:
        kind: Class of the VAE: "video" is `AutoencoderKLMagvit`, "frames" is `FrameAutoencoder`, and
            "my_package.vae:MyVae" is a `VideoAutoencoder` of your own, a model of diffusers. Set `data.chunk_frames`
            where its frame counts are multiples of something.
        model: Its configuration; with weights, what shall differ from theirs.
        version: Key of the model version whose VAE goes on learning; `weights` is then as for `ea run`, and where it is
            not given, "auto".
        weights: Folder of a VAE to start from, or of a model with one in `vae`. With neither this nor `version` nor
            `image_weights`, training starts from fresh weights.
        image_weights: Folder of an image VAE that a video VAE starts from.
        image_prefer: What V4's decoder shall decode as that image VAE does, where it cannot do both: a single "frame",
            or a "clip".
        trainable: "all"; "decoder": the encoder stays, so that transformers trained on its latents still fit;
            "encoder".
        loss: Weights of the loss.
        discriminator: Learns to tell decoded clips from others when `loss.adversarial` is not 0.
        validation: What is looked at every `validate_every` steps.
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
                "An image VAE is where a fresh video VAE starts.",
                received=f"image_weights with kind {self.kind}, weights {self.weights}, version {self.version}",
                expected="kind video, without weights and version",
            )
        if self.loss.adversarial and self.trainable == "encoder":
            raise RequestError(
                "A discriminator judges what the decoder makes, so the decoder must be trained.",
                received="trainable encoder",
                fix="train all or the decoder, or set loss.adversarial to 0",
            )
