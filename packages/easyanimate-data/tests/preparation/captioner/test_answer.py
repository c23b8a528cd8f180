"""What counts as a description: preambles, thoughts, offers and quotes go, refusals are errors, true captions stay."""

# ruff: noqa: RUF001 (Chinese punctuation)

import pytest
from easyanimate_core.errors import MediaError
from easyanimate_data.preparation.captioner.answer import cut_off, drop_thoughts, read_description

CAT = "A cat runs across a lawn."
CHINESE_CAT = "一只猫跑过草地。"


@pytest.mark.parametrize(
    "answer",
    [
        "Sure, " + CAT,
        "Okay. " + CAT,
        f"Sure! Here is a caption for the video:\n\n{CAT}",
        f"Sure thing! Here's the description: {CAT}",
        f"Sure here is the caption: {CAT}",
        f"Certainly!\n{CAT}",
        f"Of course, the caption: {CAT}",
        f"Here\u2019s a detailed description of the clip:\n{CAT}",
        f"The following is a description: {CAT}",
        f"Below is what happens:\n{CAT}",
        f"**Caption:** {CAT}",
        f"# Video description:\n{CAT}",
        f"Caption for this short video: {CAT}",
        f"{CAT}\n\nLet me know if you need more detail!",
        f"{CAT}\nWould you like a shorter one?",
        f'"{CAT}"',
        f"\u201c{CAT}\u201d",
        f"**{CAT}**",
        f'Sure! Here is the caption:\n"{CAT}"\n\nI hope this helps.',
        f"<think>Grass, a cat.</think>\n{CAT}",
        f"Grass, a cat.</think>{CAT}",
        f"\u25c1think\u25b7A cat?\u25c1/think\u25b7\n{CAT}",
        f"<think>A</think>No.<think>B</think>Answer: {CAT}",
    ],
)
def test_what_is_around_a_description_goes(answer):
    assert read_description(answer) == CAT


@pytest.mark.parametrize(
    "answer",
    [
        f"好的！{CHINESE_CAT}",
        f"好的，以下是视频的描述：{CHINESE_CAT}",
        f"当然，这是描述：{CHINESE_CAT}",
        f"以下是对视频的描述：\n{CHINESE_CAT}",
        f"描述：{CHINESE_CAT}",
        f"视频描述：{CHINESE_CAT}",
        f"「{CHINESE_CAT}」",
    ],
)
def test_what_is_around_a_chinese_description_goes(answer):
    assert read_description(answer) == CHINESE_CAT


@pytest.mark.parametrize(
    "caption",
    [
        CAT,
        CHINESE_CAT,
        "Sure-footed goats climb a cliff.",
        "Great white sharks circle a video camera: one of them bites.",
        "Greater flamingos stand in a clip of shallow water: none moves.",
        "A man says, \u201cSure, I can't wait!\u201d and laughs.",
        "A woman who cannot swim holds a float; a caption reads: sorry, closed.",
        "Here the road ends: a cliff, and the sea below.",
        "The clip shows two rooms: one is dark.",
        "A sign: no entry.",
        '"Stop" is written on a sign, and "Go" on another',
        "**Two** words are **bold** on a poster.",
        "First line.\nSecond line: a dog.",
        "一个男人说：好的，我们走吧。",
        "无法看清的街道上，一辆车驶过。",
    ],
)
def test_a_plain_caption_stays_as_it_is(caption):
    assert read_description(caption) == caption
    assert read_description(f" {caption}\n") == caption


@pytest.mark.parametrize(
    "answer",
    [
        "I'm sorry, but I can't help with that.",
        "I\u2019m unable to view videos.",
        "I cannot see any frames.",
        "I don't have access to the video.",
        "Sorry, I can't describe people.",
        "Unfortunately, I'm not able to open files.",
        "Unfortunately I cannot watch videos.",
        "As an AI language model, I cannot see.",
        "There is no video attached.",
        "**I apologize**, but no.",
        "Certainly! I'm sorry, I can't help with that.",
        "<think>People.</think>I won't describe this.",
        "抱歉，我无法描述这个视频。",
        "很抱歉，我看不到图片。",
        "对不起，没有视频。",
        "我无法查看视频内容。",
        "作为一个AI，我不能观看视频。",
        "作为一个人工智能助手，我没有视觉。",
    ],
)
def test_a_refusal_is_an_error(answer):
    found = read_description(answer)
    assert isinstance(found, MediaError)
    assert "refused" in found.message


@pytest.mark.parametrize("answer", ["", " \n", "Sure!", "Caption:", "<think>A cat", "<think>A cat</think>", '""'])
def test_nothing_but_the_rest_is_an_error(answer):
    found = read_description(answer)
    assert isinstance(found, MediaError)
    assert "no description" in found.message


@pytest.mark.parametrize(
    ("answer", "rest"),
    [
        (f"  {CAT} ", CAT),
        (f"<THINKING>x</THINKING> {CAT}", CAT),
        (f"[reasoning]x[/reasoning]{CAT}", CAT),
        (f"{CAT} <think>and", ""),
        ('<think>JSON?</think>{"a": 1}', '{"a": 1}'),
    ],
)
def test_thoughts_go_before_anything_is_made_of_an_answer(answer, rest):
    assert drop_thoughts(answer) == rest


def test_an_answer_that_is_cut_off_says_where_and_what_to_raise():
    error = cut_off("x" * 200 + " and then a cat", 512)
    assert "cut off" in error.message
    assert str(error.received).startswith("512 tokens")
    assert "and then a cat" in str(error.received)
    assert len(str(error.received)) < 120
    assert "max_tokens above 512" in str(error.fix)
