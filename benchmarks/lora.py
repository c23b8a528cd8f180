"""Clips before and after a LoRA on one sheet: the same prompts and seeds, two frames each.

python benchmarks/lora.py out/lora:0.8 docs/images/lora-shapes.png
"""

from __future__ import annotations

import argparse
from dataclasses import asdict
from pathlib import Path

import numpy as np
from easyanimate_core import LoadOptions, VideoRequest
from easyanimate_core.part_files import parse_lora
from easyanimate_core.registry import load_plugins
from easyanimate_core.video import write_image
from easyanimate_core.weights import read_defaults
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
    plugins = load_plugins()
    folder = plugins.weights("v4")["demo"].path
    spec = plugins.model("v4")
    defaults = asdict(read_defaults(folder, spec.defaults))
    rows = []
    for loras in ((), (parse_lora(options.lora),)):
        pipeline = spec.load(LoadOptions(weights=folder, loras=loras))
        clips = [
            pipeline(VideoRequest(prompt=prompt, seed=seed, **defaults)).frames for seed, prompt in enumerate(PROMPTS)
        ]
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
