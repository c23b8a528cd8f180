"""Reads a VAE from the original's files, and refuses what does not fit instead of skipping it."""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import cast

import torch
from easyanimate_core.errors import WeightsError
from easyanimate_core.weights_file import PICKLE_SUFFIXES, check_file, read_json
from safetensors.torch import load_file
from torch import Tensor

from easyanimate_vae.autoencoder import AutoencoderKLMagvit

TRAINING_EXTRAS = ("loss.",)
"""Prefix of the networks of the original's VAE training (perceptual network, discriminators) in its downloads."""

_MAX_LISTED = 8


def load_original(  # noqa: PLR0913 (keyword-only)
    folder: Path | str,
    *,
    weights: Path | str | None = None,
    dtype: torch.dtype = torch.float32,
    extras: tuple[str, ...] = TRAINING_EXTRAS,
    release: Mapping[str, object] | None = None,
    changes: Mapping[str, object] | None = None,
) -> AutoencoderKLMagvit:
    """Load a VAE folder of the original: `config.json` and `diffusion_pytorch_model.safetensors`, `.bin` or `.pt`.

    Args:
        folder: The folder `vae` of a checkpoint.
        weights: Another weights file, such as one of the original's VAE training.
        dtype: What the weights become.
        extras: Prefixes of keys that this family of checkpoints has beyond the model.
        release: Settings that its configuration may leave out; the file's own win.
        changes: Settings that win over the file's own.

    Raises:
        WeightsError: When a file is missing or damaged, or keys are missing, unknown or of another shape.
    """
    folder = Path(folder)
    config = {**(release or {}), **read_json(folder / "config.json"), **(changes or {})}
    path = Path(weights) if weights else find_weights(folder)
    tensors = read_tensors(path)
    with torch.device("meta"):
        vae = cast("AutoencoderKLMagvit", AutoencoderKLMagvit.from_config(config))
    check_keys({key: tensor.shape for key, tensor in vae.state_dict().items()}, tensors, path, extras=extras)
    vae.load_state_dict({key: tensors[key].to(dtype) for key in vae.state_dict()}, assign=True)
    return vae.eval()


def find_weights(folder: Path) -> Path:
    """The weights file of a VAE folder; `WeightsError` where there is none."""
    names = [f"diffusion_pytorch_model{suffix}" for suffix in (".safetensors", *PICKLE_SUFFIXES)]
    for name in names:
        if (folder / name).is_file():
            return folder / name
    raise WeightsError(
        f"The weights of the VAE are missing in {folder}",
        received=", ".join(sorted(path.name for path in folder.iterdir())),
        expected=" or ".join(names),
    )


def read_tensors(path: Path) -> dict[str, Tensor]:
    """All tensors of a weights file, on the CPU; `WeightsError` where it is missing, damaged or holds code."""
    if not path.is_file():
        raise WeightsError(f"There is no file {path}", expected="a .safetensors, .bin or .pt file")
    check_file(path)
    if path.suffix == ".safetensors":
        return load_file(path)
    try:
        loaded = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:
        raise WeightsError(f"The file cannot be read: {path}", received=error, expected="plain tensors") from error
    # The original's VAE training stores the weights among other things.
    return loaded.get("state_dict", loaded)


def check_keys(  # noqa: PLR0913 (what the message says)
    expected: Mapping[str, torch.Size],
    found: Mapping[str, Tensor],
    path: Path,
    *,
    extras: tuple[str, ...] = (),
    model: str = "VAE",
    fix: str = "take config.json and weights of the same checkpoint",
) -> None:
    """Raise `WeightsError` that lists what is missing, unknown or of another shape.

    Args:
        expected: Keys and shapes of the model.
        found: What the file holds.
        path: The file.
        extras: Prefixes of keys that the file may have beyond the model.
        model: What it is, for the message.
        fix: What to do, for the message.
    """
    unknown = [key for key in found.keys() - expected.keys() if not key.startswith(extras)]
    misshapen = [
        f"{key}: {tuple(found[key].shape)} instead of {tuple(shape)}"
        for key, shape in expected.items()
        if key in found and found[key].shape != shape
    ]
    problems = {"missing": expected.keys() - found.keys(), "unknown": unknown, "of another shape": misshapen}
    if any(problems.values()):
        beyond = f", and any that begin with {', '.join(extras)}" if extras else ""
        raise WeightsError(
            f"The weights do not fit the {model}: {path}",
            received="".join(f"\n    {_list(name, keys)}" for name, keys in problems.items() if keys),
            expected=f"the {len(expected)} keys of this configuration{beyond}",
            fix=fix,
        )


def _list(name: str, keys: Iterable[str]) -> str:
    keys = sorted(keys)
    more = f", and {len(keys) - _MAX_LISTED} more" if len(keys) > _MAX_LISTED else ""
    return f"{len(keys)} {name}: {', '.join(keys[:_MAX_LISTED])}{more}"
