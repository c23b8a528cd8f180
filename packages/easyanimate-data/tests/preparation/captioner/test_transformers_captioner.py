import dataclasses
import sys

import numpy as np
import pytest
import torch
import transformers
from easyanimate_core.errors import MediaError, PluginError, RequestError, WeightsError
from easyanimate_core.preparation import Captioner
from easyanimate_data.preparation.captioner import transformers_captioner
from easyanimate_data.preparation.captioner.transformers_captioner import TransformersCaptioner, load

GENERATE = TransformersCaptioner._generate

SMALL = {"device": "cpu", "dtype": "float32", "max_tokens": 6}


@pytest.fixture(autouse=True)
def _ends(monkeypatch):
    """Take the models' answers for whole: random ones come to no end."""
    monkeypatch.setattr(
        TransformersCaptioner, "_generate", lambda *given: [(text, True) for text, _ in GENERATE(*given)]
    )


@pytest.fixture
def clips():
    rng = np.random.default_rng(4)
    return [rng.integers(0, 256, shape, dtype=np.uint8) for shape in [(4, 56, 84, 3), (2, 64, 56, 3), (4, 84, 56, 3)]]


@pytest.mark.parametrize("kind", ["video", "image"])
def test_captions_do_not_depend_on_the_batch(kind, request, clips):
    captioner = load(model=request.getfixturevalue(f"{kind}_folder"), **SMALL)
    assert isinstance(captioner, Captioner)
    texts = ["describe this clip", "describe a red ball", "describe"]
    together = captioner(texts, clips)
    assert all(isinstance(answer, str) and answer for answer in together)
    assert len(set(together)) == 3
    assert together == [captioner([text], [clip])[0] for text, clip in zip(texts, clips, strict=True)]
    assert together == load(model=request.getfixturevalue(f"{kind}_folder"), **SMALL)(texts, clips)


@pytest.mark.parametrize("kind", ["video", "image"])
def test_every_frame_is_seen_in_its_order(kind, request, clips):
    captioner = load(model=request.getfixturevalue(f"{kind}_folder"), **SMALL)

    def scores(*frames):
        inputs = captioner._inputs(["describe"] * len(frames), frames)
        if kind == "video":
            assert inputs["video_grid_thw"][:, 0].tolist() == [len(clip) // 2 for clip in frames]
        else:
            assert len(inputs["pixel_values"]) == sum(map(len, frames))
        return captioner.network(**inputs).logits[:, -1]

    plain = scores(clips[0], clips[2])
    assert not torch.allclose(plain, scores(clips[0][::-1], clips[2]), atol=1e-4)
    changed = clips[0].copy()
    changed[3] = 255 - changed[3]
    other = scores(changed, clips[2])
    assert not torch.allclose(plain[0], other[0], atol=1e-4)
    torch.testing.assert_close(plain[1], other[1])


def test_greedy_answers_are_those_of_the_model(llm_folder):
    captioner = load(model=str(llm_folder), temperature=0, **SMALL)
    tokenizer = transformers.AutoTokenizer.from_pretrained(llm_folder)
    network = transformers.AutoModelForCausalLM.from_pretrained(llm_folder)
    tokens = tokenizer("user : rewrite a red ball", return_tensors="pt")
    answer = network.generate(**tokens, max_new_tokens=6, do_sample=False)[0, tokens["input_ids"].shape[1] :]
    expected = tokenizer.decode(answer, skip_special_tokens=True).strip()
    assert captioner(["rewrite a red ball"], [None]) == [expected]
    assert captioner(["rewrite", "rewrite a red ball"], [None, None])[1] == expected


def test_text_alone_and_clips_mix(video_folder, clips):
    captioner = load(model=video_folder, **SMALL)
    texts = ["rewrite a box", "describe", "rewrite"]
    mixed = captioner(texts, [None, clips[0], None])
    assert mixed[1] == captioner(["describe"], [clips[0]])[0]
    assert [mixed[0], mixed[2]] == captioner([texts[0], texts[2]], [None, None])


def test_seed_temperature_and_question_change_the_answer(llm_folder):
    captioner = load(model=llm_folder, **(SMALL | {"max_tokens": 12}))

    def answers(text="rewrite a red ball", **options):
        return dataclasses.replace(captioner, **options)([text], [None])[0]

    assert answers() == answers()
    assert answers() != answers(seed=2)
    assert answers() != answers("rewrite a red ball Attempt 2")
    assert answers(temperature=0) == answers(temperature=0, seed=2) == answers(temperature=1e-4)
    assert answers(top_p=1e-6) == answers(temperature=0)


def test_draws_follow_the_distribution():
    logits = torch.tensor([2.0, 1.0, 0.0, -1.0])
    rows = 4000
    draw = transformers_captioner._Draw(range(rows), 0.7, 0.95, torch.device("cpu"))
    drawn = draw(torch.zeros(rows, 1, dtype=torch.long), logits.expand(rows, 4)).argmax(-1)
    share = torch.bincount(drawn, minlength=4) / rows
    likely = torch.softmax(logits / 0.7, 0)
    assert likely[:2].sum() < 0.95 < likely[:3].sum()
    expected = torch.tensor([*(likely[:3] / likely[:3].sum()), 0])
    torch.testing.assert_close(share, expected, atol=0.03, rtol=0)


def test_a_clip_that_the_model_cannot_take_is_an_error_of_the_row(video_folder, clips):
    captioner = load(model=video_folder, **SMALL)
    thin = np.zeros((4, 2, 800, 3), np.uint8)
    texts = ["describe this clip", "describe", "describe"]
    answers = captioner(texts, [clips[0], thin, clips[1]])
    assert isinstance(answers[1], MediaError)
    assert "[4, 2, 800, 3]" in str(answers[1])
    assert [answers[0], answers[2]] == captioner([texts[0], texts[2]], clips[:2])


def test_running_out_of_memory_makes_smaller_batches(llm_folder, monkeypatch):
    captioner = load(model=llm_folder, **SMALL)
    expected = captioner(["rewrite", "rewrite a ball"], [None, None])
    generate = type(captioner)._generate

    def tight(self, instructions, clips, max_tokens):
        if len(instructions) > 1:
            raise torch.OutOfMemoryError("out of memory")
        return generate(self, instructions, clips, max_tokens)

    monkeypatch.setattr(type(captioner), "_generate", tight)
    assert captioner(["rewrite", "rewrite a ball"], [None, None]) == expected


def test_an_answer_that_is_cut_off_is_given_more_tokens_and_never_taken(llm_folder, monkeypatch):
    monkeypatch.setattr(TransformersCaptioner, "_generate", GENERATE)
    captioner = load(model=llm_folder, temperature=0, **SMALL)
    (cut,) = captioner(["rewrite"], [None])
    assert isinstance(cut, MediaError)
    assert "48 tokens" in str(cut)  # 8 times what was asked for
    asked = []

    def end_late(_self, instructions, _clips, max_tokens):
        asked.append((list(instructions), max_tokens))
        return [(f"{text} {max_tokens}", text == "short" or max_tokens > 12) for text in instructions]

    monkeypatch.setattr(TransformersCaptioner, "_generate", end_late)
    assert captioner(["short", "long"], [None, None]) == ["short 6", "long 24"]
    assert asked == [(["short", "long"], 6), (["long"], 12), (["long"], 24)]


def test_an_answer_ends_with_the_word_that_ends_answers(llm_folder):
    captioner = load(model=llm_folder, temperature=0, **SMALL)
    prompt = captioner._inputs(["rewrite"], [None])
    written = captioner.network.generate(**prompt, max_new_tokens=6)[0, prompt["input_ids"].shape[1] :]
    assert [whole for _, whole in GENERATE(captioner, ["rewrite"], [None], 6)] == [False]
    captioner.network.generation_config.eos_token_id = [int(written[-1])]
    assert [whole for _, whole in GENERATE(captioner, ["rewrite"], [None], 6)] == [True]


def test_thoughts_are_left_out(llm_folder, monkeypatch):
    captioner = load(model=llm_folder, **SMALL)
    monkeypatch.setattr(captioner.processor, "batch_decode", lambda *_, **__: ["<think>hm</think>\n A ball."])
    assert captioner(["rewrite"], [None]) == ["A ball."]


def test_a_language_model_reads_no_frames(llm_folder, clips):
    with pytest.raises(RequestError, match="cannot read frames"):
        load(model=llm_folder, **SMALL)(["describe"], clips[:1])


def test_models_that_do_not_fit_are_errors(llm_folder, tmp_path):
    with pytest.raises(WeightsError, match="nowhere"):
        load(model=tmp_path / "nowhere")
    tokenizer = transformers.AutoTokenizer.from_pretrained(llm_folder)
    tokenizer.chat_template = None
    tokenizer.save_pretrained(tmp_path)
    transformers.AutoModelForCausalLM.from_pretrained(llm_folder).save_pretrained(tmp_path)
    with pytest.raises(WeightsError, match="no chat template"):
        load(model=tmp_path, **SMALL)


@pytest.mark.parametrize("wrong", [{"temperature": -1}, {"top_p": 0}, {"top_p": 1.5}, {"max_tokens": 0}])
def test_wrong_numbers_are_errors(wrong, llm_folder):
    with pytest.raises(RequestError, match=next(iter(wrong))):
        load(model=llm_folder, **wrong)


def test_a_missing_package_is_named(llm_folder, monkeypatch):
    monkeypatch.setitem(sys.modules, "transformers", None)
    with pytest.raises(PluginError, match=r'(?s)transformers.*"easyanimate-data\[caption\]"'):
        load(model=llm_folder)
