"""Files of our own are there whole after a power cut: the old one until the new one is promised, then the new one."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from folder_cuts import FolderWatch

from embmem import output
from embmem.maps import VoxelMap
from embmem.maps.voxels.formats.octomap_files import write_octomap
from embmem.maps.voxels.formats.tensor_files import write_tensors
from embmem.memory_file import write_memory_file
from embmem.output import new_folder, write_atomic
from embmem.protocols import LayerState
from embmem.records import Record
from embmem.store import RecordStore
from embmem.store.maintenance import backup, compact
from embmem.testing import wall_ahead

Write = Callable[[Path, int], None]


def bytes_file(path: Path, number: int) -> None:
    write_atomic(path, bytes([number]) * 2000)


def tensor_file(path: Path, number: int) -> None:
    write_tensors(path, {"a": np.full(3000, number)}, {"kind": "test"}, overwrite=True)


def octomap_file(path: Path, number: int) -> None:
    voxels = VoxelMap(0.2)
    voxels.observe(wall_ahead(0.0, yaw=float(number)))
    write_octomap(path, voxels)


def memory_file(path: Path, number: int) -> None:
    store = RecordStore()
    store.write_all([Record(kind="note", t_event=float(number), source="test", t_ingest=0.0)] * 20)
    write_memory_file(path, store, [LayerState("grid", 1, {}, {"a": np.full(900, number)})], overwrite=True)


def backup_file(path: Path, number: int) -> None:
    with RecordStore() as store:
        store.write_all([Record(kind="note", t_event=float(number), source="test", t_ingest=0.0)] * 20)
        backup(store, path, overwrite=True)


WRITERS = {"bytes": bytes_file, "tensors.safetensors": tensor_file, "map.bt": octomap_file,
           "memory.embmem": memory_file, "backup.embmem": backup_file}  # fmt: skip


def cut_while(path: Path, write: Write, patch: pytest.MonkeyPatch) -> int:
    """Replace a file under the eyes of a watch; returns how many images were tried.

    Raises:
        AssertionError: if the file is neither the old nor the new one at any step, or not the new one at the end.
    """
    write(path, 1)
    old, seen = path.read_bytes(), list[bytes | None]()
    watch = FolderWatch(path.parent, lambda image: seen.append(image.get(path.name)))
    with patch.context() as inside:
        watch.watching(inside)
        write(path, 2)
    new = path.read_bytes()
    assert new != old
    assert set(seen) <= {old, new}, "a cut leaves neither the old file nor the new one"
    assert {image.get(path.name) for image in watch.images()} == {new}, "what was promised may be gone"
    return watch.n_images


@pytest.mark.parametrize("name", WRITERS)
def test_a_power_cut_leaves_the_old_file_or_the_new_one(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert cut_while(tmp_path / name, WRITERS[name], monkeypatch) > 10


@pytest.mark.parametrize("name", WRITERS)
@pytest.mark.parametrize("forgotten", ["content", "folder"])
def test_a_sync_that_is_forgotten_is_found(
    name: str, forgotten: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def sync(path: Path) -> None:
        if path.is_dir() != (forgotten == "folder"):
            real(path)

    real = output.sync
    monkeypatch.setattr(output, "sync", sync)
    with pytest.raises(AssertionError, match=r"neither the old|may be gone"):
        cut_while(tmp_path / name, WRITERS[name], monkeypatch)


def test_a_folder_appears_with_all_that_is_in_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    synced: list[str] = []
    monkeypatch.setattr(output, "sync", lambda path: synced.append(path.name))
    with new_folder(tmp_path / "out") as part:
        (part / "a.txt").write_text("a")
        (part / "sub").mkdir()
        (part / "sub" / "b.txt").write_text("b")
    assert set(synced) == {"a.txt", "sub", "b.txt", "out.part", tmp_path.name}
    assert synced.index("a.txt") < synced.index(tmp_path.name)


def test_compaction_that_is_cut_leaves_a_memory(tmp_path: Path) -> None:
    """SQLite writes the file anew under its own log; the cuts under SQLite are tested elsewhere."""
    memory_file(tmp_path / "memory.embmem", 1)
    assert compact(tmp_path / "memory.embmem").bytes_after > 0
    assert sorted(p.name for p in tmp_path.iterdir()) == ["memory.embmem", "memory.embmem.lock"]
