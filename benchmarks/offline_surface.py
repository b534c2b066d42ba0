"""How well a map built on every second frame fits what the other half of the frames saw, beside Open3D's TSDF.

The reference is the depth of the held-out frames at the recorded poses, thinned to a centimetre: neither system has
seen it. A surface is precise where it lies near the reference, complete where the reference lies near it. Ours are the
centres of the occupied voxels, theirs points sampled densely on the mesh.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from time import process_time
from typing import Any

import numpy as np
from scipy.spatial import cKDTree

from embmem.geometry import backproject, transform_points
from embmem.maps import VoxelMap
from embmem.maps.pose_graph.clouds import thinned
from embmem.observation import Observation
from embmem.recordings.opening import read_recording

MAX_RANGE = 4.0  # [m] of both systems and the reference


@dataclass(frozen=True)
class Quality:
    """Shares within a distance, and what it took."""

    precision: float
    completeness: float
    seconds: float
    n_points: int

    @property
    def f_score(self) -> float:
        """Harmonic mean of precision and completeness."""
        total = self.precision + self.completeness
        return 2.0 * self.precision * self.completeness / total if total else 0.0


def halves(recording: Path, *, every: int) -> tuple[list[Observation], list[Observation]]:
    """(frames to build on, frames to judge by), alternating."""
    frames = list(read_recording(recording, {}, frame="level", rgb=False, every=every))
    return frames[::2], frames[1::2]


def reference(frames: Sequence[Observation]) -> np.ndarray:
    """(n, 3) what these frames saw, one point a cubic centimetre."""
    parts = []
    for frame in frames:
        points = backproject(np.asarray(frame.depth, dtype=np.float32), frame.intrinsics).reshape(-1, 3)
        with np.errstate(invalid="ignore"):
            near = points[points[:, 2] <= MAX_RANGE].astype(np.float64)
        parts.append(thinned(transform_points(frame.T_map_camera, near), 0.01))
    return thinned(np.concatenate(parts), 0.01)


def ours(frames: Sequence[Observation], voxel: float, integrator: str) -> tuple[np.ndarray, float]:
    """(centres of the occupied voxels, CPU seconds)."""
    voxels = VoxelMap(resolution=voxel, max_range=MAX_RANGE, integrator=integrator)
    started = process_time()
    for frame in frames:
        voxels.observe(frame)
    return voxels.occupied(), process_time() - started


def tsdf(frames: Sequence[Observation], voxel: float, *, least: float) -> tuple[np.ndarray, float]:
    """(points on the mesh of Open3D's VoxelBlockGrid, CPU seconds); `least` frames must have seen a voxel.

    Truncated at 2 voxels, the best of 2, 4 and 8. Its older ScalableTSDFVolume gives no points in the wheels of 0.20.
    """
    started = process_time()
    grid = integrated(frames, voxel, truncation=2.0, max_range=MAX_RANGE)
    seconds = process_time() - started
    mesh = grid.extract_triangle_mesh(least).to_legacy()
    if not len(mesh.triangles):
        return np.zeros((0, 3)), seconds
    n_points = max(int(mesh.get_surface_area() / 0.01**2), 1)
    return np.asarray(mesh.sample_points_uniformly(n_points).points), seconds


def integrated(frames: Sequence[Observation], voxel: float, *, truncation: float, max_range: float) -> Any:
    """Open3D's TSDF of the frames; `truncation` in voxels."""
    import open3d

    o3d: Any = open3d  # its stubs lack what its tensors take
    core, cpu = o3d.core, o3d.core.Device("CPU:0")
    grid = o3d.t.geometry.VoxelBlockGrid(
        ("tsdf", "weight"), (core.float32, core.float32), ((1,), (1,)), voxel, 16, 10_000, cpu
    )
    k = frames[0].intrinsics
    camera = core.Tensor(np.array([[k.fx, 0.0, k.cx], [0.0, k.fy, k.cy], [0.0, 0.0, 1.0]]))
    for frame in frames:
        depth = o3d.t.geometry.Image(core.Tensor(np.nan_to_num(np.asarray(frame.depth)).astype(np.float32)))
        T_camera_map = core.Tensor(np.ascontiguousarray(np.linalg.inv(frame.T_map_camera)))
        blocks = grid.compute_unique_block_coordinates(depth, camera, T_camera_map, 1.0, max_range, truncation)
        grid.integrate(blocks, depth, camera, T_camera_map, 1.0, max_range, truncation)
    return grid


def judged(made: tuple[np.ndarray, float], truth: np.ndarray, tree: cKDTree, within: float) -> Quality:
    """The quality of a surface."""
    points, seconds = made
    if not len(points):
        return Quality(0.0, 0.0, seconds, 0)
    off = tree.query(points, distance_upper_bound=within)[0]
    missing = cKDTree(points).query(truth, distance_upper_bound=within)[0]
    return Quality(float(np.isfinite(off).mean()), float(np.isfinite(missing).mean()), seconds, len(points))


def compare(recording: Path, *, every: int, voxel: float) -> dict[str, Quality]:
    """Each system's quality within one voxel, at the same voxel size."""
    built_on, held_out = halves(recording, every=every)
    truth = reference(held_out)
    tree = cKDTree(truth)
    systems: dict[str, Callable[[], tuple[np.ndarray, float]]] = {
        "ours": lambda: ours(built_on, voxel, "projective"),
        "ours, every ray": lambda: ours(built_on, voxel, "rays"),
        "Open3D TSDF": lambda: tsdf(built_on, voxel, least=1.0),
        "Open3D TSDF, 3 views": lambda: tsdf(built_on, voxel, least=3.0),
    }
    result: dict[str, Any] = {name: judged(make(), truth, tree, voxel) for name, make in systems.items()}
    return result
