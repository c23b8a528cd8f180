import os
import subprocess
import sys
from dataclasses import dataclass

import pytest
import typer
from easyanimate_core import RequestError, thread
from easyanimate_core.machine import count_processors
from easyanimate_core.options import THREADS_OPTION, SettingsReader
from easyanimate_core.thread import count_threads, prepare_threads, set_threads
from typer.testing import CliRunner


@pytest.mark.parametrize("limit", [None, 2.5])
def test_threads_sleep_while_they_wait_and_keep_to_the_limit(monkeypatch, limit):
    monkeypatch.setattr(thread, "read_processor_limit", lambda: limit)
    monkeypatch.setattr(thread, "count_processors", lambda: 2)
    environment: dict[str, str] = {}
    prepare_threads(environment)
    counted = {"OMP_NUM_THREADS": "2"} if limit else {}
    assert environment == {"OMP_WAIT_POLICY": "PASSIVE", **counted}


@pytest.mark.parametrize(
    "own",
    [
        {"OMP_WAIT_POLICY": "active", "OMP_NUM_THREADS": "7"},
        {"GOMP_SPINCOUNT": "9", "MKL_NUM_THREADS": "7"},
        {"KMP_BLOCKTIME": "9", "OMP_NUM_THREADS": "7"},
    ],
)
def test_what_the_user_has_set_stays(monkeypatch, own):
    monkeypatch.setattr(thread, "read_processor_limit", lambda: 1.0)
    environment = dict(own)
    prepare_threads(environment)
    assert environment == own


@pytest.fixture
def keep_environment(monkeypatch):
    """Variables that `set_threads` sets are as before after the test."""
    for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS"):
        monkeypatch.setenv(name, "")
    monkeypatch.delitem(sys.modules, "torch", raising=False)


@pytest.mark.usefixtures("keep_environment")
def test_the_option_acts_before_the_command_and_is_no_argument_of_it():
    @dataclass
    class Settings:
        """None.

        Args:
            size: A number.
        """

        size: int = 3

    seen: list[str] = []

    def run(settings: Settings, **options: object) -> None:
        seen.append(f"{os.environ['OMP_NUM_THREADS']} {os.environ['MKL_NUM_THREADS']} {settings.size} {options}")

    app = typer.Typer()
    app.command()(SettingsReader(Settings).command(run, {"threads": THREADS_OPTION}))
    assert CliRunner().invoke(app, []).exit_code == 0
    assert CliRunner().invoke(app, ["--threads", "1", "--size", "4"]).exit_code == 0
    assert seen == ["  3 {}", "1 1 4 {}"]
    assert isinstance(CliRunner().invoke(app, ["--threads", "0"]).exception, RequestError)


@pytest.mark.parametrize("count", [0, -1, count_processors() + 1])
def test_more_threads_than_processors_are_refused(count):
    with pytest.raises(RequestError, match="not possible"):
        set_threads(count)


@pytest.mark.usefixtures("keep_environment")
def test_pytorch_that_is_imported_already_hears_of_it(monkeypatch):
    counts: list[int] = []
    assert count_threads() is None
    torch = type("Torch", (), {"set_num_threads": counts.append, "get_num_threads": lambda: counts[-1]})
    monkeypatch.setitem(sys.modules, "torch", torch)
    set_threads(1)
    assert counts == [1]
    assert count_threads() == 1


def test_importing_it_takes_no_pytorch():
    code = "import sys, easyanimate_core.thread; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0  # noqa: S603 (own command)
