"""The engines that training runs on: one process, DDP, FSDP2 or DeepSpeed, as chosen by accelerate's launcher."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import torch
from accelerate import Accelerator
from accelerate.state import AcceleratorState
from accelerate.utils import DistributedType, InitProcessGroupKwargs
from easyanimate_core.errors import RequestError

from easyanimate_train.optimizer import find_factor_of_abnormal, find_limit

if TYPE_CHECKING:
    from collections.abc import Mapping

    from easyanimate_train.config import RunConfig
    from easyanimate_train.task import TrainableModel


def open_accelerator(config: RunConfig) -> Accelerator:
    """Open the engine that this process was launched for.

    Raises:
        RequestError: The engine does not support the settings.
    """
    AcceleratorState._reset_state()  # noqa: SLF001 (else a second run in a process could not have another precision)
    is_deepspeed = os.environ.get("ACCELERATE_USE_DEEPSPEED") == "true"
    # DeepSpeed would choose a backend of its own on a CPU.
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
                "DeepSpeed does not support an exponential moving average of the weights.",
                received=f"ema_decay {config.ema_decay}",
                fix="set ema_decay to 0, or launch with ddp or fsdp2",
            )
        settings = plugin.deepspeed_config
        # DeepSpeed only counts with it; batches do not come from its own loader.
        settings["train_micro_batch_size_per_gpu"] = max(config.data.batch_size // accelerator.num_processes, 1)
        settings["gradient_clipping"] = config.optimizer.max_grad_norm
        settings["gradient_accumulation_steps"] = config.accumulate
    return accelerator


def _refuse_other_engine(accelerator: Accelerator, config: RunConfig) -> None:
    """Raise `RequestError` where accelerate silently set up another engine than its launcher was asked for."""
    started = int(os.environ.get("WORLD_SIZE", "1"))
    if accelerator.num_processes != started:
        raise RequestError(
            "The processes are not connected, so each would train alone.",
            received=f"{started} processes, of which accelerate knows {accelerator.num_processes}",
            fix="use --launch ddp; without GPUs, accelerate needs ACCELERATE_USE_CPU=true and a configuration file",
        )
    if os.environ.get("ACCELERATE_USE_FSDP") == "true" and accelerator.distributed_type != DistributedType.FSDP:
        raise RequestError(
            "FSDP needs a GPU for every process.",
            received=f"{started} processes on {accelerator.device.type}",
            fix="use --launch ddp to train on CPUs",
        )
    if accelerator.distributed_type == DistributedType.FSDP and config.optimizer.kind != "adamw":
        raise RequestError(
            "FSDP does not support this optimiser.",
            received=f"optimizer.kind {config.optimizer.kind}",
            expected="adamw",
            fix="use --launch zero2 for the other optimisers",
        )


def is_sharded(accelerator: Accelerator) -> bool:
    """Whether the weights are sharded over the processes, so that none has them all."""
    return accelerator.distributed_type in (DistributedType.FSDP, DistributedType.DEEPSPEED)


def prepare(accelerator: Accelerator, models: Mapping[str, TrainableModel], optimizers: list[Any]) -> dict[str, Any]:
    """Hand modules and optimisers to the engine; the models then hold the prepared modules and parameters.

    Returns:
        The prepared optimisers by model name.

    Raises:
        RequestError: The engine trains one model at a time, and there are more.
    """
    if is_sharded(accelerator) and len(models) > 1:
        raise RequestError(
            "FSDP and DeepSpeed train only one model at a time.",
            received=", ".join(models),
            fix="launch with ddp",
        )
    prepared: Any = accelerator.prepare(*(model.module for model in models.values()), *optimizers)
    ready = dict(zip(models, prepared[len(models) :], strict=True))
    for (name, model), module in zip(models.items(), prepared, strict=False):
        model.module = module
        if accelerator.distributed_type == DistributedType.FSDP:
            # FSDP's parameters are shards of the ones before.
            rates = [rate for rate, parameters in model.groups if parameters]
            sharded = [list(group["params"]) for group in ready[name].param_groups]
            model.groups = list(zip(rates, sharded, strict=True))
    return ready


def set_clipping(accelerator: Accelerator, optimizer: Any, model: TrainableModel, step: int) -> None:
    """Let DeepSpeed clip the gradients of a step as `clip_gradients` does for the other engines.

    DeepSpeed clips and steps inside the backward pass, to one limit for the whole run. Where the limit differs from it,
    losses soon do, too: by 7 % after 12 steps.

    Args:
        accelerator: The engine; nothing is done for others.
        optimizer: The prepared optimiser.
        model: What it trains.
        step: Number of steps before this one.
    """
    if accelerator.distributed_type != DistributedType.DEEPSPEED:
        return
    zero, config = optimizer.optimizer, model.optimizer
    clip = getattr(type(zero), "unscale_and_clip_grads", None)
    if clip is None:
        if config.abnormal_after:
            raise RequestError(
                "This stage of DeepSpeed clips gradients to the same norm in all steps.",
                received=f"optimizer.abnormal_after {config.abnormal_after} with {type(zero).__name__}",
                fix="set optimizer.abnormal_after to 0, or use --launch zero2 or zero3",
            )
        return

    def clip_as_others_do(gradients: Any, scaled_norm: Any) -> None:
        norm = torch.as_tensor(scaled_norm / zero.loss_scale)
        factor = find_factor_of_abnormal(config, step, norm)
        zero.clip_grad = find_limit(config, step) * float(factor)
        clip(zero, gradients, scaled_norm)

    zero.unscale_and_clip_grads = clip_as_others_do
