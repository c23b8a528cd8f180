"""What is trained: the whole transformer, some of its parameters, or a LoRA; and what is written of it."""

import pytest
import torch
from easyanimate_core import LoraFile
from easyanimate_core.config import read_config
from easyanimate_core.errors import RequestError
from easyanimate_core.registry import load_plugins
from easyanimate_dit.lora.apply import list_targets, merge_option, read_loras
from easyanimate_dit.lora.convert import convert_lora
from easyanimate_dit.lora.file import name_original, read_lora
from easyanimate_dit.training.config import DitTrainingConfig, LoraConfig, LoraTrainingConfig
from easyanimate_train.config import OptimizerConfig
from safetensors.torch import load_file

RATE = 1e-3


@pytest.fixture
def lora():
    """Settings of a small LoRA."""

    def make(**changes):
        return LoraConfig(**({"rank": 2, "alpha": 3.0} | changes))

    return make


def copy_targets(model):
    return {path: module.weight.clone() for path, module in list_targets(model).items()}


def measure_changes(train, config, pipeline):
    """How much each parameter of the transformer changes at most."""
    before = {name: value.clone() for name, value in pipeline.transformer.named_parameters()}
    train(config, pipeline)
    return {name: (value - before[name]).abs().max().item() for name, value in pipeline.transformer.named_parameters()}


@pytest.mark.parametrize("kind", ["hunyuan"], indirect=True)
def test_slow_parameters_learn_at_their_share_of_the_rate(configure, train, build):
    slow = "blocks.0."
    # The first step of Adam changes every value by the learning rate.
    optimizer = OptimizerConfig(learning_rate=RATE, schedule="constant", warmup_steps=0, weight_decay=0.0)
    config = configure(trainable=("proj_out",), slow=(slow,), slow_rate=0.25, optimizer=optimizer, max_steps=1)
    changes = measure_changes(train, config, build())
    fast = {name: change for name, change in changes.items() if name.startswith("proj_out")}
    slowed = {name: change for name, change in changes.items() if slow in name and change}
    others = {name: change for name, change in changes.items() if "proj_out" not in name and slow not in name}
    assert fast
    assert all(change == pytest.approx(RATE, rel=0.05) for change in fast.values())
    assert len(slowed) > 5
    assert max(slowed.values()) == pytest.approx(0.25 * RATE, rel=0.05)
    assert others
    assert not any(others.values())


@pytest.mark.parametrize("kind", ["hunyuan"], indirect=True)
def test_what_is_slow_and_trainable_learns_at_the_full_rate(configure, prepare):
    task, *_ = prepare(configure(trainable=("proj_out.weight",), slow=("proj_out",), slow_rate=0.5))
    model = task.trainable["transformer"]
    names = {id(parameter): name for name, parameter in model.module.named_parameters()}
    found = [(rate, [names[id(parameter)] for parameter in parameters]) for rate, parameters in model.groups]
    assert found == [(1.0, ["proj_out.weight"]), (0.5, ["proj_out.bias"])]


def test_a_name_that_no_parameter_has_is_refused(configure, prepare):
    with pytest.raises(RequestError, match="No parameter") as caught:
        prepare(configure(trainable=("proj_outt",)))
    assert "proj_out" in caught.value.fix


def test_the_file_has_every_layer_of_the_original_and_the_transformer_is_unchanged(configure, train, build, lora):
    config, pipeline = configure(lora=lora()), build()
    before = copy_targets(pipeline.transformer)
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
    trained = [bool(tensor.any()) for name, tensor in tensors.items() if name.endswith("lora_up.weight")]
    assert sum(trained) > 0.9 * len(before)


@pytest.mark.parametrize(
    "changes", [{}, {"dora": True, "format": "peft"}, {"text_encoder": True}], ids=["lora", "dora", "text encoder"]
)
def test_the_merged_file_gives_the_loss_that_the_trained_adapter_gives(
    configure, train, build, compute_loss, lora, changes
):
    trained, merged = build(), build()
    file = LoraFile(train(configure(lora=lora(**changes)), trained) / "lora.safetensors")
    components = {"transformer": merged.transformer, "text_encoder": merged.text_encoder}
    merge_option(file, *read_loras([file]), components)
    losses = [compute_loss(configure(seed=5), pipeline) for pipeline in (trained, merged, build())]
    assert losses[0] == pytest.approx(losses[1], rel=1e-4)
    assert losses[2] != pytest.approx(losses[1], rel=1e-3)


def test_resumed_run_repeats_the_undisturbed_one_bit_for_bit(configure, train, read_losses, stop_at, lora):
    whole, stopped = (configure(name, lora=lora(), ema_decay=0.9) for name in ("whole", "stopped"))
    expected = load_file(train(whole) / "lora.safetensors")
    with pytest.raises(KeyboardInterrupt):
        train(stopped, on_progress=stop_at(3))
    weights = train(stopped, resume=True)
    assert read_losses(stopped) == read_losses(whole)
    for name, tensor in load_file(weights / "lora.safetensors").items():
        assert torch.equal(tensor, expected[name]), name


def test_checkpoints_hold_the_lora_alone_and_are_ready_to_use(configure, train, build, lora):
    config, pipeline = configure(lora=lora(rank=1), max_steps=2), build()
    weights = train(config, pipeline)
    (checkpoint,) = config.out.glob("checkpoints/*")
    assert sorted(path.name for path in checkpoint.iterdir()) == ["lora.safetensors", "state"]
    state = load_file(checkpoint / "state" / "transformer.safetensors")
    buffers = {name for name, _ in pipeline.transformer.named_buffers()}
    trained = [name for name in state if name not in buffers]
    assert len(trained) == 2 * len(list_targets(pipeline.transformer))
    assert all(".lora_" in name for name in trained)
    assert (checkpoint / "lora.safetensors").read_bytes() == (weights / "lora.safetensors").read_bytes()


@pytest.mark.parametrize("kind", ["hunyuan"], indirect=True)
def test_targets_choose_modules_by_a_part_of_their_path(configure, train, lora):
    weights = train(configure(lora=lora(targets=("blocks.0.attn1.", "proj_out")), max_steps=1))
    names = set(read_lora(weights / "lora.safetensors").layers["transformer"])
    assert names == {"proj_out", *(f"blocks_0_attn1_to_{part}" for part in ("q", "k", "v", "out_0"))}


def test_a_lora_of_nothing_is_refused_before_anything_is_written(configure, train, lora):
    config = configure(lora=lora(targets=("no_such_module",)))
    with pytest.raises(RequestError, match=r"matches lora\.targets"):
        train(config)
    assert not config.out.exists()
    with pytest.raises(RequestError, match=r"lora\.rank is out of range"):
        LoraConfig(rank=0)


def test_the_command_takes_the_settings_of_both(tmp_path):
    words = [f"out={tmp_path}", f"weights={tmp_path}", "lora.rank=4", "lora.targets=[attn1, ff]", "max_steps=9"]
    config = read_config(LoraTrainingConfig, None, words)
    assert (config.lora.rank, config.lora.targets, config.max_steps) == (4, ("attn1", "ff"), 9)
    with pytest.raises(RequestError, match="Unknown setting lora"):
        read_config(DitTrainingConfig, None, words)
    assert load_plugins().command("train", "lora").load().__doc__ == "Train a LoRA of the video transformer."


def test_both_formats_hold_the_same_lora_and_diffusers_reads_pefts(configure, train, build, lora, tmp_path):
    files = {}
    for kind in ("original", "peft"):
        trained = build()
        files[kind] = train(configure(kind, lora=lora(format=kind), max_steps=1), trained) / "lora.safetensors"
    convert_lora(files["peft"], tmp_path / "converted.safetensors", "original")
    converted = load_file(tmp_path / "converted.safetensors")
    for name, tensor in load_file(files["original"]).items():
        assert torch.equal(converted[name], tensor), name

    found = build().transformer
    found.load_lora_adapter(files["peft"].parent, weight_name="lora.safetensors", prefix="transformer")
    (name,) = found.peft_config
    for path in list_targets(trained.transformer):
        own, other = trained.transformer.get_submodule(path), found.get_submodule(path)
        assert other.scaling[name] == own.scaling["default"] == 1.5
        assert torch.equal(other.lora_B[name].weight, own.lora_B["default"].weight)


def test_the_text_encoder_learns_at_half_the_rate_and_its_layers_are_written(configure, train, prepare, build, lora):
    config = configure(lora=lora(rank=1, text_encoder=True), cache=True, max_steps=2)
    task, *_ = prepare(config)
    assert [rate for rate, _ in task.trainable["transformer"].groups] == [1.0, 0.5]
    assert "text_encoder" not in task.frozen
    trained = build()
    before = copy_targets(trained.text_encoder)
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
