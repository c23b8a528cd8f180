"""Protocols: what the parts of a video model look like to one another.

Axes: B batch, C channels, T frames, H height, W width, L text tokens, D features. Latents and pixels of the
neural parts are [B, C, T, H, W]; videos for people are uint8 [T, H, W, 3].
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NotRequired, Protocol, TypedDict, runtime_checkable

if TYPE_CHECKING:
    from collections.abc import Sequence

    from easyanimate_core.batch import BatchRule
    from easyanimate_core.errors import MediaError
    from easyanimate_core.spec import Video, VideoRequest


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


class Sample(TypedDict):
    """One training item."""

    frames: Any
    """uint8 [T, H, W, 3]; an image has one frame"""
    text: str
    """the caption"""


@runtime_checkable
class VideoDataset(Protocol):
    """Training items by index. The same index gives the same item."""

    def __len__(self) -> int:
        """How many items there are."""
        ...

    def __getitem__(self, index: int, /) -> Sample:
        """One item."""
        ...


@runtime_checkable
class CaptionedClips(VideoDataset, Protocol):
    """A dataset whose captions are known without reading frames, so that text can be encoded once."""

    captions: Sequence[str]


class TrainingBatch(TypedDict):
    """What a training step is given of the rows that one process takes."""

    frames: Any
    """uint8 [B, T, H, W, 3]"""
    text: list[str]
    """B captions"""
    mask: NotRequired[Any]
    """uint8 [B, T, H, W]: 255 is to be made, 0 is given; only where the data has masks"""
    bad: list[str]
    """a line for each row that could not be read and was replaced by another"""


@dataclass(frozen=True)
class BatchRow:
    """What is known of a row of a batch before it is read.

    Args:
        seed: Numbers that decide what a trainer draws for the row beside noise; the same where the row comes again.
        identity: Names what the row gives; another when its file, size, place or frames change. Empty where nobody can
            tell, so that nothing made of it can be kept.
        empty_text: Whether the caption is dropped, so that the model learns to do without.
    """

    seed: tuple[int, ...]
    identity: str = ""
    empty_text: bool = False


@runtime_checkable
class BatchedDataset(Protocol):
    """Training data that knows which rows belong into one batch. Everything is a function of the arguments alone."""

    def plan(self, epoch: int, /) -> Sequence[Any]:
        """The batches of an epoch in their order; any objects that can be pickled."""
        ...

    def describe(self, batch: Any, /) -> Sequence[BatchRow]:
        """The rows of a batch."""
        ...

    def load(self, batch: Any, rows: Sequence[int], /) -> TrainingBatch:
        """Read some rows of a batch."""
        ...


@runtime_checkable
class Batchable(Protocol):
    """Training data that puts itself into batches, in place of single items."""

    def batched(self, rule: BatchRule, *, seed: int) -> BatchedDataset:
        """The batches that a rule asks for."""
        ...


@runtime_checkable
class Captioner(Protocol):
    """Writes text about clips; with no frames it only goes by the instruction, which is how captions are rewritten."""

    def __call__(self, instructions: Sequence[str], clips: Sequence[Any]) -> list[str | MediaError]:
        """Answer each instruction.

        Args:
            instructions: What to write, one per clip.
            clips: Frames uint8 [T, H, W, 3] per instruction, or None where there are none.

        Returns:
            Per instruction the text, or an error, not raised, where this one alone failed; retries are over by then.

        Raises:
            EasyAnimateError: When no instruction could be answered: a model that reads no frames, a refused key.
        """
        ...
