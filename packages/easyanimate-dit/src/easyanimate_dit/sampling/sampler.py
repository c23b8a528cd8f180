"""The samplers by name. Torch-free: the scheduler classes are imported when one is made."""

from __future__ import annotations

import importlib
import warnings
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from easyanimate_core.errors import RequestError, near_misses
from easyanimate_core.spec import SchedulerSpec

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping


@contextmanager
def allow_tensors_as_arrays() -> Iterator[None]:
    """Silence a deprecation of NumPy 2 inside diffusers' schedulers, which hand tensors to `numpy.array`."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "__array__ implementation", DeprecationWarning)
        yield


def _from_config(module: str, class_name: str) -> Callable[[Mapping[str, Any]], Any]:
    def create(config: Mapping[str, Any]) -> Any:
        # The configuration may name another class (the official one says DDPMScheduler): all samplers share its fields.
        from easyanimate_torch.quiet import silence_libraries

        scheduler_class = getattr(importlib.import_module(module), class_name)
        with allow_tensors_as_arrays(), silence_libraries():
            return scheduler_class.from_config(dict(config))

    return create


SAMPLERS: tuple[SchedulerSpec, ...] = (
    SchedulerSpec(
        name="euler", summary="Euler; the original's choice", create=_from_config("diffusers", "EulerDiscreteScheduler")
    ),
    SchedulerSpec(
        name="euler_a",
        summary="Euler ancestral: fresh noise at every step",
        create=_from_config("easyanimate_dit.sampling.scheduler", "EulerAncestralScheduler"),
    ),
    SchedulerSpec(
        name="dpm++",
        summary="DPM-Solver++, second order: good with few steps",
        create=_from_config("diffusers", "DPMSolverMultistepScheduler"),
    ),
    SchedulerSpec(name="pndm", summary="Pseudo linear multistep", create=_from_config("diffusers", "PNDMScheduler")),
    SchedulerSpec(name="ddim", summary="DDIM without noise", create=_from_config("diffusers", "DDIMScheduler")),
    SchedulerSpec(
        name="lcm",
        summary="Latent consistency: about 4 steps, guidance 1, with an LCM-LoRA",
        create=_from_config("diffusers", "LCMScheduler"),
    ),
)


def make_scheduler(name: str, config: Mapping[str, Any], samplers: Iterable[SchedulerSpec] = SAMPLERS) -> Any:
    """Make the sampler called `name` from a scheduler configuration.

    Raises:
        RequestError: no sampler has this name.
    """
    known = {spec.name: spec for spec in samplers}
    if name not in known:
        raise RequestError(
            "There is no such sampler.", received=name, expected=", ".join(known), fix=near_misses(name, known)
        )
    return known[name].create(config)
