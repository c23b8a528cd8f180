"""A small checkpoint of V2, from the weights of a recorded case."""

from pathlib import Path

import pytest
from easyanimate_core import LoadOptions, WeightsFolder
from easyanimate_v2.plugin import V2

CASE = Path(__file__).parent / "golden" / "pipeline_t2v_dpmpp.safetensors"


@pytest.fixture(scope="session")
def checkpoint(write_pixart_checkpoint, tmp_path_factory):
    """Folder of a checkpoint in the original's `models/`; not to be changed."""
    return write_pixart_checkpoint(CASE, tmp_path_factory.mktemp("weights") / "models" / "Diffusion_Transformer" / "v2")


@pytest.fixture(scope="session")
def pipeline(checkpoint):
    """The loaded model."""
    return V2.load(LoadOptions(weights=WeightsFolder(checkpoint), device="cpu"))


@pytest.fixture
def request_values():
    """Of a small request."""
    return {"num_frames": 9}
