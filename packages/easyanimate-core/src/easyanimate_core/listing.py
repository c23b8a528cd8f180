"""Which files of a component folder are its weights: one listing, by which they are checked and loaded."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath, PureWindowsPath

from easyanimate_core.errors import WeightsError
from easyanimate_core.json_object import read_object, shorten
from easyanimate_core.weights_file import PICKLE_SUFFIXES, WEIGHTS_SUFFIXES, is_weights_file

_STEMS = ("diffusion_pytorch_model", "model", "pytorch_model")
"""What diffusers and transformers call weights, in the order in which they count."""
_VARIANTS = ("fp16", "bf16", "fp32", "ema", "non_ema")
"""What the names of other versions of the same weights carry before the ending."""
_OTHERS = re.compile(r"(optimizer|scheduler|scaler|training_args|rng_state|random_states)([._-].*)?")
"""What trainers leave beside weights, by the name without its ending."""

_PART = r"-(?P<{}>\d{{5}})-of-(?P<{}>\d{{5}})"
_NAME = re.compile(
    rf"(?P<stem>.+?)({_PART.format('number', 'total')})?(\.(?P<variant>{'|'.join(_VARIANTS)}))?"
    rf"({_PART.format('late_number', 'late_total')})?"
)
_INDEX = re.compile(
    rf"(?P<stem>.+?)(\.(?P<variant>{'|'.join(_VARIANTS)}))?(?P<suffix>{'|'.join(map(re.escape, WEIGHTS_SUFFIXES))})"
    rf"\.index(\.(?P<late_variant>{'|'.join(_VARIANTS)}))?\.json"
)


@dataclass
class _Candidate:
    """Files that are whole weights together.

    Args:
        folder: Where they lie.
        stem: What their names begin with.
        variant: See `_VARIANTS`; empty for none.
        suffix: Their ending.
        parts: Files by their number; one alone has the number 0.
        total: How many parts there must be; 0 for a file alone.
        index: The file that names them; None where their numbers tell.
    """

    folder: Path
    stem: str
    variant: str
    suffix: str
    total: int
    parts: dict[int, Path] = field(default_factory=dict[int, Path])
    index: Path | None = None

    @property
    def name(self) -> str:
        variant = f".{self.variant}" if self.variant else ""
        return f"{self.stem}{variant}{self.suffix}"

    @property
    def group(self) -> tuple[bool, bool]:
        """Smaller comes first: names that are known, then those without a variant."""
        return self.stem not in _STEMS, bool(self.variant)

    @property
    def identity(self) -> tuple[str, str]:
        """What must be the same for all that are the same weights: a name that is not known, and the variant."""
        return "" if self.stem in _STEMS else self.stem, self.variant

    @property
    def rank(self) -> tuple[int, int, int]:
        """Within its group: by the name, then by the ending, then one file before parts."""
        stem = _STEMS.index(self.stem) if self.stem in _STEMS else len(_STEMS)
        return stem, WEIGHTS_SUFFIXES.index(self.suffix), self.total

    def check_parts(self) -> None:
        """Raise `WeightsError` unless all parts are there."""
        if self.index is not None:
            missing = [path.name for path in self.parts.values() if not path.is_file()]
        else:
            missing = [f"number {number}" for number in range(1, self.total + 1) if number not in self.parts]
        if missing:
            raise WeightsError(
                f"Parts of the weights are missing: {shorten(', '.join(missing))} in {self.folder}",
                received=f"{self.total - len(missing)} of {self.total} parts",
                expected=f"all that {self.index.name} names" if self.index else f"all {self.total} of {self.name}",
            )


def list_weights(folder: Path) -> tuple[Path, ...]:
    """The files that hold the weights of a component, in order.

    Names are those of diffusers and transformers, or any other where there is only one; with fp16, bf16, fp32, ema or
    non_ema before the ending where there is nothing without; in parts, by an index or by the numbers in their names.
    safetensors come before PyTorch's own formats, one file before parts. Hidden files, such as the `._` files of macOS,
    and what trainers leave beside weights do not count.

    Raises:
        WeightsError: There are none, a part is missing, the index is damaged, or nobody can tell which ones are meant.
    """
    candidates = sorted(_find_candidates(folder), key=lambda candidate: (candidate.group, candidate.rank))
    if not candidates:
        names = sorted(item.name for item in folder.iterdir()) if folder.is_dir() else []
        raise WeightsError(
            f"The weights are missing in {folder}",
            received=shorten(", ".join(names)) or "an empty folder",
            expected=f"a file that ends in {', '.join(WEIGHTS_SUFFIXES)}",
        )
    best = candidates[0]
    rivals = {one.name for one in candidates if one.group == best.group and one.identity != best.identity}
    if rivals:
        raise WeightsError(
            f"It cannot be told which weights are meant in {folder}",
            received=shorten(", ".join(sorted({best.name, *rivals}))),
            expected="one of them",
            fix=f"remove the others, or call it {_STEMS[0]}{best.suffix}",
        )
    best.check_parts()
    return tuple(best.parts[number] for number in sorted(best.parts))


def check_parts(folder: Path) -> None:
    """Raise `WeightsError` where any weights in a folder lack a part, whatever they are called."""
    for candidate in _find_candidates(folder):
        candidate.check_parts()


def find_weights_folders(folder: Path) -> list[Path]:
    """The folders at and below `folder` that hold files of weights; hidden ones do not count."""
    found = {path.parent for path in folder.rglob("*") if is_weights_file(path)}
    return sorted(place for place in found if not any(part.startswith(".") for part in place.relative_to(folder).parts))


def _find_candidates(folder: Path) -> list[_Candidate]:
    items = sorted(folder.iterdir()) if folder.is_dir() else []
    candidates = [_read_index(path, match) for path in items if (match := _match_index(path))]
    in_index = {part for candidate in candidates for part in candidate.parts.values()}
    by_name: dict[tuple[str, str, str, int], _Candidate] = {}
    for path in items:
        if path in in_index or not is_weights_file(path):
            continue
        match = _NAME.fullmatch(path.stem)
        if match is None or (path.suffix in PICKLE_SUFFIXES and _OTHERS.fullmatch(path.stem)):
            continue
        number = int(match["number"] or match["late_number"] or 0)
        total = int(match["total"] or match["late_total"] or 0)
        if number > total:
            continue
        key = (match["stem"], match["variant"] or "", path.suffix, total)
        by_name.setdefault(key, _Candidate(folder, *key)).parts[number] = path
    return [*candidates, *by_name.values()]


def _match_index(path: Path) -> re.Match[str] | None:
    return _INDEX.fullmatch(path.name) if not path.name.startswith(".") and path.is_file() else None


def _read_index(path: Path, match: re.Match[str]) -> _Candidate:
    """The parts that an index names; they are plain names of files beside it."""
    weight_map = read_object(path, max_bytes=32_000_000).object("weight_map")
    names = sorted({weight_map.text(tensor, most=255) for tensor in weight_map})
    for name in names:
        is_plain = PurePosixPath(name).name == name and PureWindowsPath(name).name == name
        if not is_plain or not name.endswith(WEIGHTS_SUFFIXES):
            raise WeightsError(
                f"The index is damaged: {path}",
                received=shorten(name),
                expected="names of files beside it that end as weights do",
            )
    parts = {number: path.with_name(name) for number, name in enumerate(names)}
    variant = match["variant"] or match["late_variant"] or ""
    if not parts:
        raise WeightsError(f"The index is damaged: {path}", received="no tensor", expected='names in "weight_map"')
    return _Candidate(path.parent, match["stem"], variant, match["suffix"], len(parts), parts, path)
