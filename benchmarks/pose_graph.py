"""Loop closure against injected drift: trajectory error, agreement of the layers, false loops, speed of a deformation.

    python benchmarks/pose_graph.py [--quick] [--houses N] [--data DIR] [--json FILE]

In each of 50 houses of three rooms a robot walks between random places while its odometry drifts; on the real frames of
7-Scenes, there and back, drift is laid on the recorded poses. A memory of voxels, things, places and a pose graph sees
every frame and closes its loops once, in the end. Then false loops, half as many as the right ones, are added to the
same graph; the peers are GTSAM without consistency check and kernel ("no kernel") and Open3D's global optimisation.
Errors are root mean squares over the keyframes after rigid alignment (ATE); rows give the mean over drives. The layers
disagree by the distance of the voxel, thing, place or episode that is farthest from where its keyframe took it.
"""

from __future__ import annotations

import argparse
import json
import os
import time
from pathlib import Path
from typing import Any

import numpy as np
from motion import house_frames
from pose_graph_runs import RESOLUTION, Run, house_run, recorded_run
from rich.console import Console
from rich.table import Table
from rows import row

from embmem.maps import ObjectMemory, VoxelMap
from embmem.maps.pose_graph.se3 import exponential
from embmem.maps.voxels.blocks import AXIS_BITS, AXIS_LIMIT, BlockPool, unpack
from embmem.protocols import Deformation

N_VOXELS, N_THINGS, N_KEYFRAMES = 1_000_000, 10_000, 200


def deformation_time() -> dict[str, float]:
    """CPU seconds to deform a building of a million occupied voxels and a memory of ten thousand things."""
    frames = house_frames(60)
    voxels, things = VoxelMap(RESOLUTION), ObjectMemory()
    for frame in frames:
        voxels.observe(frame)
    pool, n_occupied = voxels.blocks, len(voxels.occupied())
    floors = -(-N_VOXELS // n_occupied)
    lifts = np.repeat(80 * np.arange(floors), pool.n)[:, None] * np.array([0, 0, 1])
    at = np.tile(unpack(pool.keys[: pool.n]), (floors, 1)) + lifts + AXIS_LIMIT
    keys = (at[:, 0] << (2 * AXIS_BITS)) | (at[:, 1] << AXIS_BITS) | at[:, 2]
    rng = np.random.default_rng(0)
    stamps = rng.uniform(0, N_KEYFRAMES, len(keys))
    rows = np.zeros(N_THINGS, dtype=things.table.rows.dtype)
    rows["last_seen"], rows["position"] = rng.uniform(0, N_KEYFRAMES, N_THINGS), rng.uniform(-9, 9, (N_THINGS, 3))
    things.table.rows = rows
    moves = exponential(rng.normal(size=(N_KEYFRAMES, 6)) * [0.01, 0.01, 0.1, 0.3, 0.3, 0.02])
    deformation = Deformation(np.arange(float(N_KEYFRAMES)), moves)
    voxels.deform(Deformation(np.zeros(1), np.eye(4)[None]))  # compiles
    voxels.blocks = BlockPool.from_rows(keys, np.tile(pool.cells[: pool.n], (floors, 1)), stamps)
    n_voxels = float(np.count_nonzero(voxels.blocks.cells[: voxels.blocks.n] > 0))
    start = time.process_time()
    voxels.deform(deformation)
    middle = time.process_time()
    things.deform(deformation)
    return {"voxels": middle - start, "things": time.process_time() - middle, "n_voxels": n_voxels}


def rows_of(name: str, runs: list[Run]) -> list[dict[str, Any]]:
    """What a set of drives shows."""

    def mean(key: str) -> float:
        return float(np.mean([run.errors[key] for run in runs if key in run.errors]))

    closed = [run for run in runs if run.disagreement]
    if not closed:
        return [row(f"{name}: drives with loops closed", 0.0, goal=">= 0.95", met=False)]
    n_false, false_on = sum(run.n_false for run in closed), sum(run.false_on["ours"] for run in closed)
    worst = {kind: max((run.disagreement[kind] for run in closed), default=0.0) for kind in
             ("voxel", "thing", "place", "episode")}  # fmt: skip
    apart = worst["voxel"] + max(worst["thing"], worst["place"], worst["episode"])
    before, after = mean("odometry"), mean("ours")
    result = [
        row(f"{name}: trajectory error [m]", after, peer=before, peer_name="odometry", goal="<= 0.5 of odometry",
            met=after <= 0.5 * before),
        row(f"{name}: drives with loops closed", float(len(closed) / len(runs)), goal=">= 0.95",
            met=len(closed) >= 0.95 * len(runs)),
        row(f"{name}: largest disagreement of layers [m]", apart, goal=f"<= {RESOLUTION} (1 voxel)",
            met=apart <= RESOLUTION),
        row(f"{name}: false loops believed", false_on / max(n_false, 1), goal="0", met=false_on == 0,
            peer=sum(run.false_on["open3d"] for run in closed) / max(n_false, 1), peer_name="Open3D"),
        row(f"{name}: right loops lost to them", sum(run.right_off for run in closed)
            / max(sum(run.loops for run in closed), 1), goal="<= 0.05",
            met=sum(run.right_off for run in closed) <= 0.05 * sum(run.loops for run in closed)),
        row(f"{name}: wrong loops verified, believed", float(sum(run.wrong_on for run in closed)),
            peer=float(sum(run.wrong_loops for run in closed)), peer_name="verified", goal="0",
            met=not any(run.wrong_on for run in closed)),
    ]  # fmt: skip
    for peer, told in (("no kernel", "GTSAM, no kernel"), ("open3d", "Open3D")):
        ours, theirs = mean("ours, false loops"), mean(peer)
        title = f"{name}: error with false loops [m]"
        met = ours <= 1.05 * theirs
        result.append(row(title, ours, peer=theirs, peer_name=told, goal="<= 1.05 of peer", met=met))
    return result


def main() -> None:
    """Print the table and write the rows."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--houses", type=int, default=50)
    parser.add_argument("--way", type=float, default=30.0, help="of each walk [m]")
    parser.add_argument("--quick", action="store_true", help="two houses, no recording")
    parser.add_argument("--data", type=Path, default=Path(os.environ.get("EMBMEM_DATA_DIR", "../shared/data")))
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    console = Console()
    houses = []
    for seed in range(2 if arguments.quick else arguments.houses):
        houses.append(house_run(seed, arguments.way))
        console.print(told(houses[-1]))
    rows = rows_of(f"{len(houses)} houses", houses)
    folder = arguments.data / "rgbd" / "seven_scenes"
    if folder.is_dir() and not arguments.quick:
        recorded = [recorded_run(folder, seed) for seed in range(3)]
        for run in recorded:
            console.print(told(run))
        rows += rows_of("7-Scenes", recorded)
    seconds = deformation_time()
    both = seconds["voxels"] + seconds["things"]
    rows.append(row("deform 1 M voxels and 10 k things [CPU s]", both, goal="<= 1", met=both <= 1.0))
    table = Table(title="Pose graph")
    for heading in ("figure", "ours", "peer", "peer is", "goal", "met"):
        table.add_column(heading, justify="left" if heading in ("figure", "peer is") else "right")
    for each in rows:
        peer = "" if each["peer"] is None else f"{each['peer']:.4g}"
        met = "yes" if each["met"] else "no"
        table.add_row(each["name"], f"{each['ours']:.4g}", peer, each["peer_name"], each["goal"], met)
    console.print(table)
    closing = [run.seconds["close"] for run in houses]
    console.print(
        f"{seconds['n_voxels']:.0f} occupied voxels; finding and closing the loops of a walk takes "
        f"{np.median(closing):.1f} CPU s for {np.median([run.keyframes for run in houses]):.0f} keyframes."
    )
    if arguments.json:
        arguments.json.write_text(json.dumps(rows, indent=1), encoding="utf-8")


def told(run: Run) -> str:
    """One line about a drive."""
    after = run.errors["ours"]
    return (
        f"{run.name}: {run.way:.0f} m, {run.keyframes} keyframes, {run.loops} loops, {run.wrong_loops} wrong, "
        f"{run.wrong_on} of them believed; error {run.errors['odometry']:.3f} -> {after:.3f} m"
    )


if __name__ == "__main__":
    main()
