"""VAE training in two processes that share each batch: the losses are those of one process."""

import dataclasses
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from easyanimate_train.config import DataConfig
from easyanimate_vae.training.config import DiscriminatorConfig, DiscriminatorOptimizerConfig, LossConfig
from easyanimate_vae.training.run import train_vae

PROGRAM = """
import sys
from pathlib import Path

sys.path.insert(0, {tests!r})
import conftest
from accelerate.state import PartialState
from easyanimate_core.config import read_config
from easyanimate_train.cycled import CycledBatches
from easyanimate_vae.training.config import VaeTrainingConfig
from easyanimate_vae.training.run import train_vae

config = read_config(VaeTrainingConfig, Path({settings!r}))
train_vae(config, CycledBatches(conftest.Colours(), config.data, seed=config.seed))
assert PartialState().num_processes == 2
"""


def train_in_two_processes(config, folder):
    settings, program = folder / "settings.json", folder / "program.py"
    # JSON is YAML; settings that are None are left out.
    values = {name: value for name, value in dataclasses.asdict(config).items() if value is not None}
    values["data"] = {"batches": values["data"]["batches"]}
    del values["loss"]["vgg"], values["validation"]
    settings.write_text(json.dumps(values, default=str))
    program.write_text(PROGRAM.format(tests=str(Path(__file__).parent), settings=str(settings)))
    launch = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", str(program)]
    # Accelerate would take GPUs where there are some.
    environment = os.environ | {"ACCELERATE_USE_CPU": "true", "OMP_NUM_THREADS": "1"}
    done = subprocess.run(  # noqa: S603 (own program)
        launch, check=False, capture_output=True, text=True, timeout=500, env=environment
    )
    assert done.returncode == 0, done.stderr[-4000:]


def read_numbers(config):
    return [json.loads(line) for line in (config.out / "loss.jsonl").read_text().splitlines()]


@pytest.mark.slow
@pytest.mark.parametrize("adversarial", [0.0, 0.5])
def test_two_processes_train_as_one(configure, tmp_path, adversarial):
    changes = {
        "loss": LossConfig(adversarial=adversarial, adversarial_start=2),
        "discriminator": DiscriminatorConfig(
            width=4,
            num_levels=1,
            # The gradient of the last bias is the difference of equal counts; Adam would make steps of its rounding.
            optimizer=DiscriminatorOptimizerConfig(epsilon=1e-3),
        ),
        # Three clips are no two halves, and of one image a process has nothing.
        "data": DataConfig(kind="colours", batches=((3, 8), (1, 1), (2, 8))),
        "ema_decay": 0.9,
        "accumulate": 2,
        "max_steps": 6,
    }
    one, two = configure("one", **changes), configure("two", **changes)
    train_vae(one)
    train_in_two_processes(two, tmp_path)
    alone, together = read_numbers(one), read_numbers(two)
    assert len(together) == 6
    for expected, found in zip(alone, together, strict=True):
        assert found["loss"] == pytest.approx(expected["loss"], abs=1e-5)
        for name in expected.keys() - {"psnr"}:  # the mean of two logarithms is another
            assert found[name] == pytest.approx(expected[name], rel=1e-4, abs=1e-5), name
