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
    PartFile,
    Progress,
    ShapeRule,
    Task,
    TrainedRange,
    Video,
    WeightsError,
    WeightsSource,
    hookimpl,
)
from easyanimate_core.spec import TRANSFORMER_FILE

FOLDER = Path(__file__).parent / "weights"
OPEN_FOLDER = Path(__file__).parent / "open"
BESIDE = Path(__file__).parent / "motion.safetensors"
DEFAULTS = Defaults(height=32, width=48, num_frames=16, fps=8, num_inference_steps=4, guidance_scale=5.0)
LOG = logging.getLogger("easyanimate.fake")
loads = []
requests = []


class OutOfMemoryError(RuntimeError):
    """Looks like torch's."""


def make_video(request):
    import numpy as np

    requests.append(request)
    guidance = f"{request.guidance_scale}|{request.guidance_rescale}"
    key = f"{request.prompt}|{request.negative_prompt}|{request.seed}|{guidance}|{request.sampler}"
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
    return dataclasses.replace(options, parts={"motion_module": BESIDE, **options.parts})


def is_motion_module(header):
    return all(name.startswith("motion_modules.") for name in header)


def check_weights(folder):
    path = folder.path / "weights.safetensors"
    if not path.is_file():
        raise WeightsError("A file is missing.", received=folder, expected="weights.safetensors")
    folder.header(path)


def identify(folder):
    return int((folder.path / "weights.safetensors").is_file())


def identify_open(folder):
    return 2 * int(folder.config("model").get("kind") == "open")


def complete(folder):
    config = folder.config("model")
    return {
        "tasks": tuple(Task(task) for task in config["tasks"]),
        "shapes": ShapeRule(**config["shapes"]),
        "defaults": Defaults(**config["defaults"]),
        "samplers": tuple(config["samplers"]),
    }


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
        identify=identify,
        check_weights=check_weights,
    )
    yield ModelSpec(key="fake-text", summary="Only from text.", load=load, defaults=DEFAULTS)
    yield ModelSpec(
        key="fake-part",
        summary="Takes files beside the weights.",
        load=load,
        defaults=DEFAULTS,
        trained=TrainedRange(min_frames=12, max_frames=20, min_side=64, max_side=64),
        part_files=(
            TRANSFORMER_FILE,
            PartFile(name="motion_module", summary="Motion module of the fake model.", matches=is_motion_module),
        ),
        find_files=find_files,
    )
    yield ModelSpec(
        key="fake-open",
        summary="Its weights say what it can do.",
        load="easyanimate_fake:load",
        tasks=tuple(Task),
        identify="easyanimate_fake:identify_open",
        check_weights="easyanimate_fake:check_weights",
        complete="easyanimate_fake:complete",
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
    yield WeightsSource(model="fake-open", name="demo", summary="Small.", licence="MIT", path=OPEN_FOLDER)


@hookimpl
def ea_commands():
    yield CommandSpec(group="fakes", name="count", summary="Count up.", load="easyanimate_fake_command:count")
    yield CommandSpec(group="fakes", name="gone", summary="Needs more.", load="a_library_that_nobody_has:count")
    yield CommandSpec(group="weights", name="count", summary="Count weights.", load="easyanimate_fake_command:count")
