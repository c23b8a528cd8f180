"""Clips that look alike: perceptual hashes, and which clips are the same but for little."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from easyanimate_data.frames import Frames

HASH_FRAMES = 3
HASH_BITS = 64 * HASH_FRAMES


def hash_frames(frames: Frames) -> dict[str, str]:
    """The perceptual hashes of three frames, uint8 [3, H, W, 3], as `perceptual_hash`: 48 hexadecimal digits.

    Source: the package imagehash (pHash: the signs of the lowest frequencies of a cosine transform).
    """
    import imagehash
    from PIL import Image

    return {"perceptual_hash": "".join(str(imagehash.phash(Image.fromarray(frame))) for frame in frames)}


def find_duplicates(hashes: Mapping[int, str], distance: int) -> dict[int, int]:
    """For each clip that looks like an earlier one that stays: which one.

    Args:
        hashes: `perceptual_hash` by place; the order is that in which clips are preferred.
        distance: Most bits, of 192, in which two clips that look alike differ.

    Two hashes that differ in at most d bits agree in one of d + 1 pieces: only clips that share a piece are compared.
    """
    bands: list[dict[int, list[tuple[int, int]]]] = [defaultdict(list) for _ in range(distance + 1)]
    found: dict[int, int] = {}
    for place, digits in hashes.items():
        bits = int(digits, 16)
        pieces = list(_cut_bits(bits, distance + 1))
        near = {
            other: there
            for band, piece in zip(bands, pieces, strict=True)
            for there, other in band[piece]
            if (bits ^ other).bit_count() <= distance
        }
        if near:
            found[place] = min(near.values())
            continue
        for band, piece in zip(bands, pieces, strict=True):
            band[piece].append((place, bits))
    return found


def _cut_bits(bits: int, num_pieces: int) -> Iterable[int]:
    for k in range(num_pieces):
        begin, end = k * HASH_BITS // num_pieces, (k + 1) * HASH_BITS // num_pieces
        yield (bits >> begin) & ((1 << (end - begin)) - 1)
