"""One writer a file."""

from __future__ import annotations

from pathlib import Path

from filelock import FileLock, Timeout

from embmem.errors import StoreBusyError


def lock_for_writing(path: Path) -> FileLock:
    """The lock on a memory file, held until it is released or the process ends, however it ends.

    Raises:
        StoreBusyError: if somebody else holds it.
    """
    lock = FileLock(f"{path}.lock", thread_local=False)
    try:
        lock.acquire(timeout=0)
    except Timeout:
        raise StoreBusyError(
            f"{path} is being written by another process or store object; a memory has one writer and any number of "
            "readers: close the other one, or open this one with read_only=True"
        ) from None
    return lock
