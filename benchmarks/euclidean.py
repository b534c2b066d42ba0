"""The Euclidean field beside a growing voxel map: kept frame by frame, computed anew, and with scipy.

    python benchmarks/euclidean.py [--frames N] [--json FILE]

A tour of a house of six rooms with a noisy depth camera of 320x240, voxels of 5 cm. Times are CPU milliseconds of one
thread. scipy transforms the box of the occupied voxels, widened by the reach, both ways; all three give the same
distances, which is checked at every voxel centre of a sample.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table
from scipy.ndimage import distance_transform_edt

from embmem.agent import Body
from embmem.maps import VoxelMap
from embmem.maps.voxels.euclidean import EuclideanField
from embmem.observation import Intrinsics, Observation
from embmem.sim_envs.house import make_house
from embmem.sim_envs.noise import CameraNoise
from embmem.sim_envs.tasks.tours import guided_tour, tour_stops
from embmem.sim_envs.world import World

SEED, RESOLUTION = 7, 0.05
REACHES = (1.0, 2.0)  # [m]
GOALS = {"computed anew": 5.0, "scipy": 50.0}  # times cheaper than


def tour(n: int) -> list[Observation]:
    """What a robot sees on its first n steps through a house."""
    house = make_house(SEED, 6)
    body = Body(radius=0.18, height=0.88, forward=0.25, turn=30.0, look=30.0)
    camera, rng = Intrinsics.from_fov(320, 240, 79.0), np.random.default_rng(SEED)
    world = World(house, intrinsics=camera, body=body, noise=CameraNoise(), rng=rng)
    stops = tour_stops(world, house)
    world.place(stops[0], 0.0)
    seen = []
    for action in guided_tour(world, stops, n):
        seen.append(world.observe())
        world.apply(action)
    return seen


def milliseconds(call: Callable[..., Any], *args: Any) -> tuple[Any, float]:
    """What the call gives, and its CPU time."""
    start = time.process_time()
    result = call(*args)
    return result, 1e3 * (time.process_time() - start)


def with_scipy(voxels: VoxelMap, reach: float) -> tuple[np.ndarray, np.ndarray, float]:
    """(corner of the box in voxels, distances [m], CPU ms)."""
    occupied = np.floor(voxels.occupied() / voxels.resolution).astype(np.int64)
    margin = int(np.ceil(reach / voxels.resolution))
    low, high = occupied.min(axis=0) - margin, occupied.max(axis=0) + margin
    solid = np.zeros(high - low + 1, dtype=np.bool_)
    solid[tuple((occupied - low).T)] = True
    outside, first = milliseconds(distance_transform_edt, ~solid)
    inside, second = milliseconds(distance_transform_edt, solid)
    return low, np.clip((outside - inside) * voxels.resolution, -reach, reach), first + second


def measure(frames: list[Observation], reach: float) -> tuple[dict[str, np.ndarray], bool, float]:
    """(CPU ms by part, whether all ways agree, blocks computed a frame)."""
    for _ in range(2):  # the first pass compiles
        voxels = VoxelMap(RESOLUTION)
        field, times, n_blocks = EuclideanField(voxels, reach), [], 0
        for frame in frames:
            _, insert = milliseconds(voxels.observe, frame)
            n, update = milliseconds(field.update)
            times.append((insert, update))
            n_blocks += n
    anew = EuclideanField(voxels, reach)
    _, whole = milliseconds(anew.update)
    low, distances, scipy = with_scipy(voxels, reach)
    sample = np.random.default_rng(0).integers(0, distances.shape, (200_000, 3))
    centres = (sample + low + 0.5) * RESOLUTION
    ours = field.distance(centres)
    is_equal = ours.tobytes() == anew.distance(centres).tobytes()
    is_equal &= bool(np.allclose(ours, distances[tuple(sample.T)], rtol=0.0, atol=1e-9))
    parts = {
        "a frame into the map": np.array(times)[:, 0],
        "the field after a frame": np.array(times)[:, 1],
        f"computed anew ({field.voxels.blocks.n} blocks)": np.array([whole]),
        f"scipy ({' x '.join(map(str, distances.shape))})": np.array([scipy]),
    }
    return parts, is_equal, n_blocks / len(frames)


def rows(reach: float, parts: dict[str, np.ndarray], *, is_equal: bool) -> list[dict[str, Any]]:
    """The results of one reach."""
    _, ours, *peers = (float(np.mean(times)) for times in parts.values())
    results: list[dict[str, Any]] = [
        {
            "name": f"field within {reach:g} m after a frame [CPU ms]",
            "ours": ours,
            "peer": peer,
            "peer_name": name,
            "ratio": peer / ours,
            "goal": f">= {goal:g} x",
            "met": peer / ours >= goal,
        }
        for (name, goal), peer in zip(GOALS.items(), peers, strict=True)
    ]
    name = f"field within {reach:g} m equals itself anew and scipy"
    share = {"name": name, "ours": float(is_equal), "peer": None, "peer_name": "", "ratio": None}
    return [*results, share | {"goal": "1", "met": is_equal}]


def main() -> None:
    """Print the tables and write the rows."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--frames", type=int, default=200)
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    console, frames, results = Console(), tour(arguments.frames), []
    for reach in REACHES:
        parts, is_equal, n_blocks = measure(frames, reach)
        table = Table(
            title=f"distances within {reach:g} m, {len(frames)} frames, {n_blocks:.0f} blocks computed a frame"
        )
        for heading in ("part", "mean CPU ms", "median", "99 %"):
            table.add_column(heading, justify="left" if heading == "part" else "right")
        for part, times in parts.items():
            figures = (np.mean(times), np.median(times), np.percentile(times, 99))
            table.add_row(part, *(f"{figure:.2f}" for figure in figures))
        console.print(table)
        results += rows(reach, parts, is_equal=is_equal)
        for row in results[-3:]:
            ratio = "" if row["ratio"] is None else f"{row['ratio']:.1f} x {row['peer_name']}, "
            console.print(f"{row['name']}: {ratio}goal {row['goal']}: {'met' if row['met'] else 'missed'}")
    if arguments.json:
        arguments.json.write_text(json.dumps(results, indent=1), encoding="utf-8")


if __name__ == "__main__":
    main()
