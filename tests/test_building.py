"""Builds that are killed go on to the same bits, and refuse to go on with anything else."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from box_room import walk

from embmem.building.build import build, build_memory
from embmem.building.plan import BuildPlan
from embmem.building.record import BuildRecord, LoopRecord, read_record
from embmem.cli.build import plan_of
from embmem.cli.main import compose_config, main
from embmem.errors import InputError
from embmem.geometry import rotation_angle
from embmem.memory import Memory
from embmem.recordings.rgbd_writer import write_rgbd_folder
from embmem.recordings.writing import write_recording

N = 16


class Stopped(BaseException):
    """What ends a build as abruptly as a signal does: no handler of the builder knows it."""


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("recordings") / "room"
    write_rgbd_folder(walk(N), path)
    return path


def plan(recording: Path, out: Path, *settings: str) -> BuildPlan:
    return plan_of(compose_config("build", [f"recording={recording}", f"out={out}", "resolution=0.1", *settings]))


def stop_at(frame: int) -> Callable[[str, int, int], None]:
    def tell(part: str, done: int, total: int) -> None:
        if done > frame:
            raise Stopped

    return tell


KINDS: dict[str, tuple[str, ...]] = {
    "spatial": (),
    "keyframes": ("keyframes.distance=0.3",),
    "moving": ("moving={n_frames:1,spacing:2}",),
    "maps": ("memory=maps", "memory.more.pose_graph.close_every=2", "memory.more.pose_graph.distance=0.2"),
}


@pytest.mark.parametrize("kind", KINDS)
def test_a_build_stopped_anywhere_goes_on_to_the_same_map(kind: str, recorded: Path, tmp_path: Path) -> None:
    if kind == "maps":
        pytest.importorskip("gtsam")
    straight = build(plan(recorded, tmp_path / "a.embmem", *KINDS[kind]))
    stopped = plan(recorded, tmp_path / "b.embmem", *KINDS[kind], "checkpoint=0")
    for frame in (1, 6, 11):
        with pytest.raises(Stopped):
            build(stopped, stop_at(frame))
    built = build_memory(stopped)
    assert built.resumed_at > 0
    assert built.record.map_hash == straight.map_hash
    assert built.record.n_frames == straight.n_frames
    np.testing.assert_array_equal(built.record.T_map_camera, straight.T_map_camera)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a.embmem", "b.embmem"]


def test_a_build_killed_at_any_moment_goes_on_to_the_same_map(recorded: Path, tmp_path: Path) -> None:
    """SIGKILL after random times, also while a checkpoint is written."""
    script = """
import json, os, random, signal, sys, time
from embmem.building.build import build, build_memory
from embmem.building.plan import BuildPlan
straight, killed = (BuildPlan(**plan) for plan in json.load(sys.stdin))
chance = random.Random(0)
want = build(straight).map_hash
n_killed = 0
for _ in range(8):
    child = os.fork()
    if not child:
        build(killed)
        os._exit(0)
    time.sleep(chance.uniform(0.05, 0.35))
    os.kill(child, signal.SIGKILL)
    n_killed += os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -signal.SIGKILL
    if os.path.exists(killed.out):
        os.unlink(killed.out)
built = build_memory(killed)
print(json.dumps([n_killed, built.record.map_hash == want, built.record.n_frames]))
"""
    plans = [plan(recorded, tmp_path / "a.embmem"), plan(recorded, tmp_path / "b.embmem", "checkpoint=0")]
    done = subprocess.run(
        [sys.executable, "-c", script], input=json.dumps([vars(p) for p in plans]), capture_output=True, text=True,
        check=True,
    )  # fmt: skip
    n_killed, is_same, n_frames = json.loads(done.stdout)
    assert (is_same, n_frames) == (True, N)
    assert n_killed > 0


@pytest.mark.parametrize(
    ("settings", "word"),
    [
        (["resolution=0.2"], "begun with memory.resolution=0.1, not 0.2"),
        (["every=2"], "begun with every=1, not 2"),
        (["memory.max_range=4.0"], "memory.max_range=5.0, not 4.0"),
        (["moving={classes:[mug]}"], "moving"),
        (["read.depth_unit=0.002"], "read.depth_unit=None, not 0.002"),
    ],
)
def test_what_a_killed_build_left_is_not_gone_on_with_by_other_settings(
    settings: list[str], word: str, recorded: Path, tmp_path: Path
) -> None:
    out = tmp_path / "a.embmem"
    with pytest.raises(Stopped):
        build(plan(recorded, out, "checkpoint=0"), stop_at(5))
    with pytest.raises(InputError, match=r"fresh=true") as error:
        build(plan(recorded, out, *settings))
    assert word in str(error.value)
    assert build_memory(plan(recorded, out, *settings, "fresh=true")).resumed_at == 0


def test_what_a_killed_build_left_is_not_gone_on_with_by_another_recording(recorded: Path, tmp_path: Path) -> None:
    out = tmp_path / "a.embmem"
    with pytest.raises(Stopped):
        build(plan(recorded, out, "checkpoint=0"), stop_at(5))
    write_rgbd_folder(walk(N, pitch=-0.2), tmp_path / "other")
    with pytest.raises(InputError, match="of another recording"):
        build(plan(tmp_path / "other", out))
    files = sorted(recorded.rglob("*.png"))
    times = files[0].stat()
    os.utime(files[0], ns=(times.st_atime_ns, times.st_mtime_ns + 10**12))  # another content, perhaps, of the same size
    try:
        with pytest.raises(InputError, match="its time of change"):
            build(plan(recorded, out))
    finally:
        os.utime(files[0], ns=(times.st_atime_ns, times.st_mtime_ns))
    (tmp_path / "a.embmem.building").write_bytes(b"rubbish")
    with pytest.raises(InputError, match=r"a\.embmem\.building"):
        build(plan(recorded, out))


def test_a_map_within_the_folder_of_its_recording_is_gone_on_with(tmp_path: Path) -> None:
    write_rgbd_folder(walk(6, pitch=-0.2), tmp_path / "recording")
    out = tmp_path / "recording" / "a.embmem"
    with pytest.raises(Stopped):
        build(plan(out.parent, out, "checkpoint=0"), stop_at(3))
    assert build_memory(plan(out.parent, out)).resumed_at > 0


def test_the_file_of_a_killed_build_stays_until_the_map_is_safe(
    recorded: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "a.embmem"
    with monkeypatch.context() as patch:
        patch.setattr(Memory, "save", _disk_full)
        with pytest.raises(OSError, match="full"):
            build(plan(recorded, out, "checkpoint=0"))
    assert build_memory(plan(recorded, out)).resumed_at > 0
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a.embmem"]


def _disk_full(memory: Memory, path: Path, *, overwrite: bool = False) -> None:
    raise OSError("the disk is full")


def test_the_record_tells_what_happened_and_comes_back(recorded: Path, tmp_path: Path) -> None:
    told: list[tuple[str, int, int]] = []
    record = build(plan(recorded, tmp_path / "a.embmem"), lambda *what: told.append(what))
    assert told == [("building", k, N) for k in range(1, N + 1)]
    assert record.n_frames == N
    assert {"open", "read", "observe", "save"} <= set(record.seconds)
    given = np.stack([o.T_map_camera for o in walk(N)])
    np.testing.assert_allclose(record.T_map_camera, given, atol=1e-6)
    kept = read_record(tmp_path / "a.embmem")
    assert kept is not None
    assert kept.map_hash == record.map_hash
    np.testing.assert_array_equal(kept.T_map_camera, record.T_map_camera)
    rich = replace(record, loops=(LoopRecord(0.1, 2.0, True, 0.3, 0.04),), T_map_camera_corrected=record.T_map_camera)
    again = BuildRecord.from_json(rich.to_json())
    assert again.loops == rich.loops
    np.testing.assert_array_equal(again.stamps, record.stamps)
    assert again.settings == json.loads(json.dumps(record.settings))


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"kind": "build"}', "7", '{"kind": "build", "version": 9}'])
def test_what_is_no_record_is_refused(text: str) -> None:
    with pytest.raises(InputError, match="no record of a build"):
        BuildRecord.from_json(text)


def test_keyframes_are_apart_and_the_rest_is_not_decoded(recorded: Path, tmp_path: Path) -> None:
    settings = ["keyframes.distance=0.4", "keyframes.angle=1.0"]
    record = build(plan(recorded, tmp_path / "a.embmem", *settings))
    T = record.T_map_camera
    assert 2 < len(T) < N
    turned = np.array([rotation_angle(a[:3, :3].T @ b[:3, :3]) for a, b in pairwise(T)])
    moved = np.linalg.norm(np.diff(T[:, :3, 3], axis=0), axis=1)
    assert ((moved >= 0.4) | (turned >= 1.0)).all()


def test_the_same_hash_from_the_command_line(
    recorded: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    record = build(plan(recorded, tmp_path / "a.embmem"))
    assert main(["build", str(recorded), f"out={tmp_path}/b.embmem", "resolution=0.1"]) == 0
    assert record.map_hash in capsys.readouterr().out


@pytest.mark.parametrize(
    "settings",
    [
        ["keyframes.distance=-1"],
        ["checkpoint=-1"],
        ["moving={n_frames:-1}"],
        ["moving={classes:cat}"],
        ["moving={colour:red}"],
    ],
)
def test_senseless_settings_are_one_line(
    settings: list[str], recorded: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["build", str(recorded), f"out={tmp_path}/a.embmem", *settings]) == 1
    assert capsys.readouterr().err.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


def test_a_bag_stopped_goes_on_and_counts_each_fault_once(tmp_path: Path) -> None:
    write_recording(walk(N), tmp_path / "bag.mcap")
    straight = build(plan(tmp_path / "bag.mcap", tmp_path / "a.embmem", "on_fault=skip"))
    stopped = plan(tmp_path / "bag.mcap", tmp_path / "b.embmem", "on_fault=skip", "checkpoint=0")
    with pytest.raises(Stopped):
        build(stopped, stop_at(9))
    record = build(stopped)
    assert (record.map_hash, record.refused, record.n_frames) == (straight.map_hash, straight.refused, N)
