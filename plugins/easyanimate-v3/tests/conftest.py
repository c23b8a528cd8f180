"""A small checkpoint of V3, from the weights of a recorded case."""

from pathlib import Path

import pytest
from easyanimate_core import LoadOptions, WeightsFolder
from easyanimate_v3.plugin import V3

CASE = Path(__file__).parent / "golden" / "pipeline_inp_i2v_euler.safetensors"


@pytest.fixture(scope="session")
def checkpoint(write_pixart_checkpoint, tmp_path_factory):
    """Folder of a checkpoint in the original's `models/`; not to be changed."""
    return write_pixart_checkpoint(CASE, tmp_path_factory.mktemp("weights") / "models" / "Diffusion_Transformer" / "v3")


@pytest.fixture(scope="session")
def pipeline(checkpoint):
    """The loaded model."""
    return V3.load(LoadOptions(weights=WeightsFolder(checkpoint), device="cpu"))
