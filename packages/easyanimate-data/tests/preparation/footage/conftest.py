"""The small random networks of the tests of scorers and captioners, for a run of all stages."""

import importlib.util
from pathlib import Path


def _load(folder):
    path = Path(__file__).parents[1] / folder / "conftest.py"
    spec = importlib.util.spec_from_file_location(f"networks_of_{folder}", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


_scorer, _captioner = _load("scorer"), _load("captioner")
clip_folder, siglip_folder, video_folder = _scorer.clip_folder, _scorer.siglip_folder, _captioner.video_folder
