"""The memory of voxels and objects as a whole: filled, saved, opened again."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hydra import compose, initialize_config_module
from hydra.utils import instantiate

from embmem.errors import InputError
from embmem.maps import GridBuilder, ObjectMemory, VoxelMap, open_memory, spatial_memory
from embmem.memory import Memory
from embmem.protocols import Deformation, Layer
from embmem.records import Query
from embmem.testing import QUERIES, same_hits, wall_ahead


def filled() -> Memory:
    memory = spatial_memory(0.1)
    for stamp in range(6):
        memory.observe(wall_ahead(float(stamp), yaw=0.3 * stamp))
    return memory


def test_an_opened_memory_answers_as_before_and_goes_on_the_same_way(tmp_path: Path) -> None:
    memory = filled()
    memory.save(tmp_path / "room.embmem")
    opened = open_memory(tmp_path / "room.embmem")
    for _ in range(2):
        for query in QUERIES:
            maps = [hit for hit in memory.query(query) if hit.layer != "store"]
            assert same_hits([hit for hit in opened.query(query) if hit.layer != "store"], maps)
        ours, theirs = (GridBuilder(each.layer(VoxelMap)).update().cells for each in (memory, opened))
        np.testing.assert_array_equal(ours, theirs)
        for each in (memory, opened):
            each.observe(wall_ahead(9.0, distance=1.5, yaw=-0.4))


def test_an_empty_memory_can_be_saved_and_opened(tmp_path: Path) -> None:
    spatial_memory().save(tmp_path / "empty.embmem")
    opened = open_memory(tmp_path / "empty.embmem")
    assert opened.query(Query(entity="mug")) == []
    assert len(opened.layer(VoxelMap).occupied()) == 0


def test_the_mug_is_where_the_voxels_are_solid() -> None:
    memory = filled()
    hit = next(hit for hit in memory.query(Query(entity="mug")) if hit.layer == "objects")
    assert hit.position is not None
    _, distance = memory.layer(VoxelMap).nearest_occupied(hit.position[None])
    assert distance[0] < 0.15


def test_a_deformation_keeps_things_and_voxels_together() -> None:
    memory = filled()
    T = np.eye(4)
    T[:3, 3] = [0.7, -0.2, 0.1]
    objects, voxels = memory.layer(ObjectMemory), memory.layer(VoxelMap)
    before = np.array([hit.position for hit in objects.query(Query(k=99))])
    _, apart = voxels.nearest_occupied(before)
    memory.deform(Deformation(stamps=np.array([0.0]), T_new_old=T[None]))
    after = np.array([hit.position for hit in objects.query(Query(k=99))])
    np.testing.assert_allclose(after, before + T[:3, 3])
    np.testing.assert_allclose(voxels.nearest_occupied(after)[1], apart)


def test_layers_given_are_the_layers_used() -> None:
    voxels, objects = VoxelMap(0.2), ObjectMemory(gate=0.5)
    memory = spatial_memory(voxels=voxels, objects=objects)
    assert memory.layer(VoxelMap) is voxels
    assert memory.layer(ObjectMemory) is objects


def test_a_file_that_is_not_there_is_an_input_error(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"nowhere\.embmem"):
        open_memory(tmp_path / "nowhere.embmem")


@pytest.mark.parametrize(("name", "kind"), [("voxels", VoxelMap), ("objects", ObjectMemory)])
def test_every_map_config_builds_the_map_with_its_own_defaults(name: str, kind: type[Layer]) -> None:
    with initialize_config_module("embmem.configs", version_base="1.3"):
        layer = instantiate(compose(f"map/{name}").map)
    assert isinstance(layer, kind)
    assert layer.save().params == kind().save().params


def test_the_memory_config_builds_a_memory() -> None:
    with initialize_config_module("embmem.configs", version_base="1.3"):
        memory = instantiate(compose("memory/spatial", overrides=["memory.resolution=0.1"]).memory)
    assert isinstance(memory, Memory)
    assert memory.layer(VoxelMap).resolution == 0.1
