"""Text to video: from a prompt to an mp4 file."""

from dataclasses import asdict
from pathlib import Path

from easyanimate_core import LoadOptions, VideoRequest
from easyanimate_core.registry import load_plugins
from easyanimate_core.video import write_video
from easyanimate_core.weights import read_defaults, resolve_weights

plugins = load_plugins()
spec = plugins.model("v4")
weights = resolve_weights("auto", model_key="v4", sources=plugins.weights("v4"), check=spec.check_weights).folder
defaults = read_defaults(weights, spec.defaults)
pipeline = spec.load(LoadOptions(weights=weights))

video = pipeline(VideoRequest(prompt="a red circle moves to the right", seed=1, **asdict(defaults)))
print(write_video(Path("outputs/text_to_video.mp4"), video))
