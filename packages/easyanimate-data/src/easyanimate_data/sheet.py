"""Contact sheets: many clips on one picture, each as a strip of frames under its title.

Axes: T frames, H height, W width, 3 red, green, blue.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from PIL import Image, ImageDraw, ImageFont

if TYPE_CHECKING:
    from collections.abc import Sequence

    from easyanimate_data.frames import Frames

GROUND = (24, 24, 28)
LINE = (90, 90, 100)
INK = (225, 225, 225)
TITLE_HEIGHT = 20
GAP = 8


def contact_sheet(
    videos: Sequence[Frames], titles: Sequence[str], *, num_columns: int = 4, num_frames: int = 5
) -> Frames:
    """Lay clips out on one picture.

    Args:
        videos: Clips uint8 [T, H, W, 3] of one size.
        titles: A line above each clip, in Latin letters (the built-in font has no others).
        num_columns: Clips side by side.
        num_frames: Frames shown of each clip, the first and the last among them.

    Returns:
        The picture, uint8 [H', W', 3].
    """
    if not videos:
        raise ValueError("A contact sheet needs at least one clip.")
    strips = [_strip(video, num_frames) for video in videos]
    height, width = strips[0].shape[:2]
    columns = min(num_columns, len(strips))
    rows = -(-len(strips) // columns)
    cell_height, cell_width = height + TITLE_HEIGHT + GAP, width + GAP
    sheet = Image.new("RGB", (columns * cell_width + GAP, rows * cell_height + GAP), GROUND)
    draw = ImageDraw.Draw(sheet)
    font = ImageFont.load_default(size=13)
    for index, (strip, title) in enumerate(zip(strips, titles, strict=True)):
        x, y = GAP + index % columns * cell_width, GAP + index // columns * cell_height
        draw.text((x, y), title, fill=INK, font=font)
        sheet.paste(Image.fromarray(strip), (x, y + TITLE_HEIGHT))
    return np.asarray(sheet)


def _strip(video: Frames, num_frames: int) -> Frames:
    """Frames side by side, evenly chosen: [H, n (W + 2) - 2, 3]."""
    chosen = np.linspace(0, len(video) - 1, min(num_frames, len(video))).round().astype(int)
    line = np.full((video.shape[1], 2, 3), LINE, dtype=np.uint8)
    parts = [part for index in chosen for part in (line, video[index])]
    return np.concatenate(parts[1:], axis=1)
