"""Protocols: what the parts of a video model look like to one another.

Axes: B batch, C channels, T frames, H height, W width, L text tokens, D features. Latents and pixels of the
neural parts are [B, C, T, H, W]; videos for people are uint8 [T, H, W, 3].
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

if TYPE_CHECKING:
    from easyanimate_core.request import Video, VideoRequest


@runtime_checkable
class VideoPipeline(Protocol):
    """Makes a clip from a request. Anything callable with this signature is one."""

    def __call__(self, request: VideoRequest, /) -> Video:
        """Make the clip; deterministic for a request on one machine."""
        ...


@runtime_checkable
class VideoTransformer(Protocol):
    """Predicts noise or velocity: latents [B, C, T, H, W] and timesteps [B] to [B, C', T, H, W]."""

    config: Any

    def __call__(self, hidden_states: Any, timestep: Any, **conditions: Any) -> Any:
        """One evaluation; the conditions are those of the model."""
        ...


@runtime_checkable
class VideoAutoencoder(Protocol):
    """Codes pixels [B, 3, T, H, W] in [-1, 1] to a latent distribution, and latents back to pixels."""

    config: Any

    def encode(self, x: Any) -> Any:
        """Give an object with `latent_dist` (mean, logvar, sample, mode)."""
        ...

    def decode(self, z: Any) -> Any:
        """Give an object with `sample`, pixels [B, 3, T, H, W]."""
        ...


@runtime_checkable
class TextEncoder(Protocol):
    """Codes token ids [B, L] and their mask [B, L] to states [B, L, D]."""

    def __call__(self, input_ids: Any, attention_mask: Any) -> Any:
        """Give the states as the first element."""
        ...


@runtime_checkable
class ImageEncoder(Protocol):
    """Codes pixels [B, 3, H, W] to states [B, L, D]."""

    def __call__(self, pixel_values: Any) -> Any:
        """Give the states as the first element."""
        ...


@runtime_checkable
class Scheduler(Protocol):
    """A sampler in diffusers' sense."""

    timesteps: Any
    init_noise_sigma: Any

    def set_timesteps(self, num_inference_steps: int, device: Any = None) -> None:
        """Choose the timesteps of a run."""
        ...

    def scale_model_input(self, sample: Any, timestep: Any) -> Any:
        """Scale the latents for the model."""
        ...

    def step(self, model_output: Any, timestep: Any, sample: Any, **options: Any) -> Any:
        """Take one step; the first element is the new sample."""
        ...
