"""A memory that lives in its file: whatever happens to the snapshots, the log gives the same bytes."""

from __future__ import annotations

import contextlib
import shutil
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from house_frames import DIM, house_frames

from embmem.durable import DurableMemory
from embmem.errors import InputError, RefusedObservation, StoreError
from embmem.geometry import camera_pose
from embmem.maps import (
    DecayLayers,
    ObjectMemory,
    Removal,
    VoxelMap,
    durable_memory,
    open_durable,
    open_memory,
    view_memory,
)
from embmem.maps.spatial_memory import LAYERS
from embmem.maps.voxels.meaning.payload import Payload
from embmem.maps.voxels.meaning.prototypes import PrototypeTable
from embmem.maps.voxels.meaning.semantic import Search
from embmem.memory import Memory
from embmem.observation import Observation
from embmem.protocols import Deformation, Layer
from embmem.records import Link, Query, Record
from embmem.replay.observation_log import Thinning
from embmem.short_term.eviction import Lru
from embmem.short_term.memory import ShortTermMemory
from embmem.store import RecordStore
from embmem.store.purge import purge
from embmem.testing import wall_ahead

N = 24
EVERYTHING = Thinning(0.0, 0.0, 0.0)


def voxels_and_objects() -> list[Layer]:
    return [VoxelMap(0.1), ObjectMemory()]


def semantic() -> list[Layer]:
    payload = Payload(("colour", "labels", "seen", "keyframe", "prototype"), prototypes=PrototypeTable(DIM))
    return [VoxelMap(0.1, payload=payload, search=Search(), track_changes=True, removal=Removal(z_max=2.5))]


def decaying() -> list[Layer]:
    return [DecayLayers(VoxelMap(0.1), VoxelMap(0.1), period=0.5)]


KINDS: list[Callable[[], list[Layer]]] = [voxels_and_objects, semantic, decaying]


def bytes_of(memory: Memory) -> dict[str, bytes]:
    states = [layer.save() for layer in memory.layers]
    return {f"{s.kind}/{name}": array.tobytes() for s in states for name, array in s.arrays.items()}


def live(memory: Memory, frames: Sequence[Observation]) -> None:
    """See everything; time passes and a loop closes on the way."""
    for i, frame in enumerate(frames):
        memory.observe(frame)
        if i == N // 3:
            memory.tick(frame.stamp + 0.05)
        if i == N // 2:
            T = camera_pose(np.array([0.05, -0.02, 0.0]), 0.01) @ np.linalg.inv(camera_pose(np.zeros(3), 0.0))
            memory.deform(Deformation(np.array([frame.stamp]), T[None]))


def in_ram(layers: list[Layer], frames: Sequence[Observation]) -> dict[str, bytes]:
    memory = Memory(layers)
    live(memory, frames)
    return bytes_of(memory)


def durable(path: Path, layers: list[Layer] | None, **options: object) -> DurableMemory:
    given = {"thinning": EVERYTHING, "depth_step": None, "layer_types": LAYERS, **options}
    return DurableMemory(path, layers, **given)  # type: ignore[arg-type]


def run_sql(path: Path, sql: str) -> None:
    with contextlib.closing(sqlite3.connect(path)) as db, db:
        db.execute(sql)


@pytest.mark.parametrize("kind", KINDS)
def test_the_file_holds_the_bytes_that_ram_would_hold(tmp_path: Path, kind: Callable[[], list[Layer]]) -> None:
    frames, path = house_frames(N), tmp_path / "house.embmem"
    expected = in_ram(kind(), frames)
    with durable(path, kind()) as memory:
        live(memory, frames)
        assert bytes_of(memory) == expected
    with durable(path, None) as memory:  # by the snapshot
        assert bytes_of(memory) == expected
        assert memory.stats()["log"]["replayed"] == 0
    run_sql(path, "DELETE FROM layers WHERE role = 'latest'")
    with durable(path, None) as memory:  # by the log, from the empty layers of the base
        assert bytes_of(memory) == expected
        assert memory.stats()["log"]["replayed"] == N + 2
    run_sql(path, "DELETE FROM layers")
    with durable(path, kind()) as memory:  # by the log alone
        assert bytes_of(memory) == expected


@pytest.mark.parametrize("kind", KINDS)
def test_a_snapshot_on_the_way_changes_nothing(tmp_path: Path, kind: Callable[[], list[Layer]]) -> None:
    frames, path = house_frames(N), tmp_path / "house.embmem"
    expected = in_ram(kind(), frames)
    with durable(path, kind(), snapshot_seconds=1e9) as memory:
        live(memory, frames[: N // 4])
        memory.snapshot()
    with durable(path, kind()) as memory:
        for frame in frames[N // 4 : N // 3]:
            memory.observe(frame)
    with durable(path, None, snapshot_seconds=0.0) as memory:
        rest, at = frames[N // 3 :], N // 3
        for i, frame in enumerate(rest):
            memory.observe(frame)
            if at + i == N // 3:
                memory.tick(frame.stamp + 0.05)
            if at + i == N // 2:
                T = camera_pose(np.array([0.05, -0.02, 0.0]), 0.01) @ np.linalg.inv(camera_pose(np.zeros(3), 0.0))
                memory.deform(Deformation(np.array([frame.stamp]), T[None]))
        assert bytes_of(memory) == expected


def test_a_crash_between_log_and_snapshot_loses_nothing(tmp_path: Path) -> None:
    frames, path = house_frames(N), tmp_path / "house.embmem"
    with durable(path, voxels_and_objects(), snapshot_seconds=1e9) as memory:
        live(memory, frames[:5])
        memory.snapshot()
        live(memory, frames[5:9])
        memory.flush()
        for name in ("house.embmem", "house.embmem-wal"):  # what is on the disk at this moment
            shutil.copy(tmp_path / name, tmp_path / name.replace("house", "crashed"))
        expected = bytes_of(memory)
    with durable(tmp_path / "crashed.embmem", None) as crashed:
        assert bytes_of(crashed) == expected
        assert crashed.stats()["log"]["replayed"] == 4


@pytest.mark.parametrize(
    "damage",
    [
        "UPDATE layer_chunks SET data = x'00ff' WHERE role = 'latest' AND kind = 'objects'",
        "UPDATE layers SET checksum = checksum + 1 WHERE role = 'latest'",
        "UPDATE layers SET version = version + 1 WHERE role = 'latest' AND kind = 'voxels'",
        "DELETE FROM layer_chunks WHERE role = 'latest'",
        "DELETE FROM layers WHERE role = 'latest' AND kind = 'objects'",
    ],
)
def test_a_damaged_snapshot_is_rebuilt_from_the_log(tmp_path: Path, damage: str) -> None:
    frames, path = house_frames(N)[:8], tmp_path / "house.embmem"
    with durable(path, voxels_and_objects()) as memory:
        live(memory, frames)
        expected = bytes_of(memory)
    run_sql(path, damage)
    assert bytes_of(open_memory(path)) == expected  # in RAM, the file as it is
    with durable(path, None) as memory:
        assert bytes_of(memory) == expected
        assert memory.rebuilt or "DELETE FROM layers" in damage
    with durable(path, None) as memory:  # and whole again
        assert memory.stats()["log"]["replayed"] == 0
        assert bytes_of(memory) == expected


def test_other_settings_are_built_from_the_log(tmp_path: Path) -> None:
    frames, path = house_frames(N)[:8], tmp_path / "house.embmem"
    with durable(path, [VoxelMap(0.1)]) as memory:
        live(memory, frames)
    finer: list[Layer] = [VoxelMap(0.05), ObjectMemory()]
    with durable(path, finer) as memory:
        assert bytes_of(memory) == in_ram([VoxelMap(0.05), ObjectMemory()], frames)
    with durable(path, None) as memory:
        assert memory.layer(VoxelMap).resolution == 0.05
        assert bytes_of(memory) == in_ram([VoxelMap(0.05), ObjectMemory()], frames)


def test_a_withdrawn_frame_leaves_the_map_and_comes_back(tmp_path: Path) -> None:
    frames, path = house_frames(N)[:8], tmp_path / "house.embmem"
    without, everything = in_ram(voxels_and_objects(), frames[:7]), in_ram(voxels_and_objects(), frames)
    with durable(path, voxels_and_objects()) as memory:
        live(memory, frames)
        memory.snapshot()
        last = memory.store.read(Query(kind="frame", k=1))[0]
        assert last.id is not None
        gone = memory.store.write(
            Record(kind="withdrawal", t_event=99.0, source="operator", links=(Link("withdraws", last.id),))
        ).wait()
        assert memory.refresh()
        assert bytes_of(memory) == without
        assert not memory.refresh()
    with durable(path, None) as memory:
        assert bytes_of(memory) == without
    with RecordStore(path) as store:  # while nobody keeps layers
        back = Record(kind="withdrawal", t_event=99.0, source="operator", links=(Link("withdraws", gone),))
        store.write(back)
    assert bytes_of(open_memory(path)) == everything
    with durable(path, None) as memory:
        assert bytes_of(memory) == everything
        assert "voxels" in memory.rebuilt


def test_frames_that_say_nothing_new_are_left_out_of_log_and_layers_alike(tmp_path: Path) -> None:
    path = tmp_path / "wall.embmem"
    with durable(path, [VoxelMap(0.1)], thinning=Thinning(0.5, 0.1, 0.1)) as memory:
        for i in range(30):  # one second at 30 Hz
            memory.observe(wall_ahead(i / 30.0))
        memory.observe(wall_ahead(1.0, yaw=0.2))
        assert len(memory.store.read(Query(kind="frame"))) == 3
        assert memory.stats()["log"]["thinned"] == 28
        expected = bytes_of(memory)
    run_sql(path, "DELETE FROM layers WHERE role = 'latest'")
    assert bytes_of(open_memory(path)) == expected


def test_depth_is_rounded_before_anything_sees_it(tmp_path: Path) -> None:
    frames, path = house_frames(N)[:6], tmp_path / "house.embmem"
    with durable(path, voxels_and_objects(), depth_step=0.001) as memory:
        live(memory, frames)
        expected = bytes_of(memory)
        admitted = memory.observe(replace(frames[5], stamp=99.0))
        assert admitted.depth is not None
        steps = admitted.depth[np.isfinite(admitted.depth)] * 1000.0
        np.testing.assert_allclose(steps, np.round(steps), atol=2e-3)
        last = memory.store.read(Query(kind="frame", k=1))[0]
        memory.store.write(Record(kind="w", t_event=0.0, source="me", links=(Link("withdraws", last.id or 0),)))
    assert bytes_of(open_memory(path)) == expected


def test_a_refused_observation_leaves_no_trace(tmp_path: Path) -> None:
    with durable(tmp_path / "house.embmem", voxels_and_objects()) as memory:
        memory.observe(wall_ahead(0.0))
        before, n = bytes_of(memory), len(memory.store)
        with pytest.raises(RefusedObservation):
            memory.observe(replace(wall_ahead(1.0), T_map_camera=np.full((4, 4), np.nan)))
        assert (bytes_of(memory), len(memory.store)) == (before, n)


class Fussy(VoxelMap):
    """A map that cannot bear one frame."""

    def observe(self, observation: Observation) -> None:
        if observation.stamp == 2.0:
            raise RuntimeError("this frame is too much")
        super().observe(observation)


def test_a_layer_that_fails_stops_the_memory_and_opening_again_mends_it(tmp_path: Path) -> None:
    path = tmp_path / "wall.embmem"
    with durable(path, [ObjectMemory(), Fussy(0.1)]) as memory:
        for stamp in (0.0, 1.0):
            memory.observe(wall_ahead(stamp))
        expected = bytes_of(memory)
        with pytest.raises(RuntimeError, match="too much"):
            memory.observe(wall_ahead(2.0, yaw=0.5))
        with pytest.raises(StoreError, match="open the memory again"):
            memory.observe(wall_ahead(3.0))
    with durable(path, None) as memory:
        assert bytes_of(memory) == expected


def test_a_log_that_cannot_be_written_stops_the_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "wall.embmem"
    with durable(path, [VoxelMap(0.1)]) as memory:
        memory.observe(wall_ahead(0.0))
        memory.flush()
        expected = bytes_of(memory)

        def fail(*_: object) -> None:
            raise sqlite3.OperationalError("database or disk is full")

        monkeypatch.setattr("embmem.store.sqlite.insert", fail)
        memory.observe(wall_ahead(1.0, yaw=0.4))
        with pytest.raises(StoreError, match="disk is full"):
            memory.flush()
        monkeypatch.undo()
        with pytest.raises(StoreError, match="open the memory again"):
            memory.snapshot()
    with durable(path, None) as memory:
        assert bytes_of(memory) == expected


def test_a_damaged_frame_is_named(tmp_path: Path) -> None:
    path = tmp_path / "wall.embmem"
    with durable(path, [VoxelMap(0.1)]) as memory:
        memory.observe(wall_ahead(0.0))
    run_sql(path, "UPDATE blobs SET data = x'00'")
    run_sql(path, "DELETE FROM layers WHERE role = 'latest'")
    with pytest.raises(InputError, match="record 1"):
        durable(path, None)
    RecordStore(path).close()  # the file was released


def test_records_of_others_named_frame_do_no_harm(tmp_path: Path) -> None:
    path = tmp_path / "wall.embmem"
    with durable(path, [VoxelMap(0.1)]) as memory:
        memory.observe(wall_ahead(0.0))
        memory.store.write(Record(kind="frame", t_event=1.0, source="gallery", text="a wooden one"))
        expected = bytes_of(memory)
    run_sql(path, "DELETE FROM layers WHERE role = 'latest'")
    assert bytes_of(open_memory(path)) == expected


def test_a_memory_that_was_built_offline_can_be_lived_in(tmp_path: Path) -> None:
    path, frames = tmp_path / "house.embmem", house_frames(N)[:8]
    built = Memory(voxels_and_objects())
    live(built, frames[:4])
    built.save(path)
    with durable(path, None) as memory:
        assert bytes_of(memory) == bytes_of(built)
        for each in (memory, built):
            live(each, frames[4:])
        assert bytes_of(memory) == bytes_of(built)
    with pytest.raises(InputError, match="settings"):  # its past is in no log
        durable(path, [VoxelMap(0.2), ObjectMemory()])
    with pytest.raises(InputError, match="objects"):
        durable(path, [VoxelMap(0.1)])
    joined: list[Layer] = [VoxelMap(0.1), ObjectMemory(), DecayLayers(VoxelMap(0.2), VoxelMap(0.2))]
    with durable(path, joined) as memory:  # a layer that joins knows what the log still holds
        assert bytes_of(memory).items() >= bytes_of(built).items()
        expected = bytes_of(memory)
    assert bytes_of(open_memory(path)) == expected


def test_a_view_goes_with_its_frame(tmp_path: Path) -> None:
    with durable_memory(tmp_path / "wall.embmem", 0.1) as memory:
        memory.observe(wall_ahead(0.0))
        (frame,), (view,) = memory.store.read(Query(kind="frame")), memory.store.read(Query(kind="view"))
        assert view.links == (Link("from", frame.id or 0),)
        memory.store.write(Record(kind="w", t_event=0.0, source="me", links=(Link("withdraws", frame.id or 0),)))
        assert memory.store.read(Query(kind="view")) == []
    with open_durable(tmp_path / "wall.embmem") as memory:
        assert len(memory.layer(VoxelMap).occupied()) == 0
    with pytest.raises(InputError, match="is not a file"):
        open_durable(tmp_path / "nowhere.embmem")


def test_a_view_asks_the_file_while_it_is_being_written(tmp_path: Path) -> None:
    path, frames = tmp_path / "house.embmem", house_frames(N)[:8]
    with durable(path, voxels_and_objects(), snapshot_seconds=1e9) as memory:
        live(memory, frames[:5])
        memory.snapshot()
        live(memory, frames[5:])
        memory.flush()
        seen = view_memory(path)
        assert bytes_of(seen) == bytes_of(memory)
        assert len(seen.store.read(Query(kind="frame"))) == 8
        with pytest.raises(StoreError, match="read only"):
            seen.store.write(Record(kind="note", t_event=0.0, source="me"))
        seen.store.close()


def test_what_was_put_into_the_short_term_memory_is_there_after_closing(tmp_path: Path) -> None:
    path = tmp_path / "wall.embmem"
    with DurableMemory(path, [VoxelMap(0.1), ShortTermMemory(Lru(3))]) as memory:
        memory.observe(wall_ahead(0.0))
    types = [VoxelMap, ShortTermMemory]
    with DurableMemory(path, layer_types=types) as memory:
        seen = Record(kind="sighting", t_event=1.0, source="camera", position=np.zeros(3), entities=("mug",))
        memory.layer(ShortTermMemory).put("mug 1", seen)
    with DurableMemory(path, layer_types=types) as memory:
        assert [entry.key for entry in memory.layer(ShortTermMemory).entries()] == ["mug 1"]
        before = path.stat().st_mtime_ns
    assert path.stat().st_mtime_ns == before  # nothing is written where nothing changed


def test_a_purge_takes_its_frames_out_of_the_map(tmp_path: Path) -> None:
    path, frames = tmp_path / "house.embmem", house_frames(N)[:6]
    with durable(path, voxels_and_objects()) as memory:
        live(memory, frames)
        assert isinstance(memory.store, RecordStore)
        assert purge(memory.store, "camera") >= 6
        memory.snapshot()
        assert bytes_of(memory) == in_ram(voxels_and_objects(), [])
    with durable(path, None) as memory:
        assert len(memory.layer(VoxelMap).occupied()) == 0


LIVE_AND_DIE = """
import sys
from pathlib import Path
sys.path.insert(0, {tests!r})
from test_durable_memory import N, Query, durable, house_frames, voxels_and_objects
memory = durable(Path({path!r}), voxels_and_objects(), snapshot_seconds=0.05)
print("ready", flush=True)

n = len(memory.store.read(Query(kind="frame", k=10**6)))
for frame in house_frames(N)[n:]:
    memory.observe(frame)
    memory.flush()
    print("acknowledged", flush=True)
"""


def test_kill_9_in_the_middle_loses_nothing_that_was_acknowledged(tmp_path: Path) -> None:
    path = tmp_path / "house.embmem"
    script = LIVE_AND_DIE.format(tests=str(Path(__file__).parent), path=str(path))
    n_acknowledged = 0
    for n_until_death in (3, 5):
        with subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True) as process:
            assert process.stdout is not None
            for line in process.stdout:
                n_acknowledged += line.strip() == "acknowledged"
                if line.strip() == "acknowledged" and (n_until_death := n_until_death - 1) == 0:
                    process.send_signal(signal.SIGKILL)
                    break
            process.wait()
        with durable(path, None) as memory:
            n = len(memory.store.read(Query(kind="frame", k=1000)))
            assert n >= n_acknowledged
            reference = Memory(voxels_and_objects())
            for frame in house_frames(N)[:n]:
                reference.observe(frame)
            assert bytes_of(memory) == bytes_of(reference)
