"""A plugin without torch: its pipeline paints what it was asked for, or fails in the way the prompt names."""

from __future__ import annotations

import dataclasses
import hashlib
import logging
import time
from pathlib import Path

from easyanimate_core import (
    CommandSpec,
    Defaults,
    ModelSpec,
    Progress,
    ShapeRule,
    Task,
    TrainedRange,
    Video,
    WeightsError,
    WeightsSource,
    hookimpl,
)

FOLDER = Path(__file__).parent / "weights"
DEFAULTS = Defaults(height=32, width=48, num_frames=16, fps=8, num_inference_steps=4, guidance_scale=5.0)
LOG = logging.getLogger("easyanimate.fake")
loads = []
requests = []


class OutOfMemoryError(RuntimeError):
    """Looks like torch's."""


def make_video(request):
    import numpy as np

    requests.append(request)
    key = f"{request.prompt}|{request.negative_prompt}|{request.seed}|{request.guidance_scale}|{request.sampler}"
    noise = np.random.default_rng(list(hashlib.sha256(key.encode()).digest()))
    for step in range(request.num_inference_steps):
        if "slow" in request.prompt:
            time.sleep(0.2)
        if "bug" in request.prompt:
            raise KeyError("a bug of the model")
        if "memory" in request.prompt:
            raise OutOfMemoryError("CUDA out of memory. Tried to allocate 20 GiB.")
        request.on_progress(Progress("denoise", step + 1, request.num_inference_steps))
    frames = noise.integers(0, 256, (request.num_frames, request.height, request.width, 3), dtype=np.uint8)
    for index, image in enumerate(request.start_images):
        frames[index] = image[: request.height, : request.width]
    return Video(frames, request.fps)


def load(options):
    loads.append(options)
    for lora in options.loras:
        LOG.info("LoRA [%s] matched 3 modules", lora.path.name)
    return make_video


def find_files(options):
    beside = FOLDER.parent / "motion.txt"
    return dataclasses.replace(options, motion_module=options.motion_module or beside)


def check_weights(folder):
    if not (folder / "weights.safetensors").is_file():
        raise WeightsError("A file is missing.", received=folder, expected="weights.safetensors")


@hookimpl
def ea_models():
    yield ModelSpec(
        key="fake",
        summary="Paints noise.",
        load=load,
        tasks=tuple(Task),
        defaults=DEFAULTS,
        shapes=ShapeRule(),
        samplers=("euler", "ddim"),
        check_weights=check_weights,
    )
    yield ModelSpec(key="fake-text", summary="Only from text.", load=load, defaults=DEFAULTS)
    yield ModelSpec(
        key="fake-part",
        summary="Takes files beside the weights.",
        load=load,
        defaults=DEFAULTS,
        trained=TrainedRange(min_frames=12, max_frames=20, min_side=64, max_side=64),
        find_files=find_files,
    )


@hookimpl
def ea_weights():
    yield WeightsSource(model="fake", name="demo", summary="Small.", licence="MIT", path=FOLDER)
    yield WeightsSource(
        model="fake",
        name="official",
        summary="Large.",
        licence="Apache-2.0",
        hub_id="nobody/fake",
        folder="Diffusion_Transformer/Fake",
        size_bytes=14_000_000_000,
    )


@hookimpl
def ea_commands():
    yield CommandSpec(group="fakes", name="count", summary="Count up.", load=load_count)
    yield CommandSpec(group="fakes", name="gone", summary="Needs more.", load=load_gone)
    yield CommandSpec(group="weights", name="count", summary="Count weights.", load=load_count)


def load_count():
    from easyanimate_fake_command import count

    return count


def load_gone():
    from a_library_that_nobody_has import count  # pyright: ignore[reportMissingImports]

    return count
