"""Optimisers, learning rate schedules and gradient clipping."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import torch
from easyanimate_core.errors import RequestError
from torch.distributed.tensor import DTensor

if TYPE_CHECKING:
    from easyanimate_train.config import OptimizerConfig
    from easyanimate_train.task import TrainableModel

_LAST_FACTOR = 0.02
"""Factor of the learning rate at the end of a "flat" schedule."""

_ABNORMAL_RATIO = 5.0
"""A gradient norm of more than this many times the limit is abnormal."""

_MAX_RATIO = 10.0
"""Abnormal gradients are clipped further by at most this factor."""


def make_optimizer(model: TrainableModel) -> torch.optim.Optimizer:
    """Make the optimiser of a model.

    Raises:
        RequestError: The optimiser needs a package that is not installed.
    """
    config = model.optimizer
    groups: list[dict[str, Any]] = [
        {"params": parameters, "lr": config.learning_rate * rate} for rate, parameters in model.groups if parameters
    ]
    if config.kind == "came":
        came: Any = _import("came_pytorch", "CAME", "easyanimate-train[came]")
        return came(groups, lr=config.learning_rate, betas=config.betas, weight_decay=config.weight_decay)
    kinds: dict[str, Any] = {"adamw": torch.optim.AdamW}
    if config.kind == "adamw8bit":
        kinds["adamw8bit"] = _import("bitsandbytes.optim", "AdamW8bit", "easyanimate-train[8bit]")
    return kinds[config.kind](
        groups,
        lr=config.learning_rate,
        betas=(config.betas[0], config.betas[1]),
        eps=config.epsilon,
        weight_decay=config.weight_decay,
    )


def _import(module: str, name: str, package: str) -> Any:
    try:
        return getattr(__import__(module, fromlist=[name]), name)
    except ImportError as error:
        raise RequestError(
            "The optimiser is not installed.", received=f"{module}: {error}", fix=f"pip install '{package}'"
        ) from error


def find_factor(config: OptimizerConfig, step: int, max_steps: int) -> float:
    """Factor of the highest learning rate at a step, 0 to 1."""
    if step < config.warmup_steps:
        return (step + 1) / config.warmup_steps
    if config.schedule == "constant":
        return 1.0
    if config.schedule == "flat":
        flat = config.flat_share * max_steps
        return 1.0 if step < flat else max(_LAST_FACTOR, (max_steps - step) / max(max_steps - flat, 1))
    left = max(max_steps - step, 0) / max(max_steps - config.warmup_steps, 1)
    return left if config.schedule == "linear" else 0.5 * (1 - math.cos(math.pi * min(left, 1.0)))


def set_learning_rate(optimizer: Any, model: TrainableModel, step: int, max_steps: int) -> float:
    """Set the learning rates of all parameter groups for a step; returns that of the first group."""
    learning_rate = model.optimizer.learning_rate * find_factor(model.optimizer, step, max_steps)
    rates = [rate for rate, parameters in model.groups if parameters]
    for group, rate in zip(optimizer.param_groups, rates, strict=True):
        group["lr"] = learning_rate * rate
    return learning_rate * rates[0]


def find_limit(config: OptimizerConfig, step: int) -> float:
    """Norm that the gradients of a step are clipped to."""
    if not config.abnormal_after:
        return config.max_grad_norm
    left = max(1 - step / config.abnormal_after, 0.0)
    return config.max_grad_norm * (1 + (config.first_norm_ratio - 1) * left)


def find_factor_of_abnormal(config: OptimizerConfig, step: int, norm: torch.Tensor) -> torch.Tensor:
    """Factor of gradients that were clipped to the limit of a step: 1, less when their norm before was abnormal."""
    if not config.abnormal_after or step <= config.abnormal_after:
        return torch.ones_like(norm)
    ratio = norm / find_limit(config, step)
    return torch.where(ratio > _ABNORMAL_RATIO, 1 / ratio.clamp(max=_MAX_RATIO), torch.ones_like(ratio))


@torch.no_grad()
def clip_gradients(accelerator: Any, model: TrainableModel, step: int) -> torch.Tensor | None:
    """Clip the gradients to the limit, and abnormal ones further; DeepSpeed has done so itself: `set_clipping`.

    Returns:
        The norm before clipping; None where the engine does not give it.
    """
    norm = accelerator.clip_grad_norm_(model.parameters, find_limit(model.optimizer, step))
    if isinstance(norm, DTensor):
        norm = norm.full_tensor()
    elif isinstance(norm, float):
        norm = torch.tensor(norm)
    if norm is not None and model.optimizer.abnormal_after and step > model.optimizer.abnormal_after:
        factor = find_factor_of_abnormal(model.optimizer, step, norm)
        for parameter in model.parameters:
            if parameter.grad is not None:
                parameter.grad.mul_(factor.to(parameter.grad.dtype))
    return norm
