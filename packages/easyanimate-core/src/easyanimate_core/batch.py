"""What a batch of training is made of: its size in clips, frames and pixels. A dataset decides which rows it takes."""

from __future__ import annotations

from dataclasses import dataclass

from easyanimate_core.errors import RequestError


@dataclass(frozen=True, kw_only=True)
class BatchRule:
    """The size of batches, and what is drawn at random about them. A size of s pixels means about the area of s by s.

    Args:
        batch_size: Clips of a batch; processes share them.
        video_size: Size of clips in pixels.
        image_size: Size of images in pixels.
        num_frames: Frames of a clip, at most.
        chunk_frames: The VAE's chunk: frame counts are multiples of it, or 1. None takes the model's.
        stride: Distance between the frames taken from a video.
        video_repeat: How often each video occurs in an epoch, from another place each time.
        buckets: Keep the aspect ratio, as near as the original's table has it; else clips are cropped to squares.
        random_ratio: Crop each batch to a random ratio of the table.
        random_size: Give each batch a size from `video_size` to `image_size`, in steps of 128, not above its smallest.
        random_frames: Shorten a tenth of the batches of clips, by whole chunks.
        token_size: Token-length training: a clip has `num_frames * token_size**2` pixels at most, so larger ones are
            shorter.
        mask_rule: Draws masks for inpainting as "v4" or "v3" trains with them; None draws none.
        empty_text_share: Share of the captions that are dropped.
        passes: Epochs that differ; later ones repeat them, which lets a cache be of use. None: every epoch is new.
        compat: As in the original, rows that do not fill a batch are never seen, and a `video_repeat` of 0 leaves the
            videos out.
        batches: For data without batches of its own: batches used in turn, each [clips, frames]; 1 frame trains on
            images. The other sizes have no say there.
    """

    batch_size: int = 1
    video_size: int = 512
    image_size: int = 512
    num_frames: int = 144
    chunk_frames: int | None = None
    stride: int = 1
    video_repeat: int = 1
    buckets: bool = True
    random_ratio: bool = False
    random_size: bool = False
    random_frames: bool = False
    token_size: int | None = None
    mask_rule: str | None = None
    empty_text_share: float = 0.0
    passes: int | None = None
    compat: bool = False
    batches: tuple[tuple[int, ...], ...] = ((1, 16),)

    def __post_init__(self) -> None:
        """Refuse what no batch can be made of."""
        least = {"batch_size": 1, "video_size": 16, "image_size": 16, "num_frames": 1, "stride": 1, "passes": 1}
        for name, value in least.items():
            given = getattr(self, name)
            if given is not None and given < value:
                raise RequestError(f"data.{name} is too small.", received=given, expected=f"{value} or more")
        if not 0 <= self.empty_text_share <= 1:
            raise RequestError(
                "data.empty_text_share is a share.", received=self.empty_text_share, expected="a number from 0 to 1"
            )
        if not self.batches or any(len(batch) != 2 or min(batch) < 1 for batch in self.batches):  # noqa: PLR2004
            raise RequestError(
                "data.batches are pairs of clips and frames.",
                received=self.batches,
                expected="such as [[4, 16], [8, 1]]",
            )
