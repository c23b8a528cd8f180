"""Measures how well a model makes moving shapes: every combination asked for, every clip judged by its pixels.

Axes: T frames, H height, W width, 3 red, green, blue; pixels are uint8.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from itertools import product
from typing import TYPE_CHECKING, Any

import numpy as np
from easyanimate_core.metric import compute_psnr

from easyanimate_data.shapes.caption import Combination, Language, canonical_caption
from easyanimate_data.shapes.clip import COMBINATIONS, HELD_OUT, render_clip
from easyanimate_data.shapes.judge import Verdict, judge_clip

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from easyanimate_core.model import Model
    from easyanimate_core.request import Defaults, Video

    from easyanimate_data.frames import Frames


class ShapesTask(StrEnum):
    """What is given beside the caption: nothing, the first frame, or the first and the last."""

    TEXT = "text"
    IMAGE = "image"
    START_END = "start-end"


BEST_PSNR = 100.0
"""PSNR in dB that equal pictures are given, whose own is infinite."""

REQUIRED_PSNR = {ShapesTask.IMAGE: 24.0, ShapesTask.START_END: 22.0}
"""Least PSNR in dB between a given image and the frame at its end."""


@dataclass(frozen=True)
class Trial:
    """One clip to ask for."""

    combination: Combination
    language: Language
    seed: int

    @property
    def held_out(self) -> bool:
        """Whether training never saw the combination."""
        return self.combination in HELD_OUT


@dataclass(frozen=True)
class TrialResult:
    """What came of a trial; `psnrs` are those of the given images, in dB, at the clip's ends."""

    trial: Trial
    verdict: Verdict
    psnrs: tuple[float, ...] = ()

    @property
    def right(self) -> dict[str, bool]:
        """Which properties are as asked for."""
        wanted, found = self.trial.combination, self.verdict
        return {
            "colour": found.colour == wanted.colour,
            "shape": found.shape == wanted.shape,
            "direction": found.direction == wanted.direction,
            "all": found.agrees(wanted),
        }

    def to_json(self) -> dict[str, Any]:
        """As a mapping of plain values."""
        trial, found = self.trial, self.verdict
        return {
            "prompt": canonical_caption(trial.combination, trial.language),
            "language": trial.language,
            "seed": trial.seed,
            "held_out": trial.held_out,
            "wanted": [trial.combination.shape, trial.combination.colour, trial.combination.direction],
            "found": [found.shape, found.colour, found.direction],
            "confidence": [
                round(value, 3)
                for value in (found.shape_confidence, found.colour_confidence, found.direction_confidence)
            ],
            "psnr": [round(value, 2) for value in self.psnrs],
        }


def list_trials(languages: Iterable[Language], num_seeds: int) -> list[Trial]:
    """Every combination in every language, `num_seeds` times, each with a seed of its own."""
    return [
        Trial(combination, language, number * len(COMBINATIONS) + index)
        for language, number, (index, combination) in product(
            languages, range(num_seeds), list(enumerate(COMBINATIONS))
        )
    ]


def run_trials(
    model: Model,
    trials: Sequence[Trial],
    *,
    task: ShapesTask,
    on_result: Callable[[TrialResult, Video], None] = lambda _result, _video: None,
) -> list[TrialResult]:
    """Ask for every trial's clip and judge it.

    Args:
        model: Makes the clips, with its defaults for what is not asked for.
        trials: What to ask for.
        task: What is given beside the caption; the images are drawn with the trial's seed.
        on_result: Called after every clip.
    """
    results: list[TrialResult] = []
    for trial in trials:
        given = _draw_given(trial, task, model.defaults)
        video = model.make(
            canonical_caption(trial.combination, trial.language),
            seed=trial.seed,
            start_images=given[:1] or None,
            end_image=given[1] if len(given) > 1 else None,
        ).video
        ends = (video.frames[0], video.frames[-1])
        psnrs = tuple(_measure_psnr(image, frame) for image, frame in zip(given, ends, strict=False))
        result = TrialResult(trial, judge_clip(video.frames), psnrs)
        results.append(result)
        on_result(result, video)
    return results


def summarise(results: Sequence[TrialResult], task: ShapesTask) -> list[dict[str, Any]]:
    """Shares of right clips and of outlined shapes (0 to 1), trained and held-out combinations apart, per language.

    With given images also the mean and least PSNR, and the share of clips of which every given end reaches
    `REQUIRED_PSNR`.
    """
    rows: list[dict[str, Any]] = []
    languages = list(dict.fromkeys(result.trial.language for result in results))
    for held_out, language in product((False, True), languages):
        group = [one for one in results if one.trial.held_out == held_out and one.trial.language == language]
        if not group:
            continue
        row: dict[str, Any] = {
            "combinations": "held out" if held_out else "trained",
            "language": language,
            "clips": len(group),
        }
        row |= {name: float(np.mean([one.right[name] for one in group])) for name in group[0].right}
        row["outlined"] = float(np.mean([one.verdict.style == "outlined" for one in group]))
        for index, name in enumerate(("start", "end")[: len(group[0].psnrs)]):
            values = [one.psnrs[index] for one in group]
            row |= {f"{name} dB": float(np.mean(values)), f"least {name} dB": min(values)}
        if task in REQUIRED_PSNR:
            row["near"] = float(np.mean([min(one.psnrs) >= REQUIRED_PSNR[task] for one in group]))
        rows.append(row)
    return rows


def format_table(rows: Sequence[dict[str, Any]]) -> str:
    """The rows of `summarise` as plain text, shares in per cent."""
    lines = [list(rows[0]), *([_format(name, value) for name, value in row.items()] for row in rows)]
    widths = [max(len(line[column]) for line in lines) for column in range(len(lines[0]))]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip() for line in lines
    )


def describe_misses(results: Sequence[TrialResult]) -> list[str]:
    """A line for every clip that is not what was asked for."""
    lines: list[str] = []
    for result in results:
        trial, found = result.trial, result.verdict
        if not result.right["all"]:
            wanted = canonical_caption(trial.combination, trial.language)
            mark = " (held out)" if trial.held_out else ""
            seen = f"{found.colour} {found.shape} {found.direction}".replace("None", "?")
            lines.append(f"{wanted}{mark}, seed {trial.seed}: {seen}")
    return lines


def _measure_psnr(expected: Frames, received: Frames) -> float:
    """In dB; at most `BEST_PSNR`, so that equal pictures have a mean, too."""
    return min(BEST_PSNR, float(compute_psnr(expected, received)))


def _format(name: str, value: Any) -> str:
    if not isinstance(value, float):
        return str(value)
    return f"{value:.1f}" if name.endswith("dB") else f"{100 * value:.1f} %"


def _draw_given(trial: Trial, task: ShapesTask, defaults: Defaults) -> tuple[Frames, ...]:
    """The images that the task gives: none, the first frame, or the first and the last."""
    if task == ShapesTask.TEXT:
        return ()
    clip = render_clip(
        trial.combination,
        rng=np.random.default_rng(trial.seed),
        num_frames=defaults.num_frames,
        height=defaults.height,
        width=defaults.width,
    )
    return (clip[0],) if task == ShapesTask.IMAGE else (clip[0], clip[-1])
