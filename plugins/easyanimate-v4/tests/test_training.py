"""Training of V4 by command: what is written is what `ea run` loads; a plan writes nothing."""

import pytest
import torch
from easyanimate_core import LoraFile
from easyanimate_core.model import open_model
from easyanimate_core.registry import load_plugins
from easyanimate_dit.training.config import DitTrainingConfig
from easyanimate_dit.training.run import prepare_task
from easyanimate_train.config import DataConfig
from easyanimate_train.stream import BatchStream
from safetensors.torch import load_file

TRANSFORMER = "transformer/diffusion_pytorch_model.safetensors"
SHAPES = DataConfig(
    kind="shapes",
    options={"count": 4, "num_frames": 8, "height": 32, "width": 32},
    batches=((2, 8),),
    passes=1,
)


@pytest.fixture
def train(checkpoint, tmp_path):
    """Runs a trainer as `ea train` does; gives the folder of its weights."""

    def run(trainer, **changes):
        options = {
            "model": "v4", "weights": str(checkpoint), "out": str(tmp_path / trainer), "max_steps": "2",
            "data__kind": SHAPES.kind, "data__options": str(SHAPES.options), "data__batches": "[[2, 8]]",
            "data__passes": "1", "data__workers": "0", "data__mask_rule": "null", "mixed_precision": "no",
            "gradient_checkpointing": False, "tracker": "none", "optimizer__learning_rate": "0.01",
            "optimizer__warmup_steps": "0",
        }  # fmt: skip
        command = load_plugins().command("train", trainer).load()
        command(config=None, **({"plan": False, "resume": False, "launch_words": None} | options | changes))
        return tmp_path / trainer / "weights"

    return run


def compute_loss(checkpoint, folder, **options):
    """The first loss of a run that starts from what is loaded."""
    pipeline = open_model("v4", weights=checkpoint, device="cpu", dtype="float32", **options).pipeline.pipeline
    config = DitTrainingConfig(out=folder, data=SHAPES, seed=5)
    dataset = config.data.open(seed=config.seed)
    task = prepare_task(config, pipeline, dataset)
    shard, batch = next(iter(BatchStream(dataset, task.load)))
    return task.compute("transformer", batch, shard, 0)["loss"].item()


def test_what_is_trained_is_what_is_loaded(train, checkpoint, tmp_path):
    weights = train("dit")
    pipeline = open_model("v4", weights=checkpoint, device="cpu", dtype="float32", transformer=weights).pipeline
    for name, tensor in load_file(weights / TRANSFORMER).items():
        assert torch.equal(pipeline.pipeline.transformer.state_dict()[name], tensor), name
    lora = LoraFile(train("lora", lora__rank="2", lora__alpha="3") / "lora.safetensors")
    plain, trained = compute_loss(checkpoint, tmp_path), compute_loss(checkpoint, tmp_path, loras=(lora,))
    assert abs(plain - trained) > 1e-4


def test_a_plan_writes_nothing(train, tmp_path, capsys):
    train("dit", plan=True, cache=True)
    printed = capsys.readouterr().out
    assert "weights of transformer" in printed
    assert "2 clips of 8 frames, 32x32" in printed
    assert not list(tmp_path.iterdir())
