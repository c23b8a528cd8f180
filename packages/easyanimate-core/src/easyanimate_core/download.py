"""Brings weights to this machine: from Hugging Face with resume, or out of the original's tar archives."""

from __future__ import annotations

import importlib
import lzma
import shutil
import tarfile
import tempfile
import zlib
from collections.abc import Callable, Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Self

from easyanimate_core.atomic import removing_empty
from easyanimate_core.errors import EasyAnimateError, WeightsError
from easyanimate_core.machine import check_disk_space, format_bytes, user_data_folder
from easyanimate_core.request import Progress
from easyanimate_core.spec import WeightsSource

MODELS_FOLDER = Path("models")
"""Where the original keeps checkpoints, below the working folder; looked at first."""

_MAX_GROWTH = 20
_SMALL_BYTES = 100_000_000
"""Weights are hardly smaller when packed: an archive that grows by more than that is made to fill disks."""

OnProgress = Callable[[Progress], None]


def hub_source(model_key: str, hub_id: str) -> WeightsSource:
    """A source for any repository on Hugging Face, kept in `models/OWNER--NAME`."""
    return WeightsSource(
        model=model_key,
        name=hub_id,
        summary=f"{hub_id} on Hugging Face",
        licence="see its page",
        hub_id=hub_id,
        folder=hub_id.replace("/", "--"),
    )


def models_home() -> Path:
    """Where weights are kept for the user, in the original's layout: `models` in `EA_HOME`."""
    return user_data_folder() / "models"


def local_folder(source: WeightsSource, models_folder: Path | None = None) -> Path:
    """Where the weights of a source are, or belong.

    Args:
        source: The weights.
        models_folder: A folder in the original's layout; None takes `./models` where they are there, else the user's.
    """
    if source.path is not None:
        return source.path
    name = source.folder or (source.hub_id or source.name).replace("/", "--")
    if models_folder is not None:
        return models_folder / name
    here = MODELS_FOLDER / name
    return here if here.is_dir() else models_home() / name


def pull(
    source: WeightsSource,
    models_folder: Path | None = None,
    on_progress: OnProgress | None = None,
    *,
    endpoint: str | None = None,
) -> Path:
    """Download weights from Hugging Face to `local_folder`; goes on where an earlier download stopped.

    Args:
        source: What to download; show its `licence` before.
        models_folder: See `local_folder`.
        on_progress: Called with the phase "download" and bytes.
        endpoint: Address of the hub; None takes the usual one.

    Returns:
        The folder.

    Raises:
        WeightsError: When there is nothing to download, or the download fails.
        EasyAnimateError: When the disk is too small.
    """
    folder = local_folder(source, models_folder)
    if source.path is not None:
        return folder
    if source.hub_id is None:
        raise WeightsError(
            f"The weights {source.name} of {source.model} cannot be downloaded.",
            expected=f"the folder {folder}",
            fix=f"unpack an archive of them: ea weights pull {source.model} {source.name} --from FILE",
        )
    # From there, because the HTTP library behind it depends on the version of huggingface_hub.
    from huggingface_hub.errors import HTTPError  # pyright: ignore[reportPrivateImportUsage]

    try:
        with _making(folder):
            _download(source.hub_id, folder, on_progress, endpoint)
    except (HTTPError, OSError, ValueError) as error:
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise WeightsError(
            f"The download of {source.hub_id} failed: {reason}",
            received=source.hub_id,
            expected="a connection to Hugging Face, and access to this repository",
            fix=f"repeat it, it goes on where it stopped: ea weights pull {source.model} {source.name}",
        ) from error
    return folder


def unpack_archive(
    archive: Path,
    destination: Path,
    on_progress: OnProgress | None = None,
    *,
    check: Callable[[Path], None] | None = None,
) -> Path:
    """Unpack a tar or tar.gz of weights so that `destination` is the weights folder.

    Where everything in the archive lies below one folder, as in the original's archives, that folder becomes
    `destination`. Links and names that lead outside, devices and the like are refused. After a refusal nothing is left.

    Args:
        archive: The file.
        destination: A folder that does not exist yet.
        on_progress: Called with the phase "unpack" and bytes of the archive.
        check: Raises an error unless the unpacked folder is what belongs there; called before it takes its name.

    Returns:
        `destination`.

    Raises:
        WeightsError: When the archive is missing, incomplete or unsafe, or `destination` is there already.
        EasyAnimateError: When the disk is too small or the place cannot be written.
    """
    if not archive.is_file():
        raise WeightsError("There is no such archive.", received=archive, expected="a .tar or .tar.gz file")
    if destination.exists():
        raise WeightsError(
            f"The folder is there already: {destination}", fix="choose another folder, or remove this one"
        )
    check_disk_space(destination, archive.stat().st_size)
    with (
        _making(destination.parent),
        tempfile.TemporaryDirectory(
            prefix=f".{destination.name}.", dir=destination.parent, ignore_cleanup_errors=True
        ) as name,
    ):
        part = Path(name) / "content"
        part.mkdir()
        try:
            _extract(archive, part, on_progress)
        except tarfile.FilterError as error:
            raise WeightsError(f"The archive is unsafe: {error}", received=archive) from error
        except (
            tarfile.TarError,
            EOFError,
            zlib.error,
            lzma.LZMAError,
            OSError,
            ValueError,
            LookupError,
            OverflowError,
        ) as error:
            raise WeightsError(
                f"The archive cannot be unpacked: {error}",
                received=f"{archive}, {archive.stat().st_size} bytes",
                expected="a whole .tar or .tar.gz file",
                fix="download the archive again",
            ) from error
        entries = [entry for entry in part.iterdir() if not entry.name.startswith((".", "__MACOSX"))]
        content = entries[0] if len(entries) == 1 and entries[0].is_dir() else part
        if check is not None:
            check(content)
        content.replace(destination)
    return destination


@contextmanager
def _making(folder: Path) -> Generator[None]:
    """Make a folder for the block; where that fails or the block leaves it empty, what was made is gone again.

    Raises:
        EasyAnimateError: It cannot be made or written.
    """
    is_new = not folder.exists()
    with removing_empty(folder):
        try:
            folder.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryFile(dir=folder):
                pass
        except OSError as error:
            raise EasyAnimateError(
                f"The folder cannot be written: {folder}",
                received=error.strerror or error,
                expected="a folder of yours on a disk that can be written",
                fix="choose another place: set EA_HOME to a folder",
            ) from error
        try:
            yield
        except BaseException:
            if is_new and not any(_is_content(path) for path in folder.rglob("*")):
                shutil.rmtree(folder, ignore_errors=True)  # locks and records of a download that never began
            raise


def _is_content(path: Path) -> bool:
    """Whether a file holds something to go on with: not an empty one, nor what a download notes for itself."""
    records = (".lock", ".metadata", ".gitignore", "CACHEDIR.TAG")
    return path.is_file() and not path.name.endswith(records) and path.stat().st_size > 0


def _download(hub_id: str, folder: Path, on_progress: OnProgress | None, endpoint: str | None) -> None:
    """Fetch all files of the newest revision one by one; each goes on from its own partial file."""
    hub: Any = importlib.import_module("huggingface_hub")  # its own types are incomplete
    info = hub.HfApi(endpoint=endpoint).model_info(hub_id, files_metadata=True)
    sizes: dict[str, int] = {item.rfilename: item.size or 0 for item in info.siblings or ()}
    here = {name for name, size in sizes.items() if _has_size(folder / name, size)}
    check_disk_space(folder, sum(size for name, size in sizes.items() if name not in here))
    meter = _Meter(sum(sizes.values()), on_progress)
    for name, size in sizes.items():
        meter.begin()
        # Asked for even when it is here: the hub's hash decides whether it is the newest.
        hub.hf_hub_download(
            hub_id, name, revision=info.sha, local_dir=folder, endpoint=endpoint, tqdm_class=meter.bar_class()
        )
        meter.finish(size)


def _has_size(path: Path, size: int) -> bool:
    return path.is_file() and path.stat().st_size == size


class _Meter:
    """Counts bytes over several files, and tells them to `on_progress`."""

    def __init__(self, total: int, on_progress: OnProgress | None) -> None:
        self._total = total
        self._on_progress = on_progress
        self._finished = 0
        self._current = 0

    def begin(self) -> None:
        self._current = 0

    def add(self, num_bytes: float) -> None:
        self._current += int(num_bytes)
        self._tell(self._finished + self._current)

    def finish(self, size: int) -> None:
        self._finished += size
        self._tell(self._finished)

    def _tell(self, done: int) -> None:
        if self._on_progress is not None:
            self._on_progress(Progress("download", min(done, self._total), self._total))

    def bar_class(self) -> Any:
        """What huggingface_hub takes for a progress bar: the part of tqdm that it calls."""
        meter = self

        class Bar:
            def __init__(self, *_: Any, initial: float = 0, **__: Any) -> None:
                meter.begin()  # a repeated attempt starts a new bar
                meter.add(initial)

            def update(self, n: float | None = 1) -> None:
                meter.add(n or 0)

            def update_transfer(self, n: float | None = 1) -> None:
                """Bytes on the wire; only those on the disk are counted."""

            def close(self) -> None:
                """Nothing is drawn."""

            def __enter__(self) -> Self:
                return self

            def __exit__(self, *_: object) -> None:
                """Nothing is drawn."""

        return Bar


def _extract(archive: Path, folder: Path, on_progress: OnProgress | None) -> None:
    size = archive.stat().st_size
    total = 0
    with archive.open("rb") as raw, tarfile.open(fileobj=raw, mode="r:*") as tar:
        for member in tar:
            total += max(member.size, 0)
            if total > _SMALL_BYTES + _MAX_GROWTH * size:
                raise WeightsError(
                    "The archive is unsafe: it grows as no weights do.",
                    received=f"{archive}, {format_bytes(size)}, with more than {format_bytes(total)}",
                    expected=f"at most {_MAX_GROWTH} times its size",
                )
            if member.isfile():
                check_disk_space(folder, member.size)
            tar.extract(member, folder, filter="data")
            if on_progress is not None:
                on_progress(Progress("unpack", min(raw.tell(), size), size))
        # tarfile takes a file that was cut between two members for whole: the closing block of zeros was never read.
        if tar.fileobj.tell() <= tar.offset:
            raise EOFError("it ends before its closing mark")
