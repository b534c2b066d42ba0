"""Memory files of several robots become one file: whole, in any order, with all that was corrected and removed."""

from __future__ import annotations

import hashlib
import json
import sqlite3
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from house_frames import house_frames

from embmem.cli.main import main
from embmem.errors import InputError, OutputExistsError
from embmem.geometry import camera_pose, invert_pose
from embmem.maps import ObjectMemory, VoxelMap, durable_memory, open_durable, open_memory
from embmem.maps.merging import merge_memories, session_parts
from embmem.maps.spatial_memory import LAYERS
from embmem.merge.files import merge_files
from embmem.observation import Observation
from embmem.protocols import Deformation
from embmem.records import Link, Query, Record
from embmem.store import RecordStore
from embmem.store.amend import correct, withdraw
from embmem.store.purge import purge
from embmem.store.verify import verify
from embmem.testing import wall_ahead


def robot(path: Path, frames: Iterable[Observation], notes: Sequence[str] = ()) -> Path:
    """A memory of these frames and notes, and of what was derived from the first note."""
    with durable_memory(path, 0.1, snapshot_seconds=1e9) as memory:
        for frame in frames:
            memory.observe(frame)
        ids = memory.store.write_all(Record("note", 50.0 + i, "operator", text=note) for i, note in enumerate(notes))
        if ids:
            memory.store.write_all([Record("summary", 60.0, "mind", text="sum", links=(Link("from", ids[0]),))])
    return path


def merged(files: Sequence[Path], to: Path) -> str:
    """The hash of the file that the files become."""
    to.unlink(missing_ok=True)
    merge_files(files, to, layer_types=LAYERS, name="0")
    return hashlib.sha256(to.read_bytes()).hexdigest()


def texts(path: Path) -> list[str]:
    with RecordStore(path, read_only=True) as store:
        return sorted(record.text for record in store.read(Query(k=999)) if record.text)


@pytest.fixture
def files(tmp_path: Path) -> dict[str, Path]:
    """Three robots in one frame that look at one wall, by turns."""
    return {
        name: robot(
            tmp_path / f"{name}.embmem",
            [wall_ahead(float(3 * i + k), yaw=0.25 * i - 0.2 * k) for i in range(4)],
            [f"hello from {name}", f"more from {name}"],
        )
        for k, name in enumerate("abc")
    }


def test_order_and_repetition_of_files_do_not_matter_to_the_byte(files: dict[str, Path], tmp_path: Path) -> None:
    a, b, c = files.values()
    expected = merged([a, b, c], tmp_path / "abc.embmem")
    assert merged([c, b, a], tmp_path / "cba.embmem") == expected
    merged([a, b], tmp_path / "ab.embmem")
    assert merged([c, tmp_path / "ab.embmem"], tmp_path / "c_ab.embmem") == expected
    assert merged([tmp_path / "cba.embmem", a, tmp_path / "ab.embmem"], tmp_path / "again.embmem") == expected
    assert verify(tmp_path / "abc.embmem").problems == ()


def test_layers_are_those_of_one_robot_that_saw_it_all(files: dict[str, Path], tmp_path: Path) -> None:
    merged(list(files.values()), tmp_path / "abc.embmem")
    frames = sorted(
        (wall_ahead(float(3 * i + k), yaw=0.25 * i - 0.2 * k) for i in range(4) for k in range(3)),
        key=lambda frame: frame.stamp,
    )
    alone = robot(tmp_path / "alone.embmem", frames)
    for path in (tmp_path / "abc.embmem", alone):
        with open_durable(path) as memory:
            assert memory.stats()["log"]["replayed"] == 0.0  # the layers are in the file
    here, there = (open_memory(path) for path in (tmp_path / "abc.embmem", alone))
    for ours, theirs in zip(here.layers, there.layers, strict=True):
        a, b = ours.save(), theirs.save()
        assert {name: array.tobytes() for name, array in a.arrays.items()} == {
            name: array.tobytes() for name, array in b.arrays.items()
        }
    assert here.layer(ObjectMemory).count("mug", 0.0) == there.layer(ObjectMemory).count("mug", 0.0)


def test_records_keep_their_clocks_and_say_where_they_come_from(files: dict[str, Path], tmp_path: Path) -> None:
    merged(list(files.values()), tmp_path / "abc.embmem")
    with RecordStore(files["b"], read_only=True) as store:
        before, name = store.read(Query(kind="summary"))[0], store.uuid
    with RecordStore(tmp_path / "abc.embmem", read_only=True) as store:
        after = next(r for r in store.read(Query(kind="summary")) if r.payload["merged_from"]["memory"] == name)
        assert after.payload["merged_from"]["seq"] == before.id
        assert (after.t_event, after.t_ingest) == (before.t_event, before.t_ingest)
        (parent,) = store.get([after.links[0].to])
        assert parent.text == "hello from b"


def test_what_was_withdrawn_or_corrected_is_so_in_the_merged_memory(files: dict[str, Path], tmp_path: Path) -> None:
    old = tmp_path / "old.embmem"
    merged([files["a"], files["b"]], old)
    with RecordStore(files["a"]) as store:
        first, second = sorted(record.id or 0 for record in store.read(Query(kind="note")))
        withdraw(store, [first])
        correct(store, second, text="better from a")
    merged([files["a"], old], tmp_path / "new.embmem")
    assert texts(tmp_path / "new.embmem") == ["better from a", "hello from b", "more from b", "sum"]


def test_what_one_robot_purged_does_not_come_back_through_another(files: dict[str, Path], tmp_path: Path) -> None:
    old = tmp_path / "old.embmem"
    merged([files["a"], files["b"]], old)
    with RecordStore(files["a"]) as store:
        purge(store, "operator")
    expected = ["hello from b", "more from b", "purged 3 of operator", "sum"]
    for i, order in enumerate(([files["a"], old], [old, files["a"]])):
        merged(order, tmp_path / f"{i}.embmem")
        merged([old, tmp_path / f"{i}.embmem"], tmp_path / f"{i}-again.embmem")
        assert texts(tmp_path / f"{i}.embmem") == texts(tmp_path / f"{i}-again.embmem") == expected
        assert b"hello from a" not in (tmp_path / f"{i}.embmem").read_bytes()


def test_a_merged_memory_is_written_to_and_merged_again(files: dict[str, Path], tmp_path: Path) -> None:
    ab = tmp_path / "ab.embmem"
    merged([files["a"], files["b"]], ab)
    with open_durable(ab) as memory:
        memory.observe(wall_ahead(20.0))
        ids = [r.id or 0 for r in memory.store.read(Query(text="hello from a"))]
        memory.store.write_all([Record("note", 70.0, "operator", text="new in ab", links=(Link("from", ids[0]),))])
    with RecordStore(files["b"]) as store:
        store.write_all([Record("note", 71.0, "operator", text="new in b")])
    first = merged([ab, files["b"], files["c"]], tmp_path / "1.embmem")
    assert first == merged([files["c"], files["b"], ab], tmp_path / "2.embmem")
    assert {"new in ab", "new in b", "hello from c"} <= set(texts(tmp_path / "1.embmem"))
    assert open_memory(tmp_path / "1.embmem").layer(VoxelMap).stats()["frames"] >= 0.0


def test_a_loop_closure_of_one_robot_does_not_move_what_another_saw(tmp_path: Path) -> None:
    T = camera_pose(np.array([5.0, 1.0, 0.0]), 0.0) @ invert_pose(camera_pose(np.zeros(3), 0.0))
    with durable_memory(tmp_path / "a.embmem", 0.1) as memory:
        memory.observe(wall_ahead(0.0))
        memory.deform(Deformation(np.array([0.0]), T[None]))
    robot(tmp_path / "b.embmem", [wall_ahead(0.5)])
    merged([tmp_path / "a.embmem", tmp_path / "b.embmem"], tmp_path / "ab.embmem")
    moved = VoxelMap(0.1)
    moved.observe(replace(wall_ahead(0.0), T_map_camera=T @ wall_ahead(0.0).T_map_camera))
    moved.observe(wall_ahead(0.5))
    found = open_memory(tmp_path / "ab.embmem").layer(VoxelMap)
    assert {tuple(p) for p in np.round(found.occupied(), 3)} == {tuple(p) for p in np.round(moved.occupied(), 3)}


@pytest.mark.parametrize("is_later_surer", [True, False])
def test_robots_that_disagree_are_settled_by_what_was_seen_last_and_how_often(
    is_later_surer: bool, tmp_path: Path
) -> None:
    """One saw the mug before it; later, the other sees it behind and, if it looks, no more before it."""
    bare = []
    for i in range(6):
        frame = wall_ahead(20.0 + i)
        bare.append(replace(frame, semantic=np.ones_like(np.asarray(frame.semantic)), instance=None))
    behind = [wall_ahead(30.0 + i, yaw=np.pi) for i in range(3)]
    a = robot(tmp_path / "a.embmem", [wall_ahead(float(i)) for i in range(3)])
    b = robot(tmp_path / "b.embmem", [*(bare if is_later_surer else []), *behind])
    for i, order in enumerate(([a, b], [b, a])):
        merged(order, tmp_path / f"{i}.embmem")
        hits = open_memory(tmp_path / f"{i}.embmem").layer(ObjectMemory).query(Query(entity="mug"))
        assert len(hits) == 2
        assert hits[0].position is not None
        assert hits[0].position[0] < 0  # behind: surer, or as sure and seen last
        assert (hits[0].score > hits[1].score) == is_later_surer


def damage(path: Path, how: str) -> None:
    if how == "cut":
        data = path.read_bytes()
        path.write_bytes(data[: len(data) // 2])
    elif how == "record":
        with sqlite3.connect(path) as db:
            db.execute("UPDATE records SET text = 'changed' WHERE kind = 'note'")
    elif how == "layer":
        with sqlite3.connect(path) as db:
            db.execute("UPDATE layer_chunks SET data = x'00' WHERE role = 'base'")
    elif how == "settings":
        with sqlite3.connect(path) as db:
            db.execute("UPDATE layers SET settings = 'nonsense'")
    else:
        path.write_bytes(b"not a database, but long enough to be taken for one" * 10)


@pytest.mark.parametrize("how", ["cut", "record", "layer", "settings", "foreign"])
def test_damaged_input_is_refused_whole(how: str, files: dict[str, Path], tmp_path: Path) -> None:
    a, b, _ = files.values()
    with RecordStore(b) as store:
        store.rewrite()  # nothing is in a write-ahead log
    for beside in tmp_path.glob("b.embmem-*"):
        beside.unlink()
    damage(b, how)
    out = tmp_path / "out.embmem"
    with pytest.raises(InputError):
        merge_files([a, b], out)
    assert not list(tmp_path.glob("out*"))
    out.write_bytes(b"older")
    with pytest.raises(InputError):
        merge_files([a, b], out, overwrite=True)
    assert out.read_bytes() == b"older"


def test_what_stands_there_is_not_overwritten_unasked(files: dict[str, Path], tmp_path: Path) -> None:
    with pytest.raises(OutputExistsError):
        merge_files([files["a"], files["b"]], files["c"])
    with pytest.raises(ValueError, match="two files"):
        merge_files([files["a"]], tmp_path / "out.embmem")


def test_layers_with_other_settings_are_refused(files: dict[str, Path], tmp_path: Path) -> None:
    with durable_memory(tmp_path / "fine.embmem", 0.05) as memory:
        memory.observe(wall_ahead(0.0))
    with pytest.raises(InputError, match="different settings"):
        merge_files([files["a"], tmp_path / "fine.embmem"], tmp_path / "out.embmem")


def test_layers_without_their_frames_are_refused_and_records_can_be_merged_alone(
    files: dict[str, Path], tmp_path: Path
) -> None:
    built = tmp_path / "built.embmem"
    with open_durable(files["a"]) as memory:
        memory.save(built)
    with pytest.raises(InputError, match=r"no log.*layers=false"):
        merge_files([built, files["b"]], tmp_path / "out.embmem")
    merge_files([built, files["b"]], tmp_path / "out.embmem", with_layers=False)
    assert "hello from a" in texts(tmp_path / "out.embmem")
    assert open_memory(tmp_path / "out.embmem").layers == []


def test_a_session_is_found_in_the_map_of_another_and_merged(tmp_path: Path) -> None:
    frames = house_frames(60)
    first, second = frames[:50], frames[20:34]
    T = camera_pose(np.array([3.0, -2.0, 0.4]), 1.1) @ invert_pose(camera_pose(np.zeros(3), 0.0))
    elsewhere = [
        replace(frame, T_map_camera=invert_pose(T) @ frame.T_map_camera, stamp=frame.stamp + 100.0) for frame in second
    ]
    a, b, out = robot(tmp_path / "a.embmem", first), robot(tmp_path / "b.embmem", elsewhere), tmp_path / "c.embmem"
    told = merge_memories([a, b], out)
    assert len(told.aligned) == 1
    assert told.n_memories == 2  # the note of how they were aligned is no robot's
    alone = open_memory(a).layer(VoxelMap)
    both = open_memory(out)
    new = [tuple(p) for p in np.round(both.layer(VoxelMap).occupied(), 3)]
    old = {tuple(p) for p in np.round(alone.occupied(), 3)}
    assert np.mean([p in old for p in new]) > 0.8  # the second session saw what is there already
    (link,) = both.store.read(Query(kind="alignment"))
    np.testing.assert_allclose(np.array(link.payload["T_to_memory"]).reshape(4, 4), T, atol=0.1)
    assert merge_memories([out, a, b], tmp_path / "d.embmem").aligned == ()


def test_a_session_that_is_not_found_is_not_merged(files: dict[str, Path], tmp_path: Path) -> None:
    a = robot(tmp_path / "house.embmem", house_frames(60)[:30])
    out = tmp_path / "out.embmem"
    with pytest.raises(InputError, match="is not found"):
        merge_memories([a, files["a"]], out)
    assert not out.exists()
    assert sum(len(part) for part in session_parts(a)) >= 10


def test_the_command_merges_and_explains_itself(
    files: dict[str, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out.embmem"
    arguments = [str(files["a"]), str(files["b"]), f"out={out}", "frame=same"]
    assert main(["merge", *arguments, "json=true"]) == 0
    assert json.loads(capsys.readouterr().out)["n_memories"] == 2
    assert main(["merge", *arguments]) == 1
    assert "exists" in capsys.readouterr().err
    assert main(["merge", *arguments, "overwrite=true"]) == 0
    assert "2 memories" in capsys.readouterr().out
    assert main(["merge", str(files["a"]), str(files["b"]), f"out={tmp_path / 'x.embmem'}", "frame=mine"]) == 1
    assert "frame is one of" in capsys.readouterr().err
    assert main(["merge", "out=c.embmem"]) == 1
    assert capsys.readouterr().err == "embmem: files must be given (see: embmem merge --help)\n"
    assert main(["merge", "--help"]) == 0
    assert "out=c.embmem" in capsys.readouterr().out
