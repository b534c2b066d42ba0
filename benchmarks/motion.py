"""What a voxel map keeps and forgets when a box is moved or hidden; how weights decay; what all of that costs.

    python benchmarks/motion.py [--rooms N] [--json FILE]

In each furnished room a robot looks at a box, the box is moved, and the robot looks again, at the old place and at the
new one in turn; every other frame looks anywhere. Both maps see the same frames, with and without removal. The query
is `Query(entity="cardboard box")` by the label votes of the voxels (true labels, no embeddings); its best answer must
lie within half a metre of the box. Intervals are 95 % bootstrap over rooms. Times are CPU seconds of one core, with
the map of a whole house of six rooms.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from moved_boxes import BOX, CAMERA, MovedBox, frame, hidden_looks, look, moved_box
from rich.console import Console
from rich.table import Table
from rows import row

from embmem.geometry import camera_pose
from embmem.maps import DecayLayers, Removal, VoxelMap
from embmem.maps.voxels.meaning.payload import Payload
from embmem.maps.voxels.motion import weights
from embmem.maps.voxels.motion.changes import locate
from embmem.maps.voxels.motion.crumbs import remove_crumbs
from embmem.maps.voxels.motion.flips import track_changes
from embmem.observation import Observation
from embmem.records import Query
from embmem.sim_envs.house import build_mesh, make_house
from embmem.sim_envs.metrics.statistics import Interval, bootstrap_mean
from embmem.sim_envs.render import Renderer

RESOLUTION = 0.05  # [m]
FRAMES = 24  # before and after the move
HIDDEN = 8  # frames in which the box is hidden
NEAR = 0.5  # [m] an answer is right within that of the box's middle
REMOVAL = Removal(z_max=2.5, margin=0.1)
SPANS = (("ours", "interval"), ("peer", "peer_interval"))
NO_GUARD = Removal(z_max=2.5, margin=1e6)  # as if what lies behind an occluder were seen


def around(scene: MovedBox, place: np.ndarray, centres: np.ndarray) -> np.ndarray:
    """The centres within a voxel of the box at a place, above the floor's voxels."""
    half = np.append(scene.size[:2] / 2.0 + RESOLUTION, -RESOLUTION)
    low, high = place - half, place + half + [0.0, 0.0, scene.size[2] + 2.0 * RESOLUTION]
    return centres[((centres > low) & (centres < high)).all(axis=1)]


def move_a_box(scene: MovedBox) -> dict[str, float]:
    """Share of stale voxels and whether the query finds the box, by removal."""
    maps = {
        name: VoxelMap(RESOLUTION, removal=removal, payload=Payload(("labels", "seen")))
        for name, removal in (("with", REMOVAL), ("without", None))
    }
    for observation in look(scene, scene.old, [scene.old], n=FRAMES, stamp=0.0):
        for voxels in maps.values():
            voxels.observe(observation)
    before = {name: len(around(scene, scene.old, voxels.occupied())) for name, voxels in maps.items()}
    for observation in look(scene, scene.new, [scene.old, scene.new], n=FRAMES, stamp=100.0):
        for voxels in maps.values():
            voxels.observe(observation)
    result, middle = {}, scene.new + np.array([0.0, 0.0, scene.size[2] / 2.0])
    for name, voxels in maps.items():
        stale = len(around(scene, scene.old, voxels.occupied()))
        found = [hit.position for hit in voxels.query(Query(entity=BOX, k=1)) if hit.position is not None]
        result[f"stale voxels {name}"] = float(stale)
        result[f"stale {name}"] = stale / before[name]
        result[f"found {name}"] = float(any(np.linalg.norm(p - middle) < NEAR for p in found))
    return result


def hide_a_box(scene: MovedBox) -> dict[str, float] | None:
    """Share of the box's voxels that survive being hidden, with the guard and without; None without such views."""
    maps = {"guard": VoxelMap(RESOLUTION, removal=REMOVAL), "no guard": VoxelMap(RESOLUTION, removal=NO_GUARD)}
    for observation in look(scene, scene.old, [scene.old], n=FRAMES // 2, stamp=0.0):
        for voxels in maps.values():
            voxels.observe(observation)
    frames = hidden_looks(scene, n=HIDDEN, stamp=100.0)
    if len(frames) < HIDDEN:
        return None
    result = {}
    for name, voxels in maps.items():
        before = around(scene, scene.old, voxels.occupied())
        for observation in frames:
            voxels.observe(observation)
        result[name] = float((voxels.log_odds(before) > 0).mean())
    return result


def decay_error() -> float:
    """The largest relative error of a weight against w0 * d^n, over decays, weights and up to 10^5 steps."""
    rng = np.random.default_rng(0)
    worst = 0.0
    point = np.array([[0.5, 0.5, 0.5]])
    for _ in range(200):
        decay, n = 1.0 - 10.0 ** rng.uniform(-6, -0.5), int(10.0 ** rng.uniform(0, 5))
        w0 = rng.uniform(0.1, 5.0)
        layers = DecayLayers(VoxelMap(1.0), VoxelMap(1.0), gain=w0, least=1e-6, period=1.0, static_decay=decay)
        layers.static.integrate(point, point[0] + 0.1)
        ends = np.array([[0, 0, 0, 2]], dtype=np.int32)
        weights.add_weight(layers.static.blocks, ends, step=0, decay=decay, gain=w0, most=5.0)
        rows, cells = locate(layers.static, point)
        weight = weights.weights_at(layers.static.blocks, rows, cells, step=n, decay=decay)[0]
        expected = w0 * decay**n
        if expected > 1e-300:
            worst = max(worst, abs(weight - expected) / expected)
    return worst


def house_costs(n: int) -> dict[str, float]:
    """Median CPU milliseconds a frame of 256 x 192 of each part, on the map of a house of six rooms."""
    frames = house_frames(n)
    voxels, times = VoxelMap(RESOLUTION), {"integration": [], "changes": [], "removal": []}  # type: ignore[var-annotated]
    for timed_pass in (False, True):  # the first fills the map and compiles
        for observation in frames:
            seconds = {"integration": _seconds(voxels.observe, observation)}
            seconds["changes"] = _seconds(track_changes, voxels.blocks, observation.stamp, (-64, 27))
            if timed_pass:
                times["integration"].append(seconds["integration"])
                times["changes"].append(seconds["changes"])
    pool = voxels.blocks
    cells = pool.cells[: pool.n].copy()
    REMOVAL.apply(pool, RESOLUTION, frames[0])
    for observation in frames:
        pool.cells[: pool.n] = cells
        times["removal"].append(_seconds(REMOVAL.apply, pool, RESOLUTION, observation))
    pool.cells[: pool.n] = cells
    remove_crumbs(voxels, eps=1.0, min_points=1)  # compiles; removes nothing
    figures = {name: 1e3 * float(np.median(values)) for name, values in times.items()}
    occupied = float(np.count_nonzero(cells > 0))
    return {
        **figures,
        "crumbs": 1e3 * _seconds(remove_crumbs, voxels),
        "occupied": occupied,
        "blocks": float(len(cells)),
    }


def house_frames(n: int) -> list[Observation]:
    """About n noisy frames from random places in a house of six rooms."""
    house = make_house(21)
    renderer, rng = Renderer(build_mesh(house)), np.random.default_rng(0)
    frames = []
    for i, room in enumerate(list(house.rooms) * (n // len(house.rooms))):
        p = rng.uniform((room.x0 + 0.3, room.y0 + 0.3), (room.x1 - 0.3, room.y1 - 0.3))
        pose = camera_pose(np.append(p, 0.88), rng.uniform(-np.pi, np.pi), rng.uniform(-0.4, 0.0))
        frames.append(frame(renderer, pose, float(i), rng))
    return frames


def _seconds(call: Callable[..., Any], *arguments: Any) -> float:
    begin = time.process_time()
    call(*arguments)
    return time.process_time() - begin


def compared(name: str, ours: list[float], peer: list[float], *, peer_name: str, goal: str) -> dict[str, Any]:
    """The row of two means over rooms, with their intervals."""
    means = [bootstrap_mean(np.array(values), rng=np.random.default_rng(0)) for values in (ours, peer)]
    sign, limit = goal.split()
    met = bool(means[0].mean <= float(limit) if sign == "<=" else means[0].mean >= float(limit))
    result = row(name, means[0].mean, goal=goal, met=met, peer=means[1].mean, peer_name=peer_name)
    return {**result, "interval": _bounds(means[0]), "peer_interval": _bounds(means[1]), "rooms": len(ours)}


def _bounds(interval: Interval) -> list[float]:
    return [interval.low, interval.high]


def _told(value: float | None, interval: list[float] | None) -> str:
    if value is None:
        return ""
    return f"{value:.3g}" if interval is None else f"{value:.3g} ({interval[0]:.3g} - {interval[1]:.3g})"


def behaviour(n_rooms: int) -> list[dict[str, Any]]:
    """The rows of the moved and of the hidden box."""
    moved: list[dict[str, float]] = []
    hidden: list[dict[str, float]] = []
    seed = 0
    while len(moved) < n_rooms or len(hidden) < n_rooms:
        scene = moved_box(seed)
        seed += 1
        if scene is None:
            continue
        if len(moved) < n_rooms:
            moved.append(move_a_box(scene))
        survived = hide_a_box(scene) if len(hidden) < n_rooms else None
        hidden += [survived] if survived is not None else []
    return [
        *(
            compared(name, [m[f"{key} with"] for m in moved], [m[f"{key} without"] for m in moved],
                     peer_name="no removal", goal=goal)
            for name, key, goal in (
                ("moved box: share of stale voxels", "stale", "<= 0.01"),
                ("moved box: query lands there", "found", ">= 0.95"),
            )
        ),
        compared("hidden box: share that survives", [h["guard"] for h in hidden],
                 [h["no guard"] for h in hidden], peer_name="no guard", goal=">= 0.95"),
    ]  # fmt: skip


def main() -> None:
    """Print the table and write the rows."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rooms", type=int, default=60)
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    rows = behaviour(arguments.rooms)
    error, costs = decay_error(), house_costs(90)
    rows += [
        row("decay: error relative to w0 * d^n", error, goal="<= 1e-6", met=bool(error <= 1e-6)),
        *(
            row(f"{part} [CPU ms a frame]", costs[key], goal="<= 1", met=costs[key] <= 1.0,
                peer=costs["integration"], peer_name="integration")
            for part, key in (("removal", "removal"), ("change tracking", "changes"))
        ),
        row("crumbs of a house [CPU ms]", costs["crumbs"], goal="none set", met=True),
    ]  # fmt: skip
    table = Table(title=f"Motion, {arguments.rooms} rooms, voxels of {RESOLUTION} m")
    for heading in ("figure", "ours", "peer", "peer is", "goal", "met"):
        table.add_column(heading, justify="left" if heading in ("figure", "peer is") else "right")
    for each in rows:
        ours, peer = (_told(each[name], each.get(span)) for name, span in SPANS)
        table.add_row(each["name"], ours, peer, each["peer_name"], each["goal"], "yes" if each["met"] else "no")
    console = Console()
    console.print(table)
    console.print(
        f"The house: {costs['occupied']:.0f} occupied voxels in {costs['blocks']:.0f} blocks; frames of "
        f"{CAMERA.width} x {CAMERA.height}. Stale: of the box's voxels at its old place, the share left there."
    )
    if arguments.json:
        arguments.json.write_text(json.dumps(rows, indent=1), encoding="utf-8")


if __name__ == "__main__":
    main()
