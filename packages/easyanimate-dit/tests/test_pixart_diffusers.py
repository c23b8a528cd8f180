"""What diffusers offers for its own transformers works on V1's to V3's, and changes only where and how it runs."""

import json

import jaxtyping
import pytest
import torch
from accelerate import infer_auto_device_map
from diffusers import FirstBlockCacheConfig
from diffusers.models import attention_backend
from easyanimate_core.errors import EasyAnimateError
from easyanimate_dit import Transformer3DModel, attention
from easyanimate_dit.lora.apply import list_targets
from peft import LoraConfig
from torch.utils._python_dispatch import TorchDispatchMode

INPAINT, SKIPS = "v3_transformer_inp_i2v", "v2_transformer_uvit_t2v"


@pytest.fixture
def case_and_model(golden_pixart):
    return golden_pixart(INPAINT)


@pytest.fixture
def model(case_and_model):
    return case_and_model[1]


@pytest.fixture
def expected(case_and_model):
    return case_and_model[0].outputs["sample"]


@pytest.fixture
def predict(case_and_model):
    """Function from a model (and changed inputs) to its sample on the golden inputs."""
    case, _ = case_and_model

    @torch.no_grad()
    def run(model, **changes):
        return model(**(case.inputs | changes)).sample

    return run


def assert_close(actual, expected, tolerance=1e-4):
    torch.testing.assert_close(actual, expected, atol=tolerance, rtol=0)


def test_save_and_load_whole_and_sharded(model, predict, expected, tmp_path):
    model.save_pretrained(tmp_path, max_shard_size="200KB")
    assert len(list(tmp_path.glob("*.safetensors"))) > 1
    assert json.loads((tmp_path / "config.json").read_text())["_class_name"] == "Transformer3DModel"
    assert_close(predict(Transformer3DModel.from_pretrained(tmp_path)), expected)


@pytest.mark.parametrize(("storage_dtype", "tolerance"), [(torch.float8_e4m3fn, 2.0), (torch.bfloat16, 0.2)])
def test_layerwise_casting(model, predict, expected, storage_dtype, tolerance):
    model.enable_layerwise_casting(storage_dtype=storage_dtype, compute_dtype=torch.float32)
    block = model.transformer_blocks[1]
    assert block.attn1.to_q.weight.dtype == storage_dtype
    assert block.attn_temporal.temporal_transformer.proj_in.weight.dtype == storage_dtype
    assert block.attn_temporal.temporal_transformer.norm.weight.dtype == torch.float32
    sample = predict(model)
    assert 0 < (sample - expected).abs().max() < tolerance


@pytest.mark.parametrize("offload_type", ["block_level", "leaf_level"])
def test_group_offload(model, predict, expected, offload_type, tmp_path):
    model.enable_group_offload(
        onload_device=torch.device("cpu"),
        offload_device=torch.device("cpu"),
        offload_type=offload_type,
        num_blocks_per_group=1 if offload_type == "block_level" else None,
        offload_to_disk_path=str(tmp_path),
    )
    assert list(tmp_path.glob("*.safetensors"))
    assert_close(predict(model), expected)


def test_gradient_checkpointing_gives_the_same_gradients(golden_pixart):
    case, model = golden_pixart(SKIPS)
    calls = []

    def gradients():
        model.zero_grad()
        model(**case.inputs).sample.square().mean().backward()
        return {name: value.grad for name, value in model.named_parameters() if value.grad is not None}

    plain = gradients()
    model.enable_gradient_checkpointing()
    checkpoint = model._gradient_checkpointing_func
    model._gradient_checkpointing_func = lambda *args: calls.append(1) or checkpoint(*args)
    again = gradients()
    assert len(calls) == len(model.transformer_blocks)
    assert plain.keys() == again.keys()
    for name, value in plain.items():
        assert_close(again[name], value, 1e-6)


def test_device_map_keeps_blocks_whole(model):
    block_bytes = sum(value.nbytes for value in model.transformer_blocks[-1].state_dict().values())
    device_map = infer_auto_device_map(
        model,
        max_memory={"cpu": 5 * block_bytes, "disk": 100 * block_bytes},
        no_split_module_classes=model._no_split_modules,
    )
    assert "disk" in device_map.values()
    assert all(name.count(".") <= 1 for name in device_map if name.startswith("transformer_blocks."))


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
    # Even and odd blocks have motion modules of their own kind.
    assert len(graphs) == 2


def test_attention_backends_reach_every_attention(model, predict, expected, monkeypatch):
    seen = []
    original = attention.dispatch_attention_fn

    def spy(query, key, value, **options):
        seen.append(query.shape)
        return original(query, key, value, **options)

    monkeypatch.setattr(attention, "dispatch_attention_fn", spy)
    with attention_backend("_native_math"):
        assert_close(predict(model), expected)
    # Within frames, to the prompt, and two of the motion module.
    assert len(seen) == 4 * len(model.transformer_blocks)
    assert len(model.attn_processors) == 4 * len(model.transformer_blocks)


def test_qkv_fusion(model, predict, expected):
    model.fuse_qkv_projections()
    assert_close(predict(model), expected)
    model.unfuse_qkv_projections()
    assert_close(predict(model), expected)


def test_first_block_cache_is_right_with_long_skips(golden_pixart):
    case, model = golden_pixart(SKIPS)
    ran = []
    model.transformer_blocks[16].norm2.register_forward_hook(lambda *_: ran.append(1))
    model.enable_cache(FirstBlockCacheConfig(threshold=0.05))
    with torch.no_grad(), model.cache_context("cond"):
        for _ in range(2):
            # The second time only the first block runs, and the long skips do not disturb the result.
            assert_close(model(**case.inputs).sample, case.outputs["sample"])
    assert len(ran) == 1
    model.disable_cache()
    with torch.no_grad():
        assert_close(model(**case.inputs).sample, case.outputs["sample"])
    assert len(ran) == 2


def test_lora_adapter_added_saved_and_loaded(model, predict, expected, golden_pixart, tmp_path):
    model.add_adapter(LoraConfig(r=2, target_modules=list(list_targets(model))))
    for name, parameter in model.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(parameter, std=0.05)
    adapted = predict(model)
    assert (adapted - expected).abs().max() > 0.01
    model.save_lora_adapter(tmp_path)
    _, fresh = golden_pixart(INPAINT)
    fresh.load_lora_adapter(tmp_path, prefix=None, use_safetensors=True)
    assert_close(predict(fresh), adapted)


class OperatorLog(TorchDispatchMode):
    """Names of all operators that ran."""

    def __init__(self):
        super().__init__()
        self.names = []

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        self.names.append(func.overloadpacket.__name__)
        return func(*args, **(kwargs or {}))


@torch.no_grad()
def test_a_step_waits_for_nothing_and_computes_no_table_and_no_condition(case_and_model, model):
    inputs = dict(case_and_model[0].inputs)
    step = {name: inputs.pop(name) for name in ("hidden_states", "timestep", "inpaint_latents")}
    condition = model.encode_condition(**inputs)
    model(**step, condition=condition)
    for part in (model.caption_projection, model.clip_projection):
        part.register_forward_hook(lambda *_: pytest.fail("projected again"))
    with OperatorLog() as log:
        model(**step, condition=condition)
    assert not {"_local_scalar_dense", "nonzero", "outer"} & set(log.names)
    # One cosine and one sine: the embedding of the time step.
    assert log.names.count("cos") == log.names.count("sin") == 1


UNSUPPORTED = [
    {"norm_type": "layer_norm"},
    {"basic_block_type": "selfattentiontemporal"},
    {"cross_attention_dim": 31},
    {"motion_module_type": "Other"},
    {"patch_3d": True},
]


@pytest.mark.parametrize("change", UNSUPPORTED, ids=lambda change: next(iter(change)))
def test_unsupported_configurations_are_refused(case_and_model, change):
    with pytest.raises(EasyAnimateError, match=f"unsupported {next(iter(change))}"):
        Transformer3DModel.from_config({**case_and_model[0].config, **change})


def test_an_odd_grid_is_refused_by_squares(golden_pixart):
    case, model = golden_pixart("v1_transformer_basegrid")
    with pytest.raises(EasyAnimateError, match=r"^The frames .* squares"):
        model(**(case.inputs | {"hidden_states": torch.zeros(2, 4, 2, 16, 18)}))


def test_more_frames_than_positions_are_refused(model, case_and_model):
    shape = {"hidden_states": (2, 4, 40, 6, 8), "inpaint_latents": (2, 8, 40, 6, 8)}
    with pytest.raises(EasyAnimateError, match=r"^The video has more latent frames"):
        model(**(case_and_model[0].inputs | {name: torch.zeros(size) for name, size in shape.items()}))
