"""What of a transformer is trained: all of it, or a LoRA on its frozen weights."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

import torch
from easyanimate_core.errors import RequestError
from peft import LoraConfig as PeftConfig
from safetensors.torch import save_file

from easyanimate_dit.lora import list_targets
from easyanimate_dit.lora_file import match_exactly, name_original
from easyanimate_dit.training.config import DitTrainingConfig, LoraConfig, LoraTrainingConfig

if TYPE_CHECKING:
    from pathlib import Path

    from accelerate import Accelerator
    from torch import Tensor, nn

LORA_FILE = "lora.safetensors"
_ADAPTER = "default"


class TrainedPart(Protocol):
    """What of a transformer is trained, kept in checkpoints, and written in the end."""

    def prepare(self, transformer: Any) -> list[nn.Parameter]:
        """Make the part trainable, freeze the rest, and give the part's parameters."""
        ...

    def save_state(self, accelerator: Accelerator, folder: Path) -> None:
        """Write a checkpoint of the part, the optimizer and what else goes on."""
        ...

    def load_state(self, accelerator: Accelerator, folder: Path) -> None:
        """Go on from a checkpoint."""
        ...

    def write(self, transformer: Any, folder: Path, *, is_main: bool) -> None:
        """Write the result to a folder, once among processes."""
        ...


def choose_part(config: DitTrainingConfig) -> TrainedPart:
    """What these settings train."""
    return LoraPart(config.lora) if isinstance(config, LoraTrainingConfig) else WholePart()


class WholePart:
    """All of the transformer."""

    def prepare(self, transformer: Any) -> list[nn.Parameter]:
        """See `TrainedPart`."""
        return list(transformer.requires_grad_(requires_grad=True).parameters())

    def save_state(self, accelerator: Accelerator, folder: Path) -> None:
        """See `TrainedPart`."""
        accelerator.save_state(str(folder))

    def load_state(self, accelerator: Accelerator, folder: Path) -> None:
        """See `TrainedPart`."""
        accelerator.load_state(str(folder))

    def write(self, transformer: Any, folder: Path, *, is_main: bool) -> None:
        """A folder for the transformer's place."""
        transformer.save_pretrained(folder, is_main_process=is_main)


class LoraPart:
    """A LoRA, which changes nothing before it is trained.

    Args:
        config: Its size, and which modules it is on.
    """

    def __init__(self, config: LoraConfig) -> None:
        if config.rank < 1:
            raise RequestError("The rank of a LoRA must be positive.", received=config.rank, expected="1 or more")
        self._config = config

    def prepare(self, transformer: Any) -> list[nn.Parameter]:
        """See `TrainedPart`.

        Raises:
            RequestError: No module has such a name.
        """
        paths, wanted = list(list_targets(transformer)), self._config.targets
        chosen = [path for path in paths if not wanted or any(part in path for part in wanted)]
        if not chosen:
            raise RequestError(
                "No module has such a name.",
                received=f"lora.targets: {', '.join(wanted)}",
                expected=f"parts of paths such as {', '.join(paths[:4])}",
            )
        transformer.requires_grad_(requires_grad=False)
        alpha: Any = self._config.alpha  # peft's annotation knows whole numbers alone
        settings = PeftConfig(r=self._config.rank, lora_alpha=alpha, target_modules=match_exactly(chosen))
        transformer.add_adapter(settings, adapter_name=_ADAPTER)
        return [parameter for parameter in transformer.parameters() if parameter.requires_grad]

    def save_state(self, accelerator: Accelerator, folder: Path) -> None:
        """Leave out the frozen weights: they are in the folder that the run began with."""
        hook = accelerator.register_save_state_pre_hook(_drop_frozen)
        accelerator.save_state(str(folder))
        hook.remove()

    def load_state(self, accelerator: Accelerator, folder: Path) -> None:
        """See `TrainedPart`."""
        accelerator.load_state(str(folder), strict=False)

    def write(self, transformer: Any, folder: Path, *, is_main: bool) -> None:
        """One file in the original's format."""
        if not is_main:
            return
        tensors: dict[str, Tensor] = {}
        for path, module in transformer.named_modules():
            if _ADAPTER in getattr(module, "lora_A", {}):
                name = name_original("transformer", path)
                tensors[f"{name}.lora_down.weight"] = module.lora_A[_ADAPTER].weight.detach().cpu().contiguous()
                tensors[f"{name}.lora_up.weight"] = module.lora_B[_ADAPTER].weight.detach().cpu().contiguous()
                tensors[f"{name}.alpha"] = torch.tensor(self._config.alpha)
        save_file(tensors, folder / LORA_FILE, metadata={"format": "pt"})


def _drop_frozen(models: list[nn.Module], states: list[dict[str, Tensor]], folder: str) -> None:
    """Cut the state of every model that is about to be written to a folder down to what is trained."""
    del folder
    for model, state in zip(models, states, strict=True):
        trained = {name for name, parameter in model.named_parameters() if parameter.requires_grad}
        for name in state.keys() - trained:
            del state[name]
