"""Files that earlier versions wrote open and answer as they did then.

`python tests/test_golden_files.py` writes the files of the version in `embmem.store.schema.VERSION`; a file that is
committed is never written again.
"""

from __future__ import annotations

import shutil
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pytest

from embmem.maps import ObjectMemory, VoxelMap, durable_memory, open_durable, open_memory, spatial_memory
from embmem.records import Link, Query, Record
from embmem.store import RecordStore
from embmem.store.amend import correct
from embmem.store.schema import VERSION
from embmem.testing import wall_ahead

DATA = Path(__file__).parent / "data"


def golden(version: int) -> Path:
    return DATA / f"wall_v{version}.embmem"


def write_golden(path: Path) -> None:
    memory = spatial_memory(resolution=0.1)
    for i in range(4):
        memory.observe(wall_ahead(float(i), yaw=0.1 * i))
    memory.save(path)


def robot(version: int) -> Path:
    return DATA / f"robot_v{version}.embmem"


def write_robot(path: Path) -> None:
    """A memory that lived in its file: frames, a snapshot that does not cover the last of them, beliefs, embeddings."""
    with TemporaryDirectory() as folder, durable_memory(Path(folder) / "robot.embmem", resolution=0.1) as memory:
        for i in range(3):
            memory.observe(wall_ahead(float(i), yaw=0.1 * i))
        memory.snapshot()
        memory.observe(wall_ahead(3.0, yaw=0.3))
        store = memory.store
        assert isinstance(store, RecordStore)
        red = note("a red mug", np.array([1.0, 0.0], dtype=np.float32), keys=("voxel:1,2,0",))
        wrong = store.write(red).wait()
        by_cook = np.array([0.6, 0.8], dtype=np.float32)
        store.write(note("it was seen by the cook", by_cook, links=(Link("from", wrong),)))
        correct(store, wrong, text="a blue mug", reason="bad light").wait()
        store.copy_to(path)


def note(text: str, embedding: np.ndarray, **more: Any) -> Record:
    return Record(kind="note", t_event=9.0, source="cook", position=np.ones(3), text=text, embedding=embedding, **more)


@pytest.mark.parametrize("version", range(2, VERSION + 1))
def test_memories_that_lived_in_a_file_go_on(version: int, tmp_path: Path) -> None:
    shutil.copy(robot(version), tmp_path / "robot.embmem")
    with open_durable(tmp_path / "robot.embmem") as memory:
        assert memory.stats()["log"]["replayed"] == 4  # the snapshot of the objects is of their version 1: made anew
        fresh = spatial_memory(resolution=0.1)
        for i in range(4):
            fresh.observe(wall_ahead(float(i), yaw=0.1 * i))
        np.testing.assert_array_equal(memory.layer(VoxelMap).occupied(), fresh.layer(VoxelMap).occupied())
        (mug,) = memory.store.search(Query(text="mug", kind="note")).hits
        assert mug.record is not None
        assert mug.record.text == "a blue mug"
        assert memory.store.search(Query(text="cook", kind="note")).hits == []
        (was,) = memory.store.search(Query(text="cook", kind="note", with_hidden=True)).hits
        assert was.record is not None
        np.testing.assert_array_equal(was.record.embedding, np.array([0.6, 0.8], dtype=np.float16))


@pytest.mark.parametrize("version", range(1, VERSION + 1))
def test_files_of_every_version_answer_as_they_did(version: int) -> None:
    memory = open_memory(golden(version))
    voxels = memory.layer(VoxelMap)
    assert voxels.resolution == 0.1
    # The wall stands 2 m ahead; before it is free space, behind it nobody has looked.
    assert voxels.log_odds(np.array([[2.05, 0.35, 1.05]]))[0] > 0
    assert voxels.log_odds(np.array([[1.05, 0.05, 1.05]]))[0] < 0
    assert np.isnan(voxels.log_odds(np.array([[3.05, 0.05, 1.05]]))[0])
    assert memory.layer(ObjectMemory).stats()["confident"] >= 1
    (mug, *_) = memory.layer(ObjectMemory).query(Query(entity="mug"))
    assert mug.position is not None
    assert np.linalg.norm(mug.position[:2]) == pytest.approx(1.8, abs=0.1)
    (view,) = memory.store.read(Query(kind="view"))
    assert (view.t_event, set(view.entities)) == (0.0, {"wall", "mug"})


def test_the_current_version_has_a_golden_file() -> None:
    assert golden(VERSION).is_file()
    assert robot(VERSION).is_file()


if __name__ == "__main__":
    for path, write in ((golden(VERSION), write_golden), (robot(VERSION), write_robot)):
        if not path.exists():
            write(path)
