"""Long video: made in parts, each of which goes on from the last frames of the one before."""

from dataclasses import asdict, replace
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

length = replace(defaults, num_frames=40)
request = VideoRequest(
    prompt="a white triangle moves up", segment_frames=16, overlap_frames=4, seed=1, **asdict(length)
)
print(write_video(Path("outputs/long_video.mp4"), pipeline(request)))
