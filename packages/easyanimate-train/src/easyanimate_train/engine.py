"""The engines that train: one process, DDP, FSDP2 or DeepSpeed, as accelerate was told by its launcher."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import torch
from accelerate import Accelerator
from accelerate.state import AcceleratorState
from accelerate.utils import DistributedType, InitProcessGroupKwargs
from easyanimate_core.errors import RequestError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from easyanimate_train.config import RunConfig
    from easyanimate_train.task import Learner


def open_accelerator(config: RunConfig) -> Accelerator:
    """The engine that this process was started for.

    Raises:
        RequestError: It cannot do what the settings ask.
    """
    AcceleratorState._reset_state()  # noqa: SLF001 (else a second run in a process could not have another precision)
    is_deepspeed = os.environ.get("ACCELERATE_USE_DEEPSPEED") == "true"
    # It would choose a backend of its own on a CPU.
    on_cpu = is_deepspeed and not torch.cuda.is_available()
    handlers: list[Any] = [InitProcessGroupKwargs(backend="gloo")] if on_cpu else []
    accelerator = Accelerator(
        mixed_precision=config.mixed_precision,
        gradient_accumulation_steps=config.accumulate,
        kwargs_handlers=handlers,
    )
    _refuse_other_engine(accelerator, config)
    plugin: Any = accelerator.state.deepspeed_plugin
    if plugin is not None:
        if config.ema_decay:
            raise RequestError(
                "DeepSpeed cannot average weights.",
                received=f"ema_decay {config.ema_decay}",
                fix="set ema_decay to 0, or launch with ddp or fsdp2",
            )
        settings = plugin.deepspeed_config
        # Only counted by it: batches are not its loader's.
        settings["train_micro_batch_size_per_gpu"] = max(config.data.batch_size // accelerator.num_processes, 1)
        settings["gradient_clipping"] = config.optimizer.max_grad_norm
        settings["gradient_accumulation_steps"] = config.accumulate
    return accelerator


def _refuse_other_engine(accelerator: Accelerator, config: RunConfig) -> None:
    """Raise `RequestError` where accelerate quietly made something else of what its launcher was told."""
    started = int(os.environ.get("WORLD_SIZE", "1"))
    if accelerator.num_processes != started:
        raise RequestError(
            "The processes do not know one another.",
            received=f"{started} processes, each of which trains alone",
            fix="without GPUs set ACCELERATE_USE_CPU=true, and give accelerate a configuration file: --launch ddp",
        )
    if os.environ.get("ACCELERATE_USE_FSDP") == "true" and accelerator.distributed_type != DistributedType.FSDP:
        raise RequestError(
            "FSDP needs a GPU for each process.",
            received=f"{started} processes on {accelerator.device.type}",
            fix="--launch ddp trains on CPUs",
        )
    if accelerator.distributed_type == DistributedType.FSDP and config.optimizer.kind != "adamw":
        raise RequestError(
            "This optimiser does not work on weights that FSDP has cut in pieces.",
            received=f"optimizer.kind {config.optimizer.kind}",
            expected="adamw",
            fix="--launch zero2 takes the others",
        )


def is_sharded(accelerator: Accelerator) -> bool:
    """Whether no process has the whole weights."""
    return accelerator.distributed_type in (DistributedType.FSDP, DistributedType.DEEPSPEED)


def prepare(accelerator: Accelerator, learners: Mapping[str, Learner], optimizers: list[Any]) -> dict[str, Any]:
    """Hand modules and optimisers to the engine; the learners then have its modules and parameters.

    Returns:
        The optimisers by learner.
    """
    if is_sharded(accelerator) and len(learners) > 1:
        raise RequestError(
            "FSDP and DeepSpeed train one model at a time.",
            received=", ".join(learners),
            fix="launch with ddp",
        )
    prepared: Any = accelerator.prepare(*(learner.module for learner in learners.values()), *optimizers)
    ready = dict(zip(learners, prepared[len(learners) :], strict=True))
    for (name, learner), module in zip(learners.items(), prepared, strict=False):
        learner.module = module
        if accelerator.distributed_type == DistributedType.FSDP:
            # Its parameters are pieces of the ones before.
            shares = [share for share, parameters in learner.groups if parameters]
            pieces = [list(group["params"]) for group in ready[name].param_groups]
            learner.groups = list(zip(shares, pieces, strict=True))
    return ready
