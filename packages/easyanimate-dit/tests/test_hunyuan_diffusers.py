"""What diffusers offers for its own transformers works on this one, and changes nothing but where and how it runs."""

import json

import jaxtyping
import pytest
import torch
from accelerate import infer_auto_device_map
from diffusers import FirstBlockCacheConfig
from diffusers.models import attention_backend
from easyanimate_core.errors import EasyAnimateError
from easyanimate_dit import HunyuanCondition, HunyuanTransformer3DModel, attention
from easyanimate_dit.lora.apply import list_targets
from peft import LoraConfig

CASE = "transformer_inp_video"


@pytest.fixture
def case_and_model(golden):
    return golden(CASE)


@pytest.fixture
def predict(case_and_model):
    """Function from a model (and changed inputs) to its sample on the golden inputs."""
    case, _ = case_and_model

    @torch.no_grad()
    def run(model, **changes):
        return model(**(case.inputs | changes)).sample

    return run


@pytest.fixture
def model(case_and_model):
    return case_and_model[1]


@pytest.fixture
def expected(case_and_model):
    return case_and_model[0].outputs["sample"]


def assert_close(actual, expected, tolerance=1e-4):
    torch.testing.assert_close(actual, expected, atol=tolerance, rtol=0)


def test_save_and_load(model, predict, expected, tmp_path):
    model.save_pretrained(tmp_path)
    assert (tmp_path / "diffusion_pytorch_model.safetensors").is_file()
    assert json.loads((tmp_path / "config.json").read_text())["_class_name"] == "HunyuanTransformer3DModel"
    loaded, info = HunyuanTransformer3DModel.from_pretrained(tmp_path, output_loading_info=True)
    assert info["missing_keys"] == []
    assert_close(predict(loaded), expected)


def test_load_sharded_and_in_16_bits(model, predict, expected, tmp_path):
    model.save_pretrained(tmp_path, max_shard_size="200KB")
    assert len(list(tmp_path.glob("*.safetensors"))) > 1
    assert_close(predict(HunyuanTransformer3DModel.from_pretrained(tmp_path)), expected)
    half = HunyuanTransformer3DModel.from_pretrained(tmp_path, torch_dtype=torch.bfloat16)
    assert {parameter.dtype for parameter in half.parameters()} == {torch.bfloat16}


def test_return_tuple(model, case_and_model, expected):
    output = model(**case_and_model[0].inputs, return_dict=False)
    assert isinstance(output, tuple)
    assert_close(output[0], expected)


def test_condition_encoded_once_gives_the_same(model, case_and_model, expected):
    inputs = dict(case_and_model[0].inputs)
    at_every_step = ("hidden_states", "timestep", "image_rotary_emb", "inpaint_latents")
    step = {name: inputs.pop(name) for name in at_every_step}
    condition = model.encode_condition(**inputs)
    assert_close(model(**step, condition=condition).sample, expected)


def test_conditions_one_after_the_other_equal_a_batch(model, case_and_model, expected):
    inputs = dict(case_and_model[0].inputs)
    table = inputs.pop("image_rotary_emb")
    step = {name: inputs.pop(name) for name in ("hidden_states", "timestep", "inpaint_latents")}
    condition = model.encode_condition(**inputs)
    for index in range(len(expected)):
        own = HunyuanCondition(*(part[index : index + 1] for part in condition))
        single = {name: value[index : index + 1] for name, value in step.items()}
        sample = model(**single, image_rotary_emb=table, condition=own).sample
        assert_close(sample, expected[index : index + 1])


@pytest.mark.parametrize(("storage_dtype", "tolerance"), [(torch.float8_e4m3fn, 2.0), (torch.bfloat16, 0.2)])
def test_layerwise_casting(model, predict, expected, storage_dtype, tolerance):
    model.enable_layerwise_casting(storage_dtype=storage_dtype, compute_dtype=torch.float32)
    assert model.blocks[1].attn1.to_q.weight.dtype == storage_dtype
    assert model.blocks[1].ff.net[2].weight.dtype == storage_dtype
    assert model.blocks[1].norm2.weight.dtype == torch.float32
    assert model.text_embedding_padding.dtype == torch.float32
    sample = predict(model)
    assert model.blocks[1].attn1.to_q.weight.dtype == storage_dtype
    assert 0 < (sample - expected).abs().max() < tolerance


@pytest.mark.parametrize("offload_type", ["block_level", "leaf_level"])
def test_group_offload(model, case_and_model, expected, offload_type, tmp_path):
    # On a CPU alone "offloaded" means on disk: the parameters are empty between uses.
    model.enable_group_offload(
        onload_device=torch.device("cpu"),
        offload_device=torch.device("cpu"),
        offload_type=offload_type,
        num_blocks_per_group=1 if offload_type == "block_level" else None,
        offload_to_disk_path=str(tmp_path),
    )
    assert list(tmp_path.glob("*.safetensors"))
    inputs = dict(case_and_model[0].inputs)
    step = {name: inputs.pop(name) for name in ("hidden_states", "timestep", "image_rotary_emb", "inpaint_latents")}
    with torch.no_grad():
        condition = model.encode_condition(**inputs)
        assert_close(model(**step, condition=condition).sample, expected)


def test_gradient_checkpointing_gives_the_same_gradients(model, case_and_model):
    inputs = case_and_model[0].inputs
    calls = []

    def gradients():
        model.zero_grad()
        model(**inputs).sample.square().mean().backward()
        return {name: value.grad for name, value in model.named_parameters() if value.grad is not None}

    plain = gradients()
    model.enable_gradient_checkpointing()
    checkpoint = model._gradient_checkpointing_func
    model._gradient_checkpointing_func = lambda *args: calls.append(1) or checkpoint(*args)
    again = gradients()
    assert len(calls) == len(model.blocks)
    assert plain.keys() == again.keys()
    for name, value in plain.items():
        assert_close(again[name], value, 1e-6)


def test_device_map_keeps_blocks_whole(model, predict, expected, tmp_path):
    block_bytes = sum(value.nbytes for value in model.blocks[-1].state_dict().values())
    device_map = infer_auto_device_map(
        model,
        max_memory={"cpu": 5 * block_bytes, "disk": 100 * block_bytes},
        no_split_module_classes=model._no_split_modules,
    )
    assert "disk" in device_map.values()
    assert all(name.count(".") <= 1 for name in device_map if name.startswith("blocks."))
    model.save_pretrained(tmp_path)
    assert_close(predict(HunyuanTransformer3DModel.from_pretrained(tmp_path, device_map="cpu")), expected)


@pytest.fixture
def fresh_compiler():
    """The compiler without graphs of other tests, and without shape checks, which it cannot trace."""
    jaxtyping.config.update("jaxtyping_disable", True)
    torch._dynamo.reset()
    yield
    torch._dynamo.reset()
    jaxtyping.config.update("jaxtyping_disable", False)


@pytest.mark.usefixtures("fresh_compiler")
def test_compile_repeated_blocks(model, predict, expected):
    graphs = []

    def backend(graph, _inputs):
        graphs.append(graph)
        return graph.forward

    model.compile_repeated_blocks(backend=backend, fullgraph=True)
    assert_close(predict(model), expected)
    # One graph for blocks without and one for blocks with a long skip, whatever the depth.
    assert len(graphs) == 2


def test_attention_backends(model, predict, expected, monkeypatch):
    seen = []
    original = attention.dispatch_attention_fn

    def spy(query, key, value, **options):
        seen.append((query.shape, key.shape, options["backend"]))
        return original(query, key, value, **options)

    monkeypatch.setattr(attention, "dispatch_attention_fn", spy)
    with attention_backend("_native_math"):
        assert_close(predict(model), expected)
    blocks, heads, width = len(model.blocks), model.config.num_attention_heads, model.config.attention_head_dim
    assert len(seen) == 3 * blocks
    assert all(query == (2, 48, heads, width) for query, _, _ in seen)
    assert {key[1] for _, key, _ in seen} == {48, 18, 4}


def test_attention_processors_can_be_listed_and_replaced(model, predict, expected):
    assert len(model.attn_processors) == 3 * len(model.blocks)
    model.set_attn_processor(attention.AttnProcessor())
    assert len({id(processor) for processor in model.attn_processors.values()}) == 1
    assert_close(predict(model), expected)


def test_qkv_fusion(model, predict, expected):
    model.fuse_qkv_projections()
    assert model.blocks[0].attn1.to_qkv.weight.shape == (72, 24)
    model.blocks[0].attn1.to_q.weight.detach().zero_()
    assert_close(predict(model), expected)
    model.unfuse_qkv_projections()
    assert not hasattr(model.blocks[0].attn1, "to_qkv")


class TestFirstBlockCache:
    @pytest.fixture
    def count_blocks(self, model):
        """Number of middle blocks that really ran."""
        calls = []
        model.blocks[2].norm2.register_forward_hook(lambda *_: calls.append(1))
        return lambda: len(calls)

    def test_threshold_zero_equals_no_cache(self, model, predict, expected, count_blocks):
        other = predict(model, timestep=torch.tensor([3.0, 700.0]))
        before = count_blocks()
        model.enable_cache(FirstBlockCacheConfig(threshold=0.0))
        with model.cache_context("cond"):
            assert_close(predict(model), expected)
            assert_close(predict(model, timestep=torch.tensor([3.0, 700.0])), other)
        assert count_blocks() == before + 2

    def test_a_skipped_step_repeats_the_residual(self, model, predict, expected, count_blocks):
        model.enable_cache(FirstBlockCacheConfig(threshold=0.05))
        with model.cache_context("cond"):
            predict(model)
            # The same inputs again: only the first block runs, and the long skips do not disturb the result.
            assert_close(predict(model), expected)
        assert count_blocks() == 1
        model.disable_cache()
        assert_close(predict(model), expected)
        assert count_blocks() == 2


def test_context_parallel_plan_names_what_exists_and_splits_whole_frames(model):
    plan = model._cp_plan
    modules = dict(model.named_modules())
    assert plan.keys() <= modules.keys()
    table = torch.randn(16, 12), torch.randn(16, 12)
    outputs = model.token_position(table, 4)
    split = [plan["token_position"][index].split_dim for index in range(len(outputs))]
    halves = [output.chunk(2, dim) for output, dim in zip(outputs, split, strict=True)]
    tokens = torch.randn(1, 4 * 16, 24)
    whole = model.blocks[0].t_embed(tokens, outputs[2])
    for index, part in enumerate(tokens.chunk(2, plan["blocks.0"]["hidden_states"].split_dim)):
        cos, _, frames = (half[index] for half in halves)
        assert len(cos) == part.shape[1]
        assert torch.equal(model.blocks[0].t_embed(part, frames), whole.chunk(2, 1)[index])


def test_lora_adapter_added_saved_and_loaded(model, predict, expected, golden, tmp_path):
    model.add_adapter(LoraConfig(r=2, target_modules=list(list_targets(model))))
    for name, parameter in model.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(parameter, std=0.05)
    adapted = predict(model)
    assert (adapted - expected).abs().max() > 0.01
    model.save_lora_adapter(tmp_path)
    _, fresh = golden(CASE)
    fresh.load_lora_adapter(tmp_path, prefix=None, use_safetensors=True)
    assert_close(predict(fresh), adapted)
    fresh.fuse_lora()
    assert_close(predict(fresh), adapted)
    fresh.unfuse_lora()
    fresh.unload_lora()
    assert_close(predict(fresh), expected)


UNSUPPORTED = [
    {"num_layers": 5},
    {"attention_head_dim": 6, "hidden_size": 12},
    {"hidden_size": 25},
    {"n_query": 5},
    {"norm_type": "ada_norm"},
    {"basic_block_type": "motionmodule"},
]


@pytest.mark.parametrize("change", UNSUPPORTED, ids=lambda change: next(iter(change)))
def test_unsupported_configurations_are_refused(case_and_model, change):
    with pytest.raises(EasyAnimateError, match=f"unsupported {next(iter(change))}"):
        HunyuanTransformer3DModel.from_config({**case_and_model[0].config, **change})


def test_an_inpainting_model_asks_for_its_inputs(model, case_and_model):
    inputs = case_and_model[0].inputs
    with pytest.raises(EasyAnimateError, match="CLIP tokens"):
        model(**(inputs | {"clip_encoder_hidden_states": None}))
    with pytest.raises(EasyAnimateError, match="text states"):
        model(**(inputs | {"encoder_hidden_states_t5": None}))
    with pytest.raises(ValueError, match="must be a square"):
        model(**(inputs | {"clip_encoder_hidden_states": torch.zeros(2, 17, 20)}))
