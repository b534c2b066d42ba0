"""A live memory answers other threads while it observes, and derives what an idle one derives."""

from __future__ import annotations

import threading
from pathlib import Path

import numpy as np
from box_room import MUG, walk
from robot_on_bus import later

from embmem.live import LiveMemory
from embmem.map_hash import map_hash
from embmem.maps import LandmarkGraph, ObjectMemory, SceneGraph, VoxelMap
from embmem.protocols import Layer
from embmem.records import Query
from embmem.replay.observation_log import Thinning


def layers() -> list[Layer]:
    return [VoxelMap(0.1), ObjectMemory(), LandmarkGraph(), SceneGraph()]


def test_threads_ask_while_it_observes_and_each_answer_makes_sense(tmp_path: Path) -> None:
    memory = LiveMemory(tmp_path / "live.embmem", layers(), thinning=Thinning(0.0, 0.0, 0.0))
    for observation in walk(12):
        memory.observe(observation)
    memory.derive()
    is_over, wrong, n_asked = threading.Event(), list[str](), [0, 0]
    queries = (Query(entity="mug"), Query(near=np.array([2.5, 2.0, 1.5]), radius=3.0), Query(kind="view", k=50))

    def ask(i: int) -> None:
        while not is_over.is_set():
            for query in queries:
                try:
                    hits = memory.query(query)
                except Exception as error:  # what a race would make of it
                    wrong.append(repr(error))
                    return
                mugs = [hit for hit in hits if hit.layer == "objects" and hit.entity == "mug"]
                if any(hit.position is None or np.linalg.norm(hit.position - MUG) > 0.4 for hit in mugs):
                    wrong.append(f"a mug at {[hit.position for hit in mugs]}")
                if query.entity and not mugs:
                    wrong.append("no mug")
            n_asked[i] += 1

    threads = [threading.Thread(target=ask, args=(i,)) for i in range(2)]
    for thread in threads:
        thread.start()
    for turn in range(1, 4):
        for observation in later(walk(12), 10.0 * turn):
            memory.observe(observation)
        memory.derive()
    memory.snapshot()
    is_over.set()
    for thread in threads:
        thread.join(30)
    memory.close()
    assert wrong == []
    assert min(n_asked) > 0


def test_what_is_derived_as_a_copy_is_what_is_derived_in_place(tmp_path: Path) -> None:
    live = LiveMemory(tmp_path / "live.embmem", layers(), thinning=Thinning(0.0, 0.0, 0.0))
    plain = LiveMemory(tmp_path / "plain.embmem", layers(), thinning=Thinning(0.0, 0.0, 0.0))
    for turn in range(2):
        for observation in later(walk(12), 10.0 * turn):
            live.observe(observation)
            plain.observe(observation)
        before = live.layer(SceneGraph)
        live.derive()
        super(LiveMemory, plain).derive()
        assert live.layer(SceneGraph) is not before
        assert map_hash(live) == map_hash(plain)
    assert len(live.layer(SceneGraph)) > 0
    live.close()
    plain.close()


def test_layers_that_are_not_wanted_are_not_asked_and_records_are_those_on_the_disk(tmp_path: Path) -> None:
    memory = LiveMemory(tmp_path / "live.embmem", layers(), thinning=Thinning(0.0, 0.0, 0.0))
    for observation in walk(6):
        memory.observe(observation)
    near = Query(near=np.array([2.5, 2.0, 1.5]), radius=5.0)
    assert "voxels" in {hit.layer for hit in memory.query(near)}
    assert "voxels" not in {hit.layer for hit in memory.query(near, without=("voxels",))}
    memory.flush()
    n = len(memory.acknowledged)
    assert n == len(memory.store)
    assert memory.writable is memory.store
    memory.close()


def test_a_memory_that_another_one_replaces_answers_until_it_is_closed(tmp_path: Path) -> None:
    file = tmp_path / "room.embmem"
    every, asked = Thinning(0.0, 0.0, 0.0), Query(near=np.array([2.5, 2.0, 1.5]), radius=5.0)
    failed = LiveMemory(file, layers(), thinning=every)
    for observation in walk(3):
        failed.observe(observation)
    failed.release()
    failed.release()
    with LiveMemory(file, layers(), thinning=every) as memory:
        answers = [[(hit.layer, hit.score) for hit in each.query(asked)] for each in (failed, memory)]
        assert answers[0] == answers[1]
        failed.close()
        assert memory.query(asked)
