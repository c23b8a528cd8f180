"""Progress of phases: plain lines off a terminal, bars on one."""

import logging

import pytest
from easyanimate_core import Progress, display
from easyanimate_core.display import PhaseDisplay


class Clock:
    """Stands for `time`; tests move it."""

    now = 0.0

    def monotonic(self):
        return self.now


@pytest.fixture
def clock(monkeypatch):
    stopped = Clock()
    monkeypatch.setattr(display, "time", stopped)
    return stopped


@pytest.fixture
def terminal(monkeypatch):
    """Makes rich believe that standard error is a terminal."""
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("COLUMNS", "120")
    monkeypatch.delenv("NO_COLOR", raising=False)


def read_lines(capsys):
    captured = capsys.readouterr()
    assert captured.out == ""
    return captured.err.splitlines()


def test_lines_come_now_and_then_and_at_the_end(clock, capsys):
    with PhaseDisplay() as shown:
        for step in range(1, 11):
            clock.now += 2
            shown.show(Progress("train", step, 10), {"loss": 1 / 3, "lr": 1e-5})
    assert read_lines(capsys) == [
        "train 3/10, 6.0 s, 14.0 s left  loss 0.3333  lr 1e-05",
        "train 6/10, 12.0 s, 8.0 s left  loss 0.3333  lr 1e-05",
        "train 9/10, 18.0 s, 2.0 s left  loss 0.3333  lr 1e-05",
        "train 10/10, 20.0 s  loss 0.3333  lr 1e-05",
    ]


def test_the_time_left_of_a_resumed_run_counts_its_own_steps(clock, capsys):
    with PhaseDisplay() as shown:
        for step in (900, 910):
            clock.now += 600
            shown.show(Progress("train", step, 1000))
    assert read_lines(capsys) == ["train 900/1000, 10.0 min", "train 910/1000, 20.0 min, 90.0 min left"]


def test_bytes_are_shown_as_such(clock, capsys):
    with PhaseDisplay(bytes_unit=True) as shown:
        clock.now += 1
        shown.show(Progress("download", 3_000_000, 3_000_000))
    assert read_lines(capsys) == ["download 3.0 MB/3.0 MB, 1.0 s"]


def test_time_is_measured_by_phase_and_anew_for_each_piece_of_work(clock, capsys):
    with PhaseDisplay() as shown:
        shown.begin("first [clip]")
        with shown.phase("load"):
            clock.now += 3
        for step in (1, 2):
            clock.now += step
            shown.show(Progress("write", step, 2))
        assert shown.seconds == {"load": 3.0, "write": 3.0}
        shown.begin("second")
        assert shown.seconds == {}
    assert read_lines(capsys) == ["first [clip]", "load 1/1, 3.0 s", "write 2/2, 3.0 s", "second"]


def test_messages_of_packages_are_shown_inside_the_block_alone(capsys):
    logger = logging.getLogger("easyanimate.lora")
    with PhaseDisplay():
        logger.info("matched %d of [all]", 3)
    logger.info("nobody looks")
    assert read_lines(capsys) == ["matched 3 of [all]"]


@pytest.mark.usefixtures("terminal")
def test_a_terminal_has_bars_with_values_below_messages(capsys):
    with PhaseDisplay() as shown:
        shown.show(Progress("train", 5, 10), {"loss": 0.25})
        logging.getLogger("easyanimate").info("a message")
        shown.show(Progress("train", 6, 10), {"loss": 0.125})
    lines = read_lines(capsys)
    bar = next(line for line in reversed(lines) if "train" in line)
    assert "6/10" in bar
    assert "loss 0.125" in bar
    assert any("a message" in line and "train" not in line for line in lines)
