"""Reconstruction as a training task: encode clips, decode them again, compute the loss.

Axes: B clips, C channels, T frames, H height, W width; clips are uint8 [B, T, H, W, 3] from the dataset and [-1, 1] in
the model; t, h, w the same in latents.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from accelerate.state import PartialState
from diffusers.models.autoencoders.vae import DiagonalGaussianDistribution
from easyanimate_core.errors import RequestError
from easyanimate_train.engine import is_sharded
from easyanimate_train.memory import advise, count_values
from easyanimate_train.task import TrainableModel
from torch import Tensor, nn

from easyanimate_vae.training.adversarial_loss import AdversarialLoss
from easyanimate_vae.training.discriminator import DiscriminatorPair
from easyanimate_vae.training.loss import compute_loss, measure_psnr
from easyanimate_vae.training.perceptual import PerceptualDistance
from easyanimate_vae.training.pixels import scale_pixels
from easyanimate_vae.training.start import VAE
from easyanimate_vae.training.validation import Validator

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from easyanimate_core.dataset import BatchedDataset, TrainingBatch
    from easyanimate_train.stream import BatchShard
    from easyanimate_train.task import ValidationResult
    from jaxtyping import Float

    from easyanimate_vae.training.config import VaeTrainingConfig

DISCRIMINATOR = "discriminator"
_PREFIX = "vae."


class ReconstructionModel(nn.Module):
    """A VAE whose forward pass encodes and decodes, because engines that shard weights hook into that alone."""

    def __init__(self, vae: Any) -> None:
        super().__init__()
        self.vae = vae
        # FSDP asks the outermost module for these names, and requires each to be present.
        present = {type(module).__name__ for module in vae.modules()}
        self._no_split_modules = [name for name in vae._no_split_modules or () if name in present]  # noqa: SLF001

    def forward(
        self, pixels: Float[Tensor, "B 3 T H W"], draw: Callable[[Tensor], Tensor]
    ) -> tuple[Float[Tensor, "B 3 T H W"], Float[Tensor, "B twice_C t h w"]]:
        """The reconstruction, and mean and log variance of the latents; `draw` gives noise like a tensor."""
        posterior = self.vae.encode(pixels).latent_dist
        latents = posterior.mean + torch.exp(0.5 * posterior.logvar) * draw(posterior.mean)
        moments = torch.cat([posterior.mean, posterior.logvar], dim=1)
        return torch.cat(list(self.vae.decode_chunks(latents)), dim=2), moments


class ClipLoader:
    """Loads the rows of a batch that a process takes."""

    def __init__(self, dataset: BatchedDataset) -> None:
        self._dataset = dataset

    def __call__(self, batch: Any, shard: BatchShard) -> TrainingBatch:
        """Load the clips."""
        return self._dataset.load(batch, shard.rows)


class ReconstructionTask:
    """The training task of `ea train vae`; see `TrainingTask`.

    The value of "loss" excludes the adversarial loss, which says nothing about quality: that adds only its gradient,
    and has a number of its own in the log.

    Args:
        config: Settings.
        vae: A `VideoAutoencoder` from `build_vae`.
        dataset: Batches of training data.
        validation: Batches of validation clips; None for no validation.
    """

    def __init__(
        self, config: VaeTrainingConfig, vae: Any, dataset: BatchedDataset, validation: BatchedDataset | None = None
    ) -> None:
        self._config, self._vae = config, vae
        self._device = torch.device("cpu")
        self.load = ClipLoader(dataset)
        self.trainable = {VAE: _make_trainable(ReconstructionModel(vae), config.optimizer)}
        # Channels last: several times faster on CPUs, and best for tensor cores.
        own_layout = torch.channels_last if config.kind == "frames" else torch.channels_last_3d
        self._layouts: list[tuple[Any, torch.memory_format]] = [(vae, own_layout)]
        self._adversarial_loss: AdversarialLoss | None = None
        if config.loss.adversarial:
            settings = config.discriminator
            discriminator = DiscriminatorPair(width=settings.width, num_levels=settings.num_levels)
            self.trainable[DISCRIMINATOR] = _make_trainable(discriminator, settings.optimizer)
            self._layouts.append((discriminator, torch.channels_last_3d))
            self._adversarial_loss = AdversarialLoss(config.loss, discriminator, _find_last_weight(vae))
        self._distance = PerceptualDistance(config.loss.vgg) if config.loss.perceptual else None
        self.frozen = {} if self._distance is None else {"perceptual": self._distance}
        self._validator = None if validation is None else Validator(validation, config.validation, self._distance)

    def move(self, device: torch.device, /) -> None:
        """See `TrainingTask`; the perceptual loss stays on the device, because gradients pass through it.

        Raises:
            RequestError: The settings cannot be trained on this device or engine.
        """
        config, self._device = self._config, device
        state: Any = PartialState()
        if device.type == "cpu" and config.mixed_precision == "bf16" and config.kind != "frames":
            # Seen with PyTorch 2.15 (oneDNN 3.13) at a kernel of 3 frames on 2 frames, as in the deepest level.
            raise RequestError(
                "PyTorch's bfloat16 convolutions over time have wrong gradients on a CPU.",
                received="mixed_precision bf16",
                fix="set mixed_precision to no, or train on a GPU",
            )
        if is_sharded(state) and self._adversarial_loss is not None:
            raise RequestError(
                "A VAE and its discriminator cannot be trained with sharded weights.",
                received=f"loss.adversarial {config.loss.adversarial} with {state.distributed_type.value}",
                fix="launch with ddp, or set loss.adversarial to 0",
            )
        if not is_sharded(state):  # engines that shard weights take them in one layout only
            for module, layout in self._layouts:
                module.to(memory_format=layout)
        for module in self.frozen.values():
            module.to(device)

    def describe(self, batch: TrainingBatch, /) -> str:
        """See `TrainingTask`."""
        num, frames, height, width, _ = batch["frames"].shape
        return f"{num} clips of {frames} frames, {height}x{width}"

    def compute(self, name: str, batch: TrainingBatch, shard: BatchShard, step: int, /) -> Mapping[str, Tensor]:
        """The loss, its parts and the PSNR in dB; see `TrainingTask`. The discriminator's follows the VAE's."""
        adversarial_loss = self._adversarial_loss
        if name == DISCRIMINATOR:
            assert adversarial_loss is not None  # noqa: S101 (it comes with the discriminator)
            return adversarial_loss.compute_discriminator_loss(self.trainable[name].module, step)
        pixels = scale_pixels(batch["frames"], self._device)
        decoded, moments = self.trainable[name].module(pixels, self._draw(shard))
        with torch.autocast(self._device.type, enabled=False):
            losses = compute_loss(
                self._config.loss,
                pixels=pixels,
                decoded=decoded.float(),
                posterior=DiagonalGaussianDistribution(moments.float()),
                progress=step / self._config.max_steps,
                distance=self._distance,
            )
        numbers = {"loss": losses.total, **losses.parts, "psnr": measure_psnr(losses.parts["mse"])}
        if adversarial_loss is None or not adversarial_loss.is_active(step):
            return numbers
        added, logged = adversarial_loss.compute_generator_loss(
            pixels, decoded, reconstruction_loss=losses.reconstruction, weight=shard.weight
        )
        return {**numbers, **logged, "loss": losses.total + (added - added.detach())}

    def _draw(self, shard: BatchShard) -> Callable[[Tensor], Tensor]:
        """A function to noise like a tensor, drawn for the whole batch; a process takes its rows."""

        def draw(like: Float[Tensor, "B C t h w"]) -> Float[Tensor, "B C t h w"]:
            rng = np.random.default_rng((self._config.seed, shard.index))
            noise = rng.standard_normal((shard.num_rows, *like.shape[1:]), dtype=np.float32)
            return shard.take(torch.from_numpy(noise)).to(like.device, like.dtype)

        return draw

    def write(self, state: Mapping[str, Tensor], folder: Path, /) -> None:
        """Write `vae/`, as a folder of weights has it; see `TrainingTask`."""
        own = {name.removeprefix(_PREFIX): value for name, value in state.items()}
        # The VAE may hold shards of its weights, which `save_pretrained` would write.
        with torch.device("meta"):
            whole = type(self._vae).from_config(self._vae.config)
        whole.load_state_dict(own, assign=True)
        whole.save_pretrained(folder / VAE)

    def validate(self, folder: Path, step: int, /) -> ValidationResult:
        """Reconstruct the clips of `validation`; see `TrainingTask`."""
        del step
        assert self._validator is not None  # noqa: S101 (there is one with `validate_every`)
        self._vae.eval()
        found = self._validator(self._vae, folder, self._device)
        self._vae.train()
        return found

    def advise(self) -> Sequence[str]:
        """See `TrainingTask`."""
        config, num = self._config, count_values(self.trainable[VAE].parameters)
        lines = advise(
            {
                "--optimizer.kind adamw8bit": 6 * num if config.optimizer.kind == "adamw" else 0,
                "--ema-decay 0": 4 * num if config.ema_decay else 0,
            }
        )
        if config.mixed_precision == "no":
            lines.insert(0, "--mixed-precision bf16 halves the activations, which take most of the memory")
        if not config.gradient_checkpointing:
            lines.insert(0, "--gradient-checkpointing keeps the activations of one block at a time instead of all")
        return [*lines, "a smaller --data.batch-size with --accumulate, --data.video-size or --data.num-frames"]


def _find_last_weight(vae: Any) -> nn.Parameter:
    """The weight that the pull of the discriminator is measured at."""
    try:
        return vae.decoder.conv_out.weight
    except AttributeError as error:
        raise RequestError(
            "This VAE cannot be trained against a discriminator.",
            received=f"loss.adversarial, and a {type(vae).__name__} without decoder.conv_out",
            expected="a VAE whose last convolution is decoder.conv_out",
            fix="set loss.adversarial to 0, or call the last convolution so",
        ) from error


def _make_trainable(module: nn.Module, optimizer: Any) -> TrainableModel:
    trained = [parameter for parameter in module.parameters() if parameter.requires_grad]
    return TrainableModel(module, [(1.0, trained)], optimizer)
