"""Speed of the renderer and of the sensor noise, by part, and against Open3D's ray caster.

    python benchmarks/rendering.py [--poses N] [--json FILE]

Free poses in three houses of six rooms; ours and the peer take turns on every pose, each with one thread. Times are
CPU seconds, so that a busy machine does not count. Ours gives depth, semantic, instance and shaded colour; the peer
gives depth, semantic and instance only, since Open3D casts rays but draws no colour without a GPU or a window.
"""

from __future__ import annotations

import argparse
import json
import time
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table

from embmem.errors import MissingExtraError, import_extra
from embmem.geometry import camera_pose
from embmem.observation import Intrinsics
from embmem.sim_envs.house import House, Mesh, build_mesh, make_house
from embmem.sim_envs.noise import CameraNoise, Detector
from embmem.sim_envs.render import Renderer, cull, raster, resolve
from embmem.sim_envs.render.patterns import FEATURE, PATTERNS, textures
from embmem.sim_envs.render.scene import make_camera

HOUSES = (21, 22, 23)
SIZES = ((256, 256), (640, 480))
GOALS = {(256, 256): 500.0}  # frames per second
CAMERA, DETECTOR = CameraNoise(), Detector()
Times = dict[str, list[float]]  # CPU seconds of every frame, by part


def free_poses(house: House, n: int) -> list[np.ndarray]:
    """Robot's views: 0.88 m high, 0.2 m away from everything, looking anywhere and slightly down."""
    rng = np.random.default_rng(house.seed)
    x0, y0, x1, y1 = house.bounds()
    low, high = house.obstacles()[:, :2] - 0.2, house.obstacles()[:, 2:] + 0.2
    poses: list[np.ndarray] = []
    while len(poses) < n:
        p = rng.uniform((x0, y0), (x1, y1))
        if house.room_at(p[0], p[1]) and not np.any(np.all((p > low) & (p < high), axis=1)):
            yaw, pitch = rng.uniform(-np.pi, np.pi), rng.uniform(-0.5, 0.0)
            poses.append(camera_pose(np.array([p[0], p[1], 0.88]), yaw, pitch))
    return poses


def make_renderer(house: House, mesh: Mesh) -> Renderer:
    """The renderer of a house, culling by its rooms and doors."""
    rooms = np.array([(r.x0, r.y0, r.x1, r.y1) for r in house.rooms])
    doors = np.array([(d.x0, d.y0, d.x1, d.y1, d.room_a, d.room_b) for d in house.doors], dtype=np.float64)
    return Renderer(mesh, rooms, doors)


def open3d_caster(mesh: Mesh) -> Callable[[np.ndarray, Intrinsics], tuple[np.ndarray, ...]] | None:
    """A function that gives depth, semantic and instance with Open3D; None if it is not installed."""
    try:
        o3d = import_extra("open3d", "recon")
    except MissingExtraError:
        return None
    scene = o3d.t.geometry.RaycastingScene(nthreads=1)
    scene.add_triangles(o3d.core.Tensor(mesh.vertices), o3d.core.Tensor(mesh.triangles.astype(np.uint32)))
    semantic, instance = np.append(mesh.semantic, 0), np.append(mesh.instance, 0)

    def cast(T: np.ndarray, k: Intrinsics) -> tuple[np.ndarray, ...]:
        v, u = np.mgrid[: k.height, : k.width].astype(np.float32)
        rays = np.empty((k.height, k.width, 6), dtype=np.float32)
        rays[..., :3] = T[:3, 3]
        camera = np.stack([(u - k.cx) / k.fx, (v - k.cy) / k.fy, np.ones_like(u)], axis=-1, dtype=np.float32)
        rays[..., 3:] = camera @ T[:3, :3].T.astype(np.float32)
        hits = scene.cast_rays(o3d.core.Tensor(rays))
        triangle = np.minimum(hits["primitive_ids"].numpy(), len(semantic) - 1)
        return hits["t_hit"].numpy(), semantic[triangle], instance[triangle]

    return cast


def timed(times: Times, part: str, call: Callable[..., Any], *arguments: Any) -> Any:
    """The result of a call, its CPU seconds noted under `part`."""
    begin = time.process_time()
    result = call(*arguments)
    times[part].append(time.process_time() - begin)
    return result


def time_parts(times: Times, renderer: Renderer, T: np.ndarray, k: Intrinsics) -> None:
    """Note the time of each step of a frame and of the noise on it."""
    scene, camera, shape = renderer._scene, make_camera(T, k), (k.height, k.width)
    inverse, depth = np.empty(shape, dtype=np.float32), np.empty(shape, dtype=np.float32)
    ids, semantic, instance = (np.empty(shape, dtype=np.int32) for _ in range(3))
    table, rgb = textures().reshape(len(PATTERNS), -1), np.empty((shape[0], 3 * shape[1]), dtype=np.uint8)
    rng = np.random.default_rng(0)
    parts = timed(times, "cull", cull.visible_parts, scene, renderer._portals, camera)
    timed(times, "raster", raster.rasterise, scene, parts, camera, inverse, ids)
    timed(times, "resolve ids", resolve.resolve_geometry, scene, inverse, ids, depth, semantic, instance)
    timed(times, "resolve colour", resolve.resolve_colour, scene, camera, table, FEATURE, depth, ids, rgb)
    timed(times, "camera noise", CAMERA.apply, depth, rng)
    timed(times, "detector", DETECTOR.apply, semantic, instance, rng)


def measure(size: tuple[int, int], n_poses: int) -> Times:
    """Times of `n_poses` poses in every house."""
    k = Intrinsics.from_fov(*size, 79.0)
    times: Times = defaultdict(list)
    for seed in HOUSES:
        house = make_house(seed)
        mesh = build_mesh(house)
        renderer, peer = make_renderer(house, mesh), open3d_caster(mesh)
        poses = free_poses(house, n_poses)
        time_parts(defaultdict(list), renderer, poses[0], k)  # compiles and warms up
        renderer.render(poses[0], k)
        for T in poses:
            timed(times, "frame", renderer.render, T, k)
            time_parts(times, renderer, T, k)
            if peer is not None:
                timed(times, "Open3D", peer, T, k)
    return times


def row(size: tuple[int, int], times: Times) -> dict[str, Any]:
    """The result of one image size, in frames per CPU second."""
    ours = 1.0 / float(np.mean(times["frame"]))
    peer = 1.0 / float(np.mean(times["Open3D"])) if "Open3D" in times else None
    goal = GOALS.get(size)
    return {
        "name": f"{size[0]}x{size[1]} depth + semantic + instance + colour [frames/s of one core]",
        "ours": ours,
        "peer": peer,
        "peer_name": "Open3D RaycastingScene, without colour" if peer else "Open3D is not installed",
        "ratio": ours / peer if peer else None,
        "goal": f">= {goal:.0f}" if goal else "none set",
        "met": ours >= goal if goal else True,
    }


def main() -> None:
    """Print the tables and write the rows."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--poses", type=int, default=60, help="per house")
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    console, rows = Console(), []
    for size in SIZES:
        times = measure(size, arguments.poses)
        table = Table(title=f"{size[0]}x{size[1]}, {len(times['frame'])} poses in {len(HOUSES)} houses")
        for heading in ("part", "mean CPU ms", "median", "99 %"):
            table.add_column(heading, justify="left" if heading == "part" else "right")
        for part, seconds in times.items():
            figures = (np.mean(seconds), np.median(seconds), np.percentile(seconds, 99))
            table.add_row(part, *(f"{1e3 * figure:.3f}" for figure in figures))
        console.print(table)
        rows.append(row(size, times))
        ratio = f"{rows[-1]['ratio']:.1f} x {rows[-1]['peer_name']}" if rows[-1]["ratio"] else rows[-1]["peer_name"]
        console.print(f"{rows[-1]['ours']:.0f} frames/s of one core (goal: {rows[-1]['goal']}); {ratio}")
    if arguments.json:
        arguments.json.write_text(json.dumps(rows, indent=1), encoding="utf-8")


if __name__ == "__main__":
    main()
