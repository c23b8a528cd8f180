"""A model without weights: it draws a disc that has the colour and the direction of the prompt."""

from collections.abc import Iterator

from easyanimate_core import Defaults, ModelSpec, Progress, Video, VideoRequest, hookimpl

COLOURS = {"red": (230, 40, 40), "green": (40, 200, 60), "blue": (50, 80, 240), "yellow": (240, 220, 40)}
DIRECTIONS = {"right": (0, 1), "left": (0, -1), "down": (1, 0), "up": (-1, 0)}


def make_video(request: VideoRequest, /) -> Video:
    """A pipeline is anything that turns a request into a video; yours would run a network here."""
    import numpy as np  # late, so that `ea --help` stays fast

    noise = np.random.default_rng(request.seed)
    words = request.prompt.lower().split()
    colour = next((COLOURS[word] for word in words if word in COLOURS), tuple(noise.integers(64, 256, 3)))
    direction = next((DIRECTIONS[word] for word in words if word in DIRECTIONS), (0, 1))
    size = np.array([request.height, request.width])
    rows, columns = np.mgrid[: request.height, : request.width]
    frames = noise.integers(0, 24, (request.num_frames, *size, 3), dtype=np.uint8)
    for index, shift in enumerate(np.linspace(-0.25, 0.25, request.num_frames)):
        row, column = size * (0.5 + shift * np.array(direction))
        frames[index][(rows - row) ** 2 + (columns - column) ** 2 < (size.min() / 5) ** 2] = colour
        if request.on_progress:
            request.on_progress(Progress("draw", index + 1, request.num_frames))
    return Video(frames, request.fps)


@hookimpl
def ea_models() -> Iterator[ModelSpec]:
    """Say what the plugin brings; `load` is called when the model is needed, with its weights and the device."""
    defaults = Defaults(height=128, width=128, num_frames=16, fps=8, num_inference_steps=1, sampler="none")
    yield ModelSpec(key="disc", summary="Draws a moving disc.", load=lambda _options: make_video, defaults=defaults)
