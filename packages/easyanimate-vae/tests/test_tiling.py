"""Tiles: arithmetic, the blending against plain loops, and seams against the untiled result."""

from fractions import Fraction

import pytest
import torch
from easyanimate_core.errors import RequestError
from easyanimate_vae.tiling import BalancedTiles, OverlappingTiles, scale_span
from hypothesis import given
from hypothesis import strategies as st
from torch.nn import functional


@given(length=st.integers(1, 400), size=st.integers(4, 96), share=st.integers(3, 12))
def test_balanced_spans_cover_evenly(length, size, share):
    overlap = max(size // share, 1)
    spans = BalancedTiles(size=size, overlap=overlap).spans(length)
    assert spans[0].start == 0
    assert spans[-1].stop == length
    sizes = {span.stop - span.start for span in spans}
    assert len(sizes) == 1
    assert sizes.pop() <= size
    for i, span in enumerate(spans[1:]):
        shared = spans[i].stop - span.start
        assert overlap <= shared
        # Only neighbours overlap, so that two ramps always sum to one.
        assert i == 0 or spans[i - 1].stop <= span.start
    # No fewer tiles would do.
    fewer = len(spans) - 1
    assert fewer == 0 or fewer * size - (fewer - 1) * overlap < length


@given(height=st.integers(1, 40), width=st.integers(1, 40), size=st.integers(4, 16), unit=st.sampled_from([1, 8]))
def test_balanced_tiles_of_a_linear_map_give_the_whole(height, width, size, unit):
    picture = torch.rand(2, height * unit, width * unit)
    tiles = BalancedTiles(size=size, overlap=max(size // 4, 1))
    coded = tiles.code(
        height,
        width,
        lambda rows, columns: picture[:, scale_span(rows, unit), scale_span(columns, unit)].clone(),
        unit=unit,
    )
    torch.testing.assert_close(coded, picture)


@given(height=st.integers(9, 60), width=st.integers(1, 60), overlap=st.sampled_from([0.0, 0.25, 0.5]))
def test_overlapping_tiles_of_a_linear_map_give_the_whole(height, width, overlap):
    picture = torch.rand(2, height, width)
    tiles = OverlappingTiles(size=8, out_size=8, scale=Fraction(1), overlap=overlap, repeat_corner=True)
    coded = tiles.code(height, width, lambda rows, columns: picture[:, rows, columns].clone())
    torch.testing.assert_close(coded, picture)


def test_overlapping_tiles_repeat_work_and_balanced_ones_do_not():
    """384 x 672 pixels: 48 x 84 latents in tiles of 48."""
    original = OverlappingTiles(size=48, out_size=384, scale=Fraction(8), overlap=0.25)
    balanced = BalancedTiles(size=48, overlap=12)

    def area(tiles):
        return sum((a.stop - a.start) * (b.stop - b.start) for a in tiles.spans(48) for b in tiles.spans(84))

    assert area(original) / (48 * 84) > 1.6
    assert area(balanced) / (48 * 84) < 1.15


def test_balanced_tiles_fade_into_one_another():
    tiles = BalancedTiles(size=6, overlap=4)
    code_tile = lambda _rows, columns: torch.full((1, 6), float(columns.start > 0))  # noqa: E731
    assert tiles.code(1, 8, code_tile, unit=1).tolist() == [[0, 0, 0.125, 0.375, 0.625, 0.875, 1, 1]]


@pytest.mark.usefixtures("no_grad")
def test_settings_of_tiles_come_from_the_configuration(case, monkeypatch):
    def count(direction, **changes):
        vae, widths = case.build(tile_sample_min_size=32, **changes), []
        if direction == "decoder":
            start = vae.decoder.start
            monkeypatch.setattr(vae.decoder, "start", lambda x, mode: widths.append(x.shape[4]) or start(x, mode))
            vae.decode(torch.zeros(1, 4, 1, 4, 7))
        else:
            finish = vae.encoder.finish
            monkeypatch.setattr(vae.encoder, "finish", lambda x, mode: widths.append(x.shape[4]) or finish(x, mode))
            vae.encode(torch.zeros(1, 3, 1, 32, 56))
        return widths

    for direction, corner in (("encoder", []), ("decoder", [4])):  # the decoder repeats the lower right tile
        other = {"encoder": "decoder", "decoder": "encoder"}[direction]
        assert count(direction, **{f"use_tiling_{other}": True}) == [7]
        for flag in ("use_tiling", f"use_tiling_{direction}"):
            # Tiles begin at 0, 3, 6 in a row, and there are two rows.
            assert count(direction, **{flag: True}) == [4, 4, 1] * 2 + corner
        assert count(direction, use_tiling=True, tile_overlap_factor=0.5) == [4, 4, 3, 1] * 2 + corner


@pytest.mark.usefixtures("no_grad")
def test_balanced_tiles_share_a_quarter(case):
    vae = case.build()
    vae.enable_tiling(tile_sample_min_size=64)
    assert vae._decoder_tiles == vae._encoder_tiles == BalancedTiles(size=8, overlap=2)


def measure_seams(build, z, pixels):
    """Largest and mean difference from the untiled result, of the original's tiles and of balanced ones."""
    whole, original, balanced = build(), build(use_tiling=True), build()
    balanced.enable_tiling()
    for code in (lambda vae: vae.decode(z).sample, lambda vae: vae.encode(pixels).latent_dist.mean):
        expected = code(whole)
        yield tuple((code(vae) - expected).abs() for vae in (original, balanced))


@pytest.mark.usefixtures("no_grad")
@pytest.mark.parametrize("name", ["vae_one_chunk", "vae_v2_one_chunk"])
def test_balanced_seams_are_no_worse_than_the_originals(golden, name):
    case = golden(name)
    torch.manual_seed(0)
    frames = case.config["mini_batch_encoder"]
    z = functional.interpolate(torch.randn(1, 4, 2, 3, 4), size=(frames // 4, 9, 11), mode="trilinear")
    pixels = functional.interpolate(torch.randn(1, 3, 2, 3, 4), size=(frames, 72, 88), mode="trilinear")
    for original, balanced in measure_seams(
        lambda **flags: case.build(tile_sample_min_size=64, **flags), z.contiguous(), pixels
    ):
        assert balanced.mean() <= original.mean()
        assert balanced.max() <= original.max()


@pytest.mark.usefixtures("no_grad")
@pytest.mark.parametrize("seed", [0, 1])
def test_balanced_seams_of_a_smooth_vae(build_random, seed):
    torch.manual_seed(seed)
    z = functional.interpolate(torch.randn(1, 4, 2, 3, 4), size=(2, 8, 14), mode="trilinear")
    build = lambda **flags: build_random("v4", seed=seed, tile_sample_min_size=64, **flags)  # noqa: E731
    original, balanced = next(measure_seams(build, z, torch.empty(0)))
    assert balanced.mean() <= original.mean()


@pytest.mark.usefixtures("no_grad")
def test_tiling_is_switched(case):
    vae = case.build(tile_sample_min_size=32)
    z = torch.randn(1, 4, 2, 5, 7)
    whole = vae.decode(z).sample
    assert not vae.use_tiling
    vae.enable_tiling()
    assert vae.use_tiling
    tiled = vae.decode(z).sample
    assert tiled.shape == whole.shape
    assert not torch.equal(tiled, whole)
    vae.disable_tiling()
    assert torch.equal(vae.decode(z).sample, whole)
    vae.enable_tiling(tile_sample_min_size=64)
    torch.testing.assert_close(vae.decode(z).sample, whole)
    with pytest.raises(RequestError, match="at least 32 pixels"):
        vae.enable_tiling(tile_sample_min_size=16)


@pytest.mark.usefixtures("no_grad")
def test_tiled_clip_comes_in_pieces_too(case):
    vae = case.build(tile_sample_min_size=32)
    vae.enable_tiling()
    z = torch.randn(1, 4, 4, 5, 7)
    assert torch.equal(torch.cat(list(vae.decode_chunks(z)), dim=2), vae.decode(z).sample)
