import threading
from collections import Counter

import numpy as np
import pytest
from easyanimate_core import MediaError
from easyanimate_data.training.replacement import MAX_REPLACEMENTS, TimedReader, list_candidates
from PIL import Image


def refuse(*bad):
    def read(index):
        if index in bad:
            raise MediaError("The file is broken.", received=f"file {index}")
        return f"sample {index}"

    return read


def test_a_good_sample_is_read_alone(caplog):
    reader = TimedReader()
    assert reader.read_first([3, 4], refuse(4)) == ("sample 3", [])
    assert not reader.bad
    assert not caplog.records


def test_a_bad_one_is_replaced_reported_and_counted(caplog):
    reader = TimedReader()
    sample, bad = reader.read_first([3, 4, 5], refuse(3, 4))
    assert sample == "sample 5"
    assert [line.split(":")[0] for line in bad] == [f"sample {index} is replaced by another" for index in (3, 4)]
    assert "file 3" in bad[0]
    assert reader.bad == bad
    assert [record.getMessage() for record in caplog.records] == bad


def test_what_is_not_to_be_reported_is_given_alone(caplog):
    reader = TimedReader(name="row {}".format)
    sample, bad = reader.read_first([3, 4], refuse(3), report=False)
    assert sample == "sample 4"
    assert bad[0].startswith("row 3 is replaced")
    assert not reader.bad
    assert not caplog.records


def test_where_none_can_be_read_the_first_reason_is_given():
    with pytest.raises(MediaError, match="file 3"):
        TimedReader().read_first([3, 4], refuse(3, 4))


def test_a_slow_one_is_given_up():
    waiting = threading.Event()

    def read(index):
        if index == 0:
            waiting.wait()
        return index

    try:
        sample, bad = TimedReader(0.05).read_first([0, 1], read)
    finally:
        waiting.set()
    assert sample == 1
    assert "over 0.05 seconds" in bad[0]


@pytest.mark.parametrize("error", [MemoryError("no room"), Image.DecompressionBombError("a bomb")])
def test_too_large_files_are_bad_ones(error):
    def read(index):
        if index == 0:
            raise error
        return index

    assert TimedReader().read_first([0, 1], read)[0] == 1


def test_mistakes_of_the_program_are_not_hidden():
    with pytest.raises(ZeroDivisionError):
        TimedReader().read_first([0, 1], lambda index: 1 // index)


def test_candidates_are_others_of_the_same_kind():
    kinds = np.array([True, False] * 20)
    drawn = [list(list_candidates(kinds, 6, np.random.default_rng(seed))) for seed in range(200)]
    for candidates in drawn:
        assert candidates[0] == 6
        assert len(set(candidates)) == MAX_REPLACEMENTS + 1
        assert all(index % 2 == 0 for index in candidates)
    assert len(Counter(candidates[1] for candidates in drawn)) == 19
    assert list(list_candidates(np.array([False, True]), 0, np.random.default_rng(0))) == [0]
