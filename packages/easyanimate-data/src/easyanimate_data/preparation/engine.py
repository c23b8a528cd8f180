"""Where the work of a stage runs: in this process, in worker processes, or on a Ray cluster."""

from __future__ import annotations

import json
import logging
import multiprocessing
import os
import signal
import threading
from collections import deque
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from multiprocessing.connection import wait
from typing import TYPE_CHECKING, Any, Literal

from easyanimate_core.errors import EasyAnimateError, PluginError, RequestError
from easyanimate_core.machine import count_processors

from easyanimate_data.preparation.journal import Outcome
from easyanimate_data.preparation.need import check_packages
from easyanimate_data.preparation.work import Worker

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator, Sequence

    from easyanimate_core import Work

    from easyanimate_data.preparation.table import Row

EngineName = Literal["local", "processes", "ray"]

MAX_BLOCKS = 10_000
"""Ray keeps a little in memory for each block of a dataset."""


@dataclass(frozen=True, kw_only=True)
class Engine:
    """Where work runs.

    Args:
        name: "local" is this process; "processes" are processes on this machine; "ray" is Ray Data, on this machine or
            on the cluster of `ray_address`, which must see the same folders.
        workers: Number of workers; None takes one per core (local has one).
        ray_address: Address of a Ray cluster; "auto" is the one that this machine belongs to.
    """

    name: EngineName = "local"
    workers: int | None = None
    ray_address: str | None = None

    def __post_init__(self) -> None:
        """Refuse what does not fit together."""
        if self.workers is not None and self.workers < 1:
            raise RequestError("workers must be at least 1.", received=self.workers)
        if self.name == "local" and (self.workers or 1) > 1:
            raise RequestError(
                "The engine local has one worker.",
                received=f"{self.workers} workers",
                fix="add --engine processes, or --engine ray",
            )
        if self.ray_address is not None and self.name != "ray":
            raise RequestError(
                "ray_address needs the engine ray.",
                received=f"--engine {self.name}",
                fix="add --engine ray, or drop --ray-address",
            )

    def check(self) -> None:
        """Refuse an engine that is not installed, or a cluster where nobody answers.

        Raises:
            PluginError: When Ray is not installed.
            RequestError: When its address does not answer.
        """
        if self.name == "ray":
            check_packages("ray", "ray")
            if self.ray_address is not None:
                _check_address(self.ray_address)

    def run(self, work: Work, rows: Sequence[Row]) -> Iterator[tuple[Row, Outcome]]:
        """Do the work on all rows; outcomes come as they are finished, in any order.

        Raises:
            EasyAnimateError: When the work cannot be opened, or the disk is full; what came before counts.
        """
        if not rows:
            return iter(())
        if self.name == "local":
            return _run_here(work, rows)
        if self.name == "processes":
            return _run_in_processes(work, rows, self.workers or count_processors())
        return _run_on_ray(work, rows, self.workers, self.ray_address)


def _cut_batches(rows: Sequence[Row], size: int) -> list[Sequence[Row]]:
    return [rows[begin : begin + size] for begin in range(0, len(rows), size)]


def _run_here(work: Work, rows: Sequence[Row]) -> Iterator[tuple[Row, Outcome]]:
    worker = Worker(work)
    for batch in _cut_batches(rows, work.batch_size):
        yield from zip(batch, worker(batch), strict=True)


_worker: Worker | None = None


def _begin_process(work: Work) -> None:
    """Set a worker process up: it ends with its parent, however that ends; Ctrl-C is left to the parent.

    It leads a group of processes, so that an ffmpeg that it runs ends with it.
    """
    global _worker  # noqa: PLW0603 (a process pool has no other place for what its workers keep)
    _worker = Worker(work)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    if hasattr(os, "setpgrp"):
        os.setpgrp()
    os.environ.setdefault("OMP_NUM_THREADS", "1")  # read by libraries that are imported later
    parent = multiprocessing.parent_process()
    if parent is not None:

        def end_with_parent() -> None:
            wait([parent.sentinel])
            _end_group(os.getpid())
            os._exit(1)

        threading.Thread(target=end_with_parent, daemon=True).start()


def _process(batch: Sequence[Row]) -> list[Outcome]:
    if _worker is None:
        raise RuntimeError("The worker process was not begun.")
    return _worker(batch)


def _run_in_processes(work: Work, rows: Sequence[Row], workers: int) -> Iterator[tuple[Row, Outcome]]:
    """A pool whose queue is never longer than two batches per worker.

    Where a batch kills its worker, its rows and those that were under way with it are done again one by one, each with
    a worker of its own; the one that kills again gets an error.
    """
    batches: deque[Sequence[Row]] = deque(_cut_batches(rows, work.batch_size))
    while batches:
        suspects: list[Row] = []
        pool = _open_pool(work, min(workers, len(batches)))
        pending: dict[Future[list[Outcome]], Sequence[Row]] = {}
        try:
            while (batches or pending) and not suspects:
                while batches and len(pending) < 2 * workers:
                    batch = batches.popleft()
                    with _shielding_children():
                        pending[pool.submit(_process, batch)] = batch
                for future in _wait_for_some(pending):
                    batch = pending.pop(future)
                    try:
                        yield from zip(batch, future.result(), strict=True)
                    except BrokenProcessPool:
                        suspects += [*batch, *(row for rest in pending.values() for row in rest)]
                        pending.clear()
                        break
        finally:
            _close_pool(pool)
        for row in suspects:
            yield row, _try_alone(work, row)


def _open_pool(work: Work, workers: int) -> ProcessPoolExecutor:
    return ProcessPoolExecutor(
        workers, mp_context=multiprocessing.get_context("spawn"), initializer=_begin_process, initargs=(work,)
    )


@contextmanager
def _shielding_children() -> Generator[None]:
    """Start processes that Ctrl-C never reaches: while they import they would print tracebacks."""
    if not hasattr(signal, "pthread_sigmask"):  # Windows
        yield
        return
    held = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, held)


def _close_pool(pool: ProcessPoolExecutor) -> None:
    """End the pool without waiting for what is under way; its workers are ended."""
    processes = list((pool._processes or {}).values())  # noqa: SLF001 (public from Python 3.14 on: terminate_workers)
    pool.shutdown(wait=False, cancel_futures=True)
    for process in processes:
        _end_group(process.pid)
        process.terminate()
    for process in processes:
        process.join()


def _end_group(leader: int | None) -> None:
    """End a worker and what it runs, unless it is gone or has only just been started."""
    if leader is not None and hasattr(os, "killpg"):
        with suppress(ProcessLookupError):
            os.killpg(leader, signal.SIGKILL)


def _wait_for_some(pending: dict[Future[list[Outcome]], Sequence[Row]]) -> set[Future[list[Outcome]]]:
    from concurrent.futures import FIRST_COMPLETED
    from concurrent.futures import wait as wait_for_futures

    return wait_for_futures(pending, return_when=FIRST_COMPLETED).done


def _try_alone(work: Work, row: Row) -> Outcome:
    pool = _open_pool(work, 1)
    try:
        with _shielding_children():
            future = pool.submit(_process, [row])
        return future.result()[0]
    except BrokenProcessPool:
        return Outcome(error="the worker process died of this file")
    finally:
        _close_pool(pool)


class _RayWorker:
    """A worker on a Ray cluster; rows travel as JSON, so that Arrow need not guess their types."""

    def __init__(self, work: Work) -> None:
        self._worker = Worker(work)

    def __call__(self, batch: dict[str, Any]) -> dict[str, list[str]]:
        """Answer with an outcome per row, or with the error that ends the run."""
        try:
            outcomes = [asdict(outcome) for outcome in self._worker([json.loads(row) for row in batch["row"]])]
        except EasyAnimateError as error:
            told = {"received": error.received, "expected": error.expected, "fix": error.fix}
            fatal = {"message": error.message} | {name: str(value) for name, value in told.items() if value is not None}
            return {"index": list(batch["index"]), "outcome": [json.dumps({"fatal": fatal})] * len(batch["index"])}
        return {"index": list(batch["index"]), "outcome": [json.dumps(outcome) for outcome in outcomes]}


def _run_on_ray(work: Work, rows: Sequence[Row], workers: int | None, address: str | None) -> Iterator[Any]:
    """A Ray Data pipeline of one step; the loop that takes its results keeps the journal."""
    ray = _connect_to_ray(workers, address)
    items = [{"index": index, "row": json.dumps(row)} for index, row in enumerate(rows)]
    blocks = min(MAX_BLOCKS, -(-len(items) // work.batch_size))
    results = ray.data.from_items(items, override_num_blocks=blocks).map_batches(
        _RayWorker,
        fn_constructor_args=(work,),
        batch_size=work.batch_size,
        compute=ray.data.ActorPoolStrategy(min_size=1, max_size=workers or max(int(ray.cluster_resources()["CPU"]), 1)),
        num_cpus=1,
        num_gpus=work.num_gpus or None,
    )
    for item in results.iter_rows():
        outcome = json.loads(item["outcome"])
        if "fatal" in outcome:
            raise EasyAnimateError(**outcome["fatal"])
        yield rows[item["index"]], Outcome(**outcome)


def _check_address(address: str) -> None:
    """Try an address once; Ray would try for minutes where nobody listens.

    Raises:
        RequestError: When nobody listens.
    """
    import socket

    host, colon, port = address.removeprefix("ray://").rpartition(":")
    if not colon or not port.isdigit():
        return  # a word such as "auto", which Ray looks up on this machine
    try:
        socket.create_connection((host, int(port)), timeout=10).close()
    except OSError as error:
        raise RequestError(
            "The Ray cluster cannot be reached.",
            received=f"{address}: {error.strerror or error}",
            expected="the address of a running cluster, such as auto or ray://head:10001",
            fix="ray start --head, or drop --ray-address",
        ) from error


def _connect_to_ray(workers: int | None, address: str | None) -> Any:
    """Connect to a cluster, or start one on this machine."""
    # Workers run in the environment that they find, they need not build one of their own; nothing is reported.
    os.environ.setdefault("RAY_ENABLE_UV_RUN_RUNTIME_ENV", "0")
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    os.environ.setdefault("RAY_BACKEND_LOG_LEVEL", "fatal")
    try:
        import ray
        import ray.data
    except ImportError as error:
        raise PluginError(
            "Ray is not installed.",
            received=str(error),
            fix='pip install "easyanimate-data[ray]", or take --engine processes',
        ) from error
    if address is not None:
        _check_address(address)
    if not ray.is_initialized():
        quiet = {"include_dashboard": False, "log_to_driver": False, "logging_level": "error"}
        try:
            ray.init(address=address, **quiet) if address else ray.init(num_cpus=workers, **quiet)
        except (ConnectionError, RuntimeError, ValueError) as error:
            raise RequestError(
                "The Ray cluster cannot be reached.",
                received=f"{address}: {' '.join(str(error).split())[:200]}",
                expected="the address of a running cluster, such as auto or ray://head:10001",
                fix="ray start --head, or drop --ray-address",
            ) from error
    for name in ("ray", "ray.data"):
        logging.getLogger(name).setLevel(logging.ERROR)
    context = ray.data.DataContext.get_current()
    context.enable_progress_bars = False
    context.execution_options.preserve_order = False
    return ray
