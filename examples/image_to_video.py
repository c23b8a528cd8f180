"""Image to video: the clip begins with a given picture, and the prompt says how it goes on."""

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

# Any picture will do, of any size: `read_image(Path("photo.png"))` of `easyanimate_core.video` reads one.
picture = np.full((64, 64, 3), 20, np.uint8)
picture[22:46, 8:32] = (40, 80, 230)

prompt = "a blue square moves to the right"
video = pipeline(VideoRequest(prompt=prompt, start_images=(picture,), seed=1, **asdict(defaults)))
print(write_video(Path("outputs/image_to_video.mp4"), video))
