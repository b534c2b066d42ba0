"""Rooms, doors, the room of each thing and its relations, in embedded houses that a robot has mapped.

    python benchmarks/rooms.py [--houses N] [--quick] [--json FILE]

Each house (3 to 12 rooms) is mapped from the frames of a tour with Kinect noise and a detector that errs; things are
those that the object memory believes in. Every segmentation gets the same grids: walls (what stands between 1.45 and
1.85 m) or all that a robot of 1 m height can hit, from the robot's map or from the true house; "x 0.8" and "x 1.25" are
true houses with everything, doors too, so much as large (every door of the generator is 0.9 m wide). IoU is that of
each true room with the room that fits it best. Truth of "on" and "in" is what the generator put where; "next to" has no
truth but its rule, so it is that rule on the true boxes. Intervals are 95 % bootstrap over houses. Times are CPU time
of one core.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table
from room_houses import (
    Mapped,
    door_scores,
    eroded_rooms,
    mapped,
    relation_scores,
    room_scores,
    same_things,
    thing_scores,
    true_graph,
    true_grid,
    watershed_rooms,
)

from embmem.maps import OccupancyGrid
from embmem.maps.scene_graph import (
    RELATIONS,
    RelationRules,
    Relations,
    RoomMap,
    SceneGraph,
    Things,
    relate_again,
    relate_all,
    segment_rooms,
    wall_grid,
)
from embmem.maps.scene_graph.relations import Scene
from embmem.protocols import Deformation
from embmem.sim_envs.metrics.statistics import bootstrap_mean

BANDS = {"walls": (1.45, 1.85), "obstacles": (0.15, 1.0)}  # [m]
SEGMENTERS: dict[str, Callable[[OccupancyGrid], RoomMap]] = {
    "ours": segment_rooms,
    "erosion + components": eroded_rooms,
    "scikit-image watershed": watershed_rooms,
}
SCALES = (0.8, 1.25)
SIZES = (300, 1_000, 3_000, 10_000)  # things of the local update
FIRST_SEED = 5000  # thresholds were chosen on other houses
TIMES = ("segmentation seconds", "seconds")
MOVES, REPEATS = 20, 3
RULES = RelationRules()
RESOLUTION = 0.1  # [m] of the large plan that is deformed
Row = dict[str, Any]


def judge(each: Mapped) -> dict[str, Any]:
    """All figures of one house."""
    house = each.house
    floor = wall_grid(each.voxels)
    true = {name: true_grid(house, band) for name, band in BANDS.items()}
    grids = {
        "robot, walls": (floor, 1.0),
        "robot, obstacles": (OccupancyGrid.from_voxels(each.voxels, *BANDS["obstacles"]), 1.0),
        "true, walls": (true["walls"], 1.0),
        "true, obstacles": (true["obstacles"], 1.0),
        **{f"true, walls, x {scale:g}": (_scaled(true["walls"], scale), scale) for scale in SCALES},
    }
    scores: dict[str, Any] = {
        f"{name}: {who}": room_scores(house, _unscaled(segment(grid), scale))
        for name, (grid, scale) in grids.items()
        for who, segment in SEGMENTERS.items()
    }
    begin = time.process_time()
    graph = SceneGraph()
    graph.update_from(each.voxels, each.objects)
    scores["seconds"] = time.process_time() - begin
    begin = time.process_time()
    rooms = segment_rooms(floor)
    scores["segmentation seconds"] = time.process_time() - begin
    scores["doors"] = door_scores(house, rooms)
    same = same_things(house, graph.things)
    scores["thing"] = thing_scores(house, graph, same)
    scores["relations"] = relation_scores(graph, true_graph(house, graph), same)
    return scores


def _scaled(grid: OccupancyGrid, scale: float) -> OccupancyGrid:
    return OccupancyGrid(grid.origin * scale, grid.resolution * scale, grid.cells)


def _unscaled(rooms: RoomMap, scale: float) -> RoomMap:
    return RoomMap(rooms.origin / scale, rooms.resolution / scale, rooms.labels)


def compared(name: str, ours: list[float], peers: dict[str, list[float]], goal: float | None) -> list[Row]:
    """A row for each peer; the goal, at least so much, is judged by our mean."""
    mine = _interval(ours)
    rows = []
    for peer_name, values in (peers or {"none": []}).items():
        theirs = _interval(values) if values else None
        rows.append({
            "name": name, "ours": mine[0], "peer": theirs[0] if theirs else None, "peer_name": peer_name,
            "ratio": mine[0] / theirs[0] if theirs and theirs[0] else None,
            "goal": "none set" if goal is None else f">= {goal:g}", "met": goal is None or mine[0] >= goal,
            "interval": mine[1:], "peer_interval": theirs[1:] if theirs else None, "houses": len(ours),
        })  # fmt: skip
    return rows


def _interval(values: list[float]) -> list[float]:
    found = bootstrap_mean(np.array(values), rng=np.random.default_rng(0))
    return [found.mean, found.low, found.high]


def room_rows(scores: list[dict[str, Any]]) -> list[Row]:
    """Segmentation against the peers on every grid."""
    rows: list[Row] = []
    peers = [who for who in SEGMENTERS if who != "ours"]
    goals = {"robot, walls": 0.9, "true, walls": 0.95}
    for grid in dict.fromkeys(name.split(":")[0] for name in scores[0] if ": " in name):
        goal = goals.get(grid)
        for key, what, aim in (("iou", "IoU of rooms", goal), ("count", "share of houses with the right number", None)):
            by = {who: [each[f"{grid}: {who}"][key] for each in scores] for who in SEGMENTERS}
            rows += compared(f"{what}; {grid}", by["ours"], {who: by[who] for who in peers}, aim)
    for key in ("door recall", "door precision"):
        rows += compared(f"{key}; robot, walls", [each["doors"][key] for each in scores], {}, None)
    return rows


def thing_rows(scores: list[dict[str, Any]]) -> list[Row]:
    """Things in rooms and their relations."""
    by = {key: [each["thing"][key] for each in scores] for key in scores[0]["thing"]}
    rows = compared("thing > room accuracy", by["in room"], {"nearest middle of a room": by["nearest room"]}, 0.95)
    rows += compared("object > furniture accuracy", by["carrier"], {}, 0.9)
    rows += compared("object > furniture with on / in right", by["on or in"], {}, 0.9)
    rows += compared("kind of room right", by["kind"], {}, None)
    for name in RELATIONS[:3]:
        right, found, true = (np.array([each["relations"][name][i] for each in scores]) for i in range(3))
        for what, of in (("precision", found), ("recall", true)):
            share = [float(r / n) for r, n in zip(right, of, strict=True) if n]
            if share:
                rows += compared(f'"{name}" {what}', share, {}, None)
    return rows


def local_rows() -> list[Row]:
    """Relations touched, and CPU time, when one thing of many moves, against finding all relations anew."""
    rows: list[Row] = []
    touched: list[float] = []
    for n in SIZES:
        scene, ids = crowded(n), np.arange(n)
        related = relate_all(ids, scene, RULES)
        counts, times, equal = [], [], True
        for thing in np.random.default_rng(1).choice(n, MOVES, replace=False):
            box = scene.box.copy()
            box[thing] += np.array([0.4, 0.0, 0.0])
            moved = replace(scene, box=box)
            begin = time.process_time()
            again = relate_again(related, ids, moved, RULES)
            times.append(time.process_time() - begin)
            counts.append(again.touched)
            equal &= _same(again.relations, relate_all(ids, moved, RULES).relations)
        full = _fastest(relate_all, ids, scene, RULES)
        touched.append(float(np.mean(counts)))
        rows += [{
            "name": f"relations touched by one move of {n:,} things", "ours": touched[-1],
            "peer": float(len(related.relations)), "peer_name": "full resolve",
            "ratio": touched[-1] / len(related.relations), "goal": "equal result", "met": bool(equal),
        }, {
            "name": f"CPU ms of one move of {n:,} things", "ours": 1e3 * float(np.median(times)), "peer": 1e3 * full,
            "peer_name": "full resolve", "ratio": float(np.median(times)) / full, "goal": "none set", "met": True,
        }]  # fmt: skip
    power = float(np.polyfit(np.log(SIZES), np.log(touched), 1)[0])
    return [*rows, {
        "name": "touched relations grow as things to the power of", "ours": power, "peer": 1.0,
        "peer_name": "full resolve", "ratio": power, "goal": "<= 0.5", "met": power <= 0.5,
    }]  # fmt: skip


def _same(a: Relations, b: Relations) -> bool:
    return all(np.array_equal(getattr(a, name), getattr(b, name)) for name in ("source", "target", "kind"))


def crowded(n: int) -> Scene:
    """Things strewn over a floor at the density of a furnished house, two a square metre."""
    rng = np.random.default_rng(0)
    side = np.sqrt(n / 2.0)
    low = rng.uniform(0.0, [side, side, 1.0], (n, 3))
    is_furniture = rng.random(n) < 0.4
    size = np.where(is_furniture[:, None], rng.uniform(0.4, 1.4, (n, 3)), rng.uniform(0.05, 0.3, (n, 3)))
    low[is_furniture, 2] = 0.0
    return Scene(np.stack([low, low + size], axis=1), is_furniture, rng.random(n) < 0.2, np.zeros(n, dtype=np.int64))


def _fastest(call: Callable[..., Any], *arguments: Any) -> float:
    times = []
    for _ in range(REPEATS):
        begin = time.process_time()
        call(*arguments)
        times.append(time.process_time() - begin)
    return min(times)


def deform_row(n: int = 10_000) -> Row:
    """Seconds to deform a graph of many things with rooms."""
    scene, names = crowded(n), ("bed", "mug")
    categories = tuple(names[0] if piece else names[1] for piece in scene.is_furniture.tolist())
    graph = SceneGraph()
    cells = np.zeros((round(100 / RESOLUTION), round(100 / RESOLUTION)), dtype=np.int8)
    cells[:: round(5 / RESOLUTION)] = cells[:, :: round(5 / RESOLUTION)] = 100
    grid = OccupancyGrid(np.zeros(2), RESOLUTION, cells)
    graph.update(grid, Things(np.arange(n), categories, scene.box, np.linspace(0, 100, n), np.ones(n)))
    T = np.tile(np.eye(4), (50, 1, 1))
    T[:, 0, 3] = np.linspace(0, 0.2, 50)
    begin = time.process_time()
    graph.deform(Deformation(np.linspace(0, 100, 50), T))
    seconds = time.process_time() - begin
    return {
        "name": f"CPU s to deform {n:,} things and {len(graph.room_ids())} rooms", "ours": seconds, "peer": None,
        "peer_name": "none", "ratio": None, "goal": "<= 1", "met": seconds <= 1.0,
    }  # fmt: skip


def show(rows: list[Row], title: str) -> None:
    """One table."""
    table = Table(title=title)
    for heading in ("figure", "ours", "peer", "peer is", "goal", "met"):
        table.add_column(heading, justify="left" if heading in ("figure", "peer is") else "right")
    for row in rows:
        ours, peer = (_told(row[key], row.get(span)) for key, span in (("ours", "interval"), ("peer", "peer_interval")))
        table.add_row(row["name"], ours, peer, row["peer_name"], row["goal"], "yes" if row["met"] else "no")
    Console().print(table)


def _told(value: float | None, span: list[float] | None) -> str:
    if value is None:
        return ""
    return f"{value:.3g}" if not span else f"{value:.3f} ({span[0]:.3f} - {span[1]:.3f})"


def main() -> None:
    """Print the tables and write the rows."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--houses", type=int, default=60)
    parser.add_argument("--quick", action="store_true", help="4 houses")
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    n = 4 if arguments.quick else arguments.houses
    scores, sizes = [], []
    for seed in range(n):
        each = mapped(FIRST_SEED + seed, 3 + seed % 10)
        scores.append(judge(each))
        sizes.append((each.n_frames, len(each.house.rooms)))
    rows = [*room_rows(scores), *thing_rows(scores), *local_rows(), deform_row()]
    show(rows, f"Rooms and relations, {n} houses of 3 to 12 rooms, {sum(s[1] for s in sizes)} rooms in all")
    things = sum(each["thing"]["things"] for each in scores)
    segmentation, update = (1e3 * float(np.median([each[k] for each in scores])) for k in TIMES)
    Console().print(
        f"{sum(s[0] for s in sizes):,} frames; {things:.0f} things recognised; median CPU of segmenting a house "
        f"{segmentation:.0f} ms, of the whole graph {update:.0f} ms."
    )
    if arguments.json:
        arguments.json.write_text(json.dumps(rows, indent=1), encoding="utf-8")


if __name__ == "__main__":
    main()
