"""Which tests run: slow ones with `--run-slow`, those for a GPU where there is one; their seed, and no deadlines."""

import sys
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

# A busy machine fails no test.
settings.register_profile("any-machine", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("any-machine")


@pytest.fixture(autouse=True)
def _no_weights_of_the_user(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Keep weights that were downloaded on this machine, or by another test, out of a test."""
    monkeypatch.setenv("EA_HOME", str(tmp_path / "home"))


@pytest.fixture(autouse=True)
def _same_numbers_every_time() -> None:
    """Seed PyTorch, so that a test that fails fails again."""
    torch = sys.modules.get("torch")
    if torch is not None:
        torch.manual_seed(0)


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add `--run-slow`."""
    parser.addoption("--run-slow", action="store_true", help="also run the tests that take over ten seconds")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Skip what was not asked for or cannot run here, and say why."""
    if not config.getoption("--run-slow"):
        _skip(items, "slow", "needs --run-slow")
    if any(item.get_closest_marker("gpu") for item in items) and not _has_gpu():
        _skip(items, "gpu", "needs a CUDA device")


def _skip(items: list[pytest.Item], marker: str, reason: str) -> None:
    for item in items:
        if item.get_closest_marker(marker):
            item.add_marker(pytest.mark.skip(reason=reason))


def _has_gpu() -> bool:
    import torch

    return torch.cuda.is_available()
