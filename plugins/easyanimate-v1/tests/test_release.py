"""V1 as a release: its folders, strictly loaded, with the motion module beside them; its clips."""

import json
import shutil
from pathlib import Path

import pytest
import torch
from easyanimate_core import LoadOptions, WeightsError, WeightsFolder
from easyanimate_core.testing import PipelineContract, PluginContract
from easyanimate_dit.pixart.motion_module_file import load_motion_transformer
from easyanimate_dit.testing import ReleaseContract, edit_weights
from easyanimate_v1.motion_module import MOTION_MODULE, find_files
from easyanimate_v1.plugin import V1
from easyanimate_vae import FrameAutoencoder
from safetensors import safe_open
from safetensors.torch import load_file, save_file

GOLDEN = Path(__file__).parent / "golden"
WEIGHTS = "diffusion_pytorch_model.safetensors"


def read_manifest(name):
    return json.loads((GOLDEN / f"{name}.json").read_text())


class TestPlugin(PluginContract):
    module = "easyanimate_v1.plugin"


class TestPipeline(PipelineContract):
    request_values = {"num_frames": 5, "height": 32, "width": 64}


class TestRelease(ReleaseContract):
    release = V1
    manifests = {"transformer": read_manifest("transformer")}
    # The tables that PixArt's files hold.
    extras = {"transformer": "pos_embed.pos_embed"}


def test_the_official_files_are_those_of_the_manifests():
    motion = {name: shape for name, shape in read_manifest("transformer").items() if "temporal" in name}
    assert motion == read_manifest("motion_module")
    blocks = {
        "block_out_channels": [128, 256, 512, 512],
        "down_block_types": ["DownEncoderBlock2D"] * 4,
        "up_block_types": ["UpDecoderBlock2D"] * 4,
        "layers_per_block": 2,
    }
    with torch.device("meta"):
        vae = FrameAutoencoder.from_config(blocks)
    shapes = {name: list(tensor.shape) for name, tensor in vae.state_dict().items()}
    assert shapes == read_manifest("vae_autoencoderkl")


def test_the_motion_module_of_the_golden_file_is_merged(tmp_path):
    with safe_open(GOLDEN / "motion_module_split.safetensors", "pt") as file:
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        configs = json.loads(file.metadata()["config"])
    config = configs["pixart_config"] | configs["transformer_additional_kwargs"]
    for part in ("pixart", "motion_module"):
        prefix = f"weights/{part}/"
        weights = {name.removeprefix(prefix): value for name, value in tensors.items() if name.startswith(prefix)}
        (tmp_path / part).mkdir()
        save_file(weights, tmp_path / part / WEIGHTS)
    config.pop("_class_name")
    model = load_motion_transformer(
        config, tmp_path / "pixart", tmp_path / "motion_module" / WEIGHTS, dtype=torch.float32
    )
    inputs = {name.removeprefix("inputs/"): value for name, value in tensors.items() if name.startswith("inputs/")}
    sample = model(**inputs).sample
    torch.testing.assert_close(sample, tensors["outputs/sample_with_motion_module"], atol=1e-4, rtol=0)


@pytest.fixture
def motion_module(own_checkpoint):
    """Of a checkpoint that a test may change, where the original keeps it."""
    return own_checkpoint.parents[1] / "Motion_Module" / "easyanimate_v1_mm.safetensors"


class TestMotionModule:
    """Which file is taken, and what is refused."""

    def make_options(self, folder, **parts):
        return LoadOptions(weights=WeightsFolder(folder), device="cpu", parts=parts)

    def find(self, folder, **parts):
        return find_files(self.make_options(folder, **parts)).parts.get(MOTION_MODULE.name)

    def load(self, folder, **parts):
        return V1.load_components(self.make_options(folder, **parts))["transformer"].state_dict()

    def test_one_beside_the_weights_is_filled_in(self, own_checkpoint, motion_module):
        assert self.find(own_checkpoint) == motion_module
        loaded = self.load(own_checkpoint)
        assert all(torch.equal(loaded[name], value) for name, value in load_file(motion_module).items())

    def test_the_folder_s_own_comes_first_and_is_recorded_with_it(self, own_checkpoint, motion_module):
        own = own_checkpoint / "motion_module"
        own.mkdir()
        weights = {name: torch.zeros_like(value) for name, value in load_file(motion_module).items()}
        save_file(weights, own / WEIGHTS)
        assert self.find(own_checkpoint) is None
        loaded = self.load(own_checkpoint)
        assert not any(loaded[name].any() for name in weights)

    def test_one_file_with_everything_needs_none(self, own_checkpoint, motion_module):
        weights = load_file(motion_module)
        edit_weights(own_checkpoint / "transformer", lambda own: own.update(weights))
        motion_module.unlink()
        assert self.find(own_checkpoint) is None
        loaded = self.load(own_checkpoint)
        assert all(torch.equal(loaded[name], value) for name, value in weights.items())

    def test_a_personalised_transformer_keeps_it(self, own_checkpoint, motion_module, tmp_path):
        portrait = tmp_path / "easyanimate_portrait.safetensors"
        weights = load_file(own_checkpoint / "transformer" / WEIGHTS)
        save_file(weights | {"proj_out.bias": torch.full_like(weights["proj_out.bias"], 7)}, portrait)
        loaded = self.load(own_checkpoint, transformer=portrait)
        assert (loaded["proj_out.bias"] == 7).all()
        assert all(torch.equal(loaded[name], value) for name, value in load_file(motion_module).items())

    def test_a_transformer_without_one(self, own_checkpoint, motion_module):
        motion_module.unlink()
        wanted = r"without its motion module(?s:.*)wget https.*easyanimate_v1_mm.safetensors"
        with pytest.raises(WeightsError, match=wanted):
            self.find(own_checkpoint)
        with pytest.raises(WeightsError, match=wanted):
            self.load(own_checkpoint)

    def test_several_need_a_choice(self, own_checkpoint, motion_module):
        shutil.copy(motion_module, motion_module.with_name("another.safetensors"))
        with pytest.raises(WeightsError, match=r"several motion modules(?s:.*)--motion-module .*another.safetensors"):
            self.find(own_checkpoint)
        assert self.find(own_checkpoint, motion_module=motion_module) == motion_module

    def test_one_without_a_transformer(self, own_checkpoint, motion_module):
        with pytest.raises(WeightsError, match=r"motion module without its transformer(?s:.*)--motion-module"):
            V1.check_weights(WeightsFolder(motion_module.parent))
        shutil.copy(motion_module, own_checkpoint / "transformer" / WEIGHTS)
        with pytest.raises(WeightsError, match="motion module without its transformer"):
            V1.check_weights(WeightsFolder(own_checkpoint))

    def test_a_transformer_in_its_place(self, own_checkpoint):
        with pytest.raises(WeightsError, match=r"not the file of a motion module(?s:.*)--transformer"):
            self.load(own_checkpoint, motion_module=own_checkpoint / "transformer" / WEIGHTS)

    def test_one_of_other_blocks(self, own_checkpoint, motion_module):
        weights = load_file(motion_module)
        weights.pop(min(weights))
        save_file(weights, motion_module)
        with pytest.raises(WeightsError, match="1 missing"):
            self.load(own_checkpoint)
