"""Training in processes of its own: killed at any step, shared by two, split by FSDP2 and DeepSpeed."""

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from importlib.util import find_spec

import pytest
import torch
from easyanimate_dit import HunyuanTransformer3DModel
from easyanimate_train.launch import find_options
from safetensors.torch import load_file

pytestmark = pytest.mark.slow  # every process imports torch and diffusers anew

STEPS = 12
TWO = "ddp --num_processes 2"

FSDP_ON_CPU = """
from accelerate.state import PartialState
from accelerate.utils import DistributedType
# accelerate makes FSDP for GPUs alone; with this it takes two CPU processes for such.
PartialState(cpu=True)
PartialState._shared_state["distributed_type"] = DistributedType.MULTI_GPU
from easyanimate_dit.training.command import train_transformer
from easyanimate_train.launch import run_trainer
run_trainer({"dit": train_transformer})
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Where the runs are."""
    return tmp_path_factory.mktemp("runs")


@pytest.fixture(scope="module")
def command(folder, checkpoint):
    """The words of a run of a few seconds."""

    def make(name, *more):
        settings = {
            "model": "v4",
            "weights": checkpoint,
            "out": folder / name,
            "data.kind": "shapes",
            "data.options": "{count: 9, num_frames: 8, height: 32, width: 32}",
            "data.batches": "[[4, 8], [3, 1]]",
            "max-steps": STEPS,
            "checkpoint-every": 3,
            "log-every": 1,
            "tracker": "none",
            "mixed-precision": "no",
            "optimizer.learning-rate": 1e-3,
            "optimizer.schedule": "constant",
            "optimizer.warmup-steps": 2,
            "optimizer.max-grad-norm": 0.5,
            "optimizer.abnormal-after": 4,  # from then on the norms of some steps are abnormal
            "accumulate": 2,
            "motion-sub-loss": 0.25,
            "task.start-share": 0.5,
            "data.workers": 0,
        }
        words = [word for setting, value in settings.items() for word in (f"--{setting}", str(value))]
        return ["dit", *words, "--no-gradient-checkpointing", *more]

    return make


def start(words, launch=None, script=None):
    """The trainer as a process, or as the processes that accelerate launches."""
    engine = launch.split()[0] if launch else ""
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    environment |= {"DS_ACCELERATOR": "cpu"} if engine.startswith("zero") else {"ACCELERATE_USE_CPU": "true"}
    launcher = ["-m", "accelerate.commands.launch", *find_options(launch)] if launch else []
    module = [str(script)] if script else ["-m", "easyanimate_dit.train"]
    return subprocess.Popen(  # noqa: S603 (own command)
        [sys.executable, *launcher, *module, *words],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )


def finish(process):
    output, _ = process.communicate(timeout=400)
    assert process.returncode == 0, output[-20000:]


def read_losses(folder):
    lines = [json.loads(line) for line in (folder / "loss.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines] == list(range(1, STEPS + 1))
    return [line["loss"] for line in lines]


def kill_at(process, log, step):
    """SIGKILL the processes once the log has so many lines; whether they were still running."""
    while process.poll() is None:
        if log.exists() and len(log.read_text().splitlines()) >= step:
            os.killpg(process.pid, signal.SIGKILL)
            process.communicate()
            return True
        time.sleep(0.002)
    process.communicate()
    return False


@pytest.fixture(scope="module")
def whole(command, folder):
    """Losses and weights of undisturbed runs, each made once: by one process, or by how they were launched."""
    made = {}

    def run(launch=None):
        if launch not in made:
            name = f"whole{len(made)}"
            finish(start(command(name), launch))
            made[launch] = read_losses(folder / name), read_weights(folder / name)
        return made[launch]

    return run


def read_weights(run):
    return load_file(run / "weights" / "transformer" / "diffusion_pytorch_model.safetensors")


@pytest.mark.parametrize(("launch", "num_kills"), [(None, 2), (TWO, 1)], ids=["one", "two"])
def test_a_killed_run_goes_on_bit_for_bit(command, folder, whole, launch, num_kills):
    losses, weights = whole(launch)
    run, killed = folder / f"killed{num_kills}", 0
    while not killed:  # on a busy machine a run may end before it is looked at
        shutil.rmtree(run, ignore_errors=True)
        steps = sorted(random.Random(time.time_ns()).sample(range(1, STEPS), num_kills))  # noqa: S311 (any will do)
        for step in steps:
            words = command(run.name, *(["--resume"] if run.exists() else []))
            killed += kill_at(start(words, launch), run / "loss.jsonl", step)
    finish(start(command(run.name, "--resume"), launch))
    assert read_losses(run) == losses, steps
    assert all(torch.equal(value, weights[name]) for name, value in read_weights(run).items()), steps


def test_two_processes_are_one(whole):
    assert whole(TWO)[0] == pytest.approx(whole()[0], abs=1e-5)


@pytest.mark.parametrize("engine", ["fsdp2", "zero2", "zero3"])
def test_engines_that_split_weights_give_the_same(command, folder, whole, engine):
    if engine.startswith("zero") and find_spec("deepspeed") is None:
        pytest.skip("needs deepspeed, which is built where it is installed")
    script = None
    if engine == "fsdp2":
        script = folder / "fsdp.py"
        script.write_text(FSDP_ON_CPU)
    launch = f"{engine} --num_processes 2"
    finish(start(command(engine, "--max-steps", str(STEPS // 2)), launch, script))
    finish(start(command(engine, "--resume"), launch, script))
    assert read_losses(folder / engine) == pytest.approx(whole()[0], abs=1e-4)
    HunyuanTransformer3DModel.from_pretrained(folder / engine / "weights" / "transformer")
