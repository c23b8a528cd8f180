"""The work of writing: captions about clips, and captions rewritten."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, cast

from easyanimate_core import FrameChoice
from easyanimate_core.errors import MediaError
from easyanimate_core.registry import load_plugins

from easyanimate_data.preparation.score import complete_options, read_clip

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from easyanimate_core.preparation import Captioner

    from easyanimate_data.frames import Frames, Reader
    from easyanimate_data.preparation.config import TextConfig
    from easyanimate_data.preparation.table import Row

CAPTION_FRAMES = FrameChoice("uniform", 8)


@dataclass(frozen=True, kw_only=True)
class Caption:
    """Writes what clips show.

    Args:
        dataset: Folder that the clips' paths start from.
        config: Which model, what it is told.
        reader: What decodes the clips.
        batch_size: Clips at a time.
        num_gpus: Graphics cards per worker on a Ray cluster.
    """

    dataset: Path
    config: TextConfig
    reader: Reader = "pyav"
    batch_size: int = 8
    num_gpus: float = 0.0

    def open(self) -> Callable[[Sequence[Row]], list[dict[str, Any] | Exception]]:
        """Load the captioner."""
        from easyanimate_data.preparation.captioner.instruction import CAPTION_INSTRUCTION

        captioner = _load_captioner(self.config, "caption")
        instruction = self.config.instruction or CAPTION_INSTRUCTION

        def caption(rows: Sequence[Row]) -> list[dict[str, Any] | Exception]:
            clips = [read_clip(self.dataset, row, CAPTION_FRAMES, self.reader) for row in rows]
            good = [i for i, clip in enumerate(clips) if not isinstance(clip, Exception)]
            answers = captioner([instruction] * len(good), [cast("Frames", clips[i]) for i in good]) if good else []
            written = dict(zip(good, answers, strict=True))
            return [
                clip if isinstance(clip, Exception) else _column("caption", written[i]) for i, clip in enumerate(clips)
            ]

        return caption


@dataclass(frozen=True, kw_only=True)
class Rewrite:
    """Turns captions into descriptions that a video could be made from.

    Args:
        config: Which model, what it is told; it answers with JSON that has a "rewritten description".
        compat: Ask once only, as the original's V4.
        batch_size: Captions at a time.
        num_gpus: Graphics cards per worker on a Ray cluster.
    """

    config: TextConfig
    compat: bool = False
    batch_size: int = 8
    num_gpus: float = 0.0

    def open(self) -> Callable[[Sequence[Row]], list[dict[str, Any] | Exception]]:
        """Load the model."""
        from easyanimate_data.preparation.captioner.instruction import REWRITE_INSTRUCTION
        from easyanimate_data.preparation.captioner.rewriting import ATTEMPTS, COMPAT_ATTEMPTS, rewrite
        from easyanimate_data.preparation.captioner.specs import REWRITE_OPTIONS

        defaults = REWRITE_OPTIONS.get(self.config.captioner, {})
        captioner = _load_captioner(replace(self.config, options=defaults | self.config.options), "rewrite")
        instruction = self.config.instruction or REWRITE_INSTRUCTION
        attempts = COMPAT_ATTEMPTS if self.compat else ATTEMPTS

        def work(rows: Sequence[Row]) -> list[dict[str, Any] | Exception]:
            told = [row for row in rows if row.get("caption")]
            texts = [str(row["caption"]) for row in told]
            answers = iter(rewrite(captioner, texts, instruction=instruction, attempts=attempts) if texts else [])
            return [_column("rewritten", next(answers)) if row.get("caption") else {"rewritten": None} for row in rows]

        return work


def _load_captioner(config: TextConfig, name: str) -> Captioner:
    spec = load_plugins().captioner(config.captioner)
    return spec.load(**complete_options(spec.load, config.options, name=name))


def _column(name: str, answer: str | Exception) -> dict[str, Any] | Exception:
    if isinstance(answer, Exception):
        return answer
    text = answer.strip()
    return {name: text} if text else MediaError("The model wrote nothing.", received=repr(answer))
