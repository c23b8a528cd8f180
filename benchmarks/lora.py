"""Clips before and after a LoRA on one sheet: the same prompts and seeds, two frames each.

python benchmarks/lora.py out/lora:0.8 docs/images/lora-shapes.png
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
from easyanimate_core.model import open_model
from easyanimate_core.video import write_image
from PIL import Image, ImageDraw

PROMPTS = (
    "a red circle moves to the right",
    "a blue square moves up",
    "a green triangle moves to the left",
    "a yellow circle moves down",
    "a white square moves to the right",
    "a purple triangle moves up",
)
SCALE = 2
FRAMES = (4, 11)


def main() -> None:
    """Make the clips and draw the sheet."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("lora")
    parser.add_argument("picture", type=Path)
    options = parser.parse_args()
    rows = []
    for loras in ((), (options.lora,)):
        model = open_model("v4", weights="demo", loras=loras)
        clips = [model.make(prompt, seed=seed).frames for seed, prompt in enumerate(PROMPTS)]
        rows.append(np.concatenate([clip[frame] for clip in clips for frame in FRAMES], axis=1))
    height, width = SCALE * rows[0].shape[0], SCALE * rows[0].shape[1]
    sheet = Image.new("RGB", (width, 2 * (height + 18)), "white")
    draw = ImageDraw.Draw(sheet)
    for number, (title, row) in enumerate(zip(("before", f"after: {options.lora}"), rows, strict=True)):
        draw.text((4, number * (height + 18) + 3), title, fill="black")
        pixels = Image.fromarray(row).resize((width, height), Image.Resampling.NEAREST)
        sheet.paste(pixels, (0, number * (height + 18) + 18))
    write_image(options.picture, np.asarray(sheet))


if __name__ == "__main__":
    main()
