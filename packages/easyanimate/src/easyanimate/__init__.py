"""The command line, the newest model and the demo weights, installed together; and the short entrance in Python."""

from easyanimate_core.model import open_model
from easyanimate_core.request import Video, VideoRequest

__all__ = ["Video", "VideoRequest", "open_model"]
