"""LoRA training on V4: the transformer stays as it is, and the file that is written has the effect that was trained."""

import json
from dataclasses import dataclass

import numpy as np
import pytest
import torch
from accelerate.state import AcceleratorState
from easyanimate_core import LoadOptions, LoraFile, WeightsFolder
from easyanimate_core.config import read_config
from easyanimate_core.errors import RequestError
from easyanimate_core.registry import load_plugins
from easyanimate_dit.lora.apply import list_targets
from easyanimate_dit.lora.convert import convert_lora
from easyanimate_dit.lora.file import name_original, read_lora
from easyanimate_dit.training.config import DitTrainingConfig, LcmConfig, LoraConfig, LoraTrainingConfig
from easyanimate_dit.training.run import prepare_task, train_dit
from easyanimate_train.config import DataConfig, OptimizerConfig
from easyanimate_train.cycled import CycledBatches
from easyanimate_train.stream import BatchStream
from easyanimate_v4.plugin import V4
from safetensors.torch import load_file


@dataclass(frozen=True)
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
            "weights": str(checkpoint),
            "data": DataConfig(batches=((2, 8), (2, 1)), passes=1),
            "tracker": "none",
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
        return V4.load(
            LoadOptions(weights=WeightsFolder(checkpoint), device="cpu", dtype="float32", loras=loras)
        ).pipeline

    return make


@pytest.fixture
def any_precision():
    """Accelerate settles on the number format of its first run."""
    AcceleratorState._reset_state(reset_partial_state=True)
    yield
    AcceleratorState._reset_state(reset_partial_state=True)


def train(config, pipeline, **options):
    return train_dit(config, pipeline, CycledBatches(Clips(), config.data, seed=config.seed), **options)


def compute_loss(config, pipeline, *, rank=0, num_ranks=1):
    """What a process has as its first loss."""
    dataset = CycledBatches(Clips(), config.data, seed=config.seed)
    task = prepare_task(config, pipeline, dataset)
    shard, batch = next(iter(BatchStream(dataset, task.load, rank=rank, num_ranks=num_ranks)))
    return task.compute("transformer", batch, shard, 0)["loss"].item()


def read_losses(config):
    return [json.loads(line)["loss"] for line in (config.out / "loss.jsonl").read_text().splitlines()]


def test_the_file_has_every_layer_of_the_original_and_the_transformer_is_unchanged(configure, load_model):
    config, pipeline = configure("run"), load_model()
    before = {path: module.weight.clone() for path, module in list_targets(pipeline.transformer).items()}
    weights = train(config, pipeline)
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


@pytest.mark.parametrize(
    "lora",
    [
        LoraConfig(rank=2, alpha=3.0),
        LoraConfig(rank=2, alpha=3.0, dora=True, format="peft"),
        LoraConfig(rank=2, alpha=3.0, text_encoder=True),
    ],
    ids=["lora", "dora", "text encoder"],
)
def test_the_merged_file_gives_the_loss_that_the_trained_adapter_gives(configure, load_model, lora, tmp_path):
    trained = load_model()
    weights = train(configure("run", lora=lora), trained)
    merged = load_model(LoraFile(weights / "lora.safetensors"))
    losses = []
    for name, pipeline in (("trained", trained), ("merged", merged), ("plain", load_model())):
        after = DitTrainingConfig(out=tmp_path / name, data=DataConfig(batches=((2, 8),)), seed=5)
        losses.append(compute_loss(after, pipeline))
    assert losses[0] == pytest.approx(losses[1], rel=1e-4)
    assert abs(losses[2] - losses[1]) > 1e-3


def test_resumed_run_repeats_the_undisturbed_one_bit_for_bit(configure, load_model):
    whole, stopped = configure("whole", ema_decay=0.9), configure("stopped", ema_decay=0.9)
    expected = load_file(train(whole, load_model()) / "lora.safetensors")

    def stop(progress, _):
        if progress.phase == "train" and progress.step == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train(stopped, load_model(), on_progress=stop)
    weights = train(stopped, load_model(), resume=True)
    assert read_losses(stopped) == read_losses(whole)
    for name, tensor in load_file(weights / "lora.safetensors").items():
        assert torch.equal(tensor, expected[name]), name


def test_training_lowers_the_loss_on_what_it_sees(configure, load_model):
    config = configure("run", max_steps=30, data=DataConfig(batches=((4, 8),)), timesteps="uniform")
    train(config, load_model())
    losses = read_losses(config)
    assert np.mean(losses[-8:]) < np.mean(losses[:8])


def test_checkpoints_hold_the_lora_alone_and_are_ready_to_use(configure, load_model):
    config = configure("run", lora=LoraConfig(rank=1), max_steps=2)
    pipeline = load_model()
    weights = train(config, pipeline)
    (checkpoint,) = config.out.glob("checkpoints/*")
    assert sorted(path.name for path in checkpoint.iterdir()) == ["lora.safetensors", "state"]
    state = load_file(checkpoint / "state" / "transformer.safetensors")
    buffers = {name for name, _ in pipeline.transformer.named_buffers()}
    trained = [name for name in state if name not in buffers]
    assert len(trained) == 2 * len(list_targets(pipeline.transformer))
    assert all(".lora_" in name for name in trained)
    assert (checkpoint / "lora.safetensors").read_bytes() == (weights / "lora.safetensors").read_bytes()


def test_targets_choose_modules_by_a_part_of_their_path(configure, load_model):
    config = configure("run", lora=LoraConfig(rank=1, targets=("blocks.0.attn1.", "proj_out")), max_steps=1)
    weights = train(config, load_model())
    names = set(read_lora(weights / "lora.safetensors").layers["transformer"])
    assert names == {"proj_out", *(f"blocks_0_attn1_to_{part}" for part in ("q", "k", "v", "out_0"))}


def test_a_lora_of_nothing_is_refused_before_anything_is_written(configure, load_model):
    config = configure("run", lora=LoraConfig(targets=("attention",)))
    with pytest.raises(RequestError, match=r"matches lora\.targets"):
        train(config, load_model())
    assert not config.out.exists()
    with pytest.raises(RequestError, match="rank"):
        LoraConfig(rank=0)


def test_the_command_takes_the_settings_of_both(tmp_path):
    words = [f"out={tmp_path}", f"weights={tmp_path}", "lora.rank=4", "lora.targets=[attn1, ff]", "max_steps=9"]
    config = read_config(LoraTrainingConfig, None, words)
    assert (config.lora.rank, config.lora.targets, config.max_steps) == (4, ("attn1", "ff"), 9)
    with pytest.raises(RequestError, match="Unknown setting lora"):
        read_config(DitTrainingConfig, None, words)
    assert load_plugins().command("train", "lora").load().__doc__ == "Train a LoRA of the video transformer."


def test_both_formats_hold_the_same_lora_and_diffusers_reads_pefts(configure, load_model, tmp_path):
    files = {}
    for kind in ("original", "peft"):
        config = configure(kind, lora=LoraConfig(rank=2, alpha=3.0, format=kind), max_steps=1)
        trained = load_model()
        files[kind] = train(config, trained) / "lora.safetensors"
    convert_lora(files["peft"], tmp_path / "converted.safetensors", "original")
    converted = load_file(tmp_path / "converted.safetensors")
    for name, tensor in load_file(files["original"]).items():
        assert torch.equal(converted[name], tensor), name

    found = load_model().transformer
    found.load_lora_adapter(files["peft"].parent, weight_name="lora.safetensors", prefix="transformer")
    (name,) = found.peft_config
    for path in list_targets(trained.transformer):
        own, other = trained.transformer.get_submodule(path), found.get_submodule(path)
        assert other.scaling[name] == own.scaling["default"] == 1.5
        assert torch.equal(other.lora_B[name].weight, own.lora_B["default"].weight)


def test_the_text_encoder_learns_at_half_the_rate_and_its_layers_are_written(configure, load_model):
    config = configure("run", lora=LoraConfig(rank=1, text_encoder=True), cache=True, max_steps=2)
    pipeline = load_model()
    before = {path: module.weight.clone() for path, module in list_targets(pipeline.text_encoder).items()}
    task = prepare_task(config, pipeline, CycledBatches(Clips(), config.data, seed=0))
    assert [share for share, _ in task.trainable["transformer"].groups] == [1.0, 0.5]
    trained = load_model()
    layers = read_lora(train(config, trained) / "lora.safetensors").layers
    assert {path.replace(".", "_") for path in before} == set(layers["text_encoder"])
    assert len(layers["transformer"]) == len(list_targets(trained.transformer))
    assert all(layer.up.any() for layer in layers["text_encoder"].values())
    for path, module in list_targets(trained.text_encoder).items():
        assert torch.equal(module.weight, before[path]), path
    assert [path.name for path in (config.out / "cache").iterdir()] == ["latents"]


def test_dora_needs_pefts_format():
    with pytest.raises(RequestError, match=r"cannot hold DoRA(?s:.*)lora.format to peft"):
        LoraConfig(dora=True)


LCM = LcmConfig(enabled=True, num_ddim_steps=10)


@pytest.mark.usefixtures("any_precision")
@pytest.mark.parametrize("precision", ["no", "bf16"])
def test_distillation_changes_the_lora_alone(configure, load_model, precision):
    config = configure("run", lcm=LCM, mixed_precision=precision, gradient_checkpointing=True)
    pipeline = load_model()
    before = {path: module.weight.clone() for path, module in list_targets(pipeline.transformer).items()}
    weights = train(config, pipeline)
    assert np.isfinite(read_losses(config)).all()
    for path, module in list_targets(pipeline.transformer).items():
        assert torch.equal(module.weight, before[path]), path
    layers = read_lora(weights / "lora.safetensors").layers["transformer"]
    assert sum(bool(layer.up.any()) for layer in layers.values()) > 0.9 * len(layers)


def test_processes_share_what_a_distillation_draws(configure, load_model):
    config = configure("run", lcm=LCM, data=DataConfig(batches=((4, 8),), passes=1))
    whole = compute_loss(config, load_model())
    halves = [compute_loss(config, load_model(), rank=rank, num_ranks=2) for rank in (0, 1)]
    assert sum(halves) / 2 == pytest.approx(whole, rel=1e-5)


def test_a_distillation_refuses_what_it_cannot_do(configure):
    with pytest.raises(RequestError, match="cannot train the text encoder"):
        configure("run", lcm=LCM, lora=LoraConfig(text_encoder=True))
    with pytest.raises(RequestError, match="a range"):
        LcmConfig(guidance=(9.0, 3.0))
    with pytest.raises(RequestError, match="out of range"):
        LcmConfig(huber_c=0.0)
