"""Short runs on small pipelines and clips of noise."""

import json
from dataclasses import dataclass

import numpy as np
import pytest
import tiny_dit
import torch
from accelerate.state import AcceleratorState
from easyanimate_dit.training.config import DitTrainingConfig, LoraTrainingConfig
from easyanimate_dit.training.run import prepare_task, train_dit
from easyanimate_train.config import DataConfig, OptimizerConfig
from easyanimate_train.cycled import CycledBatches
from easyanimate_train.stream import BatchStream


@dataclass(frozen=True)
class Clips:
    """Clips of noise with a caption each."""

    captions: tuple[str, ...] = tuple(f"clip {index}" for index in range(6))

    def __len__(self):
        return len(self.captions)

    def __getitem__(self, index):
        frames = np.random.default_rng(index).integers(256, size=(8, 32, 32, 3), dtype=np.uint8)
        return {"frames": frames, "text": self.captions[index]}


@pytest.fixture(autouse=True)
def _one_thread():
    """With so few numbers, threads mostly wait for each other."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture
def any_precision():
    """Accelerate settles on the number format of its first run."""
    AcceleratorState._reset_state(reset_partial_state=True)
    yield
    AcceleratorState._reset_state(reset_partial_state=True)


@pytest.fixture
def build(kind):
    """A pipeline of its own for every run, because training changes it."""

    def make(**options):
        built = tiny_dit.build_pipeline(tiny_dit.build_components(kind, **options))
        built.set_progress_bar_config(disable=True)
        return built

    return make


@pytest.fixture
def configure(tmp_path):
    """Settings of a short run; of a LoRA where a setting of one is given."""

    def make(name="run", **changes):
        values = {
            "out": tmp_path / name,
            "data": DataConfig(batches=((2, 8), (2, 1)), passes=1),
            "tracker": "none",
            "optimizer": OptimizerConfig(learning_rate=1e-2, warmup_steps=1),
            "max_steps": 4,
            "checkpoint_every": 2,
            "log_every": 1,
        }
        config_class = LoraTrainingConfig if {"lora", "lcm"} & changes.keys() else DitTrainingConfig
        return config_class(**(values | changes))

    return make


@pytest.fixture
def train(build):
    """Trains a pipeline, a new one if none is given."""

    def run(config, pipeline=None, **options):
        pipeline = pipeline or build()
        return train_dit(config, pipeline, CycledBatches(Clips(), config.data, seed=config.seed), **options)

    return run


@pytest.fixture
def prepare(build):
    """The task of a run, and its first batch: (task, shard, batch)."""

    def make(config, pipeline=None, *, clips=None, **ranks):
        dataset = CycledBatches(clips or Clips(), config.data, seed=config.seed)
        task = prepare_task(config, pipeline or build(), dataset)
        return task, *next(iter(BatchStream(dataset, task.load, **ranks)))

    return make


@pytest.fixture
def compute_loss(prepare):
    """The first loss of a run, on the rows of one process."""

    def compute(*arguments, **options):
        task, shard, batch = prepare(*arguments, **options)
        return task.compute("transformer", batch, shard, 0)["loss"].item()

    return compute


@pytest.fixture
def read_losses():
    """Function from the settings of a run to the losses that it logged."""

    def read(config):
        return [json.loads(line)["loss"] for line in (config.out / "loss.jsonl").read_text().splitlines()]

    return read


@pytest.fixture
def stop_at():
    """Function from a step to an `on_progress` that is interrupted at it."""

    def make(step):
        def stop(progress, _):
            if progress.phase == "train" and progress.step == step:
                raise KeyboardInterrupt

        return stop

    return make
