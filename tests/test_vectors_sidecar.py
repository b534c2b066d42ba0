"""The file beside a memory: a round trip, and that nothing of it is believed that we did not write."""

from __future__ import annotations

import errno
import os
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from embmem.search import cache_file, sidecar
from embmem.search.row_kernels import ROWS
from embmem.search.vectors import VectorIndex
from embmem.search.window import Window

KEY, DIM = bytes(range(32)), 4
in_place = settings(suppress_health_check=[HealthCheck.function_scoped_fixture])


class Rows:
    """Originals by id, as a record store would hold them."""

    def __init__(self, n: int) -> None:
        rng = np.random.default_rng(n)
        self.ids = 3 * np.arange(n)
        self.halves = rng.standard_normal((n, DIM)).astype(np.float16)
        self.positions = rng.uniform(-5, 5, (n, 3))

    def index(self, end: int | None = None, *, begin: int = 0, into: VectorIndex | None = None) -> VectorIndex:
        index = into or VectorIndex(DIM)
        part = slice(begin, end)
        index.append(self.ids[part], self.halves[part], self.ids[part].astype(float), self.positions[part])
        return index

    def fetch(self, ids: np.ndarray) -> np.ndarray:
        return self.halves[ids // 3]


def load(path: Path, rows: Rows, **changed: Any) -> tuple[VectorIndex, int] | None:
    arguments: dict[str, Any] = {"identity": "a", "newest": 10**9, "fetch": rows.fetch, "key": KEY}
    return sidecar.load(path, **{**arguments, **changed})


def assert_same(index: VectorIndex, other: VectorIndex) -> None:
    rng = np.random.default_rng(0)
    assert len(index) == len(other)
    for window in (Window(), Window(near=np.zeros(3), radius=2.0), Window(since=100.0)):
        for query in rng.standard_normal((3, DIM)):
            ours, theirs = (each.search(query, 20, window=window) for each in (index, other))
            np.testing.assert_array_equal(ours.ids, theirs.ids)
            np.testing.assert_array_equal(ours.cosines, theirs.cosines)


@pytest.mark.parametrize("n", [0, 1, 100, ROWS, ROWS + 1, 2 * ROWS + 777])
def test_what_is_saved_is_loaded_and_goes_on(tmp_path: Path, n: int) -> None:
    rows = Rows(n + 50)
    path = tmp_path / "vectors"
    index = rows.index(n)
    index.remove(rows.ids[:n:7])
    index.remove(rows.ids[:n:11], erase=True)
    assert sidecar.save(path, index, identity="a", covers=n, key=KEY)
    loaded = load(path, rows)
    assert loaded is not None
    assert loaded[1] == n
    assert_same(loaded[0], index)
    assert_same(rows.index(begin=n, into=loaded[0]), rows.index(begin=n, into=index))
    loaded[0].prove()
    assert_same(loaded[0], index)
    loaded[0].set_removed(rows.ids[:n:5])
    index.set_removed(rows.ids[:n:5])
    assert_same(loaded[0], index)
    again = load(path, rows)  # nothing of that went into the file
    assert again is not None
    assert again[0].slabs.n == n


def test_files_of_others_are_not_believed(tmp_path: Path) -> None:
    rows, path = Rows(100), tmp_path / "vectors"
    index = rows.index()
    assert load(path, rows) is None
    sidecar.save(path, index, identity="a", covers=50, witness="w50", key=KEY)
    good = {"witness": lambda covers: f"w{covers}"}
    assert load(path, rows, **good) is not None
    assert load(path, rows, **good, key=bytes(32)) is None
    assert load(path, rows, **good, identity="b") is None
    assert load(path, rows, **good, newest=49) is None
    assert load(path, rows, witness=lambda covers: "other") is None
    path.unlink()
    path.mkdir()
    assert load(path, rows) is None
    assert not sidecar.save(path, index, identity="a", covers=50, key=KEY)
    path.rmdir()
    os.mkfifo(path)
    assert load(path, rows) is None


@in_place
@given(at=st.floats(0, 1, exclude_max=True), change=st.sampled_from(["flip", "cut", "zeros", "more"]))
def test_damage_anywhere_never_changes_an_answer(tmp_path: Path, at: float, change: str) -> None:
    rows, path = Rows(ROWS + 200), tmp_path / "vectors"
    index = rows.index()
    whole = tmp_path / "whole"
    if not whole.exists():
        assert sidecar.save(whole, index, identity="a", covers=1, key=KEY)
    data = bytearray(whole.read_bytes())
    # Half of the examples hit the header and the tail, which are small.
    place = int(at * len(data)) if change != "flip" or at < 0.5 else int((at - 0.5) * 2 * 5000)
    if change == "flip":
        data[place] ^= 1 << place % 8
    elif change == "zeros":
        data[place : place + 4096] = bytes(len(data[place : place + 4096]))
    data = data[:place] if change == "cut" else data + bytes(7) if change == "more" else data
    path.unlink(missing_ok=True)  # never in place: it may still be mapped
    path.write_bytes(data)
    loaded = load(path, rows)
    if change in ("cut", "more"):
        assert loaded is None
    if loaded is not None:
        assert_same(loaded[0], index)


def test_every_field_of_every_slab_is_covered_by_a_digest(tmp_path: Path) -> None:
    rows, path = Rows(ROWS + 10), tmp_path / "vectors"
    index = rows.index()
    sidecar.save(path, index, identity="a", covers=1, key=KEY)
    data = path.read_bytes()
    read = cache_file.read_header(memoryview(data), KEY)
    assert read is not None
    at = read[1]
    for n in (ROWS, 10):
        slab = index.slabs.slabs[0 if n == ROWS else 1]
        for name in ("factors", "ids", "places", "flags", "zones", "codes", "floats"):
            field = getattr(slab, name)
            size = field.nbytes if name == "zones" else field[:n].nbytes
            broken = bytearray(data)
            broken[at + size // 2] ^= 0x41
            at += size
            path.unlink()
            path.write_bytes(broken)
            loaded = load(path, rows)
            assert (loaded is None) == (name not in ("codes", "floats")), name
            if loaded is not None:
                assert_same(loaded[0], index)
    assert at == len(data)


class Failing:
    """`os` of which one call fails, or writes less than it was given."""

    def __init__(self, call: str, number: int) -> None:
        self._call, self._number = call, number

    def __getattr__(self, name: str) -> Any:
        real = getattr(os, name)

        def called(*arguments: Any, **named: Any) -> Any:
            if name == "write":
                arguments = (arguments[0], arguments[1][:777])
            if name == self._call:
                self._number -= 1
                if self._number < 0:
                    raise OSError(errno.ENOSPC, "no space")
            return real(*arguments, **named)

        return called


@pytest.mark.parametrize("call", ["open", "write", "fsync", "replace", "close", "none"])
@pytest.mark.parametrize("number", [0, 1, 5])
def test_a_failing_disk_leaves_the_old_file_or_the_new_one(tmp_path: Path, call: str, number: int) -> None:
    rows, path = Rows(200), tmp_path / "vectors"
    sidecar.save(path, rows.index(100), identity="a", covers=100, key=KEY)
    done = sidecar.save(path, rows.index(), identity="a", covers=200, key=KEY, disk=Failing(call, number))
    loaded = load(path, rows)
    assert loaded is not None
    assert loaded[1] in ((200,) if done else (100, 200))
    assert_same(loaded[0], rows.index(loaded[1]))
    if call == "none":
        assert done
    assert sidecar.save(path, rows.index(), identity="a", covers=200, key=KEY)
    assert [each.name for each in tmp_path.iterdir()] == ["vectors"]


def test_a_graph_comes_back_only_to_its_own_rows(tmp_path: Path) -> None:
    pytest.importorskip("usearch")
    rows, path = Rows(1200), tmp_path / "graph"
    index = rows.index(1000)
    assert not sidecar.save_graph(path, index, identity="a", key=KEY)
    index.grow_graph(least_rows=1)
    assert sidecar.save_graph(path, index, identity="a", key=KEY)
    fresh = rows.index()
    assert not sidecar.load_graph(path, fresh, identity="a", key=bytes(32))
    assert not sidecar.load_graph(path, fresh, identity="b", key=KEY)
    assert not sidecar.load_graph(path, rows.index(999), identity="a", key=KEY)
    assert not sidecar.load_graph(path, rows.index(begin=1), identity="a", key=KEY)
    assert sidecar.load_graph(path, fresh, identity="a", key=KEY)
    assert fresh.graph is not None
    assert index.graph is not None
    assert fresh.graph.save() == index.graph.save()
    fresh.grow_graph(least_rows=1)
    assert len(fresh.graph) == 1200
    data = bytearray(path.read_bytes())
    for place in (20, 5000, len(data) // 2, len(data) - 1):
        broken = data.copy()
        broken[place] ^= 4
        path.write_bytes(broken)
        assert not sidecar.load_graph(path, rows.index(), identity="a", key=KEY)
    path.write_bytes(data[:-5])
    assert not sidecar.load_graph(path, rows.index(), identity="a", key=KEY)


def test_the_key_is_made_once_and_kept_to_its_user(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    keys: list[bytes | None] = []
    threads = [threading.Thread(target=lambda: keys.append(cache_file.user_key())) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    first = cache_file.user_key()
    assert first is not None
    assert len(first) == 32
    assert {first} == {*keys, cache_file.user_key()}
    path = tmp_path / "state" / "embmem" / "index.key"
    assert path.stat().st_mode & 0o777 == 0o600
    path.chmod(0o644)  # others may have read it
    second = cache_file.user_key()
    assert second not in (first, None)
    path.unlink()
    path.symlink_to(tmp_path / "elsewhere")
    assert cache_file.user_key() is None or not (tmp_path / "elsewhere").exists()
    blocked = tmp_path / "file"
    blocked.write_text("")
    monkeypatch.setenv("XDG_STATE_HOME", str(blocked))
    assert cache_file.user_key() is None
    rows = Rows(10)
    assert not sidecar.save(tmp_path / "vectors", rows.index(), identity="a", covers=1)
    assert load(tmp_path / "vectors", rows, key=None) is None
