"""Text to image: a clip of one frame."""

from dataclasses import asdict, replace
from pathlib import Path

from easyanimate_core import LoadOptions, VideoRequest
from easyanimate_core.registry import load_plugins
from easyanimate_core.video import write_image
from easyanimate_core.weights import read_defaults, resolve_weights

plugins = load_plugins()
spec = plugins.model("v4")
weights = resolve_weights("auto", model_key="v4", sources=plugins.weights("v4"), check=spec.check_weights).folder
defaults = read_defaults(weights, spec.defaults)
pipeline = spec.load(LoadOptions(weights=weights))

one_frame = asdict(replace(defaults, num_frames=1))
image = pipeline(VideoRequest(prompt="a yellow square moves up", seed=1, **one_frame))
print(write_image(Path("outputs/text_to_image.png"), image.frames[0]))
