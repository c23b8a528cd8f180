"""One source of noise: the same numbers for a seed, whatever device, dtype and batch."""

import torch
from easyanimate_dit.sampling.noise import NoiseUse, SeededNoise


def draw(noise, shape, dtype=torch.float32):
    return noise.draw(shape, NoiseUse.INITIAL, device="cpu", dtype=dtype)


def seeded(*numbers):
    return SeededNoise([torch.Generator().manual_seed(number) for number in numbers])


def test_a_seed_decides_the_numbers():
    expected = torch.randn(1, 4, generator=torch.Generator().manual_seed(7))
    assert torch.equal(draw(seeded(7), (1, 4)), expected)
    assert not torch.equal(draw(seeded(8), (1, 4)), expected)


def test_numbers_are_drawn_in_float32_whatever_the_dtype():
    assert torch.equal(draw(seeded(7), (1, 64), torch.bfloat16), draw(seeded(7), (1, 64)).bfloat16())


def test_a_source_goes_on():
    noise = seeded(7)
    assert not torch.equal(draw(noise, (1, 4)), draw(noise, (1, 4)))


def test_every_video_has_the_numbers_of_its_own_seed():
    both = draw(seeded(1, 2), (2, 4))
    assert torch.equal(both, torch.cat([draw(seeded(1), (1, 4)), draw(seeded(2), (1, 4))]))


def test_what_a_batch_shares_comes_from_the_first_seed():
    assert torch.equal(draw(seeded(1, 2), (1, 4)), draw(seeded(1), (1, 4)))


def test_without_a_seed_every_source_is_new():
    assert not torch.equal(draw(SeededNoise(), (1, 8)), draw(SeededNoise(), (1, 8)))


def test_the_global_state_is_left_alone():
    before = torch.get_rng_state()
    draw(SeededNoise(), (1, 8))
    assert torch.equal(torch.get_rng_state(), before)
