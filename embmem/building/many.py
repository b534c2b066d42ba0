"""Many recordings at once: each becomes a map of its own, in this process or in workers of Ray, with the same result.

A worker that dies takes nothing with it: Ray gives its recording to another one, which goes on from the checkpoint that
lies beside the file. Nothing depends on which worker did what, and when.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from itertools import count
from pathlib import Path
from typing import Any

from embmem.building.build import Told, build
from embmem.building.plan import BuildPlan
from embmem.building.record import BuildRecord
from embmem.errors import EmbmemError, import_extra

Job = Callable[[BuildPlan], BuildRecord]
_RETRIES = 3  # of a recording whose worker died
_STORE = 80 << 20  # [byte] of shared memory; plans and records are small


@dataclass(frozen=True, eq=False)
class Outcome:
    """What became of one recording: a record, or why there is none."""

    plan: BuildPlan
    record: BuildRecord | None
    error: str = ""


def build_many(
    plans: Sequence[BuildPlan], *, workers: int = 1, job: Job = build, tell: Told | None = None
) -> list[Outcome]:
    """The outcome of every plan, in the order of the plans.

    Args:
        plans: one for each recording, each with a file of its own.
        workers: 1 builds one after the other in this process; more need Ray, which is started here and stopped again
            unless it runs already. RAY_ADDRESS names a cluster, which must see the same files.
        job: what is done with a plan; a function of a module, as workers import it.
        tell: called when a recording is done.

    Raises:
        ValueError: if two plans have one file, or `workers` < 1.
        MissingExtraError: if there is no Ray for several workers.
    """
    if workers < 1:
        raise ValueError(f"workers must be >= 1, got {workers}")
    plans = [_absolute(plan) for plan in plans]
    if len({plan.out for plan in plans}) < len(plans):
        raise ValueError("two recordings would be written to one file")
    found: dict[int, Outcome] = {}
    with _attempts(plans, workers, job) as attempts:
        for number, text, error in attempts:
            record = BuildRecord.from_json(text) if text else None
            found[number] = Outcome(plans[number], record, error)
            if tell is not None:
                tell("recordings", len(found), len(plans))
    return [found[number] for number in range(len(plans))]


def outs_for(recordings: Sequence[str], folder: Path) -> list[Path]:
    """A file in the folder for each recording, called like it; a number tells those apart that are called alike."""
    names: list[str] = []
    for recording in recordings:
        path = Path(recording).absolute()
        stem = path.stem if path.is_file() else path.name
        alike = (f"{stem}-{n}" for n in count(2))
        names.append(stem if stem not in names else next(name for name in alike if name not in names))
    return [folder / f"{name}.embmem" for name in names]


def _absolute(plan: BuildPlan) -> BuildPlan:
    return replace(plan, recording=str(Path(plan.recording).absolute()), out=str(Path(plan.out).absolute()))


Attempts = Iterator[tuple[int, str, str]]  # number of the plan, record as JSON or "", error or ""


@contextmanager
def _attempts(plans: Sequence[BuildPlan], workers: int, job: Job) -> Iterator[Attempts]:
    """What comes back, as it comes."""
    if workers == 1 or len(plans) < 2:
        yield ((number, *_attempt(job, plan)) for number, plan in enumerate(plans))
        return
    ray = import_extra("ray", "ray")
    with _running(ray, workers):
        attempt = ray.remote(num_cpus=1, max_retries=_RETRIES)(_attempt)
        waiting = {attempt.remote(job, plan): number for number, plan in enumerate(plans)}
        yield _finished(ray, waiting)


def _attempt(job: Job, plan: BuildPlan) -> tuple[str, str]:
    """(record as JSON, "") or ("", why there is none): one bad recording does not end the others."""
    try:
        return job(plan).to_json(), ""
    except (EmbmemError, ValueError, OSError) as error:
        return "", " ".join(str(error).split()) or type(error).__name__


def _finished(ray: Any, waiting: dict[Any, int]) -> Attempts:
    while waiting:
        (done,), _ = ray.wait(list(waiting), num_returns=1)
        number = waiting.pop(done)
        try:
            yield (number, *ray.get(done))
        except ray.exceptions.RayTaskError:
            raise
        except ray.exceptions.RayError as error:
            yield number, "", f"its workers died {_RETRIES + 1} times ({type(error).__name__})"


@contextmanager
def _running(ray: Any, workers: int) -> Iterator[None]:
    """Ray, stopped in the end if it was started here."""
    if ray.is_initialized():
        yield
        return
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
    local = {} if os.environ.get("RAY_ADDRESS") else {"num_cpus": workers, "object_store_memory": _STORE}
    ray.init(include_dashboard=False if local else None, log_to_driver=False, configure_logging=False, **local)
    try:
        yield
    finally:
        ray.shutdown()
