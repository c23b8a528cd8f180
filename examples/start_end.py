"""Start and end image to video: the model fills in what happens between two pictures."""

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

start, end = np.full((2, 64, 64, 3), 20, np.uint8)
start[22:46, 6:30] = end[22:46, 34:58] = (220, 40, 40)

prompt = "a red square moves to the right"
request = VideoRequest(prompt=prompt, start_images=(start,), end_image=end, seed=1, **asdict(defaults))
print(write_video(Path("outputs/start_end.mp4"), pipeline(request)))
