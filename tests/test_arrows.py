"""Which package may import which: the contracts in pyproject.toml hold, and no package is left out of them."""

import logging.config
import tomllib
from pathlib import Path

import pytest
from importlinter.cli import EXIT_STATUS_SUCCESS, lint_imports

ROOT = Path(__file__).parents[1]


@pytest.fixture(autouse=True)
def keep_logging(monkeypatch):
    """The linter sets up logging for its process, which is ours: later tests read logs."""
    monkeypatch.setattr(logging.config, "dictConfig", lambda _: None)


def test_arrows(monkeypatch):
    monkeypatch.chdir(ROOT)
    assert lint_imports(config_filename=str(ROOT / "pyproject.toml"), no_cache=True) == EXIT_STATUS_SUCCESS


def test_every_package_is_under_contract():
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["importlinter"]
    folders = {path.name for path in ROOT.glob("*/*/src/easyanimate_*") if path.parts[-4] in {"packages", "plugins"}}
    assert set(settings["root_packages"]) == folders
    layers = {name for layer in settings["contracts"][0]["layers"] for name in layer.split(" | ")}
    assert layers == folders


def test_an_arrow_the_wrong_way_is_found(tmp_path, monkeypatch):
    for name, text in {"low": "import high", "high": "import low"}.items():
        (tmp_path / name).mkdir()
        (tmp_path / name / "__init__.py").write_text(text, encoding="utf-8")
    contract = {"name": "low below high", "type": "layers", "layers": ["high", "low"]}
    lines = [f"{key} = {value!r}" for key, value in contract.items()]
    config = "\n".join(
        ["[tool.importlinter]", "root_packages = ['low', 'high']", "[[tool.importlinter.contracts]]", *lines]
    )
    (tmp_path / "pyproject.toml").write_text(config, encoding="utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.chdir(tmp_path)
    assert lint_imports(config_filename=str(tmp_path / "pyproject.toml"), no_cache=True) != EXIT_STATUS_SUCCESS
