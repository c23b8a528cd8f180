"""The smoothing pass of V2 and V3."""

import pytest
import torch
from diffusers.models.autoencoders.vae import DiagonalGaussianDistribution
from easyanimate_vae.smoothing import smooth_chunks

take_mode = DiagonalGaussianDistribution.mode


@pytest.mark.usefixtures("no_grad")
def test_golden(golden):
    case = golden("vae_v2_three_chunks")
    smoothed = case.build().decode_smoothly(case.inputs["z"], take_mode)
    torch.testing.assert_close(smoothed, case.outputs["decoded_clamped_smoothed"], atol=1e-4, rtol=0)


@pytest.mark.parametrize(("chunk_frames", "middle"), [(8, slice(4, 20)), (9, slice(4, 19))])
def test_the_middle_is_averaged_with_its_reconstruction(chunk_frames, middle):
    clip = torch.rand(1, 3, 24, 2, 2) * 4 - 2
    given = clip.clone()
    received = []

    def reconstruct(frames):
        received.append(frames.clone())
        return frames + 1.5

    smoothed = smooth_chunks(clip, chunk_frames, reconstruct)
    expected = given.clamp(-1, 1)
    assert torch.equal(received[0], expected[:, :, middle])
    expected[:, :, middle] += 0.75
    torch.testing.assert_close(smoothed, expected.clamp(-1, 1))
    assert torch.equal(clip, given)


def test_one_chunk_is_only_clamped():
    clip = torch.randn(1, 3, 8, 8, 8) * 2
    assert torch.equal(smooth_chunks(clip, 8, torch.zeros_like), clip.clamp(-1, 1))


@pytest.mark.usefixtures("no_grad")
def test_latents_of_the_second_pass_are_drawn(build_random):
    vae = build_random("v3")
    z = torch.randn(1, 4, 6, 1, 1)
    posteriors = []

    def draw(posterior):
        posteriors.append(posterior)
        return posterior.mean + 1

    smoothed = vae.decode_smoothly(z, draw)
    clip = vae.decode(z).sample.clamp(-1, 1)
    (posterior,) = posteriors
    again = vae.decode(posterior.mean + 1).sample
    assert torch.equal(posterior.mean, vae.encode(clip[:, :, 4:20]).latent_dist.mean)
    clip[:, :, 4:20] = torch.lerp(clip[:, :, 4:20], again, 0.5)
    torch.testing.assert_close(smoothed, clip.clamp(-1, 1))


@pytest.mark.usefixtures("no_grad")
def test_v4_is_not_smoothed(vae):
    z = torch.randn(1, 4, 4, 2, 2)
    assert torch.equal(vae.decode_smoothly(z, take_mode), vae.decode(z).sample.clamp(-1, 1))
