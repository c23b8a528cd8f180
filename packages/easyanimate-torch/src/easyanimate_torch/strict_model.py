"""diffusers' `from_pretrained`, but what does not fit a model is an error that lists it."""

from __future__ import annotations

import inspect
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from diffusers.configuration_utils import ConfigMixin
from diffusers.models.modeling_utils import ModelMixin
from easyanimate_core.weights_file import read_header

from easyanimate_torch.checkpoint import check_shapes, list_shapes

if TYPE_CHECKING:
    from collections.abc import Mapping


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
            found |= {name: tensor.shape for name, tensor in read_header(file).items()}
        known = inspect.signature(cls.__init__).parameters
        overrides = {name: value for name, value in kwargs.items() if name in known}
        with torch.device("meta"):
            config: Any = cls.load_config(folder)
            model: Any = cls.from_config(config, **overrides)
        check_shapes(
            list_shapes(model.state_dict()),
            found,
            source=str(folder),
            known_extras=cls._keys_to_ignore_on_load_unexpected or (),
        )
