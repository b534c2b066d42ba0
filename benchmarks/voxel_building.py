"""A building of 15 homes: growth, bytes, queries and files beside OctoMap, and a hundred million voxels."""

from __future__ import annotations

import gc
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from octomap_peer import OctoMapDriver
from voxel_inputs import building_frames
from voxel_rows import Row, figure, race, spread, voxel_ids

from embmem.maps import VoxelMap
from embmem.maps.voxels.blocks import SIDE, UNKNOWN, BlockPool, pack, unpack
from embmem.maps.voxels.formats.files import open_voxels, read_voxels, write_voxels
from embmem.maps.voxels.formats.octomap_files import write_octomap

RESOLUTION = 0.05
MAX_RANGE = 5.0
KNOWN = 18_000_000  # voxels of the part of the building that is saved and queried
RAY_LENGTH = 10.0  # [m]
REPEATS = 5


def grow(n_frames: int, passes: int) -> tuple[VoxelMap, list[Row]]:
    """The map of the building, and whether the last frames cost more than the first."""
    VoxelMap(RESOLUTION, max_range=MAX_RANGE).observe(next(building_frames(n_frames)))  # compiles
    cpu = np.full(n_frames, np.inf)
    for _ in range(passes):
        voxels = VoxelMap(RESOLUTION, max_range=MAX_RANGE)
        for i, observation in enumerate(building_frames(n_frames)):
            start = time.process_time()
            voxels.observe(observation)
            cpu[i] = min(cpu[i], 1e3 * (time.process_time() - start))
    tenth = n_frames // 10
    ratio = float(np.median(cpu[-tenth:]) / np.median(cpu[:tenth]))
    detail = spread("ours", cpu) | voxels.stats()
    name = f"median of the last {tenth} over that of the first {tenth} of {n_frames} frames, equal views"
    growth = Row(name, ratio, goal="<= 1.1", met=bool(ratio <= 1.1), detail=detail)
    worst = float(cpu.max() / np.median(cpu))
    mean = float(cpu[-tenth:].mean() / cpu[:tenth].mean())
    return voxels, [
        growth,
        figure("the same of the means", mean, at_most=1.1),
        figure("worst frame over the median of all", worst, at_most=3.0),
    ]


def n_known(voxels: VoxelMap) -> int:
    return int(np.count_nonzero(voxels.blocks.cells[: voxels.blocks.n] != UNKNOWN))


def first_part(voxels: VoxelMap, known: int) -> VoxelMap:
    """The blocks that came first, with so many known voxels or all there are."""
    pool = voxels.blocks
    counts = np.count_nonzero(pool.cells[: pool.n] != UNKNOWN, axis=1)
    n = min(int(np.searchsorted(np.cumsum(counts), known)) + 1, pool.n)
    part = VoxelMap(RESOLUTION, max_range=MAX_RANGE)
    part.blocks = BlockPool.from_rows(pool.keys[:n].copy(), pool.cells[:n].copy(), pool.stamps[:n].copy())
    return part


def size_rows(voxels: VoxelMap, theirs: dict[str, float] | None) -> list[Row]:
    """Bytes of the map in RAM per known voxel; `theirs` is what OctoMap needs for the same map.

    The scratch memory of insertion, of one size whatever the map, is left out.
    """
    known = n_known(voxels)
    ours = voxels.blocks.n_bytes() / known
    name = f"bytes per known voxel, {known / 1e6:.1f} M known"
    peer = theirs["bytes"] / known if theirs else None
    peer_name = "OctoMap, heap in use" if theirs else ""
    return [Row(name, ours, peer, peer_name, peer / ours if peer else None, goal="<= 2", met=bool(ours <= 2.0))]


def resident() -> float:
    """Bytes of RAM that this process holds, NaN where the system does not say."""
    status = Path("/proc/self/statm")
    return int(status.read_text().split()[1]) * 4096.0 if status.is_file() else float("nan")


def hundred_million_rows(voxels: VoxelMap, at_least: int) -> list[Row]:
    """RAM of as many copies of the building, side by side, as make `at_least` known voxels."""
    pool, known = voxels.blocks, n_known(voxels)
    n_copies = -(-at_least // known)
    blocks = unpack(pool.keys[: pool.n])
    pitch = int(np.ptp(blocks[:, 0])) + 1
    gc.collect()
    before = resident()
    many = BlockPool()
    many.reserve(n_copies * pool.n)
    for i in range(n_copies):
        rows = slice(i * pool.n, (i + 1) * pool.n)
        many.cells[rows] = pool.cells[: pool.n]
        many.stamps[rows] = pool.stamps[: pool.n]
        many.keys[rows] = pack(blocks[:, 0] + i * pitch, blocks[:, 1], blocks[:, 2])
    keys, cells, stamps = (a[: n_copies * pool.n] for a in (many.keys, many.cells, many.stamps))
    large = VoxelMap(RESOLUTION, max_range=MAX_RANGE)
    large.blocks = BlockPool.from_rows(keys, cells, stamps)
    del many, keys, cells, stamps
    gc.collect()
    held = max(resident() - before, float(large.blocks.n_bytes()))  # pages that were free already are not seen
    name = f"GiB of RAM for {n_copies * known / 1e6:.0f} M known voxels"
    return [figure(name, held / 2**30, at_most=2.0)]


def box_of(voxels: VoxelMap) -> tuple[np.ndarray, np.ndarray]:
    """Low and high corner [m] of the blocks."""
    blocks = unpack(voxels.blocks.keys[: voxels.blocks.n])
    edge = SIDE * voxels.resolution
    return blocks.min(axis=0) * edge, (blocks.max(axis=0) + 1) * edge


def query_rows(voxels: VoxelMap, driver: OctoMapDriver | None, tree: Path, n: int) -> list[Row]:
    """Log-odds at points and first occupied voxels along rays, beside OctoMap on the same map, in the same order."""
    rng, (low, high) = np.random.default_rng(1), box_of(voxels)
    free = voxels.free()
    scattered = rng.uniform(low, high, (n, 3))
    seen = free[rng.integers(0, len(free) - 1000, n // 1000)[:, None] + np.arange(1000)].reshape(-1, 3)
    origins = free[rng.integers(0, len(free), n // 10)] + rng.uniform(-0.02, 0.02, (n // 10, 3))
    rows = []
    for name, points in (("all over the box", scattered), ("a thousand neighbours at a time", seen)):
        rows += point_rows(voxels, driver, tree, name, points.astype(np.float32))
    directions = rng.normal(size=(n // 10, 3))
    for name, starts in (("all over the map", origins), ("scans of 1,000 rays", origins[::1000].repeat(1000, axis=0))):
        rays = np.concatenate([starts, directions[: len(starts)]], axis=1).astype(np.float32)
        rows += ray_rows(voxels, driver, tree, name, rays)
    return rows


def point_rows(voxels: VoxelMap, driver: OctoMapDriver | None, tree: Path, name: str, points: np.ndarray) -> list[Row]:
    """Log-odds at the float32 points."""
    given = points.astype(np.float64)
    odds, seconds = timed(lambda: voxels.log_odds(given))
    title, ns = f"{len(points):,} point queries, {name} [CPU ns each]", 1e9 * seconds / len(points)
    if driver is None:
        return [figure(title, ns)]
    theirs, states = driver.search(tree, points, tree.parent)
    same = np.where(np.isnan(odds), -1, odds > 0) == states
    return [
        race(title, ns, 1e9 * theirs, "OctoMap search", at_least=20.0),
        figure(f"share of points with OctoMap's state, {name}", float(same.mean()), at_least=0.9999),
    ]


def ray_rows(voxels: VoxelMap, driver: OctoMapDriver | None, tree: Path, name: str, rays: np.ndarray) -> list[Row]:
    """The first occupied voxel along float32 rays (n, 6)."""
    origins, directions = np.ascontiguousarray(rays[:, :3], np.float64), np.ascontiguousarray(rays[:, 3:], np.float64)
    distances, seconds = timed(lambda: voxels.cast(origins, directions, RAY_LENGTH))
    title, us = f"{len(rays):,} ray casts, {name} [CPU us each]", 1e6 * seconds / len(rays)
    if driver is None:
        return [figure(title, us)]
    theirs, ends = driver.cast(tree, rays, RAY_LENGTH, tree.parent)
    units = directions / np.linalg.norm(directions, axis=1, keepdims=True)
    is_hit = np.isfinite(distances) & np.isfinite(ends[:, 0])
    met = origins[is_hit] + (distances[is_hit, None] + 1e-6) * units[is_hit]
    is_same_end = voxel_ids(met, RESOLUTION) == voxel_ids(ends[is_hit].astype(np.float64), RESOLUTION)
    n_same = np.count_nonzero(is_same_end) + np.count_nonzero(np.isinf(distances) & np.isnan(ends[:, 0]))
    return [
        race(title, us, 1e6 * theirs, "OctoMap castRay", at_least=30.0),
        figure(f"share of rays that end in OctoMap's voxel, {name}", n_same / len(rays), at_least=0.999),
    ]


def timed(call: Callable[[], np.ndarray]) -> tuple[np.ndarray, float]:
    """(result, least CPU seconds of some repeats)."""
    result, best = call(), np.inf
    for _ in range(REPEATS):
        start = time.process_time()
        result = call()
        best = min(best, time.process_time() - start)
    return result, best


def file_rows(voxels: VoxelMap, theirs: dict[str, float] | None, folder: Path) -> list[Row]:
    """Saving and opening, beside OctoMap's files of log-odds (.ot) of the same map."""
    path = folder / "map.voxels"

    def save() -> None:
        write_voxels(path, voxels, overwrite=True)

    rng, (low, high) = np.random.default_rng(2), box_of(voxels)
    points, rows = rng.uniform(low, high, (100_000, 3)), []
    for name, call, key in (
        ("save", save, "write_ot"),
        ("open, mapped", lambda: open_voxels(path), "read_ot"),
        ("open, read and checked in full", lambda: read_voxels(path), "read_ot"),
    ):
        cpu, wall = clocked(call)
        title = f"{name}, {n_known(voxels) / 1e6:.1f} M known voxels"
        if theirs:
            rows.append(race(f"{title} [CPU ms]", 1e3 * cpu, 1e3 * theirs[key], "OctoMap .ot", at_least=50.0))
        rows.append(figure(f"{title} [ms on the clock]", 1e3 * wall, at_most=50.0))
    opened = open_voxels(path)
    equal = np.array_equal(opened.log_odds(points), voxels.log_odds(points), equal_nan=True)
    return [*rows, figure("share of opened maps that answer as the saved one", float(equal), at_least=1.0)]


def clocked(call: Callable[[], object]) -> tuple[float, float]:
    """(CPU, clock) seconds, the least of some repeats."""
    cpu, wall = np.inf, np.inf
    for _ in range(REPEATS):
        start = time.perf_counter(), time.process_time()
        call()
        cpu, wall = min(cpu, time.process_time() - start[1]), min(wall, time.perf_counter() - start[0])
    return cpu, wall


def building_rows(n_frames: int, passes: int, driver: OctoMapDriver | None, folder: Path, *, n_huge: int) -> list[Row]:
    """Everything about the building."""
    whole, rows = grow(n_frames, passes)
    voxels = first_part(whole, KNOWN)
    tree, theirs = folder / "building.ot", None
    if driver is not None:
        write_octomap(tree, voxels)
        runs = [driver.files(tree, folder) for _ in range(2)]
        theirs = {key: min(run[key] for run in runs) for key in runs[0]}
    rows += size_rows(voxels, theirs)
    rows += query_rows(voxels, driver, tree, 1_000_000)
    rows += file_rows(voxels, theirs, folder)
    return rows + (hundred_million_rows(voxels, n_huge) if n_huge else [])
