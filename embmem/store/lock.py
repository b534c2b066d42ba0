"""One writer a file."""

from __future__ import annotations

from pathlib import Path

from filelock import FileLock, Timeout

from embmem.errors import StoreBusyError, StoreError


def lock_for_writing(path: Path) -> FileLock:
    """The lock on a memory file, held until it is released or the process ends, however it ends.

    Raises:
        StoreBusyError: if somebody else holds it.
        StoreError: if the folder cannot be written.
    """
    lock = FileLock(f"{path}.lock", thread_local=False)
    try:
        lock.acquire(timeout=0)
    except Timeout:
        raise StoreBusyError(
            f"{path} is being written by {_holder(Path(lock.lock_file))}; a memory has one writer and any number of "
            "readers: close the other one, or open this one with read_only=True"
        ) from None
    except OSError as error:
        raise StoreError(f"{path} cannot be opened for writing: {error}") from error
    return lock


def _holder(lock: Path) -> str:
    """Who holds a lock, as far as the system tells: Linux lists "1: FLOCK ADVISORY WRITE pid device:inode"."""
    try:
        inode = lock.stat().st_ino
        for line in Path("/proc/locks").read_text("ascii").splitlines():
            fields = line.split()
            if len(fields) >= 6 and fields[1] == "FLOCK" and fields[5].endswith(f":{inode}") and fields[4] != "0":
                return f"process {fields[4]}"
    except (OSError, ValueError):
        pass
    return "another process or store object"
