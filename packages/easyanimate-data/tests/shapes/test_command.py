import json
import subprocess
import sys
from importlib.metadata import EntryPoint
from types import ModuleType

import numpy as np
import pytest
import typer
from easyanimate_core import Defaults, ModelSpec, RequestError, Video, hookimpl
from easyanimate_core import model as core_model
from easyanimate_core.dataset import BatchRule
from easyanimate_core.registry import load_plugins
from easyanimate_data import plugin
from easyanimate_data.shapes import command
from easyanimate_data.shapes.caption import canonical_caption
from easyanimate_data.shapes.clip import COMBINATIONS, render_clip
from typer.testing import CliRunner

BY_CAPTION = {canonical_caption(one, language): one for one in COMBINATIONS for language in ("en", "zh")}


def draw(request):
    clip = render_clip(
        BY_CAPTION[request.prompt], rng=np.random.default_rng(request.seed), num_frames=request.num_frames
    )
    return Video(clip, request.fps)


@hookimpl
def ea_models():
    yield ModelSpec(
        key="drawn",
        summary="Draws the clips.",
        load=lambda _options: draw,
        defaults=Defaults(height=64, width=64, num_frames=8, fps=8),
    )


@pytest.fixture
def drawn_model(tmp_path, monkeypatch):
    module = ModuleType("drawn_plugin")
    module.ea_models = ea_models
    monkeypatch.setitem(sys.modules, "drawn_plugin", module)
    entry = EntryPoint("drawn", "drawn_plugin", "easyanimate")
    monkeypatch.setattr(core_model, "load_plugins", lambda: load_plugins([entry]))
    weights = tmp_path / "weights"
    weights.mkdir()
    (weights / "model_index.json").write_text("{}", encoding="utf-8")
    return weights


def run(function, *words):
    app = typer.Typer()
    app.command()(function)
    return CliRunner().invoke(app, words, catch_exceptions=False)


def test_plugin_offers_commands_and_datasets():
    plugins = load_plugins([EntryPoint("data", "easyanimate_data.plugin", "easyanimate")])
    assert plugins.broken == ()
    assert {"data shapes", "eval shapes", "data prepare", "data report"} <= set(plugins.commands())
    assert {"motion", "aesthetic", "text", "align"} <= set(plugins.filters())
    assert set(plugins.captioners()) == {"transformers", "openai"}
    assert all(callable(spec.load()) for spec in plugins.commands().values())
    assert plugins.command("data", "shapes").load() is command.generate_shapes
    assert plugins.command("eval", "shapes").load() is command.evaluate_shapes
    clips = plugins.dataset("shapes").load(count=3, num_frames=4)
    assert clips[0]["frames"].shape == (4, 64, 64, 3)


def test_shapes_refuse_a_path(tmp_path):
    with pytest.raises(Exception, match="generated and need no path"):
        next(spec for spec in plugin.ea_datasets() if spec.key == "shapes").load(tmp_path, count=1)


def test_json_dataset_through_the_plugin(tmp_path):
    result = run(command.generate_shapes, "--out", str(tmp_path / "set"), "--count", "2", "--frames", "8")
    assert result.exit_code == 0
    path = tmp_path / "set" / "json_of_internal_datasets.json"
    assert result.stdout.strip() == str(path)
    load = next(spec for spec in plugin.ea_datasets() if spec.key == "json").load
    batches = load(path).batched(BatchRule(video_size=64, num_frames=8, chunk_frames=2), seed=0)
    assert batches.load(batches.plan(0)[1], [0])["frames"].shape == (1, 6, 64, 64, 3)


@pytest.mark.parametrize(("choice", "language"), [("en", "a"), ("zh", "的")])
def test_language_of_captions(tmp_path, choice, language):
    run(command.generate_shapes, "--out", str(tmp_path / "set"), "--count", "6", "--language", choice)
    rows = json.loads((tmp_path / "set" / "json_of_internal_datasets.json").read_text(encoding="utf-8"))
    assert all(row["text"].isascii() == (choice == "en") for row in rows)
    assert any(language in row["text"] for row in rows)


def test_count_must_be_positive(tmp_path):
    with pytest.raises(RequestError, match=r"count is out of range[\s\S]*from 1 to"):
        run(command.generate_shapes, "--out", str(tmp_path / "set"), "--count", "0")
    assert not (tmp_path / "set").exists()


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["--count", "1000000000"], "count is out of range"),
        (["--count", "1", "--height", "100000"], "height is out of range"),
        (["--count", "1", "--frames", "1000000000"], "num_frames is out of range"),
        (["--count", "1", "--frames", "1000", "--height", "4096", "--width", "4096"], "too large"),
    ],
)
def test_sets_without_end_are_refused(tmp_path, words, told):
    with pytest.raises(RequestError, match=told):
        run(command.generate_shapes, "--out", str(tmp_path / "set"), *words)
    assert not (tmp_path / "set").exists()


def test_evaluation_prints_a_table_and_writes_files(tmp_path, drawn_model):
    out = tmp_path / "out"
    result = run(
        command.evaluate_shapes,
        "--model",
        "drawn",
        "--weights",
        str(drawn_model),
        "--language",
        "zh",
        "--out",
        str(out),
    )
    assert result.exit_code == 0
    lines = result.stdout.splitlines()
    assert lines[1].split() == ["trained", "zh", "65", *["100.0", "%"] * 4, "0.0", "%"]
    assert lines[2].split() == ["held", "out", "zh", "7", *["100.0", "%"] * 4, "0.0", "%"]
    report = json.loads((out / "evaluation.json").read_text(encoding="utf-8"))
    assert (report["model"], report["task"], len(report["clips"])) == ("drawn", "text", 72)
    assert (out / "sheet.png").stat().st_size > 1000
    assert len(list(out.iterdir())) == 2


def test_evaluation_refuses_a_file_for_its_folder_before_it_begins(tmp_path):
    file = tmp_path / "out"
    file.write_text("mine", encoding="utf-8")
    with pytest.raises(RequestError, match="This is a file, not a folder"):
        run(command.evaluate_shapes, "--model", "gone", "--out", str(file))
    assert file.read_text(encoding="utf-8") == "mine"


def test_importing_the_plugin_is_light():
    heavy = ("torch", "diffusers", "transformers", "numpy", "av", "PIL", "typer")
    code = f"import sys, easyanimate_data.plugin; print([name for name in {heavy} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)  # noqa: S603
    assert done.stdout.strip() == "[]"


def test_evaluation_needs_no_torch():
    code = "import sys, easyanimate_data.shapes.command; print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)  # noqa: S603
    assert done.stdout.strip() == "False"
