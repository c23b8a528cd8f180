"""Rotary tables: the grid is fitted into the official square, and the rotation is what the tables say."""

import pytest
import torch
from easyanimate_dit.attention import rotate
from easyanimate_dit.hunyuan.rotary import make_rotary_table
from hypothesis import given, settings
from hypothesis import strategies as st

GOLDEN = ["transformer_t2v_nonsquare_tall", "transformer_t2v_nonsquare_wide", "transformer_inp_video", "lora_merge"]


@pytest.mark.parametrize("name", GOLDEN)
def test_table_equals_the_originals(load_case, name):
    inputs = load_case(name).inputs
    cos, sin = inputs["image_rotary_emb"]
    height, width = inputs["hidden_states"].shape[-2:]
    patch_size = 1 if name == "lora_merge" else 2
    table = make_rotary_table(height, width, head_dim=cos.shape[1], patch_size=patch_size)
    torch.testing.assert_close(table, (cos, sin), atol=1e-5, rtol=0)


@settings(max_examples=40)
@given(rows=st.integers(1, 90), columns=st.integers(1, 90), head_dim=st.sampled_from([4, 8, 88]))
def test_tables_are_float32_rotations_in_pairs(rows, columns, head_dim):
    cos, sin = make_rotary_table(rows * 2, columns * 2, head_dim=head_dim)
    assert cos.shape == sin.shape == (rows * columns, head_dim)
    assert cos.dtype == torch.float32
    torch.testing.assert_close(cos.square() + sin.square(), torch.ones_like(cos))
    assert torch.equal(cos[:, ::2], cos[:, 1::2])


def test_a_512_pixel_square_has_whole_positions():
    cos, _ = make_rotary_table(64, 64, head_dim=8)
    column = torch.arange(32).float()
    torch.testing.assert_close(cos.unflatten(0, (32, 32))[5, :, 0], column.cos())
    torch.testing.assert_close(cos.unflatten(0, (32, 32))[:, 5, 4], column.cos())


def test_rotation_is_the_complex_product_and_keeps_the_dtype():
    x, angle = torch.randn(2, 6, 3, 8), torch.randn(6, 4)
    expected = torch.view_as_complex(x.unflatten(-1, (4, 2))) * torch.polar(torch.ones(6, 4), angle)[None, :, None]
    torch.testing.assert_close(rotate(x, angle.cos(), angle.sin()), torch.view_as_real(expected).flatten(-2))
    assert rotate(x.half(), angle.cos(), angle.sin()).dtype == torch.float16


def test_a_head_that_cannot_be_split_in_two_is_refused():
    with pytest.raises(ValueError, match="divisible by 4"):
        make_rotary_table(8, 8, head_dim=6)
