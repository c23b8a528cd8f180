"""The stage `duplicates`: perceptual hashes of clips, and which clips are the same but for little."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any

from easyanimate_core import FrameChoice, Work
from easyanimate_core.number_range import Range

from easyanimate_data.preparation.score import read_clip

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from easyanimate_core.preparation import ClipTable

    from easyanimate_data.frames import Frames
    from easyanimate_data.preparation.table import Row

HASH_FRAMES = FrameChoice("uniform", 3)
HASH_BITS = 64 * 3

REASON = "looks like another clip"


@dataclass(frozen=True)
class DuplicatesSettings:
    """Which clips look alike.

    Args:
        distance: Most bits, of the 192 of a perceptual hash, in which two clips that look alike differ.
    """

    distance: Annotated[int, Range(0, HASH_BITS)] = 12


class HashClips(Work):
    """Fills `perceptual_hash`."""

    @property
    def depends_on(self) -> Mapping[str, Any]:
        """What data sets note since the hash was a filter's score."""
        return {"options": {}, "compat": self.context.compat}

    def open(self) -> Callable[[Sequence[Row]], list[dict[str, Any] | Exception]]:
        """Nothing has to be loaded."""

        def hash_clips(rows: Sequence[Row]) -> list[dict[str, Any] | Exception]:
            clips = [read_clip(self.context, row, HASH_FRAMES) for row in rows]
            return [clip if isinstance(clip, Exception) else hash_frames(clip) for clip in clips]

        return hash_clips


@dataclass(frozen=True)
class Unalike:
    """Keeps the first of clips that look alike.

    Args:
        distance: Most bits, of 192, in which two clips that look alike differ.
    """

    distance: int

    def find_dropped(self, table: ClipTable, indices: Sequence[int], *, compat: bool) -> dict[int, str]:
        """What looks like an earlier clip that is kept; `duplicate_of` then names that one."""
        del compat
        hashes, names, originals = (table.column(name) for name in ("perceptual_hash", "file_path", "duplicate_of"))
        originals[:] = [None] * len(originals)
        found = find_duplicates({index: hashes[index] for index in indices if hashes[index]}, self.distance)
        for index, original in found.items():
            originals[index] = names[original]
        return dict.fromkeys(found, REASON)

    def gives(self, reason: str) -> bool:
        """Whether a clip was dropped as a duplicate."""
        return reason == REASON


def make_rule(settings: DuplicatesSettings) -> Unalike:
    """The rule of the stage."""
    return Unalike(settings.distance)


def hash_frames(frames: Frames) -> dict[str, str]:
    """The perceptual hashes of three frames, uint8 [3, H, W, 3], as `perceptual_hash`: 48 hexadecimal digits.

    An image, [1, H, W, 3], is like a clip in which nothing moves.

    Source: the package imagehash (pHash: the signs of the lowest frequencies of a cosine transform).
    """
    import imagehash
    from PIL import Image

    hashes = [str(imagehash.phash(Image.fromarray(frame))) for frame in frames]
    return {"perceptual_hash": "".join(hashes * 3 if len(hashes) == 1 else hashes)}


def find_duplicates(hashes: Mapping[int, str], distance: int) -> dict[int, int]:
    """Find the clips that look like an earlier one that stays.

    Two hashes that differ in at most d bits agree in one of d + 1 pieces: only clips that share a piece are compared.

    Args:
        hashes: `perceptual_hash` by row index, the clips that are preferred first.
        distance: Most bits, of 192, in which two clips that look alike differ.

    Returns:
        The row index of the earlier clip for each clip that looks like one.
    """
    bands: list[dict[int, list[tuple[int, int]]]] = [defaultdict(list) for _ in range(distance + 1)]
    found: dict[int, int] = {}
    for index, digits in hashes.items():
        bits = int(digits, 16)
        pieces = list(_cut_bits(bits, distance + 1))
        near = {
            other: earlier
            for band, piece in zip(bands, pieces, strict=True)
            for earlier, other in band[piece]
            if (bits ^ other).bit_count() <= distance
        }
        if near:
            found[index] = min(near.values())
            continue
        for band, piece in zip(bands, pieces, strict=True):
            band[piece].append((index, bits))
    return found


def _cut_bits(bits: int, num_pieces: int) -> Iterable[int]:
    for k in range(num_pieces):
        begin, end = k * HASH_BITS // num_pieces, (k + 1) * HASH_BITS // num_pieces
        yield (bits >> begin) & ((1 << (end - begin)) - 1)
