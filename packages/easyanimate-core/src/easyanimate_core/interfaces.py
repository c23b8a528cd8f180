"""Protocols: what the sampling pipeline asks of the parts of a video model.

`easyanimate_core.testing` has a suite of tests for each.

Axes: B videos, C channels, T frames, H height, W width in pixels; t, h, w the same in latents; L text tokens, K picture
tokens, D features. Videos for people are uint8 [T, H, W, 3].
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol, TypeAlias, runtime_checkable

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from contextlib import AbstractContextManager

    from easyanimate_core.request import Video, VideoRequest

Tensor: TypeAlias = Any
"""A `torch.Tensor`: this package does without PyTorch."""


@runtime_checkable
class VideoPipeline(Protocol):
    """Makes a clip from a request. Anything callable with this signature is one."""

    def __call__(self, request: VideoRequest, /) -> Video:
        """Make the clip; deterministic for a request on one machine."""
        ...


@runtime_checkable
class PromptReader(Protocol):
    """A `VideoPipeline` that knows how much of a prompt it reads. Asked before a clip is made, once it is loaded."""

    def explain_cuts(self, prompt: str, /) -> Iterable[str]:
        """A line for each text encoder that leaves out the end of a prompt: where it is cut, and what is left out."""
        ...


class Network(Protocol):
    """What every neural part has besides: it is a `torch.nn.Module` that says where it is and in which format.

    Models of diffusers and transformers do.
    """

    @property
    def device(self) -> Any:
        """The `torch.device` of its weights."""
        ...

    @property
    def dtype(self) -> Any:
        """The `torch.dtype` of its weights, in which it takes floating-point inputs."""
        ...


@runtime_checkable
class VideoTransformer(Network, Protocol):
    """Predicts the noise or the velocity of noisy latents.

    Which further arguments `encode_condition` and `forward` have is agreed between the transformer and the conditioners
    of its model version. Offloading waits for `forward`: a method that computes besides, here and in a VAE, passes
    through it, or is decorated with diffusers' `apply_forward_hook`.
    """

    def encode_condition(self, *args: Any, **conditions: Any) -> Any:
        """Encode what stays the same over the steps of a run, each condition [B, ...]; `forward` takes the result."""
        ...

    def cache_context(self, name: str) -> AbstractContextManager[Any]:
        """Keep what caches remember from step to step apart by guidance branch, as diffusers' CacheMixin does."""
        ...

    def forward(self, hidden_states: Tensor, timestep: Tensor, *, condition: Any, return_dict: bool) -> Any:
        """Predict.

        Args:
            hidden_states: Latents [B, C, t, h, w], as the scheduler scales them.
            timestep: [B], one per video, as the scheduler counts them.
            condition: Result of `encode_condition` for B videos.
            return_dict: The pipeline says False, and takes the first element of a tuple.

        Returns:
            A tuple of [B, C or more, t, h, w]; the first C channels are the prediction.
        """
        ...

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Run `forward` with the hooks of the module."""
        ...


@runtime_checkable
class TrainableNetwork(Network, Protocol):
    """A network that a trainer can train and write: a model of diffusers (`ModelMixin`, `ConfigMixin`) is one."""

    @property
    def config(self) -> Any:
        """From which another one of the same size can be made."""
        ...

    @classmethod
    def from_config(cls, config: Any, /) -> Any:
        """Make one with fresh weights."""
        ...

    def enable_gradient_checkpointing(self) -> None:
        """Recompute activations in the backward pass; ValueError where the network cannot."""
        ...

    def save_pretrained(self, save_directory: Any, /) -> Any:
        """Write `config.json` and weights to a folder."""
        ...


@runtime_checkable
class TrainableTransformer(VideoTransformer, TrainableNetwork, Protocol):
    """A `VideoTransformer` that `ea train dit` and `ea train lora` train.

    `forward` takes the arguments of `encode_condition` by name in place of `condition`, so that gradients reach what
    encodes them. With diffusers' `PeftAdapterMixin` it takes LoRAs.
    """

    def add_adapter(self, adapter_config: Any, /, adapter_name: str) -> None:
        """Add a LoRA of peft."""
        ...

    def enable_adapters(self) -> None:
        """Let LoRAs take part again."""
        ...

    def disable_adapters(self) -> None:
        """Let LoRAs take no part."""
        ...


@runtime_checkable
class Posterior(Protocol):
    """A normal distribution of latents, as `DiagonalGaussianDistribution` of diffusers."""

    mean: Tensor
    """[B, C, t, h, w]."""
    logvar: Tensor
    """[B, C, t, h, w], logarithm of the variance."""


class EncoderOutput(Protocol):
    """What `VideoAutoencoder.encode` gives."""

    @property
    def latent_dist(self) -> Posterior:
        """The distribution of the latents."""
        ...


class AutoencoderConfig(Protocol):
    """What the configuration of a `VideoAutoencoder` names."""

    @property
    def latent_channels(self) -> int:
        """Channels C of the latents."""
        ...

    @property
    def scaling_factor(self) -> float:
        """What latents are multiplied with for the transformer, so that they have a deviation of about 1."""
        ...


@runtime_checkable
class VideoAutoencoder(Network, Protocol):
    """Codes clips [B, 3, T, H, W] in [-1, 1] to a distribution of latents [B, C, t, h, w], and latents to clips.

    How long and large latents are is told by the `ShapeRule` of the model.
    """

    @property
    def config(self) -> Any:
        """An `AutoencoderConfig`; diffusers types its configurations as dictionaries."""
        ...

    def encode(self, x: Tensor, /) -> EncoderOutput:
        """The distribution of latents."""
        ...

    def decode_chunks(self, z: Tensor, /) -> Iterable[Tensor]:
        """The clip of latents piece by piece along time, [B, 3, part, H, W] about in [-1, 1].

        A piece that is let go is freed before the next is made, so that a long clip never stands in memory as floats.
        """
        ...


@runtime_checkable
class SmoothingAutoencoder(VideoAutoencoder, Protocol):
    """A `VideoAutoencoder` whose chunks show their borders, and which can hide them."""

    def decode_smoothly(self, z: Tensor, draw: Callable[[Posterior], Tensor], /) -> Tensor:
        """The clip of latents with smooth borders, [B, 3, T, H, W] in [-1, 1].

        Args:
            z: Latents.
            draw: Chooses latents from a posterior, with the noise of the run.
        """
        ...


@runtime_checkable
class TilingAutoencoder(VideoAutoencoder, Protocol):
    """A `VideoAutoencoder` that can code large pictures in tiles."""

    def enable_tiling(self) -> None:
        """Code what is larger than a tile in tiles from now on."""
        ...


class TextStates(Protocol):
    """What a `TextEncoder` gives."""

    @property
    def last_hidden_state(self) -> Tensor:
        """[B, L, D]."""
        ...


@runtime_checkable
class TextEncoder(Network, Protocol):
    """Codes tokens to states, as the text encoders of transformers do."""

    def __call__(self, input_ids: Tensor, /, *, attention_mask: Tensor) -> TextStates:
        """The states of token ids [B, L]; the mask [B, L] is 1 where a token is real."""
        ...


class ImageEncoderConfig(Protocol):
    """What the configuration of an `ImageEncoder` names."""

    @property
    def image_size(self) -> int:
        """Side of the pictures in pixels."""
        ...

    @property
    def patch_size(self) -> int:
        """Side of a patch in pixels: K is (image_size / patch_size) squared."""
        ...

    @property
    def hidden_size(self) -> int:
        """Width D of the states."""
        ...

    @property
    def projection_dim(self) -> int:
        """Width of the embedding of a whole picture."""
        ...


class ImageStates(Protocol):
    """What an `ImageEncoder` gives."""

    @property
    def last_hidden_state(self) -> Tensor:
        """[B, 1 + K, D]: a token of the whole picture, then one per patch, row by row."""
        ...

    @property
    def image_embeds(self) -> Tensor:
        """[B, projection_dim]."""
        ...


@runtime_checkable
class ImageEncoder(Network, Protocol):
    """Codes pictures to states, as `CLIPVisionModelWithProjection` of transformers does."""

    @property
    def config(self) -> Any:
        """An `ImageEncoderConfig`; transformers types its configurations by model."""
        ...

    def __call__(self, pixel_values: Tensor, /) -> ImageStates:
        """The states of pictures [B, 3, image_size, image_size], as the model's image processor makes them."""
        ...


@runtime_checkable
class Scheduler(Protocol):
    """Goes from noise to latents step by step, as the schedulers of diffusers do; a user knows it as a sampler.

    Used where they are: `set_begin_index(index)` is told the first timestep of a run that skips some; a
    `step` with an argument `generator` gets that of the run; where `takes_noise` is true, `step` gets standard normal
    noise of the run as `variance_noise`.
    """

    timesteps: Tensor
    """[steps] in falling order, on the CPU."""

    @property
    def config(self) -> Any:
        """A mapping, from which any other scheduler can be made."""
        ...

    @property
    def order(self) -> int:
        """Evaluations of the transformer per step: so many timesteps belong to a step."""
        ...

    @property
    def init_noise_sigma(self) -> Any:
        """Deviation of the noise that a run starts from; a number, or a tensor of one on the CPU."""
        ...

    def set_timesteps(self, num_inference_steps: int, /, device: Any = None) -> None:
        """Choose the timesteps of a run; ValueError where there are not as many."""
        ...

    def scale_model_input(self, sample: Tensor, timestep: Tensor, /) -> Tensor:
        """Scale latents for the transformer."""
        ...

    def step(self, model_output: Tensor, timestep: Tensor, sample: Tensor, /, *, return_dict: bool) -> Any:
        """Take one step, from latents and the prediction for them; the first element is the new latents."""
        ...

    def add_noise(self, original_samples: Tensor, noise: Tensor, timesteps: Tensor, /) -> Tensor:
        """Latents with as much noise as latents have at `timesteps` [1]."""
        ...
