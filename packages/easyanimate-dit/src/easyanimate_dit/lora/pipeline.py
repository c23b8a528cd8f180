"""LoRA on a pipeline: diffusers' `load_lora_weights` and what follows from it, for both formats of `file.py`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, get_args

from diffusers.loaders.lora_base import LoraBaseMixin
from easyanimate_core.errors import WeightsError

from easyanimate_dit.lora.apply import attach_lora
from easyanimate_dit.lora.file import Lora, parse_lora, read_lora
from easyanimate_dit.lora.name import Component

if TYPE_CHECKING:
    from collections.abc import Mapping

    from torch import Tensor


class EasyAnimateLoraMixin(LoraBaseMixin):
    """Gives a pipeline diffusers' LoRA methods: load, weight, switch, fuse, unload, save.

    The methods from `set_adapters` to `fuse_lora` and `unload_lora_weights` are those of diffusers.
    """

    _lora_loadable_modules: ClassVar = list(get_args(Component))

    def load_lora_weights(  # pyright: ignore[reportIncompatibleMethodOverride] (the base takes anything)
        self, source: Path | str | Mapping[str, Tensor], adapter_name: str = "default", weight: float = 1.0
    ) -> dict[Component, int]:
        """Attach a LoRA to the components that it has layers for.

        Args:
            source: file or folder, or its tensors.
            adapter_name: for `set_adapters`, `delete_adapters` and the like.
            weight: strength.

        Returns:
            Number of modules with an adapter, by component.

        Raises:
            WeightsError: the file cannot be read or does not fit.
        """
        lora = self.lora_state_dict(source)
        counts: dict[Component, int] = {}
        for component in lora.layers:
            model = getattr(self, component)
            counts[component] = attach_lora(lora, component, model, adapter_name=adapter_name, weight=weight)
        return counts

    @classmethod
    def lora_state_dict(  # pyright: ignore[reportIncompatibleMethodOverride]
        cls, source: Path | str | Mapping[str, Tensor]
    ) -> Lora:
        """Read a LoRA from a file, a folder or tensors in memory."""
        return read_lora(source) if isinstance(source, (str, Path)) else parse_lora(source, source="the given tensors")

    @classmethod
    def load_lora_into_transformer(cls, lora: Lora, transformer: Any, adapter_name: str = "default") -> int:
        """Attach the transformer's part of a LoRA, and return the number of modules that got an adapter."""
        return attach_lora(lora, "transformer", transformer, adapter_name=adapter_name)

    @classmethod
    def save_lora_weights(  # noqa: PLR0913 # pyright: ignore[reportIncompatibleMethodOverride]
        cls,
        save_directory: Path | str,
        *,
        transformer_lora_layers: Mapping[str, Any] | None = None,
        text_encoder_lora_layers: Mapping[str, Any] | None = None,
        transformer_lora_adapter_metadata: Mapping[str, Any] | None = None,
        text_encoder_lora_adapter_metadata: Mapping[str, Any] | None = None,
        weight_name: str | None = None,
    ) -> None:
        """Write adapters in peft's format, as `peft.get_peft_model_state_dict` gives their layers.

        Raises:
            WeightsError: there are no layers.
        """
        given = {"transformer": transformer_lora_layers, "text_encoder": text_encoder_lora_layers}
        layers: dict[str, Any] = {component: dict(tensors) for component, tensors in given.items() if tensors}
        if not layers:
            raise WeightsError("There is no LoRA to save.", expected="layers of the transformer or the text encoder")
        metadata = {
            "transformer": transformer_lora_adapter_metadata,
            "text_encoder": text_encoder_lora_adapter_metadata,
        }
        cls._save_lora_weights(
            str(save_directory),
            lora_layers=layers,
            lora_metadata={component: dict(fields) for component, fields in metadata.items() if fields},
            weight_name=weight_name,  # pyright: ignore[reportArgumentType] (None stands for the usual name)
        )
