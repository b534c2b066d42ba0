"""Power cuts while our own code writes files: what a folder may hold if the machine stops at any step.

Every call that syncs, moves or removes is a step. At each, a file may hold what it held when it was last synced, what
it holds now, or a torn mixture; a name may be what it was when the folder was last synced or anything since.
"""

from __future__ import annotations

import itertools
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

Image = dict[str, bytes]


class FolderWatch:
    """Watches the names and the contents of one folder while code runs in it."""

    def __init__(self, folder: Path, check: Callable[[Image], None]) -> None:
        self._folder = folder
        self._check = check
        self.n_images = 0
        self._synced = {file.stat().st_ino: file.read_bytes() for file in folder.iterdir() if file.is_file()}
        self._contents = dict(self._synced)  # of what is open or was there, by inode
        self._names = self._look()
        self._may_be: dict[str, list[int | None]] = {name: [inode] for name, inode in self._names.items()}

    def _look(self) -> dict[str, int]:
        names = {}
        for file in self._folder.iterdir():
            if file.is_file():
                inode = file.stat().st_ino
                names[file.name] = inode
                self._contents[inode] = file.read_bytes()
        return names

    def _renew(self) -> None:
        names = self._look()
        for name in names.keys() | self._names.keys():
            if names.get(name) != self._names.get(name) or name not in self._may_be:
                self._may_be.setdefault(name, [None]).append(names.get(name))
        self._names = names

    def images(self) -> Iterator[Image]:
        """What may be in the folder after a power cut now."""
        inodes = sorted({i for states in self._may_be.values() for i in states if i is not None})
        contents = []
        for inode in inodes:
            now, before = self._contents[inode], self._synced.get(inode, b"")
            torn = now[: len(now) // 2 // 512 * 512]
            unsynced = [before, now, torn, torn + bytes(len(now) - len(torn))]
            contents.append([now] if before == now else list(dict.fromkeys(unsynced)))
        names = sorted(self._may_be)
        for held in itertools.product(*contents):
            of = dict(zip(inodes, held, strict=True))
            for states in itertools.product(*(dict.fromkeys(self._may_be[name]) for name in names)):
                yield {name: of[i] for name, i in zip(names, states, strict=True) if i is not None}

    def cut(self) -> None:
        """Check every image."""
        self._renew()
        for image in self.images():
            self.n_images += 1
            self._check(image)

    def watching(self, patch: pytest.MonkeyPatch) -> None:
        """Make the calls that matter into steps."""
        for name in ("replace", "rename", "unlink", "remove", "link"):
            patch.setattr(os, name, self._step(getattr(os, name)))
        patch.setattr(os, "fsync", self._sync(os.fsync))

    def _step(self, call: Callable[..., Any]) -> Callable[..., Any]:
        def step(*arguments: Any, **more: Any) -> Any:
            self.cut()
            try:
                return call(*arguments, **more)
            finally:
                self.cut()

        return step

    def _sync(self, call: Callable[[int], None]) -> Callable[[int], None]:
        def step(descriptor: int) -> None:
            self.cut()
            call(descriptor)
            inode = os.fstat(descriptor).st_ino
            if inode == self._folder.stat().st_ino:
                self._may_be = {name: [i] for name, i in self._names.items()}
            elif inode in self._contents:
                self._synced[inode] = self._contents[inode]
            self.cut()

        return step
