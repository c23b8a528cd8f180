"""The state of a run in a checkpoint, beside the weights for `ea run`: everything that a resumed run needs.

Files are safetensors and JSON. Engines that shard weights over processes (FSDP, DeepSpeed) write in their own format.
"""

from __future__ import annotations

import json
import random
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from easyanimate_core.errors import WeightsError
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch.distributed.tensor import DTensor

from easyanimate_train.engine import is_sharded

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from accelerate import Accelerator
    from torch import Tensor, nn

    from easyanimate_train.task import TrainableModel

STATE = "state"
"""Folder of the state in a checkpoint."""


class Checkpoint:
    """Saves and loads the state of a run.

    Args:
        accelerator: Knows the processes, and has the gradient scaler.
        models: The trainable models by name, as accelerate prepared them.
        optimizers: The optimiser of each, by the same names.
        ema: Exponential moving average of the first model's weights; None where there is none.
    """

    def __init__(
        self, accelerator: Accelerator, models: Mapping[str, TrainableModel], optimizers: Mapping[str, Any], ema: Any
    ) -> None:
        self._accelerator, self._models = accelerator, models
        self._optimizers, self._ema = optimizers, ema

    def save(self, folder: Path, position: dict[str, Any]) -> None:
        """Write the state; every process calls it.

        Args:
            folder: The checkpoint.
            position: Steps taken and the position in the data, as JSON values.
        """
        accelerator, state = self._accelerator, folder / STATE
        state.mkdir(exist_ok=True)
        if is_sharded(accelerator):
            accelerator.save_state(str(state / "engine"))
        elif accelerator.is_main_process:
            for name, model in self._models.items():
                save_file(_collect(accelerator.unwrap_model(model.module)), state / f"{name}.safetensors")
                _save_nested(self._optimizers[name].state_dict(), state / f"{name}-optimizer")
        if self._ema is not None:
            rank = f"-{accelerator.process_index}" if is_sharded(accelerator) else ""
            if rank or accelerator.is_main_process:
                _save_nested(self._ema.state_dict(), state / f"average{rank}")
        _save_nested(_read_random(), state / f"random-{accelerator.process_index}")
        if accelerator.is_main_process:
            scaler = None if accelerator.scaler is None else accelerator.scaler.state_dict()
            (state / "run.json").write_text(json.dumps({**position, "scaler": scaler}, indent=1), encoding="utf-8")

    def load(self, folder: Path) -> dict[str, Any]:
        """Restore the state of a checkpoint; every process calls it.

        Returns:
            The position that `save` was given.

        Raises:
            WeightsError: The checkpoint is damaged, or belongs to a run with other trainable models.
        """
        accelerator, state = self._accelerator, folder / STATE
        try:
            return self._load(accelerator, state)
        except (OSError, KeyError, ValueError, RuntimeError, SafetensorError) as error:
            raise WeightsError(
                "The checkpoint is damaged, or belongs to another run.",
                received=f"{folder}: {error}",
                fix="delete its folder to resume from the checkpoint before it, or start a new run with another --out",
            ) from error

    def _load(self, accelerator: Accelerator, state: Path) -> dict[str, Any]:
        position = json.loads((state / "run.json").read_text(encoding="utf-8"))
        if is_sharded(accelerator):
            accelerator.load_state(str(state / "engine"))
        else:
            for name, model in self._models.items():
                _restore(accelerator.unwrap_model(model.module), load_file(state / f"{name}.safetensors"))
                self._optimizers[name].load_state_dict(_load_nested(state / f"{name}-optimizer"))
        if self._ema is not None:
            self._load_ema(accelerator, state)
        generators = state / f"random-{accelerator.process_index}"
        if generators.with_suffix(".json").exists():  # there is none for processes that the run did not have before
            _write_random(_load_nested(generators))
        if accelerator.scaler is not None and position["scaler"]:
            accelerator.scaler.load_state_dict(position["scaler"])
        return position

    def _load_ema(self, accelerator: Accelerator, state: Path) -> None:
        if not is_sharded(accelerator):
            self._ema.load_state_dict(_load_nested(state / "average"))
            self._ema.to(accelerator.device)
            return
        kept = _load_nested(state / f"average-{accelerator.process_index}")
        for own, piece in zip(self._ema.shadow_params, kept["shadow_params"], strict=True):
            own.to_local().copy_(piece)
        self._ema.optimization_step = kept["optimization_step"]


def _collect(module: nn.Module) -> dict[str, Tensor]:
    """Trainable parameters and all buffers; frozen parameters come from the weights that the run began with."""
    trained = {name for name, parameter in module.named_parameters() if parameter.requires_grad}
    frozen = {name for name, _ in module.named_parameters()} - trained
    return {
        name: value.detach().contiguous().cpu() for name, value in module.state_dict().items() if name not in frozen
    }


def _restore(module: nn.Module, tensors: dict[str, Tensor]) -> None:
    wanted = _collect(module).keys()
    if wanted != tensors.keys():
        different = sorted(wanted ^ tensors.keys())
        raise ValueError(f"{len(different)} tensors are missing or unknown, such as {different[0]}")
    module.load_state_dict(tensors, strict=False)


# Optimiser states nest tensors and plain values: tensors go into a safetensors file under their path, and
# "tensor:PATH" stands for them in the JSON file beside it.


def _save_nested(value: Any, stem: Path) -> None:
    tensors: dict[str, Tensor] = {}
    plain = _split(value, "", tensors)
    save_file(tensors, stem.with_name(stem.name + ".safetensors"))
    stem.with_name(stem.name + ".json").write_text(json.dumps(plain), encoding="utf-8")


def _split(value: Any, path: str, tensors: dict[str, Tensor]) -> Any:
    if isinstance(value, torch.Tensor):
        value = value.to_local() if isinstance(value, DTensor) else value  # the shard of this process
        tensors[path] = value.detach().cpu().contiguous().clone()
        return f"tensor:{path}"
    if isinstance(value, dict):
        # JSON takes no numbers as keys.
        return {"keys": [[key, _split(item, f"{path}/{key}", tensors)] for key, item in value.items()]}
    if isinstance(value, list | tuple):
        return [_split(item, f"{path}/{index}", tensors) for index, item in enumerate(value)]
    return value


def _load_nested(stem: Path) -> Any:
    # Copies, because loaded tensors are views of the file, and may lie at any address (see `align`).
    tensors = {name: value.clone() for name, value in load_file(stem.with_name(stem.name + ".safetensors")).items()}
    return _merge(json.loads(stem.with_name(stem.name + ".json").read_text(encoding="utf-8")), tensors)


def _merge(plain: Any, tensors: dict[str, Tensor]) -> Any:
    if isinstance(plain, str) and plain.startswith("tensor:"):
        return tensors[plain.removeprefix("tensor:")]
    if isinstance(plain, dict):
        return {key: _merge(item, tensors) for key, item in plain["keys"]}
    if isinstance(plain, list):
        return [_merge(item, tensors) for item in plain]
    return plain


def _read_random() -> dict[str, Any]:
    """The states of all random number generators of this process."""
    name, keys, *rest = np.random.get_state()  # noqa: NPY002 (the global generator is what is kept)
    return {
        "torch": torch.get_rng_state(),
        "cuda": torch.cuda.get_rng_state_all() if torch.cuda.is_available() else [],
        "python": random.getstate(),
        "numpy": [name, torch.from_numpy(np.asarray(keys).astype(np.int64)), *rest],
    }


def _write_random(state: dict[str, Any]) -> None:
    torch.set_rng_state(state["torch"])
    if torch.cuda.is_available() and len(state["cuda"]) == torch.cuda.device_count():
        torch.cuda.set_rng_state_all(state["cuda"])
    version, internal, gauss = state["python"]
    random.setstate((version, tuple(internal), gauss))
    name, keys, *rest = state["numpy"]
    np.random.set_state((name, keys.numpy().astype(np.uint32), *rest))  # noqa: NPY002
