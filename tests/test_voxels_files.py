"""Files of voxel maps: round trips, golden files, and files that are cut, flipped or hostile.

`python tests/test_voxels_files.py` writes the golden files of the current version; one that is committed is never
written again.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors.numpy import load_file, save_file

from embmem.errors import FileVersionError, InputError, OutputExistsError
from embmem.maps import VoxelMap, open_memory
from embmem.maps.voxels.formats.files import CHUNK, open_voxels, read_voxels, write_voxels
from embmem.testing import wall_ahead

DATA = Path(__file__).parent / "data"
READERS = [read_voxels, open_voxels]


def golden(version: int, *, compressed: bool) -> Path:
    return DATA / f"voxels_v{version}{'_compressed' if compressed else ''}.safetensors"


def make_map() -> VoxelMap:
    voxels = VoxelMap(0.1)
    for i in range(3):
        voxels.observe(wall_ahead(100.0 + i, yaw=0.2 * i))
    return voxels


def small_map(n_channels: int = 1) -> VoxelMap:
    """A few blocks and channels."""
    voxels = VoxelMap(0.25, max_range=3.0)
    voxels.integrate(np.random.default_rng(5).uniform(-2, 2, (30, 3)), np.zeros(3), stamp=7.0)
    for i in range(n_channels):
        channel = voxels.blocks.add_channel(f"tint{i}", np.uint16, (2,))
        channel[: voxels.blocks.n, ::7] = i + 1
    return voxels


def same(a: VoxelMap, b: VoxelMap) -> bool:
    x, y = a.save(), b.save()
    return (x.params, x.arrays.keys()) == (y.params, y.arrays.keys()) and all(
        np.array_equal(x.arrays[name], y.arrays[name]) for name in x.arrays
    )


@pytest.mark.parametrize("compressed", [False, True])
@pytest.mark.parametrize("reader", READERS)
@pytest.mark.parametrize("make", [VoxelMap, make_map, small_map, lambda: small_map(3)])
def test_what_was_written_is_read(tmp_path: Path, compressed: bool, reader: Any, make: Any) -> None:
    voxels = make()
    write_voxels(tmp_path / "map.safetensors", voxels, compressed=compressed)
    back = reader(tmp_path / "map.safetensors")
    assert same(voxels, back)
    assert [p.name for p in tmp_path.iterdir()] == ["map.safetensors"]


def test_maps_of_many_chunks_survive_compression(tmp_path: Path) -> None:
    voxels, rng = VoxelMap(0.1), np.random.default_rng(0)
    for i in range(40):
        centre = rng.uniform(-40, 40, 3)
        voxels.integrate(centre + rng.uniform(-2, 2, (200, 3)), centre, stamp=float(i))
    assert voxels.blocks.n > 2 * CHUNK
    write_voxels(tmp_path / "plain", voxels)
    write_voxels(tmp_path / "small", voxels, compressed=True)
    assert same(voxels, read_voxels(tmp_path / "small"))
    assert (tmp_path / "small").stat().st_size < (tmp_path / "plain").stat().st_size / 4


def test_the_safetensors_library_reads_our_files_and_we_read_its(tmp_path: Path) -> None:
    voxels = small_map()
    write_voxels(tmp_path / "ours", voxels)
    arrays, state = load_file(tmp_path / "ours"), voxels.save()
    assert all(np.array_equal(arrays[name], array) for name, array in state.arrays.items())
    metadata = {"kind": "voxels", "version": str(state.version), "params": json.dumps(state.params)}
    save_file(state.arrays, tmp_path / "theirs", metadata=metadata)
    for reader in READERS:
        assert same(voxels, reader(tmp_path / "theirs"))


def test_a_mapped_map_goes_on_as_one_in_memory_and_leaves_the_file_alone(tmp_path: Path) -> None:
    path, rng = tmp_path / "map", np.random.default_rng(1)
    write_voxels(path, small_map())
    before = path.read_bytes()
    mapped, read = open_voxels(path), read_voxels(path)
    assert not mapped.blocks.cells.flags.owndata
    for i in range(5):
        points = rng.uniform(-2 - i, 2 + i, (50, 3))  # old blocks first, then new ones
        for voxels in (mapped, read):
            voxels.integrate(points, np.zeros(3), stamp=8.0 + i)
        assert same(mapped, read)
    assert path.read_bytes() == before
    write_voxels(path, mapped, overwrite=True)  # onto the very file that it was opened from
    assert same(read, read_voxels(path))


def test_opening_does_not_read_the_cells(tmp_path: Path) -> None:
    voxels = small_map()
    voxels.blocks.cells[: voxels.blocks.n] = 120  # beyond the clamp
    write_voxels(tmp_path / "map", voxels)
    with pytest.raises(InputError, match="clamps"):
        read_voxels(tmp_path / "map")
    opened = open_voxels(tmp_path / "map")
    opened.integrate(np.array([[0.1, 0.1, 0.1]]), np.full(3, 1.1))
    assert opened.log_odds(np.array([[0.1, 0.1, 0.1]]))[0] == opened.high


def test_a_file_is_replaced_whole_or_not_at_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path, voxels = tmp_path / "map", small_map()
    write_voxels(path, voxels)
    before = path.read_bytes()
    with pytest.raises(OutputExistsError, match="map"):
        write_voxels(path, voxels)

    def full_disk(_: int) -> None:
        raise OSError("no space left")

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full_disk)
        with pytest.raises(OSError, match="no space"):
            write_voxels(path, make_map(), overwrite=True)
    assert path.read_bytes() == before
    assert [p.name for p in tmp_path.iterdir()] == ["map"]
    write_voxels(path, make_map(), overwrite=True)
    assert same(read_voxels(path), make_map())


@pytest.mark.parametrize("where", ["missing/map", "folder"])
def test_places_that_cannot_be_written_are_refused(tmp_path: Path, where: str) -> None:
    (tmp_path / "folder").mkdir()
    with pytest.raises((InputError, OutputExistsError), match=where.split("/", maxsplit=1)[0]):
        write_voxels(tmp_path / where, VoxelMap(), overwrite=True)
    with pytest.raises(InputError, match="not a file"):
        read_voxels(tmp_path / where)


def use(voxels: VoxelMap) -> None:
    """Whatever was read must answer, grow and be saved."""
    points = np.random.default_rng(0).uniform(-2, 2, (20, 3)) * voxels.resolution * 10
    voxels.log_odds(points)
    voxels.occupied()
    voxels.cast(np.zeros((1, 3)), np.ones((1, 3)), 10 * voxels.resolution)
    voxels.integrate(points, np.zeros(3))
    voxels.save()


def refuses_or_works(path: Path) -> int:
    """How many of the readers take the file."""
    n = 0
    for reader in READERS:
        try:
            voxels = reader(path)
        except InputError as error:
            if str(path) not in str(error):
                raise
            continue
        use(voxels)
        n += 1
    return n


@pytest.mark.parametrize("compressed", [False, True])
def test_a_file_cut_anywhere_is_refused(tmp_path: Path, compressed: bool) -> None:
    write_voxels(tmp_path / "whole", small_map(), compressed=compressed)
    whole = (tmp_path / "whole").read_bytes()
    step = 7 if compressed else 97
    for end in [*range(0, len(whole), step), len(whole) - 1]:
        (tmp_path / "cut").write_bytes(whole[:end])
        assert refuses_or_works(tmp_path / "cut") == 0


@pytest.mark.parametrize("compressed", [False, True])
@given(data=st.data())
@settings(max_examples=100, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_flipped_bytes_never_crash(tmp_path: Path, compressed: bool, data: st.DataObject) -> None:
    source = tmp_path / f"whole{compressed}"
    write_voxels(source, small_map(), compressed=compressed, overwrite=True)
    damaged = bytearray(source.read_bytes())
    header = 8 + damaged[8:].find(b"  ")  # where flips matter most
    places = st.one_of(st.integers(0, header), st.integers(0, len(damaged) - 1))
    for place, value in data.draw(st.lists(st.tuples(places, st.integers(0, 255)), min_size=1, max_size=4)):
        damaged[place] = value
    (tmp_path / "flipped").write_bytes(damaged)
    refuses_or_works(tmp_path / "flipped")


def raw(header: object, data: bytes = b"") -> bytes:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return len(text).to_bytes(8, "little") + text + data


def tensor(dtype: object = "U8", shape: object = (4,), offsets: object = (0, 4)) -> dict[str, object]:
    return {"dtype": dtype, "shape": shape, "data_offsets": offsets}


@pytest.mark.parametrize("content", [
    b"", b"\0" * 7, b"\xff" * 100, (2**40).to_bytes(8, "little") + b"{}", raw(b"{" * 1000), raw(b"[" * 200_000),
    raw([]), raw("map"), raw({}), raw({"__metadata__": 3}), raw({"__metadata__": {"kind": 3}}), raw(b"\xff\xfe{}"),
    raw({"keys": 3}), raw({"keys": tensor() | {"more": 1}}, b"1234"), raw({"keys": tensor()}, b"123"),
    raw({"keys": tensor()}, b"12345"), raw({"keys": tensor("I9")}, b"1234"), raw({"keys": tensor(["U8"])}, b"1234"),
    raw({"keys": tensor(shape=[-4])}, b"1234"), raw({"keys": tensor(shape=[4.0])}, b"1234"),
    raw({"keys": tensor(shape=[True, 4])}, b"1234"), raw({"keys": tensor(shape=[1] * 40 + [4])}, b"1234"),
    raw({"keys": tensor(shape=[2**61, 8], offsets=[0, 2**64])}), raw({"keys": tensor(offsets=[4, 0])}, b"1234"),
    raw({"keys": tensor(shape=[2**40], offsets=[0, 2**40])}), raw({"keys": tensor(shape=[0, 2**61], offsets=[0, 0])}),
    raw({"keys": tensor(), "cells": tensor()}, b"1234"), raw({"keys": tensor(offsets=[1, 5])}, b"12345"),
    raw({"keys": tensor(offsets=[0])}, b"1234"), raw({"keys": tensor(shape=None)}, b"1234"),
    raw({"keys": tensor(shape=[10**30], offsets=[0, 10**30])}),
])  # fmt: skip
def test_hostile_headers_are_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "bad").write_bytes(content)
    assert refuses_or_works(tmp_path / "bad") == 0


def write_altered(path: Path, metadata: dict[str, str | None], **changed: np.ndarray | None) -> None:
    """A file of a small map with some of its metadata and arrays replaced, or left out for None."""
    state = small_map().save()
    texts = {"kind": "voxels", "version": str(state.version), "params": json.dumps(state.params)} | metadata
    arrays = state.arrays | changed
    save_file({k: a for k, a in arrays.items() if a is not None}, path,
              metadata={k: text for k, text in texts.items() if text is not None})  # fmt: skip


PARAMS = small_map().save().params


@pytest.mark.parametrize("metadata", [
    {"kind": None}, {"kind": "objects"}, {"version": None}, {"version": "99"}, {"version": "0"}, {"version": "-1"},
    {"version": "2.0"}, {"version": "\u00b2"}, {"version": "9" * 5000}, {"params": None}, {"params": "[]"},
    {"params": "{"}, {"params": "[" * 100_000}, {"params": "{}"},
    {"params": json.dumps(PARAMS | {"resolution": 0.0})}, {"params": json.dumps(PARAMS | {"resolution": float("nan")})},
    {"params": json.dumps(PARAMS | {"hit": "big"})}, {"params": json.dumps(PARAMS | {"max_range": 1e300})},
    {"params": json.dumps(PARAMS | {"new": 1.0})}, {"compressed": "[]"}, {"compressed": "{"},
    {"compressed": json.dumps({"cells": ["int8", [10, 512]]})},
])  # fmt: skip
def test_hostile_settings_are_refused(tmp_path: Path, metadata: dict[str, str | None]) -> None:
    write_altered(tmp_path / "bad", metadata)
    assert refuses_or_works(tmp_path / "bad") == 0


def test_newer_versions_and_other_files_have_an_error_of_their_own(tmp_path: Path) -> None:
    write_altered(tmp_path / "newer", {"version": "99"})
    (tmp_path / "picture").write_bytes(b"\x89PNG" + b"\0" * 100)
    for reader in READERS:
        for name in ("newer", "picture"):
            with pytest.raises(FileVersionError, match=name):
                reader(tmp_path / name)


ARRAYS = small_map().save().arrays


@pytest.mark.parametrize("changed", [
    {"keys": None}, {"keys": ARRAYS["keys"][::-1].copy()}, {"keys": np.full_like(ARRAYS["keys"], 5)},
    {"keys": -ARRAYS["keys"]}, {"keys": ARRAYS["keys"].astype(np.int32)}, {"keys": ARRAYS["keys"][:, None].copy()},
    {"keys": ARRAYS["keys"][1:].copy()}, {"cells": None}, {"cells": ARRAYS["cells"][:, :500].copy()},
    {"cells": ARRAYS["cells"].view(np.uint8)}, {"cells": ARRAYS["cells"][1:].copy()}, {"stamps": None},
    {"stamps": np.full_like(ARRAYS["stamps"], np.nan)}, {"stamps": ARRAYS["stamps"][1:].copy()},
    {"epoch": np.array([np.inf])}, {"epoch": np.array([1], dtype=np.int64)},
    {"channel_tint0": ARRAYS["channel_tint0"][1:].copy()}, {"channel_tint0": ARRAYS["channel_tint0"][:, 0].copy()},
])  # fmt: skip
def test_malformed_arrays_are_refused(tmp_path: Path, changed: dict[str, np.ndarray | None]) -> None:
    write_altered(tmp_path / "bad", {}, **changed)
    assert refuses_or_works(tmp_path / "bad") == 0


def write_stream(path: Path, stream: bytes, ends: list[int], spec: object) -> None:
    """A file whose cells are this stream."""
    arrays = {"cells.zlib": np.frombuffer(stream, dtype=np.uint8).copy(), "cells.ends": np.array(ends, dtype=np.int64)}
    write_altered(path, {"compressed": json.dumps({"cells": spec})}, cells=None, **arrays)


def test_hostile_streams_are_refused(tmp_path: Path) -> None:
    cells = ARRAYS["cells"]
    good = zlib.compress(cells.tobytes())
    spec = ["int8", list(cells.shape)]
    write_stream(tmp_path / "good", good, [len(good)], spec)
    assert refuses_or_works(tmp_path / "good") == 2
    bomb = zlib.compress(bytes(10**8))
    for stream, ends, told in [
        (bomb, [len(bomb)], spec), (good, [len(good) - 1], spec), (good, [0, len(good)], spec), (good, [], spec),
        (good, [-5], spec), (good[:-9], [len(good) - 9], spec), (b"y" + good[1:], [len(good)], spec),
        (good + b"more", [len(good) + 4], spec), (good, [len(good)], ["int8", [2**39, 512]]),
        (good, [len(good)], ["int8", [2**39, 2**39, 2**39]]), (good, [len(good)], ["object", list(cells.shape)]),
        (good, [len(good)], ["int8", []]), (good, [len(good)], ["int8", [-1, 512]]), (good, [len(good)], ["int8"]),
        (good, [len(good)], [["int8"], [1]]), (good, [len(good)], None),
    ]:  # fmt: skip
        write_stream(tmp_path / "bad", stream, ends, told)
        assert refuses_or_works(tmp_path / "bad") == 0


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="peak memory is read from /proc")
def test_hostile_sizes_take_no_memory(tmp_path: Path) -> None:
    """In a process of its own: shapes of terabytes, and streams that would unfold to them."""
    huge = tensor("I8", [2**34, 512], [0, 2**43])
    (tmp_path / "0").write_bytes(raw({"__metadata__": {"kind": "voxels", "version": "2"}, "cells": huge}))
    write_stream(tmp_path / "1", zlib.compress(bytes(4 * 10**8)), [380000], ["int8", [2**31, 512]])
    bomb = zlib.compress(bytes(5 * 10**8))
    write_stream(tmp_path / "2", bomb, [len(bomb)], ["int8", list(ARRAYS["cells"].shape)])
    script = (
        "import sys; from pathlib import Path; from embmem.errors import InputError\n"
        "from embmem.maps.voxels.formats.files import open_voxels, read_voxels\n"
        "def most(): return int(Path('/proc/self/status').read_text().split('VmHWM:')[1].split()[0])  # [KiB]\n"
        "before = most()\n"
        "for path in sys.argv[1:]:\n"
        "    for reader in (open_voxels, read_voxels):\n"
        "        try: reader(Path(path)); sys.exit(3)\n"
        "        except InputError: pass\n"
        "print(most() - before)\n"
    )
    command = [sys.executable, "-c", script, *(str(tmp_path / name) for name in "012")]
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) < 300_000  # the kernels that it compiles or loads, but no terabytes


@pytest.mark.parametrize("compressed", [False, True])
@pytest.mark.parametrize("reader", READERS)
def test_golden_files_answer_as_they_did(compressed: bool, reader: Any) -> None:
    for version in range(2, VoxelMap.version + 1):
        voxels = reader(golden(version, compressed=compressed))
        assert (voxels.resolution, voxels.epoch, len(voxels.occupied())) == (0.1, 100.0, 2058)
        points = np.array([[2.05, 0.35, 1.05], [1.05, 0.05, 1.05], [3.05, 0.05, 1.05]])
        np.testing.assert_array_equal(voxels.log_odds(points), np.array([54, -39, np.nan]) / 32)
        voxels.observe(wall_ahead(103.0))
        use(voxels)


def test_a_file_of_voxels_opens_as_a_memory(tmp_path: Path) -> None:
    write_voxels(tmp_path / "map.safetensors", make_map())
    voxels = open_memory(tmp_path / "map.safetensors").layer(VoxelMap)
    assert same(voxels, make_map())


if __name__ == "__main__":
    for is_compressed in (False, True):
        write_voxels(golden(VoxelMap.version, compressed=is_compressed), make_map(), compressed=is_compressed)
