"""Maps from recordings: every public sample by one command, surfaces and ways beside Open3D, speed, memory, kills.

    EMBMEM_DATA_DIR=... python benchmarks/offline.py [--quick] [--only samples surface ...] [--json FILE]

Parts: `samples` builds each recording by its name alone; `surface` builds on every second frame of the Kinect sequence
and judges by the others (offline_surface.py); `track` withholds its poses (offline_track.py; evo measures); `speed`
tells frames/s by part and whether memory grows; `resume` kills a build again and again and looks at the hash in the
end; `many` builds several recordings at once (offline_many.py). `--quick` uses fewer frames. A part without its data or
its libraries is left out by name.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table
from rows import row

from embmem.building.build import build
from embmem.building.plan import BuildPlan
from embmem.building.record import BuildRecord
from embmem.cli.build import plan_of
from embmem.cli.main import compose_config
from embmem.errors import EmbmemError, MissingExtraError

DATA = Path(os.environ.get("EMBMEM_DATA_DIR", "/nowhere"))
KINECT, BAG = DATA / "rgbd" / "seven_scenes", DATA / "ros2" / "rgbd_7scenes_mcap"
SAMPLES = (KINECT, BAG, DATA / "rgbd" / "3dmatch", DATA / "rgbd" / "redwood_living_room")
Rows = list[dict[str, Any]]


def plan(recording: Path, out: Path, *settings: str) -> BuildPlan:
    """What `embmem build RECORDING out=OUT settings` would do."""
    return plan_of(compose_config("build", [f"recording={recording}", f"out={out}", *settings]))


def samples(folder: Path, *, is_quick: bool) -> Rows:
    """Each public sample by one command; a folder of the bag's frames has the hash of the bag."""
    found, goal = [], "built"
    for recording in SAMPLES:
        settings = ["every=8"] if is_quick and recording == KINECT else []
        record = build(plan(recording, folder / f"{recording.name}.embmem", *settings))
        found.append(row(f"{recording.name}: frames built", record.n_frames, goal=goal, met=not record.refused))
    first = _first_frames(folder / "first", n=20)
    a = build(plan(BAG, folder / "bag.embmem", "frame=identity", "colour=true"))
    b = build(plan(_folder_of(BAG, folder / "of_bag"), folder / "of_bag.embmem", "frame=identity", "colour=true"))
    found.append(row("a bag and a folder of its frames: same hash", 1.0 * (a.map_hash == b.map_hash), goal="1",
                     met=a.map_hash == b.map_hash))  # fmt: skip
    c, d = (build(plan(first, folder / f"{name}.embmem")) for name in "cd")
    found.append(
        row("built twice: same hash", 1.0 * (c.map_hash == d.map_hash), goal="1", met=c.map_hash == d.map_hash)
    )
    return found


def surface(folder: Path, *, is_quick: bool) -> Rows:
    """F-score and completeness within a voxel, on frames that neither system was given."""
    from offline_surface import compare

    found = []
    for voxel in (0.05, 0.02):
        quality = compare(KINECT, every=8 if is_quick else 1, voxel=voxel)
        mine = quality.pop("ours")
        for name, theirs in quality.items():
            for what in ("f_score", "completeness", "precision"):
                ours, peer = getattr(mine, what), getattr(theirs, what)
                is_goal = what != "precision"  # alone it is won by saying little
                goal, is_met = (">= peer", ours >= peer) if is_goal else ("none set", True)
                found.append(row(f"{what} at {voxel:g} m", ours, peer=peer, peer_name=name, goal=goal, met=is_met))
        peer = quality["Open3D TSDF"].seconds
        found.append(row(f"CPU s to integrate at {voxel:g} m", mine.seconds, peer=peer, peer_name="Open3D TSDF",
                         goal="<= peer", met=mine.seconds <= peer))  # fmt: skip
    return found


def track(folder: Path, *, is_quick: bool) -> Rows:
    """The way without the recorded poses, against them."""
    from offline_track import Pipeline, errors

    from embmem.recordings.opening import read_recording

    every = 4 if is_quick else 1
    settings = (f"every={every}", "odometry=depth")
    record = build(plan(KINECT, folder / "track.embmem", *settings))
    observations = list(read_recording(KINECT, {}, frame="identity", rgb=True, every=every))
    true = [o.T_map_camera for o in observations]
    delta = 20 // every
    closed = record.T_map_camera if record.T_map_camera_corrected is None else record.T_map_camera_corrected
    seconds = record.seconds["odometry"], record.seconds["odometry"] + record.seconds.get("loops", 0.0)
    started = time.process_time()
    pipeline = Pipeline(observations, every=every)
    steps = pipeline.odometry()
    middle = time.process_time()
    whole = pipeline.run()
    theirs = {"Open3D odometry": (steps, middle - started), "Open3D pipeline": (whole, time.process_time() - middle)}
    ours = {"odometry": (record.T_map_camera, seconds[0]), "odometry + loops": (closed, seconds[1])}
    found = []
    for mine, peer in zip(ours, theirs, strict=True):
        a, b = errors(ours[mine][0], true, delta), errors(theirs[peer][0], true, delta)
        for what, x, y in (("ATE rmse [m]", a[0], b[0]), (f"RPE over {delta} frames [m]", a[1], b[1]),
                           ("time [s]", ours[mine][1], theirs[peer][1])):  # fmt: skip
            found.append(row(f"{mine}: {what}", x, peer=y, peer_name=peer, goal="<= peer", met=x <= y))
    return [*found, row("loops found", len(record.loops)), row("frames lost", record.refused.get("lost", 0))]


def speed(folder: Path, *, is_quick: bool) -> Rows:
    """Frames/s of the whole and of its parts; RAM at the first third of the sequence against the end."""
    n = 100 if is_quick else 400
    script = """
import json, sys
from embmem.building.build import build
from embmem.building.plan import BuildPlan
plan, resident = BuildPlan(**json.load(sys.stdin)), []
def tell(part, done, total):
    with open("/proc/self/statm") as file:
        resident.append(int(file.read().split()[1]) * 4096)
record = build(plan, tell)
print(json.dumps([record.to_json(), resident]))
"""
    one = plan(KINECT, folder / "speed.embmem", f"every={400 // n}")
    done = subprocess.run(
        [sys.executable, "-c", script], input=json.dumps(vars(one)), capture_output=True, text=True, check=True
    )
    text, resident = json.loads(done.stdout)
    record = BuildRecord.from_json(text)
    found = [row("frames/s, whole build", record.n_frames / sum(record.seconds.values()))]
    found += [row(f"ms a frame: {part}", 1e3 * seconds / record.n_frames) for part, seconds in record.seconds.items()]
    growth = resident[-1] / resident[len(resident) // 3]
    return [*found, row("RAM at the end / at the first third", growth, goal="<= 1.1", met=growth <= 1.1)]


def resume(folder: Path, *, is_quick: bool) -> Rows:
    """SIGKILL at random times until the build gets through: the hash is that of a build that nobody killed."""
    straight = build(plan(KINECT, folder / "straight.embmem", "every=4"))
    killed = replace(plan(KINECT, folder / "killed.embmem", "every=4"), checkpoint=0.0)
    script = "import json, sys; from embmem.building.build import build; from embmem.building.plan import BuildPlan\n"
    script += "print(build(BuildPlan(**json.load(sys.stdin))).map_hash)"
    chance, n_killed, word = random.Random(0), 0, ""
    while not word:
        child = subprocess.Popen(
            [sys.executable, "-c", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        limit = chance.uniform(4.0, 8.0) if n_killed < (2 if is_quick else 6) else None
        try:
            word = child.communicate(json.dumps(vars(killed)), timeout=limit)[0].strip()
        except subprocess.TimeoutExpired:
            child.send_signal(signal.SIGKILL)
            child.communicate()
            n_killed += 1
    is_same = word == straight.map_hash
    return [row("kills", n_killed), row("same hash after kills", 1.0 * is_same, goal="1", met=is_same)]


def many(folder: Path, *, is_quick: bool) -> Rows:
    """Recordings at once on two workers of Ray, one of them killed, and sessions merged (offline_many.py)."""
    from offline_many import measure

    return measure(KINECT, every=8 if is_quick else 1)


PARTS: dict[str, Callable[..., Rows]] = {
    "samples": samples, "surface": surface, "track": track, "speed": speed, "resume": resume, "many": many,
}  # fmt: skip


def _first_frames(folder: Path, *, n: int) -> Path:
    """The first frames of the Kinect sequence as links."""
    folder.mkdir()
    (folder / "camera-intrinsics.txt").symlink_to(KINECT / "camera-intrinsics.txt")
    for number in range(n):
        for file in KINECT.glob(f"frame-{number:06d}.*"):
            (folder / file.name).symlink_to(file)
    return folder


def _folder_of(bag: Path, folder: Path) -> Path:
    """The bag's frames as a folder, written by rosbags' messages and OpenCV alone."""
    from offline_bag import write_folder

    write_folder(bag, folder)
    return folder


def main() -> None:
    """Run the parts and show what they found."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--only", nargs="*", choices=list(PARTS), default=list(PARTS))
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    console, found = Console(), []
    for name in arguments.only:
        try:
            with tempfile.TemporaryDirectory() as folder:
                part = PARTS[name](Path(folder), is_quick=arguments.quick)
        except (MissingExtraError, EmbmemError) as error:
            console.print(f"{name} is left out: {error}")
            continue
        table = Table("what", "ours", "peer", "of", "goal", "met", title=name, title_justify="left")
        for one in part:
            peer = "" if one["peer"] is None else f"{one['peer']:.4g}"
            table.add_row(one["name"], f"{one['ours']:.4g}", peer, one["peer_name"], one["goal"],
                          "yes" if one["met"] else "MISSED")  # fmt: skip
        console.print(table)
        found += part
        if arguments.json:
            arguments.json.write_text(json.dumps(found, indent=1))


if __name__ == "__main__":
    main()
