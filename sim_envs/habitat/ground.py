"""Habitat's navigation mesh of one floor as the `Ground` that tasks and the oracle know."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
from jaxtyping import Bool, Float, Int

from embmem.sim_envs.habitat.frames import from_habitat, to_habitat
from embmem.sim_envs.habitat.simulator import HabitatScene, vectors

NEAR = 0.1  # [m]: a point this near to the mesh counts as on it; the mesh keeps a cell or two more than we do
LEVEL = 0.3  # [m]: what is farther above or below the floor is another one: a roof, the top of a table


class HabitatGround:
    """The floor of a scene at height `floor` [m] of the map, seen from above.

    Distances are Detour's: 0.3 % too long in the mean, up to 23 %, not quite symmetric, and those of the radius that
    the mesh was made for.

    Raises:
        ValueError: if the mesh has nothing at that height.
    """

    def __init__(self, scene: HabitatScene, floor: float = 0.0) -> None:
        self._scene = scene
        self._floor = floor
        finder = scene.pathfinder
        sizes = {}
        self._triangles: dict[int, Float[np.ndarray, "t 3 3"]] = {}
        for i in range(finder.num_islands):
            triangles = island_triangles(finder.build_navmesh_vertices(i), finder.build_navmesh_vertex_indices(i))
            if len(triangles) and abs(float(triangles[..., 2].mean()) - floor) < LEVEL:
                self._triangles[i] = triangles
                sizes[i] = float(areas(triangles).sum())
        if not sizes:
            raise ValueError(f"the navigation mesh has nothing within {LEVEL} m of the height {floor} m")
        by_size = sorted(sizes, key=lambda i: (-sizes[i], i))
        self._number = {island: n for n, island in enumerate(by_size, start=1)}

    def is_free(self, points: Float[np.ndarray, "n 2"]) -> Bool[np.ndarray, " n"]:
        """Whether each point lies on the mesh, to within 1 cm; NaN is nowhere."""
        return self._number_of(self._lift(points), exact=True) > 0

    def steps(
        self, position: Float[np.ndarray, "2"], deltas: Float[np.ndarray, "k 2"]
    ) -> tuple[Float[np.ndarray, "k 2"], Bool[np.ndarray, " k"]]:
        """(positions, collided) after each of several alternative moves from one position."""
        ends, collided = self._scene.try_step(self._lift(position[None])[0], self._lift(position + deltas))
        return ends[:, :2], collided

    def field(self, goals: Float[np.ndarray, "m 2"]) -> HabitatField:
        """Distances to the nearest of `goals`; goals that are not near the mesh of this floor cannot be reached."""
        return HabitatField(self._scene, self, goals)

    def distances(self, starts: Float[np.ndarray, "n 2"], goals: Float[np.ndarray, "m 2"]) -> Float[np.ndarray, " n"]:
        """Geodesic distance [m] of each start to its nearest goal; inf if there is none or no way."""
        return self.field(goals).distances(starts)

    def path(self, start: Float[np.ndarray, "2"], goals: Float[np.ndarray, "m 2"]) -> Float[np.ndarray, "k 2"]:
        """The shortest polyline from `start` to its nearest goal, both included; empty if there is none."""
        return self.field(goals).path(start)

    def island(self, points: Float[np.ndarray, "n 2"]) -> Int[np.ndarray, " n"]:
        """Number of the connected part of this floor that each point is on, the largest is 1; 0 if it is on none."""
        return self._number_of(self._lift(points), exact=True)

    def sample(
        self, rng: np.random.Generator, island_of: Float[np.ndarray, "2"] | None = None
    ) -> Float[np.ndarray, "2"]:
        """A point uniform over the largest island of this floor, or over the island of a given point on it.

        Raises:
            ValueError: if `island_of` is not on this floor.
        """
        number = 1 if island_of is None else int(self._number_of(self._lift(island_of[None]), exact=False)[0])
        if number == 0:
            raise ValueError(f"{island_of} is not on the floor at {self._floor} m")
        island = next(i for i, n in self._number.items() if n == number)
        return sample_triangles(self._triangles[island], rng)[:2]

    def nearest(self, points: Float[np.ndarray, "n 2"]) -> tuple[Float[np.ndarray, "n 3"], Bool[np.ndarray, " n"]]:
        """(points on the mesh, whether they are within `NEAR` of those that were asked for, and on this floor)."""
        lifted = self._lift(points)
        snapped = self._scene.snap(lifted)
        return snapped, self._number_of(lifted, exact=False) > 0

    def _lift(self, points: Float[np.ndarray, "n 2"]) -> Float[np.ndarray, "n 3"]:
        points = np.asarray(points, dtype=np.float64)
        return np.column_stack([points, np.full(len(points), self._floor)])

    def _number_of(self, points: Float[np.ndarray, "n 3"], *, exact: bool) -> Int[np.ndarray, " n"]:
        finite = np.isfinite(points).all(axis=1)
        numbers = np.zeros(len(points), dtype=np.int64)
        snapped = self._scene.snap(np.where(finite[:, None], points, 0.0))
        off = np.abs(snapped - points)
        within = (np.hypot(off[:, 0], off[:, 1]) <= (0.01 if exact else NEAR)) & (off[:, 2] < LEVEL)
        for i in np.flatnonzero(finite & within):
            found = self._scene.pathfinder.get_island(to_habitat(snapped[i]).astype(np.float32))
            numbers[i] = self._number.get(int(found), 0)
        return numbers


class HabitatField:
    """Detour's distances to the nearest of some goals; where the goals are on the mesh is found out once."""

    def __init__(self, scene: HabitatScene, ground: HabitatGround, goals: Float[np.ndarray, "m 2"]) -> None:
        self._scene = scene
        self._ground = ground
        points, usable = ground.nearest(goals)
        self._path = scene.multi_goal_path(points[usable]) if usable.any() else None

    def distances(self, starts: Float[np.ndarray, "n 2"]) -> Float[np.ndarray, " n"]:
        """Length [m] of the shortest path of each start; inf where it is off the floor or no goal can be reached."""
        found = np.full(len(starts), np.inf)
        if self._path is None:
            return found
        points, usable = self._ground.nearest(starts)
        for i in np.flatnonzero(usable):
            found[i] = self._scene.distance(points[i], self._path)
        return found

    def path(self, start: Float[np.ndarray, "2"]) -> Float[np.ndarray, "k 2"]:
        """Corners of the shortest path from `start` to its goal, both included; empty if there is none."""
        if not np.isfinite(self.distances(start[None])[0]):
            return np.empty((0, 2))
        return self._scene.path_points(self._path)[:, :2]


def island_triangles(found: Iterable[Any], indices: Iterable[int]) -> Float[np.ndarray, "t 3 3"]:
    """Triangles in the map of Habitat's vertices and flat indices of an island."""
    corners = np.array(list(indices), dtype=np.int64).reshape(-1, 3)
    return from_habitat(vectors(found)[corners])


def areas(triangles: Float[np.ndarray, "t 3 3"]) -> Float[np.ndarray, " t"]:
    """Area [m^2] of each triangle."""
    a, b = triangles[:, 1] - triangles[:, 0], triangles[:, 2] - triangles[:, 0]
    return np.linalg.norm(np.cross(a, b), axis=1) / 2.0


def sample_triangles(triangles: Float[np.ndarray, "t 3 3"], rng: np.random.Generator) -> Float[np.ndarray, "3"]:
    """A point uniform over the triangles.

    Raises:
        ValueError: if they have no area.
    """
    total = np.cumsum(areas(triangles))
    if not len(total) or not total[-1] > 0:
        raise ValueError("there is no area to draw a point from")
    i = min(int(np.searchsorted(total, rng.random() * total[-1], "right")), len(total) - 1)
    u, v = rng.random(2)
    if u + v > 1:
        u, v = 1 - u, 1 - v
    a, b, c = triangles[i]
    return a + u * (b - a) + v * (c - a)
