"""The discriminator: shapes, what a patch sees, its losses and their weight."""

import pytest
import torch
from easyanimate_core.errors import RequestError
from easyanimate_vae.training.discriminator import (
    PatchDiscriminator,
    adaptive_weight,
    adversarial_factor,
    discriminator_loss,
    generator_loss,
)
from torch import nn


def make(**changes):
    torch.manual_seed(0)
    return PatchDiscriminator(width=8, **changes)


@pytest.mark.parametrize(("frames", "patches"), [(1, 1), (2, 1), (9, 2), (17, 3)])
def test_clips_of_any_length_are_judged(frames, patches):
    assert make()(torch.randn(2, 3, frames, 32, 40)).shape == (2, 1, patches, 2, 3)


def test_frames_are_judged_by_themselves():
    critic = make(across_frames=False)
    clip = torch.randn(2, 3, 4, 32, 32)
    logits = critic(clip)
    assert logits.shape == (2, 1, 4, 2, 2)
    for index in range(4):
        torch.testing.assert_close(critic(clip[:, :, index : index + 1])[:, :, 0], logits[:, :, index])


def test_layers_of_the_default():
    weights = [tuple(p.shape) for p in PatchDiscriminator().parameters() if p.ndim == 5]
    assert weights == [
        (64, 3, 3, 4, 4),
        (128, 64, 3, 4, 4),
        (256, 128, 3, 4, 4),
        (512, 256, 3, 4, 4),
        (1, 512, 3, 4, 4),
    ]
    assert next(tuple(p.shape) for p in make(across_frames=False).parameters()) == (8, 3, 1, 4, 4)


def test_a_patch_is_70_pixels_wide():
    critic = make().eval()
    for layer in critic.modules():
        if isinstance(layer, nn.GroupNorm):  # sees everything
            layer.forward = lambda x: x
    clip = torch.randn(1, 3, 1, 128, 128, requires_grad=True)
    logits = critic(clip)
    logits[0, 0, 0, 7, 7].backward()
    rows = clip.grad.abs().sum(dim=(0, 1, 2, 4)).nonzero()
    assert rows.max() - rows.min() + 1 == 70


def test_small_frames_are_refused():
    critic = make()
    assert critic(torch.randn(1, 3, 1, 24, 24)).shape[-2:] == (1, 1)
    with pytest.raises(RequestError, match="at least 24"):
        critic(torch.randn(1, 3, 1, 64, 16))


def test_hinge_losses():
    real, decoded = torch.tensor([2.0, 0.5]), torch.tensor([-3.0, 0.0])
    assert float(discriminator_loss(real, decoded)) == pytest.approx(0.5 * (0.5 / 2 + 1.0 / 2))
    assert float(generator_loss(decoded)) == pytest.approx(1.5)


def test_it_learns_to_tell_noise_from_flat_colours():
    critic = make()
    optimizer = torch.optim.Adam(critic.parameters(), lr=2e-3, betas=(0.5, 0.9))
    real, decoded = torch.rand(4, 3, 2, 32, 32) * 2 - 1, torch.zeros(4, 3, 2, 32, 32)
    for _ in range(8):
        loss = discriminator_loss(critic(real), critic(decoded))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert float(loss.detach()) < 0.5


def test_it_starts_later():
    assert [adversarial_factor(step, 3) for step in (0, 2, 3, 4)] == [0.0, 0.0, 1.0, 1.0]


def test_weight_is_the_ratio_of_gradients():
    layer = nn.Linear(2, 1, bias=False)
    out = layer(torch.tensor([[3.0, 4.0]])).sum()
    weight = adaptive_weight(out, -0.1 * out, layer.weight, weight=0.5)
    assert float(weight) == pytest.approx(0.5 * 10, rel=1e-4)
    assert not weight.requires_grad
    # Both graphs are still there.
    (out - weight * 0.1 * out).backward()


def test_weight_has_a_ceiling():
    layer = nn.Linear(2, 1, bias=False)
    out = layer(torch.ones(1, 2)).sum()
    assert float(adaptive_weight(out, 0.0 * out, layer.weight, weight=2.0)) == pytest.approx(2e4)


def test_an_untrained_decoder_is_refused():
    layer = nn.Linear(2, 1).requires_grad_(requires_grad=False)
    with pytest.raises(RequestError, match="gradients of the decoder"):
        adaptive_weight(torch.ones(()), torch.ones(()), layer.weight)
