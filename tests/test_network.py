"""The page "A network of your own" is true: its commands run in order on templates/network, with few steps."""

import json
import os
import re
import runpy
import shlex
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from easyanimate_cli.app import main
from easyanimate_core.manifest import read_manifest
from easyanimate_core.video import read_video
from house import ROOT
from safetensors.numpy import load_file

TEMPLATE = ROOT / "templates" / "network"
FEW_STEPS = shlex.split("--max-steps 4 --checkpoint-every 2 --log-every 1 --data.batches '[[2, 8]]' --tracker none")
"""Settings of every training in place of those of the recipes."""


@pytest.fixture(scope="module")
def installed(tmp_path_factory):
    """Folders that make the template look installed, from what its pyproject.toml declares."""
    project = tomllib.loads((TEMPLATE / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    site = tmp_path_factory.mktemp("site")
    facts = site / f"my_network-{project['version']}.dist-info"
    facts.mkdir()
    (facts / "METADATA").write_text(f"Metadata-Version: 2.4\nName: my-network\nVersion: {project['version']}\n")
    entries = "\n".join(f"{name} = {value}" for name, value in project["entry-points"]["easyanimate"].items())
    (facts / "entry_points.txt").write_text(f"[easyanimate]\n{entries}\n", encoding="utf-8")
    return str(TEMPLATE / "src"), str(site)


def read_commands():
    """The lines of the page's shell blocks that a user types after installing."""
    page = (ROOT / "docs" / "network.md").read_text(encoding="utf-8")
    blocks = re.findall(r"^```sh\n(.*?)^```", page, re.DOTALL | re.MULTILINE)
    lines = [line for block in blocks for line in block.splitlines()]
    return [shlex.split(line) for line in lines if re.match(r"ea (train|run)|python -m|cp ", line)]


def run(words):
    """Run a command of the page in this process."""
    if words[:2] == ["ea", "train"]:
        words = [*words, *FEW_STEPS]
    if words[0] == "ea":
        with pytest.raises(SystemExit) as left:
            main(words[1:])
        assert not left.value.code, words
    elif words[0] == "python":
        sys.argv = words[2:]
        runpy.run_module(words[2], run_name="__main__")
    else:
        assert words[:2] == ["cp", "-r"]
        shutil.copytree(words[2], Path(words[3], Path(words[2]).name), dirs_exist_ok=True)


def test_commands_of_the_page_run_in_order(installed, tmp_path, monkeypatch, capsys):
    for folder in installed:
        monkeypatch.syspath_prepend(folder)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", [])
    shutil.copytree(TEMPLATE / "recipes", "recipes")
    run(["ea", "models", "list"])
    assert "a folder of yours" in capsys.readouterr().out
    commands = read_commands()
    assert [words[:3] for words in commands].count(["ea", "train", "dit"]) == 2
    for words in commands:
        if "--resume" not in words:
            run(words)
            continue
        # As if the run had been killed after its first checkpoint.
        out = Path("out", words[2])
        whole = load_file(out / "weights/transformer/diffusion_pytorch_model.safetensors")
        shutil.rmtree(out / "weights")
        shutil.rmtree(out / "checkpoints/step-00000004")
        run(words)
        again = load_file(out / "weights/transformer/diffusion_pytorch_model.safetensors")
        assert all((again[name] == whole[name]).all() for name in whole)
    steps = [json.loads(line)["step"] for line in Path("out/lora/loss.jsonl").read_text().splitlines()]
    assert steps == [1, 2, 3, 4]
    plain, changed = (Path(line) for line in capsys.readouterr().out.splitlines() if line.endswith(".mp4"))
    assert read_video(plain).frames.shape == (8, 32, 32, 3)
    assert read_manifest(plain).model == "mine"
    assert [file.role for file in read_manifest(changed).inputs] == ["lora"]
    assert (read_video(plain).frames != read_video(changed).frames).any()


def test_keeps_the_contracts(installed):
    done = subprocess.run(  # noqa: S603 (own code)
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", TEMPLATE / "tests"],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(installed)},
    )
    assert done.returncode == 0, done.stdout + done.stderr
