"""Captions of the shapes clips in English and Chinese, in a few forms of few words."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product
from typing import TYPE_CHECKING, Literal, get_args

if TYPE_CHECKING:
    import numpy as np

Language = Literal["en", "zh"]
LANGUAGES: tuple[Language, ...] = get_args(Language)

SHAPES = ("circle", "square", "triangle")
COLOURS = ("red", "green", "blue", "yellow", "white", "purple")
DIRECTIONS = ("left", "right", "up", "down")


@dataclass(frozen=True)
class Combination:
    """What a clip shows: a shape of `SHAPES`, a colour of `COLOURS`, moving in a direction of `DIRECTIONS`."""

    shape: str
    colour: str
    direction: str

    def __post_init__(self) -> None:
        """Refuse names that no clip shows."""
        for name, known in ((self.shape, SHAPES), (self.colour, COLOURS), (self.direction, DIRECTIONS)):
            if name not in known:
                raise ValueError(f"{name!r} is none of {', '.join(known)}")


FORMS_EN = (
    "a {colour} {shape} moves {way}",
    "a {colour} {shape} moving {way}",
    "the {colour} {shape} moves {way}",
    "the {colour} {shape} slides {way}",
    "a {colour} {shape} slides {way}",
    "a {colour} {shape} is moving {way}",
    "a {colour} {shape} goes {way} on a dark background",
)
FORMS_ZH = (
    "一个{colour}的{shape}向{way}移动",
    "一个{colour}{shape}向{way}移动",
    "{colour}的{shape}向{way}移动",
    "{colour}{shape}正在向{way}移动",
    "一个{colour}的{shape}往{way}滑动",
    "{colour}的{shape}往{way}走",
)
WAYS_EN = {
    "left": ("to the left", "left"),
    "right": ("to the right", "right"),
    "up": ("up", "upwards"),
    "down": ("down", "downwards"),
}
NAMES_ZH = {
    "circle": "圆形",
    "square": "正方形",
    "triangle": "三角形",
    "red": "红色",
    "green": "绿色",
    "blue": "蓝色",
    "yellow": "黄色",
    "white": "白色",
    "purple": "紫色",
    "left": "左",
    "right": "右",
    "up": "上",
    "down": "下",
}


def describe(combination: Combination, *, rng: np.random.Generator, language: Language = "en") -> str:
    """A caption in one of several forms."""
    forms = FORMS_EN if language == "en" else FORMS_ZH
    return _fill(combination, form=int(rng.integers(len(forms))), way=int(rng.integers(2)), language=language)


def canonical_caption(combination: Combination, language: Language = "en") -> str:
    """The first form, which evaluation uses: "a red circle moves to the right"."""
    return _fill(combination, form=0, way=0, language=language)


def _fill(combination: Combination, *, form: int, way: int, language: Language) -> str:
    if language == "en":
        words = {"colour": combination.colour, "shape": combination.shape, "way": WAYS_EN[combination.direction][way]}
        return FORMS_EN[form].format(**words)
    words = {
        "colour": NAMES_ZH[combination.colour],
        "shape": NAMES_ZH[combination.shape],
        "way": NAMES_ZH[combination.direction],
    }
    return FORMS_ZH[form].format(**words)


def all_captions(languages: tuple[Language, ...] = LANGUAGES) -> list[str]:
    """Every caption that a clip can have, held-out combinations among them."""
    return [caption for language in languages for caption in _list_captions(language)]


def _list_captions(language: Language) -> list[str]:
    forms = FORMS_EN if language == "en" else FORMS_ZH
    combinations = [Combination(*names) for names in product(SHAPES, COLOURS, DIRECTIONS)]
    return [
        _fill(combination, form=form, way=way, language=language)
        for combination, form, way in product(combinations, range(len(forms)), range(2))
    ]


VOCABULARY_EN = tuple(sorted({word for caption in _list_captions("en") for word in caption.split()}))
"""Every English word that a caption uses."""

VOCABULARY_ZH = tuple(sorted({char for caption in _list_captions("zh") for char in caption}))
"""Every Chinese character that a caption uses."""
