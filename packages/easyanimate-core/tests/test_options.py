"""Options of commands, made from the fields of a dataclass."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

import pytest
import typer
from easyanimate_core.options import SettingsReader
from typer.testing import CliRunner


@dataclass(frozen=True, kw_only=True)
class Settings:
    """What to do.

    Args:
        count: Number of clips; not more than there are.
        steps: Steps of each.
        hidden: Not for the command line.
    """

    count: int = 2
    steps: int = field(default=3, metadata={"option": "--num"})
    hidden: tuple[str, ...] = field(default=("a",), metadata={"option": None})


@dataclass(frozen=True, kw_only=True)
class OwnFile(Settings):
    """With a file of something else.

    Args:
        config: File of other settings.
    """

    config: Path | None = None


@pytest.fixture
def invoke():
    seen = []

    def run(kind, *words, extra=None):
        app = typer.Typer(rich_markup_mode=None)
        app.command()(SettingsReader(kind).command(lambda settings, **more: seen.append((settings, more)), extra or {}))
        result = CliRunner().invoke(app, [str(word) for word in words], catch_exceptions=False)
        assert result.exit_code == 0, result.output
        return seen.pop() if seen else result.output

    return run


def test_fields_become_options(invoke, tmp_path):
    (tmp_path / "c.yaml").write_text("count: 5\nsteps: 6\nhidden: [b]\n")
    out = (Annotated[Path, typer.Argument()], ...)
    settings, more = invoke(Settings, "here", "--config", tmp_path / "c.yaml", "--num", 7, extra={"out": out})
    assert settings == Settings(count=5, steps=7, hidden=("b",))
    assert more == {"out": Path("here")}


def test_the_help_is_the_docstring(invoke):
    help_text = invoke(Settings, "--help")
    assert "Number of clips. [default: 2]" in " ".join(help_text.split())
    assert "hidden" not in help_text


def test_a_field_called_config_is_an_option_like_any_other(invoke, tmp_path):
    settings, more = invoke(OwnFile, "--config", tmp_path / "other.yaml", "--count", 4)
    assert settings == OwnFile(count=4, config=tmp_path / "other.yaml")
    assert more == {}


def test_null_is_none_where_a_setting_may_have_none():
    @dataclass(frozen=True, kw_only=True)
    class Choices:
        """What to choose.

        Args:
            rule: Some rule.
            name: Some name.
            folder: Some folder.
        """

        rule: str | None = "v4"
        name: str = "x"
        folder: Path | None = Path("here")

    read = SettingsReader(Choices).read(None, {"rule": "null", "name": "null", "folder": "null"})
    assert read == Choices(rule=None, name="null", folder=None)
