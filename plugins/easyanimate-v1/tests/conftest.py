"""A small checkpoint of V1, from the weights of a recorded case."""

from pathlib import Path

import pytest
from easyanimate_core import LoadOptions, WeightsFolder
from easyanimate_dit.pixart.motion_module_file import split_motion_module
from easyanimate_dit.testing import edit_config
from easyanimate_v1.plugin import V1
from safetensors.torch import load_file, save_file

CASE = Path(__file__).parent / "golden" / "pipeline_t2v_dpmpp.safetensors"


@pytest.fixture(scope="session")
def checkpoint(write_pixart_checkpoint, tmp_path_factory):
    """Folder of a checkpoint in the original's `models/`, with its motion module beside it; not to be changed."""
    models = tmp_path_factory.mktemp("weights") / "models"
    folder = write_pixart_checkpoint(CASE, models / "Diffusion_Transformer" / "v1")
    # PixArt's folder is that of an image model.
    edit_config(folder / "transformer", _class_name="Transformer2DModel")
    path = folder / "transformer" / "diffusion_pytorch_model.safetensors"
    image, motion_module = split_motion_module(load_file(path))
    save_file(image, path, metadata={"format": "pt"})
    (models / "Motion_Module").mkdir()
    save_file(motion_module, models / "Motion_Module" / "easyanimate_v1_mm.safetensors")
    return folder


@pytest.fixture(scope="session")
def pipeline(checkpoint):
    """The loaded model."""
    return V1.load(LoadOptions(weights=WeightsFolder(checkpoint), device="cpu"))


@pytest.fixture
def request_values():
    """Of a small request."""
    return {"num_frames": 5, "width": 64}
