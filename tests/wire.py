"""DDS for tests: a domain of one's own on loopback, and nodes in processes of their own."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

ROOT = Path(__file__).parents[1]
N_DOMAINS = 100  # the ports of greater ones are those that the system hands out
# A participant that was killed is gone after a second, not after ten.
SHORT_LEASE = "<CycloneDDS><Domain><Discovery><LeaseDuration>1s</LeaseDuration></Discovery></Domain></CycloneDDS>"
SETTINGS = {"ROS_AUTOMATIC_DISCOVERY_RANGE": "LOCALHOST", "CYCLONEDDS_URI": SHORT_LEASE}


@contextmanager
def own_domain() -> Iterator[int]:
    """A domain that no other test on this machine is in, and the environment for it."""
    before = {name: os.environ.get(name) for name in SETTINGS}
    os.environ.update(SETTINGS)
    for i in range(N_DOMAINS):
        domain = 1 + (os.getpid() + i) % N_DOMAINS
        lock = FileLock(Path(tempfile.gettempdir()) / f"embmem-dds-domain-{domain}.lock")
        try:
            lock.acquire(timeout=0)
        except Timeout:
            continue
        try:
            yield domain
        finally:
            lock.release()
            for name, value in before.items():
                os.environ.pop(name) if value is None else os.environ.__setitem__(name, value)
        return
    raise RuntimeError(f"all of {N_DOMAINS} DDS domains are taken by other tests")


def wait_until(is_so: Callable[[], Any], *, timeout: float = 30.0, what: str = "it") -> None:
    """Until it is so; the time-out is for machines under load, nothing waits for it."""
    end = time.monotonic() + timeout
    while not is_so():
        if time.monotonic() > end:
            raise TimeoutError(f"{what} is not so after {timeout} s")
        time.sleep(0.005)


@contextmanager
def process(*arguments: str, environment: dict[str, str] | None = None) -> Iterator[subprocess.Popen[str]]:
    """A Python process of ours; killed at the end if it still runs."""
    paths = os.pathsep.join([str(ROOT), str(ROOT / "tests")])
    child = subprocess.Popen(
        [sys.executable, *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": paths, "OMP_NUM_THREADS": "1", **(environment or {})},
    )
    try:
        yield child
    finally:
        child.kill()
        child.communicate()


def embmem(*arguments: str) -> Any:
    """`process` of a command."""
    return process("-m", "embmem.cli.main", *arguments)
