"""Workers: every job is done once, whoever dies; what fails is named, what works is kept."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from embmem.errors import EmbmemError
from embmem.sim_envs.workers import run_jobs


def square(payload: Any, job: int, say: Callable[[Any], None]) -> int:
    """Works in a spawned process, hence a function of the module."""
    say(f"{job}?")
    return job * job


def dies_once(payload: str, job: int, say: Callable[[Any], None]) -> int:
    """Is killed at the first try of every odd job."""
    mark = Path(payload) / str(job)
    if job % 2 and not mark.exists():
        mark.touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return job


def misbehaves(payload: Any, job: int, say: Callable[[Any], None]) -> int:
    """Job 1 raises, job 2 always dies, the others work."""
    if job == 1:
        raise ValueError("no such thing as one")
    if job == 2:
        os._exit(3)
    return job


def threads(payload: Any, job: int, say: Callable[[Any], None]) -> str:
    """What the libraries of a worker are told."""
    return os.environ["OMP_NUM_THREADS"] + os.environ["NUMBA_NUM_THREADS"]


def collect(work: Any, payload: Any, jobs: list[int], n_workers: int) -> tuple[dict[int, Any], list[Any]]:
    results: dict[int, Any] = {}
    messages: list[Any] = []

    def on_result(job: int, value: Any) -> None:
        assert job not in results
        results[job] = value

    try:
        run_jobs(work, payload, jobs, n_workers, on_result=on_result, on_message=lambda j, m: messages.append((j, m)))
    except EmbmemError as error:
        messages.append(str(error))
    return results, messages


@pytest.mark.parametrize("n_workers", [0, 1, 3])
def test_every_job_is_done_once_on_any_number_of_workers(n_workers: int) -> None:
    results, messages = collect(square, None, [0, 1, 2, 5], n_workers)
    assert results == {0: 0, 1: 1, 2: 4, 5: 25}
    assert sorted(messages) == [(j, f"{j}?") for j in (0, 1, 2, 5)]


def test_nothing_to_do_starts_nobody() -> None:
    assert collect(square, None, [], 2) == ({}, [])


def test_a_killed_worker_is_replaced_and_its_job_done(tmp_path: Path) -> None:
    results, messages = collect(dies_once, str(tmp_path), [0, 1, 2, 3], 2)
    assert results == {0: 0, 1: 1, 2: 2, 3: 3}
    assert messages == []


def test_failures_are_named_and_the_rest_is_finished() -> None:
    results, (message,) = collect(misbehaves, None, [0, 1, 2, 3], 2)
    assert results == {0: 0, 3: 3}
    assert "session 1 failed: ValueError: no such thing as one" in message
    assert "session 2 killed its worker 2 times (exit code 3)" in message


def test_workers_compute_with_one_thread_and_leave_the_parents_setting() -> None:
    before = dict(os.environ)
    assert collect(threads, None, [0], 1)[0] == {0: "11"}
    assert dict(os.environ) == before


def test_a_negative_number_of_workers_is_refused() -> None:
    with pytest.raises(ValueError, match="workers must be >= 0, got -1"):
        run_jobs(square, None, [1], -1, on_result=lambda j, v: None, on_message=lambda j, m: None)
