"""What a stage has finished so far, an item a line: a run that was killed goes on after the last one."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any, Self

from easyanimate_core.atomic import atomic_path

if TYPE_CHECKING:
    from pathlib import Path
    from types import TracebackType
    from typing import BinaryIO


@dataclass(frozen=True)
class Outcome:
    """What became of one item.

    Args:
        values: Columns of its row; of a source video, `clips`: the rows of its clips.
        error: What went wrong, in one line.
        seconds: How long it took.
    """

    values: dict[str, Any] = field(default_factory=dict[str, Any])
    error: str | None = None
    seconds: float = 0.0


class Journal:
    """A file of outcomes by key, for `with`.

    A line counts when it ends: what a kill left half-written is cut off.

    Args:
        path: The file; made when missing.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._file: BinaryIO | None = None

    def read(self) -> dict[str, Outcome]:
        """All outcomes by key; of several for one key, the last."""
        if not self.path.is_file():
            return {}
        outcomes: dict[str, Outcome] = {}
        for line in self.path.read_bytes().split(b"\n")[:-1]:
            item = json.loads(line)
            key = item.pop("key")
            outcomes[key] = Outcome(**item)
        return outcomes

    def __enter__(self) -> Self:
        """Open for adding."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self._file = self.path.open("a+b")
        self._file.seek(0)
        whole = self._file.read().rfind(b"\n") + 1
        self._file.truncate(whole)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close; a disk that is full may keep the last line from being written, then that item is done again."""
        if self._file is not None:
            self._file.close()
            self._file = None

    def add(self, key: str, outcome: Outcome) -> None:
        """Note an outcome, at once."""
        if self._file is None:
            raise ValueError("The journal is not open.")
        self._file.write(_line(key, outcome))
        self._file.flush()

    def forget(self, keys: set[str] | None = None) -> None:
        """Drop outcomes (all of them by default), so that their items are done again."""
        if keys is None:
            self.path.unlink(missing_ok=True)
            return
        kept = {key: outcome for key, outcome in self.read().items() if key not in keys}
        with atomic_path(self.path) as part:
            part.write_bytes(b"".join(_line(key, outcome) for key, outcome in kept.items()))


def _line(key: str, outcome: Outcome) -> bytes:
    return json.dumps({"key": key, **asdict(outcome)}, ensure_ascii=False).encode() + b"\n"
