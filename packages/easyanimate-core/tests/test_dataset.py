"""Sizes of batches that cannot be."""

import pytest
from easyanimate_core import RequestError
from easyanimate_core.dataset import BatchRule


@pytest.mark.parametrize(
    "settings",
    [
        {"batch_size": 0},
        {"video_size": 8},
        {"image_size": 0},
        {"num_frames": 0},
        {"stride": 0},
        {"passes": 0},
        {"empty_text_share": 1.5},
        {"batches": ()},
        {"batches": ((1,),)},
        {"batches": ((0, 16),)},
    ],
)
def test_sizes_that_no_batch_has(settings):
    with pytest.raises(RequestError) as caught:
        BatchRule(**settings)
    assert f"data.{next(iter(settings))}" in caught.value.message


def test_the_defaults_are_sizes_that_a_batch_has():
    assert BatchRule().chunk_frames is None
