"""Files and folders that appear whole or not at all, and stay after a power cut."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from embmem.errors import InputError, OutputExistsError


@contextmanager
def new_file(path: Path, *, overwrite: bool = False) -> Iterator[Path]:
    """A name to write a file under, which becomes `path` when the block ends well and vanishes when it does not.

    What stood at `path` stays until the new file is safe on the disk; when the block has ended, so is its name.

    Raises:
        OutputExistsError: if `path` exists and `overwrite` is not set, or is no file; nothing is touched then.
        InputError: if the folder does not exist.
    """
    if path.exists() and (not overwrite or not path.is_file()):
        raise OutputExistsError(f"{path} exists; choose another name or set overwrite=true")
    if not path.parent.is_dir():
        raise InputError(f"{path.parent} is not a folder; create it first")
    part = path.with_name(path.name + ".part")
    part.unlink(missing_ok=True)
    try:
        yield part
        sync(part)
        part.replace(path)
        sync(path.parent)
    finally:
        part.unlink(missing_ok=True)


def write_atomic(path: Path, data: bytes) -> None:
    """Put these bytes in the place of a file, whole or not at all.

    Raises:
        OutputExistsError: if `path` is no file.
        InputError: if the folder does not exist.
    """
    with new_file(path, overwrite=True) as part:
        part.write_bytes(data)


@contextmanager
def new_folder(path: Path, *, overwrite: bool = False) -> Iterator[Path]:
    """A folder to write into, which becomes `path` when the block ends well and vanishes when it does not.

    With `overwrite` its files replace those of the same names in a folder that is there, each of them whole; what else
    lies there stays.

    Raises:
        OutputExistsError: if `path` exists and is not an empty folder (with `overwrite`: no folder, or one of the new
            names is taken by a folder); nothing is touched then.
    """
    is_there = path.is_dir() and any(path.iterdir())
    if path.exists() and (not path.is_dir() or (is_there and not overwrite)):
        hint = "" if overwrite or not path.is_dir() else ", or set overwrite=true to replace files of the same names"
        raise OutputExistsError(f"{path} exists and is not an empty folder; choose another name{hint}")
    part = path.with_name(path.name + ".part")
    shutil.rmtree(part, ignore_errors=True)
    part.mkdir(parents=True)
    try:
        yield part
        for inside in part.rglob("*"):
            sync(inside)
        sync(part)
        if is_there:
            _move_into(part, path)
        else:
            part.replace(path)
        sync(path.parent)
    finally:
        shutil.rmtree(part, ignore_errors=True)


def _move_into(part: Path, path: Path) -> None:
    """Put all files of one folder into another, in the place of those of the same names."""
    files = sorted(file.relative_to(part) for file in part.rglob("*") if file.is_file())
    taken = next((file for file in files if (path / file).is_dir()), None)
    if taken is not None:
        raise OutputExistsError(f"{path / taken} is a folder; choose another name")
    for file in files:
        (path / file).parent.mkdir(parents=True, exist_ok=True)
        (part / file).replace(path / file)
    sync(path)


def sync(path: Path) -> None:
    """Return when a file's content, or the names in a folder, are safe on the disk."""
    if path.is_dir() and os.name == "nt":
        return  # Windows opens no folders; NTFS keeps a journal of names
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
