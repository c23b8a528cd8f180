"""Clips that look alike are found, whichever of their bits differ."""

import numpy as np
import pytest
from easyanimate_data.preparation.duplicate import HASH_BITS, find_duplicates, hash_frames
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image


def make_clip(seed):
    rng = np.random.default_rng(seed)
    coarse = rng.integers(0, 256, (3, 6, 6, 3)).astype(np.uint8)
    return np.stack(
        [np.asarray(Image.fromarray(frame).resize((120, 120), Image.Resampling.BICUBIC)) for frame in coarse]
    )


def count_differing(first, second):
    return (int(first["perceptual_hash"], 16) ^ int(second["perceptual_hash"], 16)).bit_count()


def test_hashes_tell_other_pictures_from_worse_copies():
    clip = make_clip(0)
    noisy = np.clip(clip + np.random.default_rng(1).normal(0, 6, clip.shape), 0, 255).astype(np.uint8)
    darker = (clip * 0.9).astype(np.uint8)
    assert len(hash_frames(clip)["perceptual_hash"]) == HASH_BITS // 4
    assert max(count_differing(hash_frames(clip), hash_frames(other)) for other in (noisy, darker)) <= 12
    assert count_differing(hash_frames(clip), hash_frames(make_clip(2))) > 40


@given(
    st.lists(st.tuples(st.integers(0, 4), st.sets(st.integers(0, HASH_BITS - 1), max_size=8)), max_size=12),
    st.integers(0, 12),
)
def test_pieces_find_what_comparing_all_pairs_finds(clips, distance):
    bases = [int.from_bytes(np.random.default_rng(k).bytes(HASH_BITS // 8), "big") for k in range(5)]
    bits = [bases[base] ^ sum(1 << bit for bit in flipped) for base, flipped in clips]
    expected, kept = {}, []
    for place, mine in enumerate(bits):
        near = [other for other in kept if (mine ^ bits[other]).bit_count() <= distance]
        if near:
            expected[place] = min(near)
        else:
            kept.append(place)
    assert find_duplicates({place: f"{mine:048x}" for place, mine in enumerate(bits)}, distance) == expected


@pytest.mark.parametrize("distance", [0, 12])
def test_nothing_to_compare(distance):
    assert find_duplicates({}, distance) == {}
