"""Guidance mixes two predictions; rescaling brings the deviation back."""

import pytest
import torch
from easyanimate_dit.sampling.guidance import Guidance


def noise(seed, size=(2, 4, 2, 4, 4)):
    return torch.randn(size, generator=torch.Generator().manual_seed(seed))


def test_the_mix_goes_past_the_positive_prediction():
    assert torch.allclose(Guidance(3.0).mix(torch.zeros(1, 2), torch.ones(1, 2)), torch.full((1, 2), 3.0))


def test_one_or_less_is_no_guidance():
    assert not Guidance(1.0).active
    assert Guidance(1.01).active


@pytest.mark.parametrize("weight", [0.0, 0.5, 1.0])
def test_full_rescaling_has_the_deviation_of_the_positive_prediction(weight):
    negative, positive = noise(1), noise(2)
    plain = Guidance(7.0).mix(negative, positive)
    mixed = Guidance(7.0, weight).mix(negative, positive)
    for row in range(2):
        expected = weight * positive[row].std() + (1 - weight) * plain[row].std()
        assert mixed[row].std() == pytest.approx(expected.item(), rel=1e-4)
