"""Training of a VAE that is not of this package: a class by its place, and what it need not have."""

import json
import sys
from types import ModuleType, SimpleNamespace

import pytest
import torch
from diffusers.configuration_utils import ConfigMixin, register_to_config
from diffusers.models.modeling_utils import ModelMixin
from easyanimate_core.errors import PluginError, RequestError
from easyanimate_vae.training.config import LossConfig
from easyanimate_vae.training.run import prepare_task, train_vae
from easyanimate_vae.training.start import build_vae
from torch import nn

OWN = "own_vae:OwnVae"


class OwnVae(ModelMixin, ConfigMixin):
    """Only what `VideoAutoencoder` and `TrainableNetwork` ask for."""

    @register_to_config
    def __init__(self, width=4, scaling_factor=1.0):  # noqa: ARG002 (kept in the configuration)
        super().__init__()
        self.squeeze = nn.Conv3d(3, 2 * width, (1, 4, 4), (1, 4, 4))
        self.spread = nn.ConvTranspose3d(width, 3, (1, 4, 4), (1, 4, 4))

    def encode(self, x):
        mean, logvar = self.squeeze(x).chunk(2, dim=1)
        return SimpleNamespace(latent_dist=SimpleNamespace(mean=mean, logvar=logvar))

    def decode_chunks(self, z):
        for frame in z.split(1, dim=2):
            yield self.spread(frame)


@pytest.fixture(autouse=True)
def _module(monkeypatch):
    module = ModuleType("own_vae")
    module.OwnVae = OwnVae
    monkeypatch.setitem(sys.modules, "own_vae", module)


def test_it_is_trained_validated_and_written(configure):
    config = configure("run", kind=OWN, model={"width": 8}, validate_every=2, max_steps=2, log_every=1)
    folder = train_vae(config)
    losses = [json.loads(line)["loss"] for line in (config.out / "loss.jsonl").read_text().splitlines()]
    assert len(losses) == 2
    trained, fresh = OwnVae.from_pretrained(folder / "vae"), build_vae(config)
    assert trained.config.width == 8
    assert not torch.equal(trained.squeeze.weight, fresh.squeeze.weight)
    assert not torch.equal(trained.spread.weight, fresh.spread.weight)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"trainable": "decoder"}, "cannot be trained in part"),
        ({"gradient_checkpointing": True}, "does not support gradient checkpointing"),
        ({"model": {"depth": 3}}, "Unknown setting model.depth"),
        ({"loss": LossConfig(adversarial=0.5)}, "cannot be trained against a discriminator"),
    ],
)
def test_what_it_cannot_do_is_said(configure, settings, message):
    with pytest.raises(RequestError, match=message):
        prepare_task(configure("run", **{"kind": OWN, "model": {}, **settings}))


def test_a_kind_that_is_not_there_is_named(configure):
    with pytest.raises(RequestError, match="no such kind"):
        configure("run", kind="vidio")
    with pytest.raises(PluginError, match="own_vea"):
        build_vae(configure("run", kind="own_vea:OwnVae", model={}))
