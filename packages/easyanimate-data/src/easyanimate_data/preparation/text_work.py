"""The stages `caption` and `rewrite`: captions about clips, and captions rewritten as prompts."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar, cast

from easyanimate_core import FrameChoice, Work
from easyanimate_core.registry import load_plugins

from easyanimate_data.preparation.captioner.answer import read_description
from easyanimate_data.preparation.score import add_defaults, complete_options, read_clip, takes_device
from easyanimate_data.preparation.table import waiting_column

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from easyanimate_core.preparation import Captioner, CaptionerSpec

    from easyanimate_data.frames import Frames
    from easyanimate_data.preparation.table import Row

_LONGEST_ERROR = 500
"""Characters of an error that the table keeps."""

CAPTION_FRAMES = FrameChoice("uniform", 8)


@dataclass(frozen=True, kw_only=True)
class TextSettings:
    """How a model writes text.

    Args:
        captioner: Key of the captioner: "transformers", "openai", or one of another package.
        instruction: What the model is told; null takes the instruction that ships with this package.
        options: Options of the captioner: model, base_url, ...
    """

    captioner: str = "transformers"
    instruction: str | None = None
    options: dict[str, Any] = field(default_factory=dict[str, Any])


class TextWork(Work):
    """What the two stages share: a captioner with its options."""

    stage: ClassVar[str]
    default_options: ClassVar[dict[str, dict[str, Any]]] = {}
    """Options that differ from the captioner's own defaults, by captioner."""

    @property
    def batch_size(self) -> int:
        """As the user says: a captioner takes any number."""
        return self.context.batch_size

    @property
    def num_gpus(self) -> float:
        """A captioner that takes no device needs none."""
        return self.context.gpus_per_worker if takes_device(self._spec.load) else 0.0

    @property
    def depends_on(self) -> Mapping[str, Any]:
        """All settings but a key, which is a secret."""
        options = {name: value for name, value in self.settings.options.items() if name != "api_key"}
        return asdict(self.settings) | {"options": options}

    def check(self) -> None:
        """Refuse a captioner that is not installed, and options that it does not know."""
        complete_options(self._spec.load, self.settings.options, name=self.stage)

    def check_needs(self) -> None:
        """Refuse where what the captioner needs is not there."""
        if self._spec.check:
            self._spec.check(**add_defaults(self._spec.load, self._options))

    def load(self) -> Captioner:
        """Load the captioner."""
        return self._spec.load(**self._options)

    @property
    def _options(self) -> dict[str, Any]:
        options = {**self.default_options.get(self.settings.captioner, {}), **self.settings.options}
        return complete_options(self._spec.load, options, name=self.stage)

    @property
    def _spec(self) -> CaptionerSpec:
        return load_plugins().captioner(self.settings.captioner)


class Caption(TextWork):
    """Writes what clips show."""

    stage = "caption"

    def open(self) -> Callable[[Sequence[Row]], list[dict[str, Any] | Exception]]:
        """Load the captioner."""
        from easyanimate_data.preparation.captioner.instruction import CAPTION_INSTRUCTION

        captioner = self.load()
        instruction = self.settings.instruction or CAPTION_INSTRUCTION

        def caption(rows: Sequence[Row]) -> list[dict[str, Any] | Exception]:
            clips = [read_clip(self.context, row, CAPTION_FRAMES) for row in rows]
            good = [i for i, clip in enumerate(clips) if not isinstance(clip, Exception)]
            answers = captioner([instruction] * len(good), [cast("Frames", clips[i]) for i in good]) if good else []
            written = dict(zip(good, answers, strict=True))
            return [
                clip if isinstance(clip, Exception) else _fill("caption", written[i]) for i, clip in enumerate(clips)
            ]

        return caption


class Rewrite(TextWork):
    """Turns captions into descriptions that a video could be made from.

    The model answers with JSON that has a "rewritten description"; with `compat` it is asked once only, as in the
    original's V4.
    """

    stage = "rewrite"
    default_options: ClassVar = {
        "transformers": {"model": "Qwen/Qwen2.5-7B-Instruct", "temperature": 0.7},
        "openai": {"temperature": 0.7},
    }

    def open(self) -> Callable[[Sequence[Row]], list[dict[str, Any] | Exception]]:
        """Load the model."""
        from easyanimate_data.preparation.captioner.instruction import REWRITE_INSTRUCTION
        from easyanimate_data.preparation.captioner.rewriting import ATTEMPTS, COMPAT_ATTEMPTS, rewrite

        captioner = self.load()
        instruction = self.settings.instruction or REWRITE_INSTRUCTION
        attempts = COMPAT_ATTEMPTS if self.context.compat else ATTEMPTS

        def work(rows: Sequence[Row]) -> list[dict[str, Any] | Exception]:
            captioned = [row for row in rows if row.get("caption")]
            texts = [str(row["caption"]) for row in captioned]
            answers = iter(rewrite(captioner, texts, instruction=instruction, attempts=attempts) if texts else [])
            return [_fill("rewritten", next(answers)) if row.get("caption") else {"rewritten": None} for row in rows]

        return work


def _fill(column: str, answer: str | Exception) -> dict[str, Any] | Exception:
    """The value of a column, or why the clip waits for one: a model that fails says nothing against the clip."""
    found = read_description(answer) if isinstance(answer, str) else answer
    if isinstance(found, str):
        return {column: found}
    return {column: None, waiting_column(column): " ".join(str(found).split())[:_LONGEST_ERROR]}
