"""Golden cases of the VAE tests: inputs, weights and outputs of the original implementation."""

import json
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from accelerate.state import AcceleratorState
from easyanimate_train.config import DataConfig
from easyanimate_vae.training.config import DiscriminatorConfig, VaeTrainingConfig
from jaxtyping import install_import_hook
from safetensors import safe_open

# Every shape annotation of the VAE is checked while the tests run.
_CHECKED = ("autoencoder", "block", "coder", "smoothing", "temporal", "tiling")
_CHECKED += tuple(f"training.{name}" for name in ("discriminator", "inflate", "metric", "perceptual", "pixels"))
with install_import_hook([f"easyanimate_vae.{name}" for name in _CHECKED], "beartype.beartype"):
    from easyanimate_vae.autoencoder import AutoencoderKLMagvit
    from easyanimate_vae.training import discriminator, inflate, metric, perceptual, pixels  # noqa: F401 (imported to be checked)

GOLDEN = Path(__file__).parent / "golden"


@dataclass(frozen=True)
class GoldenCase:
    config: dict
    weights: dict
    inputs: dict
    outputs: dict

    def build(self, **changes) -> AutoencoderKLMagvit:
        """The VAE of this case, with changes to its configuration."""
        vae = AutoencoderKLMagvit.from_config(self.config | changes).eval()
        vae.load_state_dict(self.weights, strict=True)
        return vae


def _read(path: Path) -> tuple[dict, dict]:
    with safe_open(path, "pt") as file:
        return file.metadata(), {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118 (not a mapping)


def _strip(tensors: dict, prefix: str) -> dict:
    return {key.removeprefix(prefix): value for key, value in tensors.items() if key.startswith(prefix)}


def load_golden(name: str) -> GoldenCase:
    metadata, tensors = _read(GOLDEN / f"{name}.safetensors")
    source = _read(GOLDEN / metadata["weights_file"])[1] if "weights_file" in metadata else tensors
    return GoldenCase(
        json.loads(metadata["config"]),
        _strip(source, "weights/"),
        _strip(tensors, "inputs/"),
        _strip(tensors, "outputs/"),
    )


@pytest.fixture(scope="session")
def golden():
    """Function from a case name to the case."""
    return load_golden


@pytest.fixture
def case(golden):
    """V4: one chunk."""
    return golden("vae_one_chunk")


@pytest.fixture
def vae(case):
    """V4 with golden weights."""
    return case.build()


@pytest.fixture
def no_grad():
    with torch.no_grad():
        yield


FLAVOURS = {
    "v2": {"slice_mag_vae": True, "mini_batch_encoder": 9, "mini_batch_decoder": 3},
    "v3": {"slice_mag_vae": False, "slice_compression_vae": True, "mini_batch_encoder": 8, "mini_batch_decoder": 2},
    "v4": {"slice_mag_vae": False, "cache_compression_vae": True, "mini_batch_encoder": 8, "mini_batch_decoder": 2},
    "whole": {"slice_mag_vae": False},
}


@pytest.fixture
def build_random():
    """Function from a flavour to a small VAE with PyTorch's initial weights, which is smooth."""

    def build(flavour: str, *, seed: int = 0, **changes) -> AutoencoderKLMagvit:
        torch.manual_seed(seed)
        return AutoencoderKLMagvit(ch=4, norm_num_groups=2, **FLAVOURS[flavour] | changes).eval()

    return build


MODEL = {
    "ch": 4,
    "ch_mult": [1, 1, 1, 2],
    "layers_per_block": 1,
    "norm_num_groups": 2,
    "slice_mag_vae": False,
    "cache_compression_vae": True,
    "mini_batch_encoder": 8,
    "mini_batch_decoder": 2,
}


class Colours:
    """Clips of a square of one colour each."""

    def __init__(self, first=0):
        self.first = first

    def __len__(self):
        return 5

    def __getitem__(self, index):
        frames = np.full((12, 16, 16, 3), 20, dtype=np.uint8)
        frames[:, 4:12, 4:12] = np.random.default_rng(self.first + index).integers(256, size=3)
        return {"frames": frames, "text": ""}


@pytest.fixture
def colours(monkeypatch):
    """The kind "colours" of training data."""
    kinds = {"colours": SimpleNamespace(load=Colours)}
    plugins = SimpleNamespace(dataset=kinds.__getitem__)
    monkeypatch.setattr("easyanimate_train.config.load_plugins", lambda: plugins)


@pytest.fixture
def configure(tmp_path, colours):  # noqa: ARG001 (the data)
    """Function from a name and changes to the settings of a short training, in a process that has trained nothing."""
    AcceleratorState._reset_state(reset_partial_state=True)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # with so few numbers, threads mostly wait for each other

    def make(name, **changes):
        values = {
            "out": tmp_path / name,
            "model": MODEL,
            "data": DataConfig(kind="colours", batches=((2, 8), (2, 1))),
            "discriminator": DiscriminatorConfig(width=4, num_levels=1),
            "max_steps": 5,
            "checkpoint_every": 2,
            "log_every": 1,
            "tracker": "none",
            "seed": 3,
        }
        return VaeTrainingConfig(**(values | changes))

    yield make
    torch.set_num_threads(threads)
