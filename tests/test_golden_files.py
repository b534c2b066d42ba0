"""Files that earlier versions wrote open and answer as they did then.

`python tests/test_golden_files.py` writes the file of the version in `embmem.store.schema.VERSION`; a file that is
committed is never written again.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from embmem.maps import ObjectMemory, VoxelMap, open_memory, spatial_memory
from embmem.records import Query
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


if __name__ == "__main__":
    if golden(VERSION).exists():
        raise SystemExit(f"{golden(VERSION)} is there already: a golden file is never written again")
    write_golden(golden(VERSION))
