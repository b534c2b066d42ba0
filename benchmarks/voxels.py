"""The voxel map beside OctoMap and pyoctomap: speed, size and agreement, one run, one table.

    python benchmarks/voxels.py [--quick] [--json FILE]

Times are CPU milliseconds (medians over frames of the least of the passes), one thread each, so that a busy machine
counts for little; files and threads are timed on the clock. OctoMap is its own C++ library (Debian: liboctomap-dev),
driven by benchmarks/octomap_driver/driver.cpp, which needs g++. Real recordings come from $EMBMEM_DATA_DIR (default
../shared/data). Every peer or input that is missing is named and left out.
"""

from __future__ import annotations

import argparse
import json
import os
import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

import numpy as np
from octomap_peer import OctoMapDriver
from rich.console import Console
from rich.markup import escape
from rich.table import Table
from voxel_building import building_rows
from voxel_inputs import Frame, flat_frames, kinect_frames, scan_frames
from voxel_insert import Input, calls, every_ray_rows, insert_rows, make_map
from voxel_rows import Row, figure

GOALS = {
    0.05: {"OctoMap": 8.0, "pyoctomap": 30.0, "Bonxai": 1.5},
    0.025: {"OctoMap": 60.0, "wavemap": 3.0},
}
MAX_RANGE = 5.0
WIDTH = 190  # of the table, so that a log file shows it whole


def thread_rows(frames: Sequence[Frame]) -> list[Row]:
    """Time on the clock with one thread over that with two, and whether the maps are the same bytes."""
    rows = []
    for integrator in ("projective", "ends", "rays"):
        given = Input("flat", frames, 0.05, MAX_RANGE, 1)
        feeds = calls(given, integrator, from_points=False)
        best, maps = {1: np.inf, 2: np.inf}, {}
        for n_threads in (1, 2) * 4:
            voxels = make_map(given, integrator, threads=n_threads)
            start = time.perf_counter()
            for ready in feeds:
                ready()(voxels)
            best[n_threads] = min(best[n_threads], time.perf_counter() - start)
            maps[n_threads] = voxels.save().arrays
        equal = all(np.array_equal(array, maps[2][name]) for name, array in maps[1].items())
        rows.append(figure(f"two threads, {integrator}: times faster on the clock", best[1] / best[2]))
        rows.append(figure(f"two threads, {integrator}: share of maps of equal bytes", float(equal), at_least=1.0))
    return rows


def insertion_rows(driver: OctoMapDriver | None, folder: Path, data: Path, *, quick: bool) -> list[Row]:
    """All inputs at all resolutions."""
    n, passes = (8, 2) if quick else (40, 3)
    flat = flat_frames(n)
    rows = every_ray_rows(Input("flat 5 cm", flat, 0.05, MAX_RANGE, passes), driver, folder)
    rows += insert_rows(Input("flat 5 cm", flat, 0.05, MAX_RANGE, passes), driver, folder, goals=GOALS[0.05])
    fine = Input("flat 2.5 cm", flat[: max(n // 2, 8)], 0.025, MAX_RANGE, 2)
    rows += insert_rows(fine, driver, folder, goals=GOALS[0.025])
    near = Input("flat 5 cm, any pose", flat_frames(n, least_median=0.0), 0.05, MAX_RANGE, passes)
    rows += every_ray_rows(near, driver, folder)
    rows += insert_rows(near, driver, folder, goals={"OctoMap": 8.0, "pyoctomap": 30.0})
    if data.is_dir():
        real = {"OctoMap": 8.0, "pyoctomap": 30.0}
        kinect = kinect_frames(data, every=50 if quick else 10)
        rows += every_ray_rows(Input("Kinect 5 cm", kinect, 0.05, MAX_RANGE, passes), driver, folder)
        whole = kinect if quick else kinect_frames(data, every=1)
        rows += insert_rows(Input("Kinect 5 cm", whole, 0.05, MAX_RANGE, 2), driver, folder, goals=real)
        scan = Input("spherical scan 5 cm", scan_frames(data), 0.05, 10.0, 5)
        rows += every_ray_rows(scan, driver, folder)
    return rows + thread_rows(flat)


def print_table(console: Console, rows: Sequence[Row]) -> None:
    """One line a row."""
    table = Table(title="voxel map")
    for heading in ("what", "ours", "peer", "", "ratio", "goal", "met"):
        table.add_column(heading, justify="right" if heading in ("ours", "peer", "ratio") else "left")
    for row in rows:
        peer, ratio = (f"{x:.4g}" if x is not None else "" for x in (row.peer, row.ratio))
        verdict = "" if row.goal == "none set" else "yes" if row.met else "[red]MISSED[/red]"
        table.add_row(escape(row.name), f"{row.ours:.4g}", peer, row.peer_name, ratio, row.goal, verdict)
    console.print(table)


def main() -> None:
    """Print the table and write the rows."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="fewer frames, a small building: two minutes")
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    console = Console()
    console.width = max(console.width, WIDTH)
    data = Path(os.environ.get("EMBMEM_DATA_DIR", "../shared/data"))
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        built = OctoMapDriver.build(folder)
        driver = built if isinstance(built, OctoMapDriver) else None
        if isinstance(built, str):
            console.print(built)
        if not data.is_dir():
            console.print(f"Kinect frames and the spherical scan are skipped: no public data at {data}")
        rows = insertion_rows(driver, folder, data, quick=arguments.quick)
        n_frames, passes, n_huge = (100, 1, 0) if arguments.quick else (1000, 2, 100_000_000)
        rows += building_rows(n_frames, passes, driver, folder, n_huge=n_huge)
    print_table(console, rows)
    if arguments.json:
        arguments.json.write_text(json.dumps([asdict(row) for row in rows], indent=1), encoding="utf-8")


if __name__ == "__main__":
    main()
