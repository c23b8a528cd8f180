"""LoRA training on V4: the transformer stays as it is, and the file that is written has the effect that was trained."""

import json

import numpy as np
import pytest
import torch
from easyanimate_core import LoadOptions, LoraFile
from easyanimate_core.config import read_config
from easyanimate_core.errors import RequestError
from easyanimate_core.registry import load_plugins
from easyanimate_core.training import DataConfig, OptimizerConfig
from easyanimate_dit.lora import list_targets
from easyanimate_dit.lora_file import name_original, read_lora
from easyanimate_dit.training.config import DitTrainingConfig, LoraConfig, LoraTrainingConfig
from easyanimate_dit.training.run import train_dit
from easyanimate_v4.build import load
from safetensors.torch import load_file


class Clips:
    """Clips of noise with a caption each."""

    def __len__(self):
        return 4

    def __getitem__(self, index):
        frames = np.random.default_rng(index).integers(256, size=(8, 32, 32, 3), dtype=np.uint8)
        return {"frames": frames, "text": f"clip {index}"}


@pytest.fixture
def configure(tmp_path, checkpoint):
    def make(name, **changes):
        values = {
            "out": tmp_path / name,
            "weights": checkpoint,
            "data": DataConfig(batches=((2, 8), (2, 1))),
            "cache_items": 4,
            "optimizer": OptimizerConfig(learning_rate=1e-2, warmup_steps=1),
            "lora": LoraConfig(rank=2, alpha=3.0),
            "max_steps": 4,
            "checkpoint_every": 2,
            "log_every": 1,
        }
        return LoraTrainingConfig(**(values | changes))

    return make


@pytest.fixture
def load_model(checkpoint):
    """A model of its own for every run, because training changes it."""

    def make(*loras):
        return load(LoadOptions(weights=checkpoint, device="cpu", dtype="float32", loras=loras)).pipeline

    return make


def read_losses(config):
    return [json.loads(line)["loss"] for line in (config.out / "loss.jsonl").read_text().splitlines()]


def test_the_file_has_every_layer_of_the_original_and_the_transformer_is_unchanged(configure, load_model):
    config, pipeline = configure("run"), load_model()
    before = {path: module.weight.clone() for path, module in list_targets(pipeline.transformer).items()}
    weights = train_dit(config, pipeline, Clips())
    assert [path.name for path in weights.iterdir()] == ["lora.safetensors"]
    assert (config.out / "train.json").is_file()
    tensors = load_file(weights / "lora.safetensors")
    parts = (".lora_down.weight", ".lora_up.weight", ".alpha")
    assert tensors.keys() == {name_original("transformer", path) + part for path in before for part in parts}
    for path, module in list_targets(pipeline.transformer).items():
        assert torch.equal(module.weight, before[path]), path
        name = name_original("transformer", path)
        assert float(tensors[f"{name}.alpha"]) == 3.0
        assert torch.equal(
            tensors[f"{name}.lora_down.weight"], pipeline.transformer.get_submodule(path).lora_A["default"].weight
        )
    assert sum(bool(tensor.any()) for name, tensor in tensors.items() if name.endswith("lora_up.weight")) > 0.9 * len(
        before
    )


def test_the_merged_file_gives_the_loss_that_the_trained_adapter_gives(configure, load_model):
    trained = load_model()
    weights = train_dit(configure("run"), trained, Clips())
    merged = load_model(LoraFile(weights / "lora.safetensors"))
    losses = []
    for name, pipeline in (("trained", trained), ("merged", merged), ("plain", load_model())):
        # One step more, with a learning rate of nothing, tells the loss of what is there.
        after = DitTrainingConfig(
            out=configure(name).out,
            weights=configure(name).weights,
            data=DataConfig(batches=((2, 8),)),
            optimizer=OptimizerConfig(learning_rate=0.0),
            max_steps=1,
            seed=5,
        )
        train_dit(after, pipeline, Clips())
        losses += read_losses(after)
    assert losses[0] == pytest.approx(losses[1], rel=1e-4)
    assert abs(losses[2] - losses[1]) > 1e-3


def test_resumed_run_repeats_the_undisturbed_one_bit_for_bit(configure, load_model):
    whole, stopped = configure("whole", ema_decay=0.9), configure("stopped", ema_decay=0.9)
    expected = load_file(train_dit(whole, load_model(), Clips()) / "lora.safetensors")

    def stop(progress, _):
        if progress.phase == "train" and progress.step == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train_dit(stopped, load_model(), Clips(), on_progress=stop)
    weights = train_dit(stopped, load_model(), Clips(), resume=True)
    assert read_losses(stopped) == read_losses(whole)
    for name, tensor in load_file(weights / "lora.safetensors").items():
        assert torch.equal(tensor, expected[name]), name


def test_training_lowers_the_loss_on_what_it_sees(configure, load_model):
    config = configure("run", max_steps=30, data=DataConfig(batches=((4, 8),)), timesteps="uniform")
    train_dit(config, load_model(), Clips())
    losses = read_losses(config)
    assert np.mean(losses[-8:]) < np.mean(losses[:8])


def test_checkpoints_hold_the_lora_alone(configure, load_model):
    config = configure("run", lora=LoraConfig(rank=1), max_steps=2)
    pipeline = load_model()
    train_dit(config, pipeline, Clips())
    (state,) = config.out.glob("checkpoints/*/model*.safetensors")
    num = 2 * len(list_targets(pipeline.transformer))
    assert len(load_file(state)) == num
    assert all(".lora_" in name for name in load_file(state))


def test_targets_choose_modules_by_a_part_of_their_path(configure, load_model):
    config = configure("run", lora=LoraConfig(rank=1, targets=("blocks.0.attn1.", "proj_out")), max_steps=1)
    weights = train_dit(config, load_model(), Clips())
    names = set(read_lora(weights / "lora.safetensors").layers["transformer"])
    assert names == {"proj_out", *(f"blocks_0_attn1_to_{part}" for part in ("q", "k", "v", "out_0"))}


@pytest.mark.parametrize(
    ("lora", "words"), [(LoraConfig(targets=("attention",)), "No module has such a name"), (LoraConfig(rank=0), "rank")]
)
def test_a_lora_of_nothing_is_refused_before_anything_is_written(configure, load_model, lora, words):
    config = configure("run", lora=lora)
    with pytest.raises(RequestError, match=words):
        train_dit(config, load_model(), Clips())
    assert not config.out.exists()


def test_the_command_takes_the_settings_of_both(tmp_path):
    words = [f"out={tmp_path}", f"weights={tmp_path}", "lora.rank=4", "lora.targets=[attn1, ff]", "max_steps=9"]
    config = read_config(LoraTrainingConfig, None, words)
    assert (config.lora.rank, config.lora.targets, config.max_steps) == (4, ("attn1", "ff"), 9)
    with pytest.raises(RequestError, match="Unknown setting lora"):
        read_config(DitTrainingConfig, None, words)
    assert load_plugins().command("train", "lora").load().__doc__ == "Train a LoRA of the video transformer."
