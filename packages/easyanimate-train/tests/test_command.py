"""Settings from options, a file and what is usual; how processes are launched."""

import sys
from dataclasses import dataclass, field
from pathlib import Path

import pytest
import typer
from easyanimate_core import EasyAnimateError, RequestError
from easyanimate_core.options import SettingsReader, list_settings, read_summaries
from easyanimate_train import launch
from easyanimate_train.command import run_training
from easyanimate_train.config import DataConfig, RunConfig
from typer.testing import CliRunner


@dataclass(frozen=True, kw_only=True)
class Config(RunConfig):
    """Settings.

    Args:
        names: What is trained; more
            words.
        prompt: A text.
        share: A number; not shown.
    """

    names: tuple[str, ...] = ()
    prompt: str = ""
    share: float | None = None
    extras: dict[str, int] = field(default_factory=dict)


def run(*words, defaults=None, config=None, out="o"):
    found = []

    def train(settings, **further):
        """Train something."""
        found.append((settings, further))

    reader = SettingsReader(Config, lambda named: {"share": 0.5, **(defaults or {})} if named.out else {})
    app = typer.Typer(rich_markup_mode=None)
    command = reader.command(train, launch.EXTRA_OPTIONS, lacking=launch.LACKING)
    app.command(context_settings=command.context_settings)(command)
    arguments = [*(["--out", out] if out else []), *words, *(["--config", str(config)] if config else [])]
    result = CliRunner().invoke(app, arguments)
    if result.exception and not isinstance(result.exception, SystemExit):
        raise result.exception
    return found[0] if found else result


def test_every_setting_is_an_option():
    settings, further = run(
        "--names", "a.b", "--names", "c: d", "--prompt", "yes: [no]", "--max-steps", "7", "--data", "clips", "--strict",
        "--data.batches", "[[2, 1]]", "--optimizer.betas", "[0.8, 0.9]", "--no-low-vram", "--extras", "{a: 1}",
        "--resume",
    )  # fmt: skip
    assert settings.names == ("a.b", "c: d")
    assert settings.prompt == "yes: [no]"
    assert (settings.max_steps, settings.data.path, settings.data.strict) == (7, Path("clips"), True)
    assert (settings.data.batches, settings.optimizer.betas) == (((2, 1),), (0.8, 0.9))
    assert (settings.extras, settings.out) == ({"a": 1}, Path("o"))
    assert further == {"resume": True, "plan": False, "launch_words": None}


def test_options_come_before_the_file_and_the_file_before_what_is_usual(tmp_path):
    (tmp_path / "c.yaml").write_text("share: 0.25\ndata: {num_frames: 8}\nmax_steps: 5\n")
    usual = {"data.num_frames": 16, "data.stride": 3, "max_steps": 9, "optimizer.learning_rate": 1e-3}
    settings, _ = run("--max-steps", "4", defaults=usual, config=tmp_path / "c.yaml")
    assert (settings.max_steps, settings.share, settings.optimizer.learning_rate) == (4, 0.25, 1e-3)
    assert (settings.data.num_frames, settings.data.stride) == (8, 3)


@pytest.mark.parametrize(
    ("text", "near"),
    [("max_stepz: 3", "max_steps"), ("data: {num_frame: 3}", "num_frames"), ("optimizer: {betaz: [1, 2]}", "betas")],
)
def test_a_misspelt_name_in_a_file_names_the_near_one(tmp_path, text, near):
    (tmp_path / "c.yaml").write_text(text)
    with pytest.raises(RequestError) as caught:
        run(config=tmp_path / "c.yaml")
    assert near in caught.value.fix


def test_a_misspelt_option_names_the_near_one():
    result = run("--optimizer.learning-rat", "1")
    assert result.exit_code == 2
    assert "--optimizer.learning-rate" in " ".join(result.output.replace("\u2502", " ").split())


@pytest.mark.parametrize(
    "words",
    [("--max-steps", "x"), ("--max-steps", "0"), ("--data.batch-size", "0"), ("--mixed-precision", "fp8"),
     ("--data.batches", "[[1]]"), ("--ema-decay", "1.5"), ("--data.empty-text-share", "2"),
     ("--optimizer.learning-rate", "nan"), ("--optimizer.learning-rate", ".nan"), ("--optimizer.learning-rate", "inf"),
     ("--optimizer.learning-rate", "-1e-3"), ("--optimizer.learning-rate", "1e999"), ("--data.workers", "-1"),
     ("--data.workers", "1000000"), ("--max-steps", "9" * 30), ("--seed", "-1"), ("--seed", str(2**32)),
     ("--optimizer.betas", "[0.9, .inf]"), ("--optimizer.epsilon", "0"), ("--optimizer.flat-share", "1.1"),
     ("--share", "nan"), ("--data.num-frames", "true"), ("--data.batches", "[[1, 0]]"), ("--max-steps", "[" * 5000)],
)  # fmt: skip
def test_values_that_do_not_fit_are_errors(words):
    with pytest.raises(RequestError) as caught:
        run(*words)
    assert caught.value.expected
    assert len(str(caught.value)) < 600


@pytest.mark.parametrize("text", ["1e-3", "1.e-3", "0.001", "1E-3", "+1e-3"])
@pytest.mark.parametrize("option", ["--optimizer.learning-rate", "--optimizer.learning_rate"])
def test_a_learning_rate_is_written_as_people_do(tmp_path, text, option):
    assert run(option, text)[0].optimizer.learning_rate == 0.001
    (tmp_path / "c.yaml").write_text(f"optimizer: {{learning_rate: {text}}}\n")
    assert run(config=tmp_path / "c.yaml")[0].optimizer.learning_rate == 0.001


def test_a_plan_needs_no_folder():
    with pytest.raises(RequestError, match=r"A setting is missing[\s\S]*out"):
        run(out=None)
    assert run("--plan", out=None)[0].share == 0.5
    assert run("--plan")[0].out == Path("o")


def test_the_help_shows_the_defaults_that_will_run():
    usual = {"max_steps": 77, "optimizer.learning_rate": 2e-5}
    for words in (["--help"], ["-h", "--seed", "3"], ["--out", "o", "--help"]):
        text = " ".join(run(*words, out=None, defaults=usual).output.replace("\u2502", " ").split())
        assert "[default: 77]" in text
        assert "[default: 2e-05]" in text
        assert "[default: 10000]" not in text


def test_every_setting_is_explained():
    assert read_summaries(Config)["names"] == "What is trained."
    unexplained = [setting.name for setting in list_settings(Config) if not setting.summary]
    assert unexplained == ["extras"]


def test_data_says_what_is_missing():
    with pytest.raises(RequestError, match="No training data"):
        DataConfig().open(seed=0)
    with pytest.raises(RequestError, match=r"Unknown setting data\.options\.cuont[\s\S]*did you mean count"):
        DataConfig(kind="shapes", options={"cuont": 3}).open(seed=0)
    with pytest.raises(RequestError, match=r"A setting is missing[\s\S]*data\.options\.count") as caught:
        DataConfig(kind="shapes").open(seed=0)
    assert "()" not in str(caught.value)  # a Python signature
    with pytest.raises(RequestError, match=r"data\.options\.count must be a whole number[\s\S]*from 1"):
        DataConfig(kind="shapes", options={"count": "many"}).open(seed=0)
    assert len(DataConfig(kind="shapes", options={"count": 3, "dense_share": "5e-1"}).open(seed=0).plan(0)) == 1


def test_a_mask_rule_has_a_known_name_whatever_the_data():
    with pytest.raises(RequestError, match=r"no such mask_rule[\s\S]*v9[\s\S]*v4, v3"):
        DataConfig(kind="shapes", options={"count": 3}, mask_rule="v9").open(seed=0)


def test_a_way_to_launch_is_a_file_for_accelerate():
    options = launch.find_options("fsdp2 --num_processes 4")
    assert options[0] == "--config_file"
    assert Path(options[1]).is_file()
    assert options[2:] == ["--num_processes", "4"]
    assert launch.find_options("--cpu --num_processes 2") == ["--cpu", "--num_processes", "2"]
    with pytest.raises(RequestError, match="does not know this configuration"):
        launch.find_options("fsdp3")


@pytest.mark.parametrize("words", [["--launch", "--cpu"], ["--launch=--cpu"]])
def test_processes_are_launched_with_the_same_words(monkeypatch, words):
    seen = []

    class Launched:
        def wait(self):
            return 3

    monkeypatch.setattr(sys, "argv", ["ea", "train", "lora", "--data", "d", *words, "--seed", "1"])
    monkeypatch.setattr(launch, "read_machine", lambda: type("Machine", (), {"devices": ()}))
    monkeypatch.setattr(launch.subprocess, "Popen", lambda command, **_: seen.append(command) or Launched())
    with pytest.raises(typer.Exit) as caught:
        launch.launch("easyanimate_dit.train", "lora", "--cpu")
    assert caught.value.exit_code == 3
    assert seen[0][2:] == [
        "easyanimate_train.launcher", "--cpu", "-m", "easyanimate_dit.train", "lora", "--data", "d", "--seed", "1",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({}, "No training data"),
        ({"path": Path("none.json")}, "no such training data"),
        ({"path": Path("/dev/null")}, "no such training data"),
        ({"path": Path("x" * 300)}, "no such training data"),
        ({"kind": "none"}, "none"),
    ],
)
def test_data_that_is_not_there_is_told_before_anything_is_loaded(given, told):
    def prepare(_):
        raise AssertionError("loaded")

    config = RunConfig(out=Path("o"), data=DataConfig(**given))
    for plan in (False, True):
        with pytest.raises(EasyAnimateError, match=told):
            run_training(config, prepare, resume=False, plan=plan, launching=None, use="")
    assert not Path("o").exists()
