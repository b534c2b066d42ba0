"""Speed of the renderer and of the sensor noise, by part, against its peers; and whether the images agree.

    python benchmarks/rendering.py [--poses N] [--json FILE]

Free poses in three houses of six rooms; ours and the peer take turns on every pose, each with one thread. Times are
CPU seconds, so that a busy machine does not count. Ours gives depth, semantic, instance and shaded colour. Open3D casts
rays, but draws no colour without a GPU or a window; OpenGL on Mesa's llvmpipe (moderngl, `LP_NUM_THREADS=0`) gives all
four, without textures. Agreement is with Open3D, over the pixels whose whole neighbourhood shows one face.
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
from render_peers import faces, inner_pixels, open3d_caster, opengl
from rich.console import Console
from rich.table import Table

from embmem.geometry import camera_pose
from embmem.observation import Intrinsics
from embmem.sim_envs.house import House, Mesh, build_mesh, make_house
from embmem.sim_envs.noise import CameraNoise, Detector
from embmem.sim_envs.render import Frame, Renderer, cull, raster, resolve
from embmem.sim_envs.render.patterns import FEATURE, PATTERNS, textures
from embmem.sim_envs.render.scene import make_camera

HOUSES = (21, 22, 23)
SIZES = ((256, 256), (640, 480))
GOALS = {(256, 256): 1000.0}  # frames per second
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


class Agreement:
    """Counts of pixels away from edges, and of those where Open3D sees something else."""

    def __init__(self) -> None:
        self.pixels = self.far_off = self.other_label = self.other_instance = 0

    def add(self, frame: Frame, peer: tuple[np.ndarray, ...], face: np.ndarray) -> None:
        """Compare a frame; a pixel is far off if its depth is wrong by more than 1 cm."""
        depth, semantic, instance, triangle = peer
        inside = inner_pixels(face[triangle])
        self.pixels += int(np.count_nonzero(inside))
        self.far_off += int(np.count_nonzero(~(np.abs(frame.depth - depth) <= 0.01) & inside))
        self.other_label += int(np.count_nonzero((frame.semantic != semantic) & inside))
        self.other_instance += int(np.count_nonzero((frame.instance != instance) & inside))

    def rows(self, name: str) -> list[dict[str, Any]]:
        """A row for depth, one for labels."""
        both = 1.0 - np.array([self.other_label, self.other_instance]) / max(self.pixels, 1)
        rest = {"peer": None, "peer_name": f"Open3D, {self.pixels} pixels away from edges", "ratio": None}
        depth = {"name": f"{name} pixels off by more than 1 cm", "ours": self.far_off, **rest}
        labels = {"name": f"{name} semantics equal; instances {both[1]:.5f}", "ours": float(both[0]), **rest}
        return [
            depth | {"goal": "0", "met": self.far_off == 0 and self.pixels > 0},
            labels | {"goal": ">= 0.999", "met": bool(both.min() >= 0.999)},
        ]


def measure(size: tuple[int, int], n_poses: int) -> tuple[Times, Agreement | None]:
    """Times of `n_poses` poses in every house, and how far Open3D agrees; None without it."""
    k = Intrinsics.from_fov(*size, 79.0)
    times: Times = defaultdict(list)
    agreement = None
    for seed in HOUSES:
        house = make_house(seed)
        mesh = build_mesh(house)
        face = faces(mesh)
        renderer, caster, gl = make_renderer(house, mesh), open3d_caster(mesh), opengl(mesh, k)
        poses = free_poses(house, n_poses)
        time_parts(defaultdict(list), renderer, poses[0], k)  # compiles and warms up
        renderer.render(poses[0], k)
        if gl is not None:
            gl(poses[0], k)
        for T in poses:
            frame = timed(times, "frame", renderer.render, T, k)
            time_parts(times, renderer, T, k)
            if gl is not None:
                timed(times, "OpenGL", gl, T, k)
            if caster is not None:
                agreement = agreement or Agreement()
                agreement.add(frame, timed(times, "Open3D", caster, T, k), face)
    return times, agreement


def rows_of(size: tuple[int, int], times: Times, agreement: Agreement | None) -> list[dict[str, Any]]:
    """The results of one image size: frames per CPU second against each peer, and the agreement."""
    ours, goal = 1.0 / float(np.mean(times["frame"])), GOALS.get(size)
    rows = []
    peers = {"OpenGL": "OpenGL on llvmpipe, without textures", "Open3D": "Open3D RaycastingScene, without colour"}
    for part, peer_name in peers.items():
        peer = 1.0 / float(np.mean(times[part])) if part in times else None
        rows.append(
            {
                "name": f"{size[0]}x{size[1]} depth + semantic + instance + colour [frames/s of one core]",
                "ours": ours,
                "peer": peer,
                "peer_name": peer_name if peer else f"{part} can not run here: skipped",
                "ratio": ours / peer if peer else None,
                "goal": f">= {goal:.0f}" if goal else "none set",
                "met": bool(ours >= goal) if goal else True,
            }
        )
    return rows + (agreement.rows(f"{size[0]}x{size[1]}") if agreement else [])


def main() -> None:
    """Print the tables and write the rows."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--poses", type=int, default=60, help="per house")
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    console, rows = Console(), list[dict[str, Any]]()
    for size in SIZES:
        times, agreement = measure(size, arguments.poses)
        table = Table(title=f"{size[0]}x{size[1]}, {len(times['frame'])} poses in {len(HOUSES)} houses")
        for heading in ("part", "mean CPU ms", "median", "99 %"):
            table.add_column(heading, justify="left" if heading == "part" else "right")
        for part, seconds in times.items():
            figures = (np.mean(seconds), np.median(seconds), np.percentile(seconds, 99))
            table.add_row(part, *(f"{1e3 * figure:.3f}" for figure in figures))
        console.print(table)
        rows += rows_of(size, times, agreement)
    results = Table(title="results")
    for heading in ("what", "ours", "peer", "", "ratio", "goal", "met"):
        results.add_column(heading)
    for row in rows:
        ours = f"{row['ours']:.5g}"
        peer, ratio = (f"{row['peer']:.0f}", f"{row['ratio']:.1f} x") if row["peer"] else ("", "")
        met = "yes" if row["met"] else "NO"
        results.add_row(row["name"], ours, peer, row["peer_name"], ratio, row["goal"], met)
    console.print(results)
    if arguments.json:
        arguments.json.write_text(json.dumps(rows, indent=1), encoding="utf-8")


if __name__ == "__main__":
    main()
