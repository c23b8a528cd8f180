"""Engines do the same work, whatever happens to a worker."""

import os
import signal
import subprocess
import sys
import time

import pytest
from easyanimate_core import EasyAnimateError, RequestError
from easyanimate_data.preparation.engine import Engine, _shielding_children

ENGINES = [
    Engine(),
    Engine(name="processes", workers=2),
    # A cluster takes ten seconds to start. Ray warns of parts of its own.
    pytest.param(Engine(name="ray", workers=2), marks=[pytest.mark.slow, pytest.mark.filterwarnings("ignore:::ray")]),
]


@pytest.fixture(params=ENGINES, ids=lambda engine: engine.name)
def engine(request):
    return request.param


def run(engine, work, numbers):
    rows = [{"number": number, "place": place} for place, number in enumerate(numbers)]
    found = {row["place"]: outcome for row, outcome in engine.run(work, rows)}
    return [found[place] for place in range(len(rows))]


def test_every_row_has_its_outcome(engine, fake_work, tmp_path):
    outcomes = run(engine, fake_work.Square(trace=tmp_path), list(range(9)))
    assert [outcome.values for outcome in outcomes] == [{"square": k * k} for k in range(9)]
    assert not any(outcome.error for outcome in outcomes)
    assert 1 <= len(list(tmp_path.iterdir())) <= 2  # opened once per worker


def test_a_bad_row_costs_itself_alone(engine, fake_work):
    outcomes = run(engine, fake_work.Square(), [1, "bad", 3, 4])
    assert [outcome.error is None for outcome in outcomes] == [True, False, True, True]
    assert "TypeError" in outcomes[1].error
    assert outcomes[0].values == {"square": 1}


def test_work_that_cannot_begin_ends_the_run(engine, fake_work):
    with pytest.raises(EasyAnimateError, match=r"cannot be loaded[\s\S]*a test"):
        run(engine, fake_work.Square(refuses=True), [1, 2, 3])


def test_a_full_disk_ends_the_run(engine, fake_work):
    with pytest.raises(EasyAnimateError, match=r"disk is full[\s\S]*--resume"):
        run(engine, fake_work.Square(batch_size=1), [1, "full", 3])


def test_nothing_to_do(engine, fake_work):
    assert run(engine, fake_work.Square(), []) == []


def test_a_row_that_kills_its_worker_costs_itself_alone(fake_work):
    outcomes = run(Engine(name="processes", workers=2), fake_work.Square(batch_size=1), [1, 2, "die", 4, 5, 6, 7])
    assert [outcome.values.get("square") for outcome in outcomes] == [1, 4, None, 16, 25, 36, 49]
    assert outcomes[2].error == "the worker process died of this file"


def test_a_run_that_is_left_ends_its_workers(fake_work):
    import psutil

    results = Engine(name="processes", workers=2).run(
        fake_work.Square(batch_size=1), [{"number": number} for number in [1, "slow", "slow"]]
    )
    next(results)
    workers = [child for child in psutil.Process().children() if "spawn_main" in " ".join(child.cmdline())]
    assert len(workers) == 2
    results.close()
    assert not [worker for worker in workers if worker.is_running() and worker.status() != psutil.STATUS_ZOMBIE]


@pytest.mark.parametrize(
    ("words", "says"),
    [
        ({"workers": 0}, "workers must be at least 1"),
        ({"workers": 4}, "--engine processes"),
        ({"ray_address": "auto"}, "--engine ray"),
    ],
)
def test_words_that_do_not_fit(words, says):
    with pytest.raises(RequestError, match=says):
        Engine(**words)


def test_an_address_where_nobody_listens(fake_work):
    with pytest.raises(RequestError, match=r"cannot be reached[\s\S]*127\.0\.0\.1:9"):
        run(Engine(name="ray", ray_address="ray://127.0.0.1:9"), fake_work.Square(), [1])


def test_a_missing_extra_is_named(monkeypatch, fake_work):
    import sys

    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(EasyAnimateError, match=r"easyanimate-data\[ray\]"):
        run(Engine(name="ray"), fake_work.Square(), [1])


@pytest.mark.skipif(os.name == "nt", reason="groups of processes")
def test_what_a_worker_runs_ends_with_it(fake_work):
    import psutil

    results = Engine(name="processes", workers=2).run(
        fake_work.Square(batch_size=1), [{"number": number} for number in [1, "child", "child"]]
    )
    next(results)
    sleepers = []
    while not sleepers:
        time.sleep(0.05)
        children = psutil.Process().children(recursive=True)
        sleepers = [child for child in children if "sleep(61)" in " ".join(child.cmdline())]
    results.close()
    for _ in range(200):  # a killed process is gone when the system comes to it, long before 61 s
        left = [child for child in sleepers if child.is_running() and child.status() != psutil.STATUS_ZOMBIE]
        if not left:
            break
        time.sleep(0.05)
    assert not left


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no SIGINT for single processes")
def test_ctrl_c_does_not_reach_processes_from_their_first_moment():
    code = "import os, signal; os.kill(os.getpid(), signal.SIGINT); print('alive')"
    command = [sys.executable, "-c", code]
    with _shielding_children():
        child = subprocess.run(command, capture_output=True, text=True, check=True)  # noqa: S603
    assert (child.stdout, child.stderr) == ("alive\n", "")
    assert signal.SIGINT not in signal.pthread_sigmask(signal.SIG_BLOCK, ())
