"""Speed of depth integration on an NVIDIA GPU against one CPU thread on the same frames, and whether the maps agree.

    python benchmarks/gpu.py [--frames N] [--json FILE]

The frames are those of benchmarks/voxels.py: 640x480 noisy depth of a generated flat. Wall time of whole frames, with
the transfer of the depth image to the GPU, and again with depth that is there already. Needs the extra `cuda` and a
GPU; without one it says so and writes no row.
"""

from __future__ import annotations

import argparse
import json
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table
from voxel_inputs import flat_frames
from voxel_rows import overlap

from embmem.errors import MissingExtraError
from embmem.maps import VoxelMap
from embmem.observation import Observation

INTEGRATORS = ("projective", "ends", "rays")
RESOLUTIONS = (0.05, 0.025)


def seconds_a_frame(target: Any, observations: list[Observation]) -> float:
    """Median wall time of `observe`; all frames are integrated once before, so that nothing compiles or grows."""
    for observation in observations:
        target.observe(observation)
    times = []
    for observation in observations:
        begin = time.perf_counter()
        target.observe(observation)
        times.append(time.perf_counter() - begin)
    return float(np.median(times))


def on_gpu_already(observations: list[Observation]) -> list[Observation]:
    """The same frames with their depth on the GPU."""
    from numba import cuda

    return [replace(o, depth=cuda.to_device(o.depth)) for o in observations]


def measure(observations: list[Observation], integrator: str, resolution: float) -> list[dict[str, Any]]:
    """The rows of one integrator at one resolution."""
    from embmem.maps.voxels.cuda import CudaVoxels

    cpu = VoxelMap(resolution, integrator=integrator)
    gpu = CudaVoxels(VoxelMap(resolution, integrator=integrator))
    slow = seconds_a_frame(cpu, observations)
    rows = []
    for name, frames in (("with transfer", observations), ("depth on the GPU", on_gpu_already(observations))):
        fast = seconds_a_frame(gpu, frames)
        rows.append({
            "name": f"{integrator}, {100 * resolution:g} cm, {name} [ms a frame]",
            "ours": 1e3 * fast, "peer": 1e3 * slow, "peer_name": "embmem on one CPU thread", "ratio": slow / fast,
            "goal": "> 1", "met": slow > fast,
        })  # fmt: skip
    reference = VoxelMap(resolution, integrator=integrator)
    for _ in range(4):
        for observation in observations:
            reference.observe(observation)
    agreement, _ = overlap(gpu.sync(), reference)
    rows.append({
        "name": f"{integrator}, {100 * resolution:g} cm, occupied IoU",
        "ours": agreement, "peer": 1.0, "peer_name": "embmem on the CPU", "ratio": agreement,
        "goal": ">= .999", "met": agreement >= 0.999,
    })  # fmt: skip
    return rows


def gpu_problem() -> str | None:
    """Why nothing can be measured here, None if it can."""
    try:
        from numba import cuda

        import embmem.maps.voxels.cuda  # noqa: F401 (is it there?)
    except MissingExtraError as error:
        return str(error)
    is_there: bool = cuda.is_available()  # type: ignore[no-untyped-call]
    return None if is_there else "no NVIDIA GPU, or no driver for it"


def main() -> None:
    """Print the table and write the rows."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--frames", type=int, default=40)
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    console = Console()
    problem = gpu_problem()
    rows: list[dict[str, Any]] = []
    if problem:
        console.print(f"gpu: skipped, {problem}", soft_wrap=True)
    else:
        observations = [frame.observation for frame in flat_frames(arguments.frames)]
        table = Table("", "GPU", "CPU", "ratio", "goal", "met", title=f"{len(observations)} frames of 640x480")
        for resolution in RESOLUTIONS:
            for integrator in INTEGRATORS:
                for row in measure(observations, integrator, resolution):
                    rows.append(row)
                    figures = (f"{row[key]:.3f}" for key in ("ours", "peer", "ratio"))
                    table.add_row(row["name"], *figures, row["goal"], "yes" if row["met"] else "no")
        console.print(table)
    if arguments.json:
        arguments.json.write_text(json.dumps(rows, indent=1), encoding="utf-8")


if __name__ == "__main__":
    main()
