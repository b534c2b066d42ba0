"""Embedded houses mapped by a robot, and how well rooms, things and relations found in them fit the true ones."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy import ndimage
from scipy.optimize import linear_sum_assignment

from embmem.agent import Body
from embmem.errors import import_extra
from embmem.maps import ObjectMemory, OccupancyGrid, VoxelMap
from embmem.maps.grid import FREE, OCCUPIED, UNSEEN
from embmem.maps.scene_graph import RELATIONS, RoomMap, SceneGraph, Things
from embmem.maps.scene_graph.graph import parent, room_of
from embmem.observation import Intrinsics
from embmem.sim_envs.house import House, make_house
from embmem.sim_envs.noise import CameraNoise, Detector
from embmem.sim_envs.tasks.tours import guided_tour, tour_stops
from embmem.sim_envs.world import World

RESOLUTION = 0.05  # [m]
SAME = 0.7  # [m] between the middles of a thing in the map and the true one
ERODE = 0.5  # [m] by which the peer thins the free space: more than half a door
APART = 1.0  # [m] between two peaks of the other peer's distance transform


@dataclass(eq=False)
class Mapped:
    """A house and what a robot mapped of it."""

    house: House
    voxels: VoxelMap
    objects: ObjectMemory
    n_frames: int


def mapped(seed: int, n_rooms: int, max_steps: int = 2500) -> Mapped:
    """A tour through all rooms with Kinect noise and a detector that errs."""
    house = make_house(seed, n_rooms)
    camera, rng = Intrinsics.from_fov(160, 120, 79.0), np.random.default_rng(seed)
    world = World(house, intrinsics=camera, body=Body(), noise=CameraNoise(), detector=Detector(), rng=rng, rgb=False)
    voxels, objects = VoxelMap(RESOLUTION), ObjectMemory()
    stops = tour_stops(world, house)
    world.place(stops[0], 0.0)
    n = 0
    for action in guided_tour(world, stops, max_steps):
        frame = world.observe()
        voxels.observe(frame)
        objects.observe(frame)
        world.apply(action)
        n += 1
    return Mapped(house, voxels, objects, n)


def true_grid(house: House, band: tuple[float, float]) -> OccupancyGrid:
    """What stands between two heights [m] in a house, as if everything had been seen."""
    x0, y0, x1, y1 = house.bounds()
    cells = np.full((round((y1 - y0 + 1) / RESOLUTION), round((x1 - x0 + 1) / RESOLUTION)), UNSEEN, dtype=np.int8)
    grid = OccupancyGrid(np.array([x0 - 0.5, y0 - 0.5]), RESOLUTION, cells)
    floors = [(r.x0, r.y0, r.x1, r.y1) for r in house.rooms] + [(d.x0, d.y0, d.x1, d.y1) for d in house.doors]
    for floor in floors:
        cells[_inside(grid, *floor)] = FREE
    for box in house.solid_boxes():
        if box[2] < band[1] and box[5] > band[0]:
            cells[_inside(grid, box[0], box[1], box[3], box[4])] = OCCUPIED
    return grid


def _inside(grid: OccupancyGrid, x0: float, y0: float, x1: float, y1: float) -> np.ndarray:
    points = grid.to_points(np.indices(grid.cells.shape).reshape(2, -1).T)
    inside: np.ndarray = ((points > (x0, y0)) & (points < (x1, y1))).all(axis=1).reshape(grid.cells.shape)
    return inside


def eroded_rooms(grid: OccupancyGrid) -> RoomMap:
    """A peer: the connected pieces of the free space thinned by more than half a door, grown back to all of it."""
    free = grid.cells == FREE
    clearance = ndimage.distance_transform_edt(np.pad(free, 1))[1:-1, 1:-1] * grid.resolution
    seeds, _ = ndimage.label(clearance > ERODE)
    _, (y, x) = ndimage.distance_transform_edt(seeds == 0, return_indices=True)
    return RoomMap(grid.origin, grid.resolution, np.where(free, seeds[y, x] - 1, -1).astype(np.int32))


def watershed_rooms(grid: OccupancyGrid) -> RoomMap:
    """A peer: the watershed of scikit-image on the distance transform, from its peaks at least a metre apart."""
    feature: Any = import_extra("skimage.feature", "bench")
    segmentation: Any = import_extra("skimage.segmentation", "bench")
    free = grid.cells == FREE
    distance = ndimage.gaussian_filter(ndimage.distance_transform_edt(np.pad(free, 1))[1:-1, 1:-1], 2.0)
    peaks = feature.peak_local_max(distance, min_distance=round(APART / grid.resolution), labels=free.astype(np.int32))
    markers = np.zeros(free.shape, dtype=np.int32)
    markers[tuple(peaks.T)] = np.arange(1, len(peaks) + 1)
    labels = segmentation.watershed(-distance, markers, mask=free)
    return RoomMap(grid.origin, grid.resolution, (labels - 1).astype(np.int32))


def room_scores(house: House, rooms: RoomMap) -> dict[str, float]:
    """IoU of each true room with the one found that fits it best, on average; whether their number is right."""
    grid = OccupancyGrid(rooms.origin, rooms.resolution, np.zeros(rooms.labels.shape, dtype=np.int8))
    ious = []
    for room in house.rooms:
        own = _inside(grid, room.x0, room.y0, room.x1, room.y1)
        found = [i for i in np.unique(rooms.labels[own]).tolist() if i >= 0]
        fits = [float((own & (rooms.labels == i)).sum() / (own | (rooms.labels == i)).sum()) for i in found]
        ious.append(max(fits, default=0.0))
    large = [i for i in rooms.ids().tolist() if rooms.area(i) >= 1.5]  # specks are no rooms, whoever finds them
    return {"iou": float(np.mean(ious)), "worst": min(ious), "count": float(len(large) == len(house.rooms))}


def door_scores(house: House, rooms: RoomMap, near: float = 0.3) -> dict[str, float]:
    """Share of the doors that were found, and of the doors found that are doors, to within `near` [m]."""
    true = np.array([[(d.x0 + d.x1) / 2, (d.y0 + d.y1) / 2] for d in house.doors]).reshape(-1, 2)
    gaps = np.linalg.norm(true[:, None] - rooms.doors.position, axis=-1)
    n = len(rooms.doors)
    return {
        "door recall": float((gaps.min(axis=1, initial=np.inf) <= near).mean()) if len(true) else 1.0,
        "door precision": float((gaps.min(axis=0, initial=np.inf) <= near).mean()) if n else 1.0,
    }


def _corners(boxes: np.ndarray) -> np.ndarray:
    """(2, 3) lowest and highest corner of all parts of a piece of furniture."""
    return np.stack([boxes[:, :3].min(axis=0), boxes[:, 3:].max(axis=0)])


def same_things(house: House, things: Things) -> dict[int, int]:
    """The true id of each thing in the map that is one: same category, near, one to one."""
    true = {f.id: (f.category, _corners(f.boxes).mean(axis=0)) for f in house.furniture}
    true |= {o.id: (o.category, house.object_aabb(o).reshape(2, 3).mean(axis=0)) for o in house.objects}
    found: dict[int, int] = {}
    for category in sorted(set(things.categories)):
        rows = np.array([i for i, name in enumerate(things.categories) if name == category])
        ids = np.array([i for i, (name, _) in true.items() if name == category], dtype=np.int64)
        if len(ids) == 0:
            continue
        middles = np.array([true[i][1] for i in ids.tolist()])
        gaps = np.linalg.norm(things.position[rows][:, None] - middles, axis=-1)
        for a, b in zip(*linear_sum_assignment(gaps), strict=True):
            if gaps[a, b] <= SAME:
                found[int(things.ids[rows[a]])] = int(ids[b])
    return found


def thing_scores(house: House, graph: SceneGraph, same: dict[int, int]) -> dict[str, float]:
    """How many things that were recognised are in their room and on or in what carries them; relations by name."""
    g = graph.networkx()
    rooms = {t.id: t.room for t in house.furniture} | {t.id: t.room for t in house.objects}
    carried = {o.id: (o.furniture, _is_in(house, o.furniture, o.position)) for o in house.objects}
    middles = {key: house.room_at(*n["position"][:2]) for key, n in g.nodes(data=True) if n["layer"] == "room"}
    in_room = nearest_room = right = is_right = 0
    flat = {key: np.array(g.nodes[key]["position"][:2]) for key in middles}
    for mine, true in same.items():
        place = room_of(g, f"thing:{mine}")
        at = middles[place] if place is not None else None
        in_room += at is not None and at.id == rooms[true]
        position = np.array(g.nodes[f"thing:{mine}"]["position"][:2])
        near = min(flat, key=lambda key: float(np.linalg.norm(flat[key] - position))) if flat else None
        other = middles[near] if near is not None else None
        nearest_room += other is not None and other.id == rooms[true]
        if true in carried:
            step = parent(g, f"thing:{mine}")
            number = int(step[1].split(":")[1]) if step is not None and step[1].startswith("thing") else -1
            is_same = same.get(number, -1) == carried[true][0]
            right += is_same
            is_right += is_same and step is not None and (step[0] == "in") == carried[true][1]
    n_carried = sum(true in carried for true in same.values())
    kinds = [(g.nodes[key]["name"], room.kind) for key, room in middles.items() if room is not None]
    return {
        "things": float(len(same)),
        "in room": in_room / max(len(same), 1),
        "nearest room": nearest_room / max(len(same), 1),
        "carrier": right / max(n_carried, 1),
        "on or in": is_right / max(n_carried, 1),
        "kind": float(np.mean([a == b for a, b in kinds])) if kinds else 0.0,
    }


def _is_in(house: House, furniture: int, position: np.ndarray) -> bool:
    """Whether some part of a piece of furniture is above a place on it."""
    boxes = next(f.boxes for f in house.furniture if f.id == furniture)
    x, y, z = position
    over = (boxes[:, 0] < x) & (boxes[:, 3] > x) & (boxes[:, 1] < y) & (boxes[:, 4] > y) & (boxes[:, 2] > z)
    return bool(over.any())


def true_graph(house: House, like: SceneGraph) -> SceneGraph:
    """The scene graph of the true boxes by the same rules, for relations that only geometry defines."""
    pieces = {f.id: (f.category, *_corners(f.boxes)) for f in house.furniture}
    small = {o.id: (o.category, *house.object_aabb(o).reshape(2, 3)) for o in house.objects}
    entries = sorted({**pieces, **small}.items())
    n = len(entries)
    box = np.array([entry[1][1:] for entry in entries], dtype=np.float64).reshape(n, 2, 3)
    things = Things(np.array([i for i, _ in entries]), tuple(e[0] for _, e in entries), box, np.zeros(n), np.ones(n))
    graph = SceneGraph(room_rules=like.room_rules, relation_rules=like.relation_rules)
    graph.update(true_grid(house, (1.45, 1.85)), things)
    return graph


def relation_scores(graph: SceneGraph, truth: SceneGraph, same: dict[int, int]) -> dict[str, tuple[int, int, int]]:
    """(right, found, true) relations between things that were recognised, by name."""
    known = set(same.values())

    def told(each: SceneGraph, rename: dict[int, int]) -> set[tuple[str, frozenset[int] | tuple[int, int]]]:
        r = each.related.relations
        found: set[tuple[str, frozenset[int] | tuple[int, int]]] = set()
        for a, b, kind in zip(r.source.tolist(), r.target.tolist(), r.kind.tolist(), strict=True):
            if a in rename and b in rename:
                ends = (rename[a], rename[b])
                found.add((RELATIONS[kind], frozenset(ends) if RELATIONS[kind] == "next to" else ends))
        return found

    mine, true = told(graph, same), told(truth, {i: i for i in known})
    return {
        name: tuple(sum(each[0] == name for each in some) for some in (mine & true, mine, true))  # type: ignore[misc]
        for name in RELATIONS
    }
