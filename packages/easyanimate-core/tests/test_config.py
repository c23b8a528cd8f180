from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import pytest
from easyanimate_core import RequestError
from easyanimate_core.config import read_config


@dataclass(frozen=True)
class Optimizer:
    learning_rate: float = 1e-4
    betas: tuple[float, ...] = (0.9, 0.999)


@dataclass(frozen=True)
class Training:
    out: Path
    max_steps: int = 100
    seed: int | None = None
    ema: bool = False
    batches: tuple[tuple[int, ...], ...] = ((1, 16),)
    optimizer: Optimizer = field(default_factory=Optimizer)


@pytest.fixture
def path(tmp_path):
    path = tmp_path / "train.yaml"
    path.write_text("out: runs/a\noptimizer:\n  learning_rate: 1e-3\nbatches: [[4, 1], [2, 16]]\n", encoding="utf-8")
    return path


def test_a_file_fills_the_dataclass(path):
    config = read_config(Training, path)
    assert config == Training(
        out=Path("runs/a"), batches=((4, 1), (2, 16)), optimizer=Optimizer(learning_rate=1e-3, betas=(0.9, 0.999))
    )


def test_words_take_precedence(path):
    words = ["max_steps=7", "optimizer.learning_rate=0.5", "optimizer.betas=[0.8, 0.9]", "seed=3", "ema=true", "out=b"]
    config = read_config(Training, path, words)
    assert (config.max_steps, config.seed, config.ema, config.out) == (7, 3, True, Path("b"))
    assert config.optimizer == Optimizer(learning_rate=0.5, betas=(0.8, 0.9))


def test_words_alone():
    assert read_config(Training, None, ["out=c"]) == Training(out=Path("c"))
    assert read_config(Training, None, ["out=c", "seed=null"]).seed is None


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["max_step=7"], "did you mean max_steps"),
        (["optimizer.lr=7"], "Unknown setting optimizer.lr"),
        (["max_steps=many"], "max_steps must be a whole number"),
        (["max_steps=true"], "max_steps must be a whole number"),
        (["max_steps=1.5"], "max_steps must be a whole number"),
        (["optimizer.learning_rate=fast"], "optimizer.learning_rate must be a number"),
        (["optimizer=7"], "optimizer must be a group of settings"),
        (["batches=[[1, x]]"], r"batches\[0\]\[1\] must be a whole number"),
        (["max_steps"], "no value"),
        (["max_steps.deep=7"], "max_steps"),
        (["out.deep=7"], "does not fit"),
        (["optimizer.learning_rate.deep=7"], "does not fit"),
        (["seed=[1"], "does not fit"),
    ],
)
def test_what_does_not_fit(path, words, message):
    with pytest.raises(RequestError, match=message):
        read_config(Training, path, words)


def test_a_missing_setting():
    with pytest.raises(RequestError, match="out"):
        read_config(Training)


@pytest.mark.parametrize("content", ["[1, 2]", "a: [", "\x00"])
def test_a_file_that_is_no_configuration(path, content):
    path.write_text(content)
    with pytest.raises(RequestError, match=r"train\.yaml"):
        read_config(Training, path)


def test_a_file_that_is_not_there(tmp_path):
    with pytest.raises(RequestError, match="cannot be read"):
        read_config(Training, tmp_path / "none.yaml")


def test_a_missing_setting_is_named():
    @dataclass(frozen=True, kw_only=True)
    class Needs:
        out: Path
        size: int = 3

    with pytest.raises(RequestError) as caught:
        read_config(Needs)
    assert caught.value.expected == "values for out"


def test_no_is_a_word_where_it_is_a_choice(tmp_path):
    @dataclass(frozen=True)
    class Chooses:
        precision: Literal["no", "bf16"] = "bf16"

    (tmp_path / "c.yaml").write_text("precision: no\n")
    assert read_config(Chooses, tmp_path / "c.yaml").precision == "no"


@dataclass(frozen=True)
class Bound:
    minimum: float | None = None


@dataclass(frozen=True)
class Bounded:
    bounds: dict[str, Bound] = field(default_factory=dict)
    bound: Bound = field(default_factory=Bound)


def test_a_mapping_of_dataclasses(tmp_path):
    (tmp_path / "c.yaml").write_text("bounds: {low: {minimum: 1}, any: {minimum: null}}\n")
    words, defaults = (
        ["bounds.high.minimum=2"],
        {"bounds.low.minimum": 5, "bounds.any.minimum": 5, "bounds.usual.minimum": 5},
    )
    read = read_config(Bounded, tmp_path / "c.yaml", words, defaults=defaults)
    assert read.bounds == {"low": Bound(1.0), "any": Bound(None), "high": Bound(2.0), "usual": Bound(5.0)}
    with pytest.raises(RequestError, match=r"Unknown setting bounds.low.minimun[\s\S]*did you mean minimum"):
        read_config(Bounded, None, ["bounds.low.minimun=1"])
    with pytest.raises(RequestError, match=r"bounds\.low\.minimum must be a number"):
        read_config(Bounded, None, ["bounds.low.minimum=much"])


def test_a_section_whose_lines_are_all_comments(tmp_path):
    (tmp_path / "c.yaml").write_text("bounds:\n  low:\nbound:\n")
    assert read_config(Bounded, tmp_path / "c.yaml") == Bounded(bounds={"low": Bound()})
    assert read_config(Bounded, tmp_path / "c.yaml", defaults={"bound.minimum": 3}).bound == Bound(3.0)
    assert read_config(Bounded, tmp_path / "c.yaml", ["bound.minimum=4"]).bound == Bound(4.0)
