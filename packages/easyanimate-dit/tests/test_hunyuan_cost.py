"""What the transformer costs: memory of a full-size pass, and nothing repeated that is constant over a run."""

import importlib
import subprocess
import sys
from pathlib import Path

import pytest
from easyanimate_dit import attention
from torch.utils._python_dispatch import TorchDispatchMode

BENCHMARKS = Path(__file__).parents[3] / "benchmarks"
pytestmark = pytest.mark.usefixtures("no_grad")


class OperatorLog(TorchDispatchMode):
    """Names of all operators that ran."""

    def __init__(self):
        super().__init__()
        self.names = []

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        self.names.append(func.overloadpacket.__name__)
        return func(*args, **(kwargs or {}))


@pytest.fixture
def step(golden):
    """The model, and the inputs of one step with the condition encoded."""
    case, model = golden("transformer_inp_video")
    inputs = dict(case.inputs)
    names = ("hidden_states", "timestep", "image_rotary_emb", "inpaint_latents")
    taken = {name: inputs.pop(name) for name in names}
    return model, taken | {"condition": model.encode_condition(**inputs)}


def test_a_step_waits_for_nothing_on_the_host_and_computes_no_table(step):
    model, inputs = step
    with OperatorLog() as log:
        model(**inputs)
    assert not {"_local_scalar_dense", "nonzero", "_to_cpu", "polar", "outer"} & set(log.names)
    # One cosine and one sine: the embedding of the time step.
    assert log.names.count("cos") == log.names.count("sin") == 1


def test_a_step_projects_neither_text_nor_image(step):
    model, inputs = step
    for part in (model.text_embedder, model.clip_projection, model.time_extra_emb.pooler):
        part.register_forward_hook(lambda *_: pytest.fail("projected again"))
    model(**inputs)


def test_attention_has_no_mask(step, monkeypatch):
    model, inputs = step
    original = attention.dispatch_attention_fn

    def spy(*args, **options):
        assert len(args) == 3
        assert options.get("attn_mask") is None
        return original(*args, **options)

    monkeypatch.setattr(attention, "dispatch_attention_fn", spy)
    model(**inputs)


@pytest.mark.skipif(not BENCHMARKS.is_dir(), reason="the benchmarks are not part of the package")
def test_full_size_activations_stay_under_the_limit(monkeypatch):
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    measure = importlib.import_module("transformer").measure_activations
    shallow, deeper = measure(num_layers=4), measure(num_layers=8)
    # Depth adds one stored tensor per two layers and nothing else, so that 40 layers need not be built.
    hidden = 18 * 24 * 42 * 1408 * 2
    assert deeper - shallow == 2 * hidden
    assert deeper + 16 * hidden <= 1.9e9


def test_importing_the_package_does_not_import_torch():
    code = "import sys, easyanimate_dit; assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)  # noqa: S603
