"""What there is to look at in a memory, as plain arrays: what gathers it knows the maps, what draws it does not."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int, Int8, UInt8

from embmem.observation import Intrinsics

UNSEEN, FREE, OCCUPIED = -1, 0, 100  # of a plan's cells, as in nav_msgs/OccupancyGrid


@dataclass(frozen=True, eq=False)
class Plan:
    """Cells seen from above: row 0 is the lowest y, column 0 the lowest x."""

    origin: Float[np.ndarray, "2"]  # [m] corner of cell (0, 0)
    resolution: float  # edge of a cell [m]
    cells: Int8[np.ndarray, "h w"]  # UNSEEN, FREE or OCCUPIED
    height: Float[np.ndarray, "h w"]  # [m] top of what stands there, NaN where nothing does

    @property
    def extent(self) -> tuple[float, float, float, float]:
        """(left, bottom, right, top) [m]."""
        (x, y), (rows, columns) = self.origin.tolist(), self.cells.shape
        return x, y, x + columns * self.resolution, y + rows * self.resolution


@dataclass(frozen=True, eq=False)
class VoxelCloud:
    """Occupied cubes; `n_in_map` voxels of the map became these, fewer where they were joined to larger ones."""

    centres: Float[np.ndarray, "n 3"]  # [m]
    edge: float  # [m]
    colours: UInt8[np.ndarray, "n 3"]
    n_in_map: int


@dataclass(frozen=True, eq=False)
class Trajectory:
    """Where the camera was, in order of time."""

    stamps: Float[np.ndarray, " n"]  # [s] ascending
    T_map_camera: Float[np.ndarray, "n 4 4"]
    intrinsics: Intrinsics | None = None  # of the last view that knows them

    def headings(self) -> Float[np.ndarray, "n 3"]:
        """(x, y, yaw) [m, rad] of each pose; yaw of the optical axis, or of the image's upper edge if that is plumb."""
        axes = self.T_map_camera[:, :2, 2]
        is_plumb = np.linalg.norm(axes, axis=1) < 1e-6
        axes = np.where(is_plumb[:, None], -self.T_map_camera[:, :2, 1], axes)
        return np.column_stack([self.T_map_camera[:, :2, 3], np.arctan2(axes[:, 1], axes[:, 0])])


@dataclass(frozen=True, eq=False)
class Thing:
    """Something that the memory believes to be somewhere; its texts come from detectors and files, unchecked."""

    id: str  # unique in the scene
    name: str
    position: Float[np.ndarray, "3"]  # [m]
    confidence: float  # [0, 1] that it is there
    first_seen: float  # [s], NaN if not known
    last_seen: float  # [s], NaN if not known
    why: str  # what the belief rests on
    layer: str
    box: Float[np.ndarray, "2 3"] | None = None  # [m] lowest and highest corner
    room: str = ""
    facts: tuple[str, ...] = ()  # e.g. "on the table"
    held: tuple[tuple[str, float, float], ...] = ()  # what is said of it, from when to when [s]; inf is until now
    moves: Float[np.ndarray, "k 4"] | None = None  # (stamp, x, y, z), ascending: where it was at what time


@dataclass(frozen=True, eq=False)
class Graph:
    """Nodes and edges of one map; edges of one kind are drawn alike."""

    name: str  # of the layer
    title: str
    labels: tuple[str, ...]  # n, of the nodes
    positions: Float[np.ndarray, "n 3"]  # [m]
    stamps: Float[np.ndarray, " n"]  # [s] since when the node is known, NaN if always
    edges: Int[np.ndarray, "m 2"]  # indices of nodes, from and to
    edge_kinds: tuple[str, ...]  # m, e.g. "odometry", "loop", "on"
    is_directed: bool = False
    is_shown: bool = False  # on a page that was just opened


@dataclass(frozen=True, eq=False)
class Room:
    """A part of the plan that has a name."""

    name: str
    outlines: tuple[Float[np.ndarray, "_ 2"], ...]  # [m] closed rings, the first the largest; may be empty
    centre: Float[np.ndarray, "2"]  # [m] where the name goes
    stamp: float = float("nan")  # [s] since when it is known, NaN if always


@dataclass(frozen=True, eq=False)
class Scene:
    """All there is to look at, and what was left out of it."""

    title: str
    plan: Plan | None = None
    voxels: VoxelCloud | None = None
    trajectory: Trajectory | None = None
    things: tuple[Thing, ...] = ()  # the surest first
    graphs: tuple[Graph, ...] = ()
    rooms: tuple[Room, ...] = ()
    max_range: float = 5.0  # [m] how far the camera sees
    left_out: tuple[str, ...] = ()  # sentences

    @property
    def span(self) -> tuple[float, float] | None:
        """(first, last) stamp [s] of anything in the scene; None if nothing has one."""
        parts = [np.array([s for thing in self.things for s in (thing.first_seen, thing.last_seen)])]
        parts += [np.array([room.stamp for room in self.rooms]), *(graph.stamps for graph in self.graphs)]
        parts += [] if self.trajectory is None else [self.trajectory.stamps]
        stamps = np.concatenate([np.asarray(part, dtype=np.float64) for part in parts])
        stamps = stamps[np.isfinite(stamps)]
        return (float(stamps.min()), float(stamps.max())) if len(stamps) else None

    @property
    def extent(self) -> tuple[float, float, float, float] | None:
        """(left, bottom, right, top) [m] of what is worth a look at first; None if nothing has a place.

        That is the map, its rooms and the way of the camera; of things and graphs only where there is none of these,
        since one wrong position far away would leave a map of the size of a dot.
        """
        points = [ring for room in self.rooms for ring in room.outlines]
        if self.trajectory is not None:
            points.append(self.trajectory.T_map_camera[:, :2, 3])
        if self.plan is not None:
            points.append(np.array(self.plan.extent).reshape(2, 2))
        elif self.voxels is not None:
            points.append(self.voxels.centres[:, :2])
        if not sum(map(len, points)):
            points = [thing.position[None, :2] for thing in self.things] + [g.positions[:, :2] for g in self.graphs]
        every = np.concatenate([np.zeros((0, 2)), *points])
        if not len(every):
            return None
        (left, bottom), (right, top) = every.min(axis=0).tolist(), every.max(axis=0).tolist()
        return left, bottom, right, top


def is_unix(stamp: float) -> bool:
    """Whether a stamp looks like a date since 2001 rather than seconds since some start."""
    return 1e9 <= stamp <= 1e10
