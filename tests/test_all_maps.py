"""`memory=maps`: every map in one memory, fed by one tour, saved together and moved together."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hydra import compose, initialize_config_module
from hydra.utils import instantiate
from test_recorded_tour import Tour

from embmem.durable import DurableMemory
from embmem.maps import (
    LandmarkGraph,
    ObjectMemory,
    PoseGraph,
    SceneGraph,
    SemanticMap,
    VoxelMap,
    open_durable,
    open_memory,
)
from embmem.memory import Memory
from embmem.protocols import Deformation
from embmem.records import Query
from embmem.sim_envs.house import make_house

pytest.importorskip("gtsam", reason="loops are closed by GTSAM (extra recon)")
KINDS = {"voxels", "objects", "pose_graph", "landmarks", "scene_graph", "semantic_map"}


def empty() -> Memory:
    with initialize_config_module("embmem.configs", version_base=None):
        memory: Memory = instantiate(compose("memory/maps").memory)
    return memory


@pytest.fixture(scope="module")
def tour() -> Tour:
    return Tour(make_house(11, n_rooms=4), 160)


@pytest.fixture(scope="module")
def saved(tour: Tour, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("maps") / "home.embmem"
    memory = empty()
    for observation in tour:
        memory.observe(observation)
    memory.save(path)
    return path


def rooms_of(memory: Memory, tour: Tour) -> list[str]:
    """The kinds of the rooms whose middles lie in one that the scene graph knows."""
    graph = memory.layer(SceneGraph)
    middles = [np.array([(r.x0 + r.x1) / 2, (r.y0 + r.y1) / 2, 0.5]) for r in tour.house.rooms]
    found = [graph.room_at(middle) for middle in middles]
    assert len({room for room in found if room is not None}) == sum(room is not None for room in found)
    return [room.kind for room, number in zip(tour.house.rooms, found, strict=True) if number is not None]


def test_one_file_holds_all_of_them_and_rooms_follow_from_walls(tour: Tour, saved: Path) -> None:
    memory = open_memory(saved)
    assert {layer.kind for layer in memory.layers} == KINDS
    assert len(rooms_of(memory, tour)) >= len(tour.house.rooms) - 1
    kitchen = [hit for hit in memory.query(Query(place="kitchen")) if hit.layer == "scene_graph"]
    assert kitchen
    assert len(memory.layer(LandmarkGraph)) > 5
    assert len(memory.layer(PoseGraph)) > 20
    assert memory.layer(SemanticMap).things()


def test_a_deformation_reaches_every_map(saved: Path) -> None:
    memory, moved = open_memory(saved), open_memory(saved)
    T = np.eye(4)
    T[:3, 3] = [1.0, -0.5, 0.0]  # whole voxels
    stamps, _ = memory.layer(PoseGraph).trajectory()
    moved.deform(Deformation(stamps, np.repeat(T[None], len(stamps), axis=0)))
    occupied = memory.layer(VoxelMap).occupied() + T[:3, 3]
    _, distance = moved.layer(VoxelMap).nearest_occupied(occupied)
    assert distance.max() < 0.05
    np.testing.assert_allclose(
        moved.layer(ObjectMemory).things()["position"], memory.layer(ObjectMemory).things()["position"] + T[:3, 3]
    )
    np.testing.assert_allclose(moved.layer(PoseGraph).trajectory()[1][:, :3, 3],
                               memory.layer(PoseGraph).trajectory()[1][:, :3, 3] + T[:3, 3])  # fmt: skip
    for kind in ("landmarks", "scene_graph"):
        before, after = (
            {h.detail["id"]: h.position for h in each.query(Query(k=1000, kind=kind)) if h.layer == kind}
            for each in (memory, moved)
        )
        assert before.keys() == after.keys()
        assert before
        for node, position in before.items():
            moved_to = after[node]
            assert position is not None
            assert moved_to is not None
            np.testing.assert_allclose(moved_to, position + T[:3, 3], atol=1e-6)


def test_a_robot_that_is_switched_off_finds_all_of_them_again(tour: Tour, tmp_path: Path) -> None:
    path = tmp_path / "home.embmem"
    with DurableMemory(path, empty().layers) as memory:
        for observation in tour:
            memory.observe(observation)
        memory.derive()
        there = [layer.save() for layer in memory.layers]
    with open_durable(path) as again:
        for before, after in zip(there, [layer.save() for layer in again.layers], strict=True):
            assert (before.kind, before.params, before.arrays.keys()) == (after.kind, after.params, after.arrays.keys())
            for name, array in before.arrays.items():
                np.testing.assert_array_equal(after.arrays[name], array, err_msg=f"{before.kind} {name}")
