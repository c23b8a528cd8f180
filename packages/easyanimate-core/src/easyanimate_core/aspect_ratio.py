"""The original's table of aspect ratios: sizes of clips with about the same area, for training and for making clips.

Axes: H height, W width. Ratios are height over width.
"""

from __future__ import annotations

BASE_SIZE = 512
"""Side in pixels of the square whose area the sizes in the table have, about."""

SIZE_MULTIPLE = 16
"""Sides in pixels are multiples of this unless a model says otherwise."""

ASPECT_RATIOS = {
    0.25: (256, 1024), 0.26: (256, 992), 0.27: (256, 960), 0.28: (256, 928), 0.32: (288, 896),
    0.33: (288, 864), 0.35: (288, 832), 0.4: (320, 800), 0.42: (320, 768), 0.48: (352, 736),
    0.5: (352, 704), 0.52: (352, 672), 0.57: (384, 672), 0.6: (384, 640), 0.68: (416, 608),
    0.72: (416, 576), 0.78: (448, 576), 0.82: (448, 544), 0.88: (480, 544), 0.94: (480, 512),
    1.0: (512, 512), 1.07: (512, 480), 1.13: (544, 480), 1.21: (544, 448), 1.29: (576, 448),
    1.38: (576, 416), 1.46: (608, 416), 1.67: (640, 384), 1.75: (672, 384), 2.0: (704, 352),
    2.09: (736, 352), 2.4: (768, 320), 2.5: (800, 320), 2.89: (832, 288), 3.0: (864, 288),
    3.11: (896, 288), 3.62: (928, 256), 3.75: (960, 256), 3.88: (992, 256), 4.0: (1024, 256),
}  # fmt: skip
"""Height and width by ratio."""


def scale_bucket(ratio: float, side: float, multiple: int = SIZE_MULTIPLE) -> tuple[int, int]:
    """Height and width for a ratio of the table.

    Args:
        ratio: A key of the table.
        side: Of the square whose area the size has, about, in pixels.
        multiple: Height and width are rounded down to a multiple of this.
    """
    height, width = (int(length * side / BASE_SIZE) // multiple * multiple for length in ASPECT_RATIOS[ratio])
    return height, width


def find_size(  # noqa: PLR0913 (each bounds the sizes)
    picture: tuple[int, int],
    *,
    usual: tuple[int, int],
    side: float,
    multiple: int,
    largest: int | None = None,
    max_ratio: float | None = None,
) -> tuple[int, int]:
    """The size whose shape is nearest to that of a picture: one of the table, or the usual one.

    Of two that are equally near, it is the flatter one. Where rounding to `multiple` changes the shape of a size, the
    shape that it has then counts, so that small clips on a coarse grid keep the shape of the picture, too.

    Args:
        picture: Its height and width.
        usual: A size that is always possible.
        side: Of the square whose area the sizes have, about, in pixels.
        multiple: Of which height and width are multiples.
        largest: Longest side that is possible; None for any.
        max_ratio: Longer by shorter side of the most oblong size that is wanted; None for any.

    Returns:
        Height and width.
    """
    shapes: dict[tuple[int, int], float] = {}
    for ratio, lengths in ASPECT_RATIOS.items():
        size = scale_bucket(ratio, side, multiple)
        if min(size) < multiple or (largest is not None and max(size) > largest):
            continue
        if max_ratio is None or max(size) <= max_ratio * min(size):
            is_exact = size == tuple(length * side / BASE_SIZE for length in lengths)
            shapes.setdefault(size, ratio if is_exact else size[0] / size[1])
    shapes.setdefault(usual, usual[0] / usual[1])
    return min(shapes, key=lambda size: abs(shapes[size] - picture[0] / picture[1]))
