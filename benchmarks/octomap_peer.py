"""OctoMap's own C++ library as a peer: builds the driver beside this file and runs it."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import numpy as np

SOURCE = Path(__file__).parent / "octomap_driver" / "driver.cpp"
FLAGS = ["-O3", "-march=native", "-DNDEBUG", "-std=c++17"]


class OctoMapDriver:
    """The compiled driver; every method is one run of it."""

    def __init__(self, program: Path) -> None:
        self._program = program

    @classmethod
    def build(cls, folder: Path) -> OctoMapDriver | str:
        """The driver, compiled into `folder`, or why there is none."""
        if shutil.which("g++") is None:
            return "OctoMap C++ is skipped: there is no g++"
        program = folder / "octomap_driver"
        command = ["g++", *FLAGS, str(SOURCE), "-o", str(program), "-loctomap", "-loctomath"]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            fault = next((line for line in done.stderr.splitlines() if "error" in line), done.stderr[:200])
            return f"OctoMap C++ is skipped: its driver does not compile (Debian: liboctomap-dev): {fault}"
        return cls(program)

    def insert(self, frames: Path, resolution: float, max_range: float, *, discretize: bool, out: Path) -> Any:
        """`seconds` of CPU for every frame and `bytes` of the tree, which is written to `out`."""
        return self._run("insert", frames, resolution, max_range, int(discretize), out)

    def search(self, tree: Path, points: np.ndarray, folder: Path) -> tuple[float, np.ndarray]:
        """(CPU seconds a point, state of each point: -1 unknown, 0 free, 1 occupied)."""
        points.astype(np.float32).tofile(folder / "points")
        seconds = self._run("search", tree, folder / "points", folder / "states")["seconds"]
        return seconds / len(points), np.fromfile(folder / "states", dtype=np.int8)

    def cast(self, tree: Path, rays: np.ndarray, max_range: float, folder: Path) -> tuple[float, np.ndarray]:
        """(CPU seconds a ray, centre of the first occupied voxel or NaN) of (n, 6) origins and directions."""
        rays.astype(np.float32).tofile(folder / "rays")
        seconds = self._run("cast", tree, folder / "rays", max_range, folder / "ends")["seconds"]
        return seconds / len(rays), np.fromfile(folder / "ends", dtype=np.float32).reshape(-1, 3)

    def files(self, tree: Path, folder: Path) -> Any:
        """CPU seconds `read_ot`, `write_ot`, `write_bt` and `read_bt`; `bytes` of the tree in RAM."""
        return self._run("files", tree, folder / "again")

    def _run(self, *arguments: object) -> Any:
        command = [str(self._program), *map(str, arguments)]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        return json.loads(done.stdout.splitlines()[-1])
