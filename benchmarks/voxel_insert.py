"""Insertion of frames: time beside OctoMap and pyoctomap, and how far the maps agree."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from octomap_peer import OctoMapDriver
from voxel_inputs import Frame, write_frames
from voxel_rows import Call, Row, figure, frame_times, overlap, race, spread

from embmem.errors import MissingExtraError, import_extra
from embmem.maps import VoxelMap
from embmem.maps.voxels.formats.octomap_files import read_octomap

# ms a frame of peers that are on no package index, measured once beside OctoMap on the same input and machine
MEASURED_ONCE = {
    0.05: {"OctoMap": 19.8, "Bonxai": 3.9, "wavemap": 4.7},
    0.025: {"OctoMap": 343.0, "Bonxai": 18.9, "wavemap": 15.5},
}
METHODS = (  # title, integrator, whether points are given, not the depth image
    ("one ray per end voxel, points", "ends", True),
    ("one ray per end voxel, depth image", "ends", False),
    ("projective", "projective", False),
)


@dataclass(frozen=True)
class Input:
    """Frames and how they are mapped; `goals` are of a peer's time over ours, by peer."""

    name: str
    frames: Sequence[Frame]
    resolution: float
    max_range: float
    passes: int


def insert_rows(given: Input, driver: OctoMapDriver | None, folder: Path, *, goals: dict[str, float]) -> list[Row]:
    """The `METHODS` that the input allows, beside OctoMap's discretised insert.

    Args:
        given: the input.
        driver: OctoMap C++, None if it cannot be built.
        folder: for files that pass between the programs.
        goals: by peer, of its time over ours.
    """
    rows, theirs = [], None
    peers: dict[str, np.ndarray] = {}
    if driver is not None:
        peers["OctoMap, discretised"], theirs = octomap_times(given, driver, folder, discretize=True)
    if "pyoctomap" in goals:
        peers |= pyoctomap_times(given)
    for title, integrator, from_points in METHODS:
        if given.frames[0].observation.depth is None and not from_points:
            continue
        feeds = calls(given, integrator, from_points=from_points)
        ms, wall, voxels = frame_times(partial(make_map, given, integrator), feeds, given.passes)
        name = f"insert, {given.name}, {title} [CPU ms a frame]"
        detail = spread("ours", ms) | spread("wall", wall) | voxels.stats()
        for peer, times in (peers | derived_times(given, peers, goals)).items():
            at_least = next((goal for known, goal in goals.items() if peer.startswith(known)), None)
            more = detail | spread("peer", times)
            rows.append(race(name, median(ms), median(times), peer, at_least=at_least, detail=more))
        if not peers:
            rows.append(figure(name, median(ms)))
        if theirs is not None:
            occupied, known = overlap(voxels, theirs)
            rows.append(figure(f"occupied IoU with OctoMap, {given.name}, {title}", occupied, at_least=0.995))
            rows.append(figure(f"known IoU with OctoMap, {given.name}, {title}", known))
    return rows


def every_ray_rows(given: Input, driver: OctoMapDriver | None, folder: Path) -> list[Row]:
    """Every ray, beside OctoMap's insert of every ray."""
    ms, wall, voxels = frame_times(
        partial(make_map, given, "rays"), calls(given, "rays", from_points=True), given.passes
    )
    name = f"insert, {given.name}, every ray [CPU ms a frame]"
    if driver is None:
        return [figure(name, median(ms))]
    times, theirs = octomap_times(given, driver, folder, discretize=False)
    detail = spread("ours", ms) | spread("wall", wall) | spread("peer", times) | voxels.stats()
    occupied, known = overlap(voxels, theirs)
    return [
        race(name, median(ms), median(times), "OctoMap, every ray", at_least=5.0, detail=detail),
        figure(f"occupied IoU with OctoMap, {given.name}, every ray", occupied, at_least=0.999),
        figure(f"known IoU with OctoMap, {given.name}, every ray", known),
    ]


def median(ms: np.ndarray) -> float:
    return float(np.median(ms))


def make_map(given: Input, integrator: str, *, threads: int = 1) -> VoxelMap:
    return VoxelMap(given.resolution, max_range=given.max_range, integrator=integrator, threads=threads)


def calls(given: Input, integrator: str, *, from_points: bool) -> list[Callable[[], Call]]:
    """What inserts each frame, as points in the map or as a depth image, which is then taken to the map in the call."""

    def ready(frame: Frame) -> Call:
        if not from_points:
            return partial(VoxelMap.observe, observation=frame.observation)
        points, origin = frame.points.astype(np.float64), frame.origin.astype(np.float64)
        return partial(VoxelMap.integrate, points=points, origin=origin, every_ray=integrator == "rays")

    return [partial(ready, frame) for frame in given.frames]


def octomap_times(
    given: Input, driver: OctoMapDriver, folder: Path, *, discretize: bool
) -> tuple[np.ndarray, VoxelMap]:
    """(CPU ms of every frame, the least of the passes, and the map)."""
    frames, out = folder / "frames.bin", folder / "theirs.ot"
    write_frames(frames, given.frames)
    arguments = (frames, given.resolution, given.max_range)
    runs = [driver.insert(*arguments, discretize=discretize, out=out)["seconds"] for _ in range(given.passes)]
    return 1e3 * np.min(runs, axis=0), read_octomap(out, max_range=given.max_range)


def pyoctomap_times(given: Input) -> dict[str, np.ndarray]:
    """CPU ms of every frame with pyoctomap, if it is installed."""
    try:
        pyoctomap: Any = import_extra("pyoctomap", "dev")
    except MissingExtraError:
        return {}
    tree, times = pyoctomap.OcTree(given.resolution), []
    for frame in given.frames:
        points, origin = frame.points.astype(np.float64), frame.origin.astype(np.float64)
        start = time.process_time()
        tree.insertPointCloud(points, origin, given.max_range, False, True)
        times.append(1e3 * (time.process_time() - start))
    return {"pyoctomap, discretised": np.array(times)}


def derived_times(given: Input, peers: dict[str, np.ndarray], goals: dict[str, float]) -> dict[str, np.ndarray]:
    """What peers that cannot be raced would take: OctoMap's time here times their ratio where both were measured."""
    octomap, once = peers.get("OctoMap, discretised"), MEASURED_ONCE.get(given.resolution, {})
    if octomap is None:
        return {}
    names = [name for name in goals if name in once and name != "OctoMap"]
    return {f"{name}, derived, not raced": octomap * once[name] / once["OctoMap"] for name in names}
