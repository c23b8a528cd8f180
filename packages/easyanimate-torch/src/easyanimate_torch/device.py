"""Device and number format of a run: what the user named, or the best that this machine has."""

from __future__ import annotations

import torch
from easyanimate_core.errors import RequestError

_DTYPES = {"bfloat16": torch.bfloat16, "float16": torch.float16, "float32": torch.float32}


def choose_device(name: str | None) -> torch.device:
    """The device called `name`, or the best there is.

    Raises:
        RequestError: there is no such device on this machine.
    """
    if name is None:
        if torch.cuda.is_available():
            return torch.device("cuda")
        return torch.device("mps" if torch.backends.mps.is_available() else "cpu")
    here = {"cpu": True, "cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available()}
    kind, _, index = name.partition(":")
    if not here.get(kind) or (index and (not index.isdigit() or int(index) >= torch.cuda.device_count())):
        raise RequestError(
            "There is no such device on this machine.",
            received=name,
            expected=", ".join(kind for kind, is_here in here.items() if is_here),
            fix="`ea doctor` shows what this machine has",
        )
    return torch.device(name)


def choose_dtype(name: str | None, device: torch.device) -> torch.dtype:
    """The dtype called `name`, or the device's: bfloat16 on GPUs that have it, else float16; float32 on the CPU.

    Raises:
        RequestError: there is no such dtype.
    """
    if name is not None:
        if name not in _DTYPES:
            raise RequestError("There is no such dtype.", received=name, expected=", ".join(_DTYPES))
        return _DTYPES[name]
    if device.type == "cuda":
        return torch.bfloat16 if torch.cuda.is_bf16_supported(including_emulation=False) else torch.float16
    return torch.float16 if device.type == "mps" else torch.float32


def choose_vae_dtype(dtype: torch.dtype) -> torch.dtype:
    """The VAE's dtype beside a transformer in `dtype`: the VAE overflows in float16, so it stays in float32 then."""
    return torch.float32 if dtype == torch.float16 else dtype
