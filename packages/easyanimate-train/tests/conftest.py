"""A task that is learnt in milliseconds: a line through points."""

from dataclasses import dataclass, field

import numpy as np
import pytest
import torch
from easyanimate_train.config import DataConfig, OptimizerConfig, RunConfig
from easyanimate_train.cycled import CycledBatches
from easyanimate_train.task import TrainableModel, ValidationResult
from safetensors.torch import save_file
from torch import nn


@dataclass(frozen=True)
class Clips:
    """Grey clips: the brighter, the larger the index."""

    count: int = 7

    def __len__(self):
        return self.count

    def __getitem__(self, index):
        return {"frames": np.full((8, 4, 4, 3), 20 * index, np.uint8), "text": f"clip {index}"}


@dataclass
class LineTask:
    """Learns to tell a clip's brightness from noise around it; a second model learns the opposite."""

    dataset: CycledBatches
    optimizer: OptimizerConfig
    second: bool = False
    seed: int = 0
    broken_at: int | None = None
    grow: float = 1.0
    written: list = field(default_factory=list)

    def __post_init__(self):
        torch.manual_seed(self.seed)
        names = ("first", "second") if self.second else ("first",)
        modules = {name: nn.Sequential(nn.Linear(4, 8), nn.BatchNorm1d(8), nn.Linear(8, 1)) for name in names}
        self.trainable = {
            name: TrainableModel(module, [(1.0, list(module.parameters()))], self.optimizer)
            for name, module in modules.items()
        }
        self.frozen = {}

    def load(self, batch, shard):
        return self.dataset.load(batch, shard.rows)

    def describe(self, batch):
        return f"{len(batch['text'])} clips"

    def compute(self, name, batch, shard, step):
        generator = torch.Generator().manual_seed(1000 + shard.index)
        noise = shard.take(torch.randn(shard.num_rows, 4, generator=generator))
        value = torch.from_numpy(batch["frames"]).float().flatten(1).mean(1) / 100
        sign = 1.0 if name == "first" else -1.0
        found = self.trainable[name].module(value[:, None] + 0.1 * noise)[:, 0]
        loss = (found - sign * value).square().mean() * self.grow**step
        return {"loss": loss * float("nan") if step == self.broken_at else loss, "bias": found.mean()}

    def move(self, device):
        assert device.type == "cpu"

    def write(self, state, folder):
        save_file({name: value.clone() for name, value in state.items()}, folder / "line.safetensors")

    def validate(self, _folder, step):
        return ValidationResult(
            {"step": float(step), "weight": float(next(iter(self.trainable["first"].parameters)).sum())}
        )

    def advise(self):
        return ["--smaller saves 3 GB"]


@pytest.fixture
def configure(tmp_path):
    """Settings of a short run."""

    def make(name="run", **changes):
        values = {
            "out": tmp_path / name,
            "data": DataConfig(path=tmp_path, batches=((4, 8), (3, 1)), passes=1, empty_text_share=0.5),
            "optimizer": OptimizerConfig(learning_rate=0.05, warmup_steps=2),
            "max_steps": 8,
            "checkpoint_every": 3,
            "log_every": 1,
            "tracker": "none",
        }
        return RunConfig(**(values | changes))

    return make


@pytest.fixture
def make_task():
    """The task of a run."""

    def make(config, **options):
        dataset = CycledBatches(Clips(), config.data, seed=config.seed)
        return LineTask(dataset, config.optimizer, **options), dataset

    return make


@pytest.fixture
def clips():
    """Seven grey clips of eight frames."""
    return Clips()
