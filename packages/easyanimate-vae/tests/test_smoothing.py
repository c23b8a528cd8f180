"""The smoothing pass of V2 and V3."""

import pytest
import torch
from easyanimate_vae.smoothing import smooth_chunks


@pytest.mark.usefixtures("no_grad")
def test_golden(golden):
    case = golden("vae_v2_three_chunks")
    vae = case.build()
    smoothed = vae.decode_smoothly(case.inputs["z"])
    torch.testing.assert_close(smoothed, case.outputs["decoded_clamped_smoothed"], atol=1e-4, rtol=0)


@pytest.mark.usefixtures("no_grad")
def test_one_chunk_is_only_clamped(build_random):
    clip = torch.randn(1, 3, 8, 8, 8) * 2
    assert torch.equal(smooth_chunks(build_random("v3"), clip), clip.clamp(-1, 1))


@pytest.mark.usefixtures("no_grad")
def test_only_the_middle_changes_and_draws_are_used(build_random):
    vae = build_random("v3")
    clip = torch.rand(1, 3, 24, 8, 8) * 2 - 1
    smoothed = smooth_chunks(vae, clip.clone())
    changed = (smoothed - clip).abs().amax(dim=(0, 1, 3, 4)) > 0
    assert changed.tolist() == [False] * 4 + [True] * 16 + [False] * 4
    drawn = smooth_chunks(vae, clip.clone(), draw=lambda posterior: posterior.sample(torch.Generator().manual_seed(0)))
    assert not torch.equal(drawn, smoothed)


@pytest.mark.usefixtures("no_grad")
def test_v4_is_not_smoothed(vae):
    z = torch.randn(1, 4, 4, 2, 2)
    assert torch.equal(vae.decode_smoothly(z), vae.decode(z).sample.clamp(-1, 1))
