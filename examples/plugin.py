"""A plugin in one file: a model of your own; `templates/plugin` shows one that installs and that `ea run` finds."""

from collections.abc import Iterator
from importlib.metadata import EntryPoint

import numpy as np
from easyanimate import open_model
from easyanimate_core import Defaults, ModelSpec, Video, VideoRequest, hookimpl
from easyanimate_core.registry import load_plugins


def make_video(request: VideoRequest) -> Video:
    """Let a wave of brightness run to the right."""
    columns, times = np.arange(request.width), np.arange(request.num_frames)[:, None]
    wave = (127.5 + 127.5 * np.sin(0.2 * columns - 0.8 * times)).astype(np.uint8)
    return Video(wave[:, None, :, None].repeat(request.height, axis=1).repeat(3, axis=3), request.fps)


@hookimpl
def ea_models() -> Iterator[ModelSpec]:
    """Offer the model `wave`."""
    defaults = Defaults(height=64, width=96, num_frames=16, fps=8)
    yield ModelSpec(key="wave", summary="A wave.", load=lambda _options: make_video, defaults=defaults)


if __name__ == "__main__":
    # An installed plugin is found by the entry point in its pyproject.toml; this one names the script itself.
    plugins = load_plugins([EntryPoint("wave", __name__, "easyanimate")])
    print(open_model("wave", plugins=plugins).make("a wave").save("outputs/plugin.mp4"))
