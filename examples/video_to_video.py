"""Video to video: a clip is taken apart by noise and made anew with another prompt; a mask keeps a part as it was."""

from dataclasses import asdict
from pathlib import Path

import numpy as np
from easyanimate_core import LoadOptions, VideoRequest
from easyanimate_core.registry import load_plugins
from easyanimate_core.video import write_video
from easyanimate_core.weights import read_defaults, resolve_weights

plugins = load_plugins()
spec = plugins.model("v4")
weights = resolve_weights("auto", model_key="v4", sources=plugins.weights("v4"), check=spec.check_weights).folder
defaults = read_defaults(weights, spec.defaults)
pipeline = spec.load(LoadOptions(weights=weights))

# Any clip will do: `read_video(Path("clip.mp4"))` of `easyanimate_core.video` reads one.
source = pipeline(VideoRequest(prompt="a red circle moves to the left", seed=1, **asdict(defaults)))

# Strength is the share of the denoising steps that are done: 1 keeps nothing of the source.
green = VideoRequest(prompt="a green circle moves to the left", video=source, strength=0.8, seed=2, **asdict(defaults))
print(write_video(Path("outputs/video_to_video.mp4"), pipeline(green)))

# White (255) is made anew, black (0) stays: here only the upper half changes.
mask = np.zeros((1, 64, 64), np.uint8)
mask[:, :32] = 255
half = VideoRequest(prompt="a green circle moves to the left", video=source, mask=mask, seed=2, **asdict(defaults))
print(write_video(Path("outputs/video_to_video_masked.mp4"), pipeline(half)))
