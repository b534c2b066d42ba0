"""The vector index as files beside its memory, mapped and used at once; a cache that is believed only if it is ours.

Layout: a header (JSON, authenticated, see `cache_file`), then the full slabs, one after the other and field by field,
as they lie in RAM, then the rows of the last slab. The header holds a keyed digest of every slab's small fields, of its
codes and of its originals. The small ones are checked on opening, codes and originals when a search first needs them
(about 1 s a GB in all), and what does not fit is made again from the record store. So opening costs what the small
fields cost, and no answer rests on bytes that were not checked. The mapping is private: what is removed or erased later
is not written to the file, so whoever purges a record saves or discards the file. (A file that is cut short in place
while it is mapped kills the process, as with any mapping; files are replaced, never changed.)

The graph has a file of its own, authenticated as a whole (about .6 s for 1e6 x 384) before usearch sees it.
"""

from __future__ import annotations

import mmap
import os
import stat
import threading
from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np

from embmem.search import cache_file, row_kernels
from embmem.search import vector_kernels as kernels
from embmem.search.hnsw import Graph
from embmem.search.row_kernels import ROWS
from embmem.search.slabs import Slab, Slabs
from embmem.search.vectors import Fetch, VectorIndex

KIND, VERSION = "vectors", 1
_SMALL = ("factors", "ids", "places", "flags", "zones")
_LARGE = ("codes", "floats")


def save(
    path: Path,
    index: VectorIndex,
    *,
    identity: str,
    covers: int,
    witness: str = "",
    key: bytes | None = None,
    disk: cache_file.Disk = os,
) -> bool:
    """Put the index into a file, whole or not at all; False if that failed, which loses nothing but time.

    Args:
        path: Of the file.
        index: May be appended to meanwhile; what comes after the call began is not in the file.
        identity: Of the memory.
        covers: Position of the log: every record up to it that has an embedding is in the index.
        witness: Something about the log at `covers`, so that a log that was restored and went on otherwise is noticed.
        key: That authenticates the file; the user's if not given.
        disk: Calls of `os`.
    """
    key = key or cache_file.user_key()
    if key is None:
        return False
    slabs = index.slabs
    n_full, rest = divmod(slabs.n, ROWS)
    stored = [_stored(slab, ROWS) for slab in slabs.slabs[:n_full]]
    stored += [_stored(slabs.slabs[n_full], rest)] if rest else []
    header = {
        "kind": KIND, "version": VERSION, "identity": identity, "covers": covers, "witness": witness,
        "dim": index.dim, "n": slabs.n, "rows": ROWS, "with_floats": bool(len(slabs.slabs[0].floats)),
        "digests": [
            [cache_file.digest(_joined(fields), key), *(cache_file.digest(fields[name], key) for name in _LARGE)]
            for fields in stored
        ],
    }  # fmt: skip
    parts = (fields[name] for fields in stored for name in (*_SMALL, *_LARGE))
    return cache_file.write(path, header, parts, key, disk)


def load(
    path: Path,
    *,
    identity: str,
    newest: int,
    fetch: Fetch,
    witness: Callable[[int], str] = lambda covers: "",
    key: bytes | None = None,
) -> tuple[VectorIndex, int] | None:
    """The index of a file and the log position that it covers; None if it cannot be believed, so that it is built.

    The caller appends what came after, and says with `set_removed` what is hidden by now.

    Args:
        path: Of the file.
        identity: Of the memory.
        newest: Last position of the log; a file that covers more is of another history.
        fetch: Gives the originals of ids, where the file has lost them or never held them.
        witness: What `save` was told about the log at a position.
        key: The user's if not given.
    """
    key = key or cache_file.user_key()
    data = _mapped(path) if key is not None else None
    if key is None or data is None:
        return None
    read = cache_file.read_header(memoryview(data), key)
    if read is None:
        return None
    header, start = read
    expected = {"kind": KIND, "version": VERSION, "identity": identity, "rows": ROWS}
    if any(header.get(name) != value for name, value in expected.items()):
        return None
    covers, dim, with_floats = header["covers"], header["dim"], header["with_floats"]
    if covers > newest or header["witness"] != witness(covers):
        return None
    slabs = _slabs(memoryview(data)[start:], dim, header["n"], with_floats=with_floats)
    if slabs is None:
        return None
    for number, (small, _, _) in enumerate(header["digests"]):
        if cache_file.digest(_joined(_stored(slabs.slabs[number], slabs.n - number * ROWS)), key) != small:
            return None
    proof = Unproved(slabs, header["digests"], fetch, key)
    return VectorIndex.of(dim, slabs, proof=proof, fetch=None if with_floats else fetch), covers


def save_graph(
    path: Path, index: VectorIndex, *, identity: str, key: bytes | None = None, disk: cache_file.Disk = os
) -> bool:
    """Put the index's graph into a file, as `save` does; False if there is none."""
    key, graph = key or cache_file.user_key(), index.graph
    if key is None or graph is None or not len(graph):
        return False
    data = graph.save()
    header = {
        "kind": "graph", "version": VERSION, "identity": identity, "dim": index.dim, "n": len(graph),
        "last_id": index.id_of_row(len(graph) - 1), "expansion": graph.expansion, "n_measured": graph.n_measured,
        "digest": cache_file.digest(data, key),
    }  # fmt: skip
    return cache_file.write(path, header, [data], key, disk)


def load_graph(path: Path, index: VectorIndex, *, identity: str, key: bytes | None = None) -> bool:
    """Give the index the graph of a file; False if the file cannot be believed or is not of these rows."""
    key = key or cache_file.user_key()
    data = _mapped(path) if key is not None else None
    read = cache_file.read_header(memoryview(data), key) if key is not None and data is not None else None
    if key is None or data is None or read is None:
        return False
    header, start = read
    expected = {"kind": "graph", "version": VERSION, "identity": identity, "dim": index.dim}
    if any(header.get(name) != value for name, value in expected.items()):
        return False
    if not 0 < header["n"] <= index.slabs.n or index.id_of_row(header["n"] - 1) != header["last_id"]:
        return False
    if cache_file.digest(memoryview(data)[start:], key) != header["digest"]:
        return False
    graph = Graph(index.dim)
    graph.load(memoryview(data)[start:])
    graph.expansion, graph.n_measured = header["expansion"], header["n_measured"]
    index.graph = graph
    return True


def discard(path: Path) -> None:
    """Remove the file, for instance because a record was purged that is in it."""
    with suppress(FileNotFoundError):
        path.unlink()


class Unproved:
    """Codes and originals that came from a file: checked before their first use, made again where they do not fit."""

    def __init__(self, slabs: Slabs, digests: list[list[str]], fetch: Fetch, key: bytes) -> None:
        self._slabs, self._fetch, self._key, self._lock = slabs, fetch, key, threading.Lock()
        self._left = {name: {i: each[1 + a] for i, each in enumerate(digests)} for a, name in enumerate(_LARGE)}

    def check(self, name: str, numbers: Iterable[int] | None = None) -> None:
        """Make sure of the field `name` ("codes", "floats") of these slabs, or of all."""
        left = self._left[name]
        if not left:
            return
        with self._lock:
            for number in list(left) if numbers is None else [number for number in numbers if number in left]:
                slab, rows = self._slabs.slabs[number], min(ROWS, self._slabs.n - number * ROWS)
                if cache_file.digest(getattr(slab, name)[:rows], self._key) != left[number]:
                    self._mend(slab, rows)
                del left[number]

    def _mend(self, slab: Slab, rows: int) -> None:
        """Codes and originals of a slab from the record store; what was erased stays so."""
        kept = np.flatnonzero(slab.flags[:rows] & row_kernels.ERASED == 0)
        halves = np.zeros((rows, slab.floats.shape[1]), np.float16)
        halves[kept] = self._fetch(slab.ids[kept])
        if len(slab.floats):
            slab.floats[:rows] = halves.view(np.uint16)
        kernels.encode(halves.astype(np.float32), slab.codes[:rows], slab.factors[:rows])


def _stored(slab: Slab, rows: int) -> dict[str, np.ndarray]:
    """The fields as they lie in the file; the small ones are copies, since flags may change while they are written."""
    rows = min(rows, ROWS)
    small = {name: getattr(slab, name)[:rows].copy() for name in _SMALL if name != "zones"}
    return {**small, "zones": slab.zones.copy(), "codes": slab.codes[:rows], "floats": slab.floats[:rows]}


def _joined(fields: dict[str, np.ndarray]) -> bytes:
    return b"".join(fields[name].tobytes() for name in _SMALL)


def _mapped(path: Path) -> mmap.mmap | None:
    """A private mapping of a file: what is changed in it stays in this process."""
    with suppress(OSError, ValueError):
        file = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_CLOEXEC", 0))
        try:
            if stat.S_ISREG(os.fstat(file).st_mode):
                return mmap.mmap(file, 0, access=mmap.ACCESS_COPY)
        finally:
            os.close(file)
    return None


def _slabs(data: memoryview, dim: int, n: int, *, with_floats: bool) -> Slabs | None:
    """Full slabs as views of the mapping, the last one copied; None if the file has another length."""
    slabs: list[Slab] = []
    at = 0
    for begin in range(0, max(n, 1), ROWS):
        rows = min(ROWS, n - begin)
        slab, views = Slab.empty(dim, with_floats=with_floats), {}
        for name in (*_SMALL, *_LARGE):
            like: Any = getattr(slab, name)
            shape = like.shape if name == "zones" else (min(rows, len(like)), *like.shape[1:])
            if name == "zones" and not rows:
                break
            size = int(np.prod(shape)) * like.itemsize
            if at + size > len(data):
                return None
            views[name] = np.frombuffer(data[at : at + size], like.dtype).reshape(shape)
            at += size
        if rows == ROWS:
            slab = Slab(**views)
        else:
            for name, view in views.items():
                getattr(slab, name)[: len(view)] = view
        slabs.append(slab)
    return Slabs.of(tuple(slabs), n) if at == len(data) else None
