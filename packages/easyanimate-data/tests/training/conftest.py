import json

import numpy as np
import pytest
from easyanimate_core import Video
from easyanimate_core.video import write_image, write_video


@pytest.fixture(scope="session")
def clips(tmp_path_factory):
    """Three videos of 40 frames, whose brightness counts the frames, and two images: their folder and their rows."""
    folder = tmp_path_factory.mktemp("clips")
    rows = []
    for number, (height, width) in enumerate([(64, 64), (72, 128), (64, 64)]):
        frames = np.empty((40, height, width, 3), np.uint8)
        frames[:] = (20 + 5 * np.arange(40, dtype=np.uint8))[:, None, None, None]
        path = write_video(folder / f"{number}.mp4", Video(frames, 8))
        rows.append({"file_path": str(path), "text": f"video {number}", "type": "video"})
    for number in range(2):
        path = write_image(folder / f"{number}.png", np.full((128, 128, 3), 100 + number, np.uint8))
        rows.append({"file_path": str(path), "text": f"image {number}"})
    (folder / "data.json").write_text(json.dumps(rows), encoding="utf-8")
    return folder, rows
