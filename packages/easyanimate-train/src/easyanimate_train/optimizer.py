"""Optimisers by name, the learning rate of a step, and how gradients are clipped."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import torch
from easyanimate_core.errors import RequestError
from torch.distributed.tensor import DTensor

if TYPE_CHECKING:
    from easyanimate_train.config import OptimizerConfig
    from easyanimate_train.task import Learner

_LAST_SHARE = 0.02
"""Of the learning rate, at the end of a "flat" schedule."""

_ABNORMAL = 5.0
"""Times the limit from which a gradient's norm is abnormal."""

_MOST = 10.0
"""The most that an abnormal gradient is clipped further."""


def make_optimizer(learner: Learner) -> torch.optim.Optimizer:
    """The optimiser of a learner.

    Raises:
        RequestError: It needs a package that is not installed.
    """
    config = learner.optimizer
    groups: list[dict[str, Any]] = [
        {"params": parameters, "lr": config.learning_rate * share} for share, parameters in learner.groups if parameters
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
    """Learning rate of a step over the highest."""
    if step < config.warmup_steps:
        return (step + 1) / config.warmup_steps
    if config.schedule == "constant":
        return 1.0
    if config.schedule == "flat":
        flat = config.flat_share * max_steps
        return 1.0 if step < flat else max(_LAST_SHARE, (max_steps - step) / max(max_steps - flat, 1))
    left = max(max_steps - step, 0) / max(max_steps - config.warmup_steps, 1)
    return left if config.schedule == "linear" else 0.5 * (1 - math.cos(math.pi * min(left, 1.0)))


def set_learning_rate(optimizer: Any, learner: Learner, step: int, max_steps: int) -> float:
    """Give every group its learning rate for a step; that of the first group."""
    rate = learner.optimizer.learning_rate * find_factor(learner.optimizer, step, max_steps)
    shares = [share for share, parameters in learner.groups if parameters]
    for group, share in zip(optimizer.param_groups, shares, strict=True):
        group["lr"] = rate * share
    return rate * shares[0]


def find_limit(config: OptimizerConfig, step: int) -> float:
    """The norm that the gradients of a step are clipped to."""
    if not config.abnormal_after:
        return config.max_grad_norm
    left = max(1 - step / config.abnormal_after, 0.0)
    return config.max_grad_norm * (1 + (config.first_norm_ratio - 1) * left)


@torch.no_grad()
def clip_gradients(accelerator: Any, learner: Learner, step: int) -> torch.Tensor | None:
    """Clip to the limit, and what is abnormal further; the norm before, where the engine tells it."""
    limit = find_limit(learner.optimizer, step)
    norm = accelerator.clip_grad_norm_(learner.parameters, limit)
    if isinstance(norm, DTensor):
        norm = norm.full_tensor()
    elif isinstance(norm, float):
        norm = torch.tensor(norm)
    if norm is not None and learner.optimizer.abnormal_after and step > learner.optimizer.abnormal_after:
        ratio = norm / limit
        factor = torch.where(ratio > _ABNORMAL, 1 / ratio.clamp(max=_MOST), torch.ones_like(ratio))
        for parameter in learner.parameters:
            if parameter.grad is not None:
                parameter.grad.mul_(factor.to(parameter.grad.dtype))
    return norm
