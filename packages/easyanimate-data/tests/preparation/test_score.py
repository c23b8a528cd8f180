"""The work of scoring: any filter by its key, broken clips apart, options checked."""

import sys

import numpy as np
import pytest
from easyanimate_core import FilterSpec, FrameChoice, PluginError, RequestError, StageContext
from easyanimate_data.preparation import score as module
from easyanimate_data.preparation.score import Score, complete_options
from easyanimate_data.preparation.settings import FilterSettings
from easyanimate_data.preparation.work import Worker


@pytest.fixture
def clips(make_video, tmp_path):
    make_video(tmp_path / "a.mp4", [2], seed=1)
    make_video(tmp_path / "b.mp4", [2], seed=2)
    (tmp_path / "bad.mp4").write_bytes(b"no video")
    return [{"file_path": f"{name}.mp4", "source": "a.mp4", "caption": None} for name in ("a", "bad", "b")]


@pytest.fixture
def offer(monkeypatch):
    """Pretend that a plugin offers this filter."""

    def pretend(spec):
        class Plugins:
            def filter(self, key):
                assert key == spec.key
                return spec

        monkeypatch.setattr(module, "load_plugins", Plugins)

    return pretend


def make_work(key, dataset, **context):
    return Score(FilterSettings(), StageContext(dataset=dataset, **context), key)


def test_a_number_goes_into_the_filters_column(clips, offer, tmp_path):
    offer(FilterSpec(key="light", summary="", load=lambda: lambda frames: frames.mean(), frames=FrameChoice("rate", 2)))
    first, bad, second = make_work("light", tmp_path).open()(clips)
    assert 0 < first["light_score"] != second["light_score"] > 0
    assert isinstance(bad, Exception)


def test_batched_filters_get_the_clips_that_can_be_read(clips, offer, tmp_path):
    def count(batch):
        assert [frames.shape for frames in batch] == [(4, 64, 96, 3)] * 2
        return [{"light": float(frames.mean()), "all": [1.0, 2.0]} for frames in batch]

    offer(FilterSpec(key="light", summary="", load=lambda: count, batched=True))
    first, bad, second = make_work("light", tmp_path).open()(clips)
    assert first["all"] == second["all"] == [1.0, 2.0]
    assert isinstance(bad, Exception)


@pytest.mark.parametrize("batched", [False, True])
def test_captions_go_along_and_clips_without_one_are_passed_over(batched, clips, offer, tmp_path):
    def measure(frames, text):
        assert len(frames) == (len(text) if batched else 4)
        return [float(len(one)) for one in text] if batched else float(len(text))

    offer(FilterSpec(key="fit", summary="", load=lambda: measure, uses_text=True, batched=batched))
    rows = [clips[0] | {"caption": "four"}, clips[2], clips[2] | {"caption": "four", "rewritten": "seventh"}]
    assert make_work("fit", tmp_path).open()(rows) == [
        {"fit_score": 4.0},
        {"fit_score": None},
        {"fit_score": 7.0},
    ]


def test_options_are_those_that_the_filter_knows():
    def load(*, model="large", compat=False):
        return model, compat

    assert complete_options(load, {"model": "tiny"}, name="filters.x") == {"model": "tiny"}
    assert complete_options(load, {}, compat=True, name="filters.x") == {"compat": True}
    assert complete_options(lambda: None, {}, compat=True, name="filters.x") == {}
    with pytest.raises(RequestError, match=r"filters.x.options.modle[\s\S]*model, compat[\s\S]*did you mean model"):
        complete_options(load, {"modle": "tiny"}, name="filters.x")


def test_a_missing_reader_ends_the_run(clips, offer, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "decord", None)
    offer(FilterSpec(key="light", summary="", load=lambda: lambda frames: frames.mean()))
    with pytest.raises(PluginError, match=r"easyanimate-data\[decord\]"):
        Worker(make_work("light", tmp_path, reader="decord"))(clips)


def test_the_middle_frame_is_the_middle_one(clips, offer, tmp_path):
    seen = []
    offer(
        FilterSpec(
            key="x", summary="", load=lambda: lambda frames: seen.append(frames) or 0.0, frames=FrameChoice("middle")
        )
    )
    make_work("x", tmp_path).open()(clips[:1])
    from easyanimate_core.video import read_video

    assert np.array_equal(seen[0][0], read_video(tmp_path / "a.mp4").frames[10])
