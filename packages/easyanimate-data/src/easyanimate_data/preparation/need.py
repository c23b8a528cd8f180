"""Checks before the first stage of a run what all stages need: packages, models, servers, room on the disk.

What is checked is that it can be had; a model is loaded when its stage begins.
"""

from __future__ import annotations

import logging
import os
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from easyanimate_core.errors import MediaError, PluginError, RequestError, WeightsError
from easyanimate_core.machine import check_writable, free_disk_space

if TYPE_CHECKING:
    from collections.abc import Sequence

_logger = logging.getLogger("easyanimate.data")

LEAST_BYTES = 100_000_000
"""Room without which no run is begun."""

LEAST_SHARE = 0.02
"""The same as a share of the raw videos: clips take less room than sources of the highest quality."""

SERVER_SECONDS = 10.0
"""How long a server is waited for."""

_WEIGHTS = ("*.safetensors", "*.bin")


def check_packages(extra: str, *packages: str) -> None:
    """Refuse where packages are not installed.

    Args:
        extra: The extra that brings them.
        packages: Their import names.

    Raises:
        PluginError: Naming those that are missing.
    """
    missing = [package for package in packages if find_spec(package) is None]
    if missing:
        raise PluginError(
            "A package that this needs is not installed.",
            received=", ".join(missing),
            fix=f'pip install "easyanimate-data[{extra}]"',
        )


def check_scorer(*, model: str | Path, head: str | Path | None = None, **_: Any) -> None:
    """What the filters with CLIP, SigLIP or DINOv2 need; the arguments are options of these filters.

    Raises:
        PluginError: When a package is missing.
        WeightsError: When a model is neither here nor to be had.
    """
    check_packages("score", "torch", "torchvision", "transformers", "safetensors", "easyanimate_torch")
    _check_model(model)
    _check_file("head", head)


def check_text_detector(*, model_dir: str | Path | None = None, **_: Any) -> None:
    """What the filter `text` needs."""
    check_packages("score", "torch", "easyocr", "easyanimate_torch")
    _check_file("model_dir", model_dir)


def check_transformers(*, model: str | Path, **_: Any) -> None:
    """What the captioner `transformers` needs."""
    check_packages("caption", "torch", "transformers", "safetensors", "easyanimate_torch")
    _check_model(model)


def check_server(*, base_url: str | None, model: str | None, api_key: str | None = None, **_: Any) -> None:
    """What the captioner `openai` needs: a server that answers and takes the key.

    A server that lists its models, and this one not among them, is told of in the log: some take other names as well.

    Raises:
        PluginError: When the package openai is missing.
        RequestError: When its address or the model is not given, it does not answer, or it refuses the key.
    """
    check_packages("caption", "openai")
    for name, value, example in (("base_url", base_url, "http://127.0.0.1:8000/v1"), ("model", model, "my-model")):
        if not value:
            raise RequestError(
                f"The captioner openai needs the option {name}.", received=value, expected=f"for example {example}"
            )
    import openai

    key = api_key or os.environ.get("OPENAI_API_KEY") or "none"
    client = openai.OpenAI(base_url=base_url, api_key=key, timeout=SERVER_SECONDS, max_retries=0)
    try:
        listed = sorted(str(item.id) for item in client.models.list())
    except (openai.APIConnectionError, openai.AuthenticationError, openai.PermissionDeniedError) as error:
        refused = not isinstance(error, openai.APIConnectionError)
        line = next(iter(str(error).strip().splitlines()), "")
        raise RequestError(
            "The server refuses the key." if refused else "The server cannot be reached.",
            received=f"{base_url}: {line}",
            expected="a running server that speaks OpenAI's protocol",
            fix="give api_key, or set OPENAI_API_KEY" if refused else "start it, or mend the address",
        ) from error
    except Exception:  # noqa: BLE001 (many servers list nothing, or something else)
        return
    if listed and model not in listed:
        _logger.warning("the server at %s lists no model %s; it has %s", base_url, model, ", ".join(listed[:5]))


def check_room(out: Path, sources: Sequence[Path]) -> None:
    """Refuse a folder that cannot be written or has hardly any room; tell when it is less than the raw videos take.

    Raises:
        EasyAnimateError: When clips cannot be written there.
    """
    check_writable(out, option="--out")
    free = free_disk_space(out)
    needed = sum(path.stat().st_size for path in sources if path.is_file())
    if free < max(LEAST_BYTES, LEAST_SHARE * needed):
        raise MediaError(
            "There is hardly any room on the disk.",
            received=f"{free / 1e9:.2f} GB for {out}",
            expected=f"about {max(needed, LEAST_BYTES) / 1e9:.2f} GB, which the raw videos take",
            fix="make space, or choose another with --out",
        )
    if free < needed:
        _logger.warning("clips may not find room: %.1f GB are free, raw videos take %.1f GB", free / 1e9, needed / 1e9)


def _check_file(option: str, path: str | Path | None) -> None:
    if path is not None and not Path(path).exists():
        raise WeightsError("There is no such file.", received=f"{option} {path}", fix=f"mend the option {option}")


def _check_model(model: str | Path) -> None:
    """A folder with a model, one that was fetched before, or one that Hugging Face has and that finds room.

    Raises:
        WeightsError: When it is none of these.
    """
    from easyanimate_data.preparation.network import needs_extra

    if Path(model).is_dir():
        found = next((path for pattern in _WEIGHTS for path in Path(model).glob(pattern)), None)
        if found is None or not Path(model, "config.json").is_file():
            raise _describe_missing(model, "the folder has no config.json, or no weights")
        return
    with needs_extra("score"):
        from huggingface_hub import HfApi, constants, snapshot_download
        from huggingface_hub.errors import HFValidationError

    name = str(model)
    try:
        kept = Path(snapshot_download(name, local_files_only=True))
        if any(path for pattern in _WEIGHTS for path in kept.glob(pattern)):
            return
    except HFValidationError as error:
        raise _describe_missing(model, "no folder, and no id") from error
    except Exception:  # noqa: BLE001, S110 (it was never fetched)
        pass
    if constants.HF_HUB_OFFLINE:
        raise _describe_missing(model, "it is not on this machine, and HF_HUB_OFFLINE forbids to fetch it")
    try:
        about = HfApi().model_info(name, files_metadata=True, timeout=SERVER_SECONDS)
    except Exception as error:
        line = next(iter(str(error).strip().splitlines()), "")
        raise _describe_missing(model, f"{type(error).__name__}: {line}") from error
    sizes = [item.size or 0 for item in about.siblings or () if item.rfilename.endswith(".safetensors")]
    cache = Path(constants.HF_HUB_CACHE)
    free = free_disk_space(cache)
    if sum(sizes) > free:
        raise _describe_missing(model, f"{sum(sizes) / 1e9:.1f} GB to fetch, {free / 1e9:.1f} GB free at {cache}")


def _describe_missing(model: str | Path, why: str) -> WeightsError:
    return WeightsError(
        "A model cannot be loaded.",
        received=f"{model} ({why})",
        expected="a folder of a model, or a Hugging Face id that is on this machine or can be fetched",
        fix="check the name, the connection, and that files on this machine are whole",
    )
