"""The golden runner on a small copy of the golden files, and its verdicts."""

from pathlib import Path

import pytest
import torch
from golden_case import Comparison, compare
from run import main, run_case
from safetensors.torch import load_file, save_file

ROOT = Path(__file__).parents[2]
GOLDEN = ROOT / "plugins/easyanimate-v4/tests/golden"
CASES = [
    *sorted(GOLDEN.glob("*.safetensors")),
    *sorted(ROOT.glob("plugins/easyanimate-v[123]/tests/golden/*.safetensors")),
    ROOT / "packages/easyanimate-dit/tests/golden/transformer_inp_image.safetensors",
    ROOT / "packages/easyanimate-dit/tests/golden/lora_merge.safetensors",
    ROOT / "packages/easyanimate-vae/tests/golden/vae_one_chunk.safetensors",
]


@pytest.mark.parametrize("path", CASES, ids=lambda path: f"{path.parents[2].name}-{path.stem}")
def test_golden_case(path):
    result = run_case(path, path.parent)
    assert result.state in {"pass", "weights"}, result.note


def test_wrong_numbers_fail(tmp_path):
    source = GOLDEN
    for path in (*source.glob("pipeline_weights_*"), source / "tokenizers"):
        (tmp_path / path.name).symlink_to(path)
    case = source / "pipeline_t2v_euler_a.safetensors"
    tensors = load_file(case)
    tensors["outputs/latents_after_step.2"] += 0.01
    from safetensors import safe_open

    with safe_open(case, "pt") as file:
        save_file(tensors, tmp_path / case.name, metadata=file.metadata())
    result = run_case(tmp_path / case.name, tmp_path)
    assert result.state == "FAIL"
    assert "latents_after_step.2" in result.note
    assert main([str(tmp_path / case.name)]) == 1


def test_unknown_classes_are_reported(tmp_path, capsys):
    save_file({"outputs/x": torch.zeros(1)}, tmp_path / "case.safetensors", metadata={"class": "Other"})
    assert main([str(tmp_path)]) == 0
    assert "no runner" in capsys.readouterr().out


def test_a_folder_without_cases_is_no_success(tmp_path):
    assert main([str(tmp_path)]) == 2


def test_shapes_and_nan_never_pass():
    assert not compare("x", torch.zeros(2), torch.zeros(3), 1.0).passed
    assert not compare("x", torch.tensor([float("nan")]), torch.zeros(1), 1.0).passed
    assert Comparison("x", 0.0, 0.0).passed
