"""Captions and rewritten captions: what a model answers goes into the table, or its error."""

import numpy as np
import pytest
from easyanimate_core import CaptionerSpec, MediaError, RequestError, StageContext
from easyanimate_data.preparation import text_work
from easyanimate_data.preparation.text_work import Caption, Rewrite, TextSettings


@pytest.fixture
def answer(monkeypatch):
    """Pretend that a plugin offers a captioner that answers like this."""

    def pretend(function):
        class Plugins:
            def captioner(self, key):
                return CaptionerSpec(key=key, summary="", load=lambda: function)

        monkeypatch.setattr(text_work, "load_plugins", Plugins)

    return pretend


def test_captions_are_about_eight_frames(answer, make_video, tmp_path):
    make_video(tmp_path / "a.mp4", [2])
    (tmp_path / "bad.mp4").write_bytes(b"no video")
    asked = []

    def caption(instructions, clips):
        asked.append((instructions, [np.shape(clip) for clip in clips]))
        return [" A square moves.\n", "", MediaError("The server is down.")][: len(clips)]

    answer(caption)
    rows = [{"file_path": "a.mp4"}, {"file_path": "bad.mp4"}, {"file_path": "a.mp4"}, {"file_path": "a.mp4"}]
    settings = TextSettings(captioner="mine", instruction="Say it.")
    good, bad, empty, down = Caption(settings, StageContext(dataset=tmp_path)).open()(rows)
    assert asked == [(["Say it."] * 3, [(8, 64, 96, 3)] * 3)]
    assert good == {"caption": "A square moves."}
    assert "cannot be read" in str(bad)
    assert empty["caption"] is down["caption"] is None
    assert "wrote no description" in empty["caption_error"]
    assert "down" in down["caption_error"]


def test_rewriting_asks_again_until_the_answer_can_be_read(answer, tmp_path):
    answers = iter(["no idea", '{"rewritten description": "A red square."}'])
    answer(lambda instructions, clips: [next(answers) for _ in zip(instructions, clips, strict=True)])
    rows = [{"caption": "the video shows a red square"}, {"caption": None}]
    assert Rewrite(TextSettings(captioner="mine"), StageContext(dataset=tmp_path)).open()(rows) == [
        {"rewritten": "A red square."},
        {"rewritten": None},
    ]


def test_compat_asks_once(answer, tmp_path):
    answer(lambda instructions, clips: ["no idea" for _ in zip(instructions, clips, strict=True)])
    (result,) = Rewrite(TextSettings(captioner="mine"), StageContext(dataset=tmp_path, compat=True)).open()(
        [{"caption": "a square"}]
    )
    assert "1 times" in result["rewritten_error"]


def test_what_captions_depend_on_holds_no_secret(tmp_path):
    settings = TextSettings(captioner="openai", options={"model": "m", "api_key": "secret"})
    for work in (Caption, Rewrite):
        assert work(settings, StageContext(dataset=tmp_path)).depends_on == {
            "captioner": "openai",
            "instruction": None,
            "options": {"model": "m"},
        }


def test_graphics_cards_are_for_models_that_take_a_device(tmp_path):
    context = StageContext(dataset=tmp_path, gpus_per_worker=0.5, batch_size=3)
    local, server = (Caption(TextSettings(captioner=key), context) for key in ("transformers", "openai"))
    assert (local.num_gpus, server.num_gpus) == (0.5, 0.0)
    assert local.batch_size == 3


def test_options_of_another_captioner_are_refused_before_the_run(tmp_path):
    settings = TextSettings(captioner="transformers", options={"base_url": "http://127.0.0.1"})
    with pytest.raises(RequestError, match=r"Unknown setting caption\.options\.base_url"):
        Caption(settings, StageContext(dataset=tmp_path)).check()
