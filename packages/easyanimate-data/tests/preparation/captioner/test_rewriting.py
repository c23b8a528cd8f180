import pytest
from easyanimate_core.errors import MediaError
from easyanimate_data.preparation.captioner.instruction import (
    ENHANCE_INSTRUCTION,
    REWRITE_INSTRUCTION,
)
from easyanimate_data.preparation.captioner.rewriting import enhance_prompts, parse_rewritten, rewrite


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        ('{"rewritten description": "A dog runs."}', "A dog runs."),
        ('Sure!\n```json\n{\n  "rewritten description": "A dog runs."\n}\n```\nAnything else?', "A dog runs."),
        ('{"result": {"rewritten description": "A {curly} dog."}}', "A {curly} dog."),
        ('{"note": "{", "rewritten description": "A dog."}', "A dog."),
        ('{} {"other": 1} {"rewritten description": "A dog."} {"rewritten description": "A cat."}', "A dog."),
        ('{"rewritten description": "A sign says \\"stop\\"."}', 'A sign says "stop".'),
        ('{"rewritten description": "A sign says "stop" twice."}', 'A sign says "stop" twice.'),
        ('{"rewritten description": "A dog runs.",}', "A dog runs."),
        ('{"rewritten description": "A dog,\nthen a cat."}', "A dog,\nthen a cat."),
        ("{'rewritten description': 'A dog's tail.'}", "A dog's tail."),
        ("{“rewritten description”\uff1a“一只“大”狗。”}", "一只“大”狗。"),
        ('{"rewritten description": “A dog.”}', "A dog."),
        ('{"Rewritten_Description": "A dog."}', "A dog."),
        ('{"rewritten description": "A "big" dog.", "words": 3,}', 'A "big" dog.'),
        ('{"rewritten description": "the new text"} so: {"rewritten description": "A dog."}', "A dog."),
        ('{"rewritten description": "the new text"}', None),
        ('{"rewritten description": "  "}', None),
        ('{"rewritten description": 3}', None),
        ('{"rewritten description": "cut off', None),
        ('"rewritten description": "no braces"', None),
        ("A dog runs.", None),
        ("", None),
        ("{" * 5000, None),
    ],
)
def test_finds_the_text(answer, expected):
    assert parse_rewritten(answer) == expected


class Scripted:
    """Answers by the caption and by how often it was asked about it."""

    def __init__(self, **answers):
        self.answers = answers
        self.asked = []

    def __call__(self, instructions, clips):
        assert list(clips) == [None] * len(instructions)
        self.asked.append(list(instructions))
        return [self._next(text) for text in instructions]

    def _next(self, text):
        answers = next(answers for word, answers in self.answers.items() if f"\n\n{word}" in text)
        return answers.pop(0) if len(answers) > 1 else answers[0]


GOOD = '{"rewritten description": "Fine."}'


def test_only_unreadable_answers_are_asked_for_again():
    error = MediaError("the server is down")
    captioner = Scripted(first=[GOOD], second=["hm", "hm", GOOD], third=["hm"], fourth=[error])
    results = rewrite(captioner, ["first", "second", "third", "fourth"], attempts=4)
    assert results[:2] == ["Fine.", "Fine."]
    assert isinstance(results[2], MediaError)
    assert "4 times" in str(results[2])
    assert "'hm'" in str(results[2])
    assert results[3] is error
    assert [len(asked) for asked in captioner.asked] == [4, 2, 2, 1]


def test_a_question_that_is_asked_again_differs():
    captioner = Scripted(word=["hm"])
    rewrite(captioner, ["word"], attempts=10)
    assert len({asked[0] for asked in captioner.asked}) == len(captioner.asked) == 10
    assert captioner.asked[0] == [REWRITE_INSTRUCTION + "\n\nword"]


def test_nothing_to_rewrite_asks_nothing():
    captioner = Scripted()
    assert rewrite(captioner, []) == []
    assert captioner.asked == []


def test_prompts_are_enhanced():
    captioner = Scripted(dog=["hm", GOOD])
    assert enhance_prompts(captioner, ["dog"]) == ["Fine."]
    assert captioner.asked[0][0].startswith(ENHANCE_INSTRUCTION)


def test_instructions_show_the_form_that_is_parsed():
    for instruction in (REWRITE_INSTRUCTION, ENHANCE_INSTRUCTION):
        assert '{"rewritten description": "the new text"}' in instruction
        assert parse_rewritten(instruction) is None
