"""Loading weights without surprises: what does not fit a model is an error that lists it."""

from __future__ import annotations

import inspect
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from diffusers.configuration_utils import ConfigMixin
from diffusers.models.modeling_utils import ModelMixin
from easyanimate_core.errors import WeightsError
from safetensors import safe_open
from safetensors.torch import load_file

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from torch import Tensor, nn

_MAX_LISTED = 8


def _list_some(title: str, lines: Iterable[str]) -> str:
    """Put the first few of `lines` under a title that counts all of them."""
    lines = sorted(lines)
    shown = [f"    {line}" for line in lines[:_MAX_LISTED]]
    if len(lines) > _MAX_LISTED:
        shown.append(f"    ... and {len(lines) - _MAX_LISTED} more")
    return "\n".join([f"{len(lines)} {title}:", *shown])


def check_shapes(
    expected: Mapping[str, tuple[int, ...]],
    found: Mapping[str, tuple[int, ...]],
    *,
    source: str,
    known_extras: Iterable[str] = (),
) -> None:
    """Compare the tensors of a checkpoint with those of a model.

    Args:
        expected: name to shape in the model.
        found: name to shape in the checkpoint.
        source: what the error calls the checkpoint.
        known_extras: patterns of names that this family of checkpoints carries beside the model.

    Raises:
        WeightsError: a tensor is missing, unexpected or of another shape; all of them are counted and named.
    """
    unexpected = {
        name for name in found.keys() - expected.keys() if not any(re.search(pattern, name) for pattern in known_extras)
    }
    misshapen = {
        f"{name}: {tuple(found[name])} in the file, {tuple(expected[name])} in the model"
        for name in expected.keys() & found.keys()
        if tuple(found[name]) != tuple(expected[name])
    }
    missing = expected.keys() - found.keys()
    groups = {"missing": missing, "unexpected": unexpected, "of another shape": misshapen}
    problems = [_list_some(title, names) for title, names in groups.items() if names]
    if problems:
        raise WeightsError(
            f"{source} does not fit the model",
            received="\n  ".join(problems),
            expected="exactly the tensors of the model",
            fix="check that weights and config.json belong to the same version and variant of EasyAnimate",
        )


def read_weights(path: Path | str) -> dict[str, Tensor]:
    """Read the tensors of one file: safetensors, or the original's .bin, .pt, .pth and .ckpt as plain tensors."""
    path = Path(path)
    if not path.is_file():
        raise WeightsError("the weights file does not exist", received=path, expected="a .safetensors or .pt file")
    try:
        if path.suffix == ".safetensors":
            return load_file(path)
        loaded = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:
        raise WeightsError(
            "the weights file cannot be read", received=f"{path} ({error})", fix="download or copy it again"
        ) from error
    # The original's trainers store the weights beside the optimizer.
    return loaded.get("state_dict", loaded)


def _shapes(tensors: Mapping[str, Tensor]) -> dict[str, tuple[int, ...]]:
    return {name: tuple(tensor.shape) for name, tensor in tensors.items()}


def load_weights(model: nn.Module, path: Path | str) -> None:
    """Load one file into a model; anything that does not fit is a `WeightsError`.

    Known extras are declared on the model class (`_keys_to_ignore_on_load_unexpected`).
    """
    weights = read_weights(path)
    own = model.state_dict()
    known_extras = getattr(model, "_keys_to_ignore_on_load_unexpected", None) or ()
    check_shapes(_shapes(own), _shapes(weights), source=str(path), known_extras=known_extras)
    model.load_state_dict({name: weights[name] for name in own}, strict=True)


def initialize_from(model: nn.Module, weights: Mapping[str, Tensor]) -> list[str]:
    """Start a training from the weights of a related model, and tell what stays as it was.

    The patch convolution and the output projection may have more or fewer channels than in the checkpoint: extra ones
    start at zero, and only the leading ones are taken where the model has fewer. Tensors that are missing, or differ
    otherwise, keep their initial values.

    Returns:
        Names of the model's tensors that were not initialized.

    Raises:
        WeightsError: nothing fits.
    """
    own = model.state_dict()
    fitted: dict[str, Tensor] = {}
    for name, tensor in own.items():
        given = weights.get(name)
        if given is None:
            continue
        if given.shape == tensor.shape:
            fitted[name] = given
        elif name.startswith(("pos_embed.proj.", "proj_out.")):
            fitted[name] = _fit_channels(given, tensor)
    if not fitted:
        raise WeightsError(
            "the checkpoint shares no tensor with the model",
            received=", ".join(sorted(weights)[:_MAX_LISTED]),
            expected=", ".join(sorted(own)[:_MAX_LISTED]),
            fix="start from a checkpoint of the same version",
        )
    model.load_state_dict(fitted, strict=False)
    return sorted(own.keys() - fitted.keys())


def _fit_channels(given: Tensor, own: Tensor) -> Tensor:
    """Cut `given` to the output rows and input channels of `own`; what is more in `own` becomes zero."""
    fitted = torch.zeros_like(own)
    common = tuple(slice(min(a, b)) for a, b in zip(given.shape, own.shape, strict=True))
    fitted[common] = given[common].to(own.dtype)
    return fitted


class StrictModelMixin(ModelMixin, ConfigMixin):
    """`ModelMixin` whose `from_pretrained` raises where diffusers prints: missing, unexpected and misshapen tensors."""

    @classmethod
    def from_pretrained(cls, pretrained_model_name_or_path: Any, **kwargs: Any) -> Any:
        """Load a folder or hub repository as diffusers does, with all of its options.

        Raises:
            WeightsError: the weights do not fit the configuration.
        """
        want_info = kwargs.pop("output_loading_info", False)
        try:
            loaded: Any = super().from_pretrained(pretrained_model_name_or_path, output_loading_info=True, **kwargs)
        except (ValueError, RuntimeError):
            # diffusers stops at the first tensor of another shape: name all of them where the folder is here.
            cls._explain(pretrained_model_name_or_path, kwargs)
            raise
        model, info = loaded
        # Their shapes are right here, so only the names are compared.
        check_shapes(
            dict.fromkeys(info["missing_keys"], ()),
            dict.fromkeys(info["unexpected_keys"], ()),
            source=str(pretrained_model_name_or_path),
        )
        return (model, info) if want_info else model

    @classmethod
    def _explain(cls, path: Any, kwargs: Mapping[str, Any]) -> None:
        """Raise a `WeightsError` with all differences when `path` is a local folder of plain safetensors."""
        folder = Path(path, kwargs.get("subfolder") or "")
        files = sorted(folder.glob("*.safetensors"))
        if not files or "quantization_config" in kwargs:
            return
        found: dict[str, tuple[int, ...]] = {}
        for file in files:
            with safe_open(file, "pt") as tensors:
                found |= {name: tuple(tensors.get_slice(name).get_shape()) for name in tensors.keys()}  # noqa: SIM118
        known = inspect.signature(cls.__init__).parameters
        overrides = {name: value for name, value in kwargs.items() if name in known}
        with torch.device("meta"):
            config: Any = cls.load_config(folder)
            model: Any = cls.from_config(config, **overrides)
        check_shapes(
            _shapes(model.state_dict()),
            found,
            source=str(folder),
            known_extras=cls._keys_to_ignore_on_load_unexpected or (),
        )
