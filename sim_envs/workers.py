"""Jobs on worker processes that may die: a job whose worker died is given to a fresh one, once.

Processes are spawned, not forked: a fork copies the locks of the threads of numba and OpenMP, and hangs.
"""

from __future__ import annotations

import logging
import multiprocessing as mp
import os
import signal
import traceback
from collections import Counter, deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from typing import Any

from embmem.errors import EmbmemError

log = logging.getLogger(__name__)

# One thread a process: the parallel work is in the processes, and sums over threads change the last bits.
THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS")
ATTEMPTS = 2

# (payload, job, say) -> result; `say` sends a progress message to the parent.
Work = Callable[[Any, int, Callable[[Any], None]], Any]


def run_jobs(
    work: Work,
    payload: Any,
    jobs: Sequence[int],
    n_workers: int,
    *,
    on_result: Callable[[int, Any], None],
    on_message: Callable[[int, Any], None],
) -> None:
    """Run `work(payload, job, say)` for all jobs; results come to `on_result` in any order, in this process.

    Args:
        work: a function of a module, so that a spawned process can import it.
        payload: plain data for every call.
        jobs: numbers that tell the calls apart.
        n_workers: processes; 0 works in this process, for debugging and profiling.
        on_result: takes (job, result).
        on_message: takes (job, what its worker said on the way).

    Raises:
        EmbmemError: if a job raised, or killed `ATTEMPTS` workers; the other jobs are finished first.
    """
    if n_workers < 0:
        raise ValueError(f"workers must be >= 0, got {n_workers}")
    if n_workers == 0:
        for job in jobs:
            on_result(job, work(payload, job, partial(on_message, job)))
        return
    crew = _Crew(work, payload, deque(jobs), on_result, on_message)
    try:
        crew.run(min(n_workers, len(jobs)))
    finally:
        crew.dismiss()


@dataclass(eq=False)
class _Worker:
    process: BaseProcess
    pipe: Connection
    job: int | None = None


class _Crew:
    """The workers, what is left to do, and what went wrong."""

    def __init__(
        self,
        work: Work,
        payload: Any,
        todo: deque[int],
        on_result: Callable[[int, Any], None],
        on_message: Callable[[int, Any], None],
    ) -> None:
        self._work, self._payload, self._todo = work, payload, todo
        self._on_result, self._on_message = on_result, on_message
        self._workers: list[_Worker] = []
        self._deaths: Counter[int] = Counter()
        self._failures: list[str] = []

    def run(self, n_workers: int) -> None:
        """Work until nothing is left; raise what went wrong at the end."""
        self._workers = [self._hire() for _ in range(n_workers)]
        while True:
            for worker in self._workers:
                if worker.job is None and self._todo:
                    worker.job = self._todo.popleft()
                    with suppress(OSError):  # it died while idle: `_listen` will read the end of the file
                        worker.pipe.send(worker.job)
            busy = [worker for worker in self._workers if worker.job is not None]
            if not busy:
                break
            ready = wait([worker.pipe for worker in busy])
            for worker in busy:
                if worker.pipe in ready and worker.job is not None:
                    self._listen(worker, worker.job)
        if self._failures:
            raise EmbmemError("; ".join(self._failures))

    def dismiss(self) -> None:
        """End all workers, also in the middle of a job."""
        for worker in self._workers:
            worker.pipe.close()
            worker.process.terminate()
        for worker in self._workers:
            worker.process.join()

    def _hire(self) -> _Worker:
        ours, theirs = mp.Pipe()
        context = mp.get_context("spawn")
        process = context.Process(target=_serve, args=(self._work, self._payload, theirs), daemon=True)
        with _one_thread():
            process.start()
        theirs.close()  # so that the death of the worker reads as end of file
        return _Worker(process, ours)

    def _listen(self, worker: _Worker, job: int) -> None:
        try:
            kind, value = worker.pipe.recv()
        except (EOFError, OSError):
            self._bury(worker, job)
            return
        if kind == "message":
            self._on_message(job, value)
            return
        worker.job = None
        if kind == "result":
            self._on_result(job, value)
        else:
            summary, trace = value
            log.error("session %d failed:\n%s", job, trace)
            self._failures.append(f"session {job} failed: {summary}")

    def _bury(self, worker: _Worker, job: int) -> None:
        """Replace a worker that died, and give its job another chance if it has one left."""
        worker.process.join()
        code = worker.process.exitcode
        self._workers[self._workers.index(worker)] = self._hire()
        self._deaths[job] += 1
        if self._deaths[job] < ATTEMPTS:
            log.warning("the worker of session %d died (exit code %s); trying it again", job, code)
            self._todo.appendleft(job)
        else:
            self._failures.append(f"session {job} killed its worker {ATTEMPTS} times (exit code {code})")


def _serve(work: Work, payload: Any, pipe: Connection) -> None:
    """A worker: takes jobs from the pipe until it closes. Ctrl-C is the parent's business."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    while True:
        try:
            job = pipe.recv()
        except EOFError:
            return
        try:
            answer = ("result", work(payload, job, lambda message: pipe.send(("message", message))))
        except Exception as error:  # whatever it is, the parent must hear of it
            answer = ("error", (_summary(error), traceback.format_exc()))
        pipe.send(answer)


def _summary(error: BaseException) -> str:
    """The root of a chain of errors in one line."""
    while error.__cause__ is not None:
        error = error.__cause__
    name = "" if isinstance(error, EmbmemError) else f"{type(error).__name__}: "
    return " ".join(f"{name}{error}".split())


@contextmanager
def _one_thread() -> Iterator[None]:
    """What is spawned inside computes with one thread; the libraries read it once, when they are loaded."""
    before = {name: os.environ.get(name) for name in THREADS}
    os.environ.update(dict.fromkeys(THREADS, "1"))
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value
