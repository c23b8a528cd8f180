"""What this package adds to `ea`: samplers, `ea train dit`, `ea train lora`, `ea weights convert`. Torch-free."""

from __future__ import annotations

from typing import TYPE_CHECKING

from easyanimate_core.hookspecs import hookimpl
from easyanimate_core.spec import CommandSpec, SchedulerSpec

if TYPE_CHECKING:
    from collections.abc import Iterable


@hookimpl
def ea_schedulers() -> Iterable[SchedulerSpec]:
    """Offer the samplers of the original, and what distilled models need."""
    yield SchedulerSpec(
        name="euler", summary="Euler; the original's choice", create="diffusers:EulerDiscreteScheduler.from_config"
    )
    yield SchedulerSpec(
        name="euler_a",
        summary="Euler ancestral: fresh noise at every step",
        create="easyanimate_dit.sampling.scheduler:EulerAncestralScheduler.from_config",
    )
    yield SchedulerSpec(
        name="dpm++",
        summary="DPM-Solver++, second order: good with few steps",
        create="diffusers:DPMSolverMultistepScheduler.from_config",
    )
    yield SchedulerSpec(name="pndm", summary="Pseudo linear multistep", create="diffusers:PNDMScheduler.from_config")
    yield SchedulerSpec(name="ddim", summary="DDIM without noise", create="diffusers:DDIMScheduler.from_config")
    yield SchedulerSpec(
        name="lcm",
        summary="Latent consistency: about 4 steps, guidance 1, with an LCM-LoRA",
        create="diffusers:LCMScheduler.from_config",
    )


@hookimpl
def ea_commands() -> Iterable[CommandSpec]:
    """Offer the trainers, and the conversion of LoRA files."""
    yield CommandSpec(
        group="train",
        name="dit",
        summary="Train the video transformer.",
        load="easyanimate_dit.training.command:train_transformer",
    )
    yield CommandSpec(
        group="train",
        name="lora",
        summary="Train a LoRA of the transformer.",
        load="easyanimate_dit.training.command:train_lora",
    )
    yield CommandSpec(
        group="weights",
        name="convert",
        summary="Convert a LoRA file to peft's format, or back.",
        load="easyanimate_dit.lora.command:convert",
    )
