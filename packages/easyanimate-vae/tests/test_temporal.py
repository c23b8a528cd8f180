"""The modes in time: padding, doubling, and that inference in place equals training."""

import pytest
import torch
from easyanimate_vae.temporal import Cached, Causal, Symmetric, double_frames
from torch import nn
from torch.nn import functional
from torch.testing import assert_close


@pytest.fixture(params=[True, False], ids=["training", "inference"])
def grad(request):
    with torch.set_grad_enabled(request.param):
        yield request.param


def test_linear_doubling_is_interpolation():
    x = torch.randn(2, 3, 5, 2, 2)
    expected = functional.interpolate(x, scale_factor=(2, 1, 1), mode="trilinear", align_corners=False)
    torch.testing.assert_close(double_frames(x, "linear"), expected)
    torch.testing.assert_close(double_frames(x[:, :, :1], "linear"), x[:, :, [0, 0]])


def test_nearest_doubling_repeats():
    x = torch.randn(1, 1, 3, 2, 2)
    assert torch.equal(double_frames(x, "nearest"), x[:, :, [0, 0, 1, 1, 2, 2]])


def test_doubling_per_mode():
    x = torch.randn(1, 2, 3, 2, 2)
    assert Causal().double(x, interpolation="linear").shape[2] == 5
    assert torch.equal(Causal().double(x, interpolation="linear")[:, :, :1], x[:, :, :1])
    assert Cached().double(x[:, :, :1], interpolation="linear").shape[2] == 2
    assert Symmetric().double(x, interpolation="linear").shape[2] == 6
    for mode in (Causal(), Symmetric()):
        assert torch.equal(mode.double(x[:, :, :1], interpolation="linear"), x[:, :, :1])


@pytest.mark.usefixtures("grad")
@pytest.mark.parametrize("silu", [True, False])
def test_padding_per_mode(silu):
    x = torch.randn(1, 2, 3, 2, 2)
    y = functional.silu(x) if silu else x
    conv = nn.Identity()
    copies = torch.cat([y[:, :, :1], y[:, :, :1], y], dim=2)
    # SiLU differs in the last bit with where a tensor begins in memory.
    assert_close(Causal().pad(conv, x.clone(), silu=silu), copies)
    assert_close(Cached().pad(conv, x.clone(), silu=silu), copies)
    assert_close(Symmetric().pad(conv, x.clone(), silu=silu), y)


@pytest.mark.usefixtures("grad")
def test_cache_continues_chunk_by_chunk():
    first, second = nn.Identity(), nn.Identity()
    x = torch.randn(1, 1, 5, 1, 1)
    mode = Cached()
    mode.pad(first, x[:, :, :2])
    mode.pad(second, -x[:, :, :2])
    mode = mode.following()
    assert torch.equal(mode.pad(first, x[:, :, 2:3])[:, :, :2], x[:, :, :2])
    assert torch.equal(mode.pad(second, -x[:, :, 2:3])[:, :, :2], -x[:, :, :2])
    mode = mode.following()
    # The chunk before had one frame: the other comes from the chunk before that.
    assert torch.equal(mode.pad(first, x[:, :, 3:]), x[:, :, 1:])


@pytest.mark.usefixtures("no_grad")
def test_what_is_remembered_holds_no_more_than_two_frames():
    conv, mode = nn.Identity(), Cached()
    mode.pad(conv, torch.randn(1, 4, 8, 3, 3))
    assert mode._after[conv].untyped_storage().nbytes() == 4 * 2 * 3 * 3 * 4


def test_a_chunk_can_be_computed_again():
    conv = nn.Identity()
    first = Cached()
    first.pad(conv, torch.zeros(1, 1, 2, 1, 1))
    second = first.following()
    x = torch.ones(1, 1, 2, 1, 1)
    assert torch.equal(second.pad(conv, x), second.pad(conv, x))
