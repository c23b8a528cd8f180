"""The perceptual distance: against the package it comes from, on random weights; and what is missing on a machine."""

import sys
import types
import urllib.error

import pytest
import torch
from easyanimate_core.errors import RequestError, WeightsError
from easyanimate_vae.training import perceptual
from easyanimate_vae.training.perceptual import VGG_URL, PerceptualDistance
from torch import nn

# Output channels of VGG16's convolutions by their number among its layers.
CONVOLUTIONS = {0: 64, 2: 64, 5: 128, 7: 128, 10: 256, 12: 256, 14: 256, 17: 512, 19: 512, 21: 512, 24: 512, 26: 512}
CONVOLUTIONS |= {28: 512}


def random_vgg():
    generator = torch.Generator().manual_seed(0)
    tensors, width = {"classifier.0.bias": torch.zeros(2)}, 3
    for number, channels in CONVOLUTIONS.items():
        deviation = (2 / (9 * width)) ** 0.5
        tensors[f"features.{number}.weight"] = deviation * torch.randn(channels, width, 3, 3, generator=generator)
        tensors[f"features.{number}.bias"] = torch.zeros(channels)
        width = channels
    return tensors


@pytest.fixture(scope="module")
def vgg(tmp_path_factory):
    """A file with VGG16's keys, in the format of torchvision's download."""
    path = tmp_path_factory.mktemp("vgg") / "vgg16.pth"
    torch.save(random_vgg(), path, _use_new_zipfile_serialization=False)
    return path


@pytest.fixture(scope="module")
def distance(vgg):
    pytest.importorskip("lpips")
    return PerceptualDistance(vgg, slice_size=3)


class TinyTrunk(nn.Module):
    """VGG's names with two small convolutions."""

    def __init__(self):
        super().__init__()
        self.slice1 = nn.Sequential()
        self.slice1.add_module("0", nn.Conv2d(3, 4, 3, padding=1))
        self.slice2 = nn.Sequential()
        self.slice2.add_module("5", nn.Conv2d(4, 4, 3, padding=1))

    def forward(self, x):
        return self.slice2(self.slice1(x))


class TinyNetwork(nn.Module):
    def __init__(self, **options):
        super().__init__()
        assert options == {"net": "vgg", "version": "0.1", "pnet_rand": True, "verbose": False}
        self.net = TinyTrunk()
        self.drop = nn.Dropout(0.5)

    def forward(self, pixels, decoded):
        error = self.drop(self.net(pixels) - self.net(decoded)).square()
        return error.mean(dim=(1, 2, 3), keepdim=True)


@pytest.fixture
def tiny(monkeypatch):
    """The package `lpips` with a small network; gives VGG's weights for it."""
    monkeypatch.setitem(sys.modules, "lpips", types.SimpleNamespace(LPIPS=TinyNetwork))
    torch.manual_seed(0)
    tensors = TinyTrunk().state_dict()
    return {f"features.{name.partition('.')[2]}": tensor for name, tensor in tensors.items()}


@pytest.fixture
def cache(tmp_path, monkeypatch):
    """An empty cache of `torch.hub`."""
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path))
    (tmp_path / "checkpoints").mkdir()
    return tmp_path / "checkpoints"


@pytest.fixture
def clips():
    generator = torch.Generator().manual_seed(1)
    pixels = torch.rand(2, 3, 2, 16, 20, generator=generator) * 2 - 1
    return pixels, (pixels + 0.3 * torch.randn(pixels.shape, generator=generator)).requires_grad_()


def test_every_frame_is_compared_by_the_package(distance, clips):
    pixels, decoded = clips
    distances = distance(pixels, decoded)
    assert distances.shape == (2, 2)
    assert (distances > 0).all()
    for index in range(2):
        expected = distance.network(pixels[:, :, index], decoded[:, :, index]).flatten()
        torch.testing.assert_close(distances[:, index], expected)
    distances.sum().backward()
    assert torch.isfinite(decoded.grad).all()
    assert decoded.grad.abs().sum() > 0


def test_equal_clips_have_no_distance(distance, clips):
    with torch.no_grad():
        assert distance(clips[0], clips[0]).abs().max() == 0.0


def test_the_calibration_is_the_published_one(distance):
    weights = distance.network.lin0.model[1].weight.flatten()
    assert weights.shape == (64,)
    assert (weights >= 0).all()
    assert not any(parameter.requires_grad for parameter in distance.parameters())


def test_gradients_do_not_depend_on_the_slices(tiny, clips, tmp_path):
    torch.save(tiny, tmp_path / "vgg.pth")
    pixels, decoded = clips
    gradients = []
    for size in (1, 3, 8):
        distance = PerceptualDistance(tmp_path / "vgg.pth", slice_size=size)
        gradients += torch.autograd.grad(distance(pixels, decoded).sum(), decoded)
    torch.testing.assert_close(gradients[0], gradients[1])
    torch.testing.assert_close(gradients[0], gradients[2])


def test_training_a_model_that_holds_it_leaves_it_as_it_is(tiny, clips, cache):
    torch.save(tiny, cache / VGG_URL.rpartition("/")[2])
    parent = nn.ModuleList([PerceptualDistance()]).train()
    assert not any(module.training for module in parent[0].modules())
    assert torch.equal(parent[0](*clips), parent[0](*clips))


def test_small_frames_are_refused(tiny, cache):
    torch.save(tiny, cache / VGG_URL.rpartition("/")[2])
    with pytest.raises(RequestError, match="8 x 64 pixels"):
        PerceptualDistance()(torch.zeros(1, 3, 1, 8, 64), torch.zeros(1, 3, 1, 8, 64))


def test_without_the_package_the_error_names_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "lpips", None)
    with pytest.raises(RequestError, match=r"pip install 'easyanimate-vae\[lpips\]'"):
        PerceptualDistance()


@pytest.mark.usefixtures("tiny")
def test_without_a_network_the_error_says_where_the_file_goes(monkeypatch, cache):
    def fail(*_, **__):
        raise urllib.error.URLError("no route")

    monkeypatch.setattr(torch.hub, "load_state_dict_from_url", fail)
    with pytest.raises(WeightsError) as error:
        PerceptualDistance()
    assert "no route" in str(error.value)
    assert f"{VGG_URL} as {cache / 'vgg16-397923af.pth'}" in str(error.value)


def test_a_download_is_used(monkeypatch, tiny, cache):
    asked = []

    def give(url, **options):
        asked.append((url, options["check_hash"], options["weights_only"]))
        return tiny

    monkeypatch.setattr(torch.hub, "load_state_dict_from_url", give)
    trunk = PerceptualDistance().network.net
    assert asked == [(perceptual.VGG_URL, True, True)]
    assert torch.equal(trunk.slice2[0].bias, tiny["features.5.bias"])
    assert not any(cache.iterdir())


def test_other_weights_are_refused_with_a_list(tiny, tmp_path):
    path = tmp_path / "vgg.pth"
    tiny["features.5.weight"] = torch.zeros(8, 4, 3, 3)
    tiny["features.6.weight"] = tiny.pop("features.0.weight")
    torch.save(tiny, path)
    with pytest.raises(WeightsError) as error:
        PerceptualDistance(path)
    text = str(error.value)
    for title, line in (
        ("missing", "features.0.weight"),
        ("unexpected", "features.6.weight"),
        ("of another shape", "features.5.weight: (8, 4, 3, 3) in the file, (4, 4, 3, 3) in the model"),
    ):
        assert f"1 {title}:\n    {line}" in text
    with pytest.raises(WeightsError, match="There is no weights file"):
        PerceptualDistance(tmp_path / "other.pth")
