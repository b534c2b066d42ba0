"""Scores of a walked route: in metres as VLN-CE counts, and over rooms and doors as R2R does over its panoramas."""

from __future__ import annotations

from itertools import groupby

import numpy as np
from jaxtyping import Float

from embmem.sim_envs.house import House
from embmem.sim_envs.metrics.continuous import ndtw, score
from embmem.sim_envs.metrics.graph import Place, PlaceGraph
from embmem.sim_envs.metrics.indoor import valan_r2r

VLNCE_THRESHOLD = 3.0  # [m]
EVERY = 5  # points of a gold way for one of the reference: a step of VLN-CE is 0.25 m


def route_scores(
    path: Float[np.ndarray, "n 2"],
    gold: Float[np.ndarray, "m 2"],
    left: Float[np.ndarray, " n"],
    *,
    shortest: float,
    stop_called: bool,
) -> dict[str, float]:
    """VLN-CE's measures with its threshold of 3 m, and the exact nDTW (Krantz et al., ECCV 2020).

    Args:
        path: where the body was [m].
        gold: the route that was told [m].
        left: geodesic distance to the goal at each point of the path [m].
        shortest: the same at the start.
        stop_called: whether the agent claimed to be there.
    """
    reference = np.concatenate([gold[:-1:EVERY], gold[-1:]])
    scores = score(
        path,
        stop_called=stop_called,
        distance_to_goal=float(left[-1]),
        distance_min=float(left.min()),
        shortest=shortest,
        threshold=VLNCE_THRESHOLD,
    )
    similarity = ndtw(path, reference)
    return {
        "vlnce/sr": scores["success"],
        "vlnce/osr": scores["oracle_success"],
        "vlnce/spl": scores["spl"],
        "vlnce/ndtw": similarity,
        "vlnce/sdtw": scores["success"] * similarity,
    }


def room_graph_scores(house: House, path: Float[np.ndarray, "n 2"], gold: Float[np.ndarray, "m 2"]) -> dict[str, float]:
    """R2R's measures over the rooms and doors that were come through (VALAN's formulas)."""
    graph = room_graph(house)
    found = valan_r2r(graph, places(house, path), places(house, gold))
    return {f"rooms/{key}": found[key] for key in ("ne", "sr", "osr", "spl", "ndtw", "sdtw", "cls")}


def room_graph(house: House) -> PlaceGraph:
    """Rooms and doors of a house; an edge is as long as it is from the middle of a room to that of its door."""
    positions: dict[Place, np.ndarray] = {
        ("room", r.id): np.array([(r.x0 + r.x1) / 2, (r.y0 + r.y1) / 2]) for r in house.rooms
    }
    edges = []
    for number, d in enumerate(house.doors):
        positions["door", number] = np.array([(d.x0 + d.x1) / 2, (d.y0 + d.y1) / 2])
        for room in (d.room_a, d.room_b):
            length = float(np.linalg.norm(positions["door", number] - positions["room", room]))
            edges.append((("room", room), ("door", number), length))
    return PlaceGraph(edges, positions)


def places(house: House, path: Float[np.ndarray, "n 2"]) -> list[Place]:
    """The rooms and doors of a way in order: a door where a room follows another, the one nearest to the change."""
    rooms = [(room.id, i) for i, (x, y) in enumerate(path.tolist()) if (room := house.room_at(x, y)) is not None]
    runs = [list(run) for _, run in groupby(rooms, key=lambda each: each[0])]
    found: list[Place] = []
    for k, run in enumerate(runs):
        if k:
            found += _door(house, runs[k - 1][-1], run[0], path)
        found.append(("room", run[0][0]))
    return found


def _door(house: House, before: tuple[int, int], after: tuple[int, int], path: Float[np.ndarray, "n 2"]) -> list[Place]:
    """The door between two rooms that lies nearest to the way; none where there is none."""
    between = {before[0], after[0]}
    middle = (path[before[1]] + path[after[1]]) / 2.0
    gaps = [
        (float(np.hypot((d.x0 + d.x1) / 2 - middle[0], (d.y0 + d.y1) / 2 - middle[1])), number)
        for number, d in enumerate(house.doors)
        if {d.room_a, d.room_b} == between
    ]
    return [("door", min(gaps)[1])] if gaps else []
