"""Where VAE training starts: fresh weights, a folder, a model version, an image VAE; and what its command says."""

from types import SimpleNamespace

import pytest
import torch
from easyanimate_core import RequestError
from easyanimate_core.spec import ModelSpec, WeightsSource
from easyanimate_vae import AutoencoderKLMagvit, FrameAutoencoder
from easyanimate_vae.training import command, start
from easyanimate_vae.training.config import VaeTrainingConfig
from easyanimate_vae.training.inflate import inflate_image_vae
from easyanimate_vae.training.initial import START_LOG_VARIANCE
from easyanimate_vae.training.start import build_vae, find_start

IMAGE = {
    "block_out_channels": [4, 4, 4, 8],
    "down_block_types": ["DownEncoderBlock2D"] * 4,
    "up_block_types": ["UpDecoderBlock2D"] * 4,
    "layers_per_block": 2,
    "norm_num_groups": 2,
}


def equal(one, other):
    return all(torch.equal(tensor, other.state_dict()[name]) for name, tensor in one.state_dict().items())


def test_fresh_weights_carry_a_flat_colour_to_the_latents(configure):
    vae = build_vae(configure("run"))
    posterior = vae.encode(torch.zeros(1, 3, 8, 16, 16)).latent_dist
    assert torch.allclose(posterior.logvar, torch.full_like(posterior.logvar, START_LOG_VARIANCE))


def test_fresh_weights_are_drawn_from_the_seed(configure):
    assert equal(build_vae(configure("one")), build_vae(configure("other")))
    assert not equal(build_vae(configure("one")), build_vae(configure("other", seed=4)))


def test_a_folder_may_be_that_of_a_model_and_its_configuration_may_change(configure, tmp_path):
    first = build_vae(configure("first"))
    first.half().save_pretrained(tmp_path / "model" / "vae")
    for folder in ("model", "model/vae"):
        vae = build_vae(configure("second", weights=str(tmp_path / folder), model={"mini_batch_decoder": 4}))
        assert vae.settings.mini_batch_decoder == 4
        assert vae.settings.ch == 4
        assert vae.dtype == torch.float32
        assert equal(vae.half(), first)


@pytest.mark.parametrize("prefer", ["frame", "clip"])
def test_a_video_vae_starts_from_an_image_vae(configure, tmp_path, prefer):
    FrameAutoencoder(**IMAGE).save_pretrained(tmp_path)
    model = configure("run").model | {"layers_per_block": 2}
    expected = AutoencoderKLMagvit(**model)
    inflate_image_vae(expected, tmp_path, prefer=prefer)
    config = configure("run", model=model, image_weights=tmp_path, image_prefer=prefer)
    assert equal(build_vae(config), expected)


@pytest.fixture
def version(configure, tmp_path, monkeypatch):
    """The model version "v9", whose demo weights have a VAE."""
    folder = tmp_path / "demo"
    build_vae(configure("first")).save_pretrained(folder / "vae")
    (folder / "easyanimate.json").write_text('{"training": {"vae": {"max_steps": 7}}}')
    training = {"vae": {"loss.kl": 0.5, "max_steps": 5, "model.mini_batch_decoder": 4}}
    spec = ModelSpec(
        key="v9", summary="", load=lambda _: None, tasks=(), training=training, check_weights=lambda _: None
    )
    source = WeightsSource(model="v9", name="demo", summary="", licence="", path=folder)
    plugins = SimpleNamespace(model=lambda _: spec, weights=lambda _: {"demo": source}, models=lambda: {"v9": spec})
    monkeypatch.setattr(start, "load_plugins", lambda: plugins)
    monkeypatch.setattr(command, "load_plugins", lambda: plugins)
    return folder


def test_the_vae_of_a_version_goes_on_learning(configure, version):
    for weights in (None, "demo", str(version)):
        assert find_start(configure("run", version="v9", weights=weights)) == version
    # A folder with the VAE alone is no model, and will do.
    assert find_start(configure("run", version="v9", weights=str(version / "vae"))) == version / "vae"
    assert build_vae(configure("run", version="v9", model={})).settings.ch == 4


@pytest.mark.usefixtures("version")
def test_the_command_takes_what_is_usual_for_version_and_weights(tmp_path):
    reader = command.SettingsReader(VaeTrainingConfig, command._find_defaults)
    settings = reader.read(None, {"out": tmp_path / "run", "version": "v9", "loss__l1": "0.25"})
    assert settings.loss.kl == 0.5
    assert settings.loss.l1 == 0.25
    assert settings.max_steps == 7
    assert settings.model == {"mini_batch_decoder": 4}
    assert reader.read(None, {"out": tmp_path / "run"}).max_steps == 10_000


@pytest.mark.usefixtures("configure")
def test_the_command_trains(tmp_path, capsys):
    file = tmp_path / "vae.yaml"
    file.write_text(
        "model: {ch: 4, ch_mult: [1, 1], layers_per_block: 1, norm_num_groups: 2, "
        "down_block_types: [SpatialDownBlock3D, SpatialTemporalDownBlock3D], "
        "up_block_types: [SpatialUpBlock3D, SpatialTemporalUpBlock3D], "
        "slice_mag_vae: false, cache_compression_vae: true, mini_batch_encoder: 8, mini_batch_decoder: 2}\n"
        "data: {kind: colours, batches: [[1, 8]]}\ntracker: none\n"
    )
    out = tmp_path / "run"
    options = {"resume": False, "plan": False, "launch_words": None}
    command.train(config=file, out=out, max_steps="1", **options)
    assert capsys.readouterr().out.strip() == str(out / "weights")
    assert AutoencoderKLMagvit.from_pretrained(out / "weights" / "vae").settings.ch == 4
    assert (out / "checkpoints" / "step-00000001" / "vae" / "config.json").exists()


def test_a_misspelt_setting_is_told(tmp_path):
    file = tmp_path / "vae.yaml"
    file.write_text("loss: {adversrial: 0.5}\n")
    with pytest.raises(RequestError, match="adversarial"):
        command.train(config=file, resume=False, plan=False, launch_words=None)
