"""What image patches looked like and where, as a grid around the robot: the store under GridMM.

Patches are only ever appended, with the place in the map that they showed; the grid is laid anew at every step, with
the robot in its middle, looking along +x (Wang et al., GridMM, ICCV 2023). The map needs no torch;
`embmem.maps.ego_grid_reader` reads it with a network.
"""

from __future__ import annotations

import math
from typing import ClassVar

import numpy as np
from jaxtyping import Float, Int

from embmem.errors import InputError
from embmem.geometry import backproject, heading, transform_points
from embmem.maps.states import check_header, checked_array, checked_numbers
from embmem.observation import Observation
from embmem.protocols import Deformation, LayerState
from embmem.records import Hit, Query

SIDE = 14  # cells along an edge of the grid
EXTENT_SHARE = 2.0 / 3.0  # half-width of the grid in extents of the patches
LEAST_HALF_WIDTH = 1.0  # [m], for few patches in one place
_DIGITS = 9  # of a cell: a patch this near to a border lies on it, whichever way the robot looks
_QUARTER = 1e-12  # [rad] within which a turn is one by whole right angles
_FORGET_SHARE = 0.1  # of the capacity that is made free at once
NUMBERS = ("dim", "capacity", "patches", "max_range", "place")


class EgoGrid:
    """Features of image patches with their places, in the `map` frame.

    An observation brings a patch for each part of a `patches` x `patches` division of its image that shows a segment
    with an embedding: the embedding of the segment that most of its pixels with depth show, at the mean place of
    these. A vision encoder's own patches come in through `append`.

    Memory is bounded: at `capacity` patches a tenth of it is forgotten. Every place, a square of `place` metres, keeps
    its newest patches, and the places share the room evenly, so that where the robot lingers it forgets first and no
    place is lost before there are more places than patches.
    """

    kind: ClassVar[str] = "ego_grid"
    version: ClassVar[int] = 1

    def __init__(
        self,
        dim: int,
        *,
        capacity: int = 50_000,
        patches: int = 14,
        max_range: float = 10.0,
        place: float = 0.5,
    ) -> None:
        """No patch yet.

        Args:
            dim: length of a feature.
            capacity: patches at most.
            patches: parts along an edge of an image.
            max_range: [m] of depth that is used.
            place: [m] edge of the squares that share the room.
        """
        if dim < 1 or capacity < 10 or patches < 1:
            raise ValueError(f"need dim >= 1, capacity >= 10 and patches >= 1, got {dim}, {capacity}, {patches}")
        if not (0 < max_range < np.inf and 0 < place < np.inf):
            raise ValueError(f"need max_range > 0 and place > 0, got {max_range}, {place}")
        self.dim, self.capacity, self.patches = dim, capacity, patches
        self.max_range, self.place = max_range, place
        self._features = np.zeros((0, dim), dtype=np.float16)
        self._points = np.zeros((0, 3))
        self._stamps = np.zeros(0)
        self._n = 0

    def __len__(self) -> int:
        """Number of patches."""
        return self._n

    @property
    def features(self) -> Float[np.ndarray, "n d"]:
        """What the patches look like, oldest first, float16; a view."""
        return self._features[: self._n]

    @property
    def points(self) -> Float[np.ndarray, "n 3"]:
        """Where they are [m]; a view."""
        return self._points[: self._n]

    @property
    def stamps(self) -> Float[np.ndarray, " n"]:
        """When they were seen [s]; a view."""
        return self._stamps[: self._n]

    def append(self, features: Float[np.ndarray, "n d"], points: Float[np.ndarray, "n 3"], stamp: float) -> None:
        """Add patches seen at `stamp` [s] at these points [m].

        Raises:
            ValueError: if a feature is of another length, more patches come at once than fit, or a number is not
                finite or too large for float16; nothing is added then.
        """
        features, points = np.asarray(features), np.asarray(points, dtype=np.float64)
        if features.ndim != 2 or features.shape[1] != self.dim or points.shape != (len(features), 3):
            raise ValueError(f"need features (n, {self.dim}) and points (n, 3), got {features.shape}, {points.shape}")
        if len(features) > self.capacity // 2:
            raise ValueError(f"{len(features)} patches at once are too many for a capacity of {self.capacity}")
        with np.errstate(over="ignore"):
            halves = features.astype(np.float16)
        if not (np.isfinite(halves).all() and np.isfinite(points).all() and math.isfinite(stamp)):
            raise ValueError("features, points and the stamp must be finite, features below 65,504")
        if self._n + len(halves) > self.capacity:
            self._forget(self.capacity - max(len(halves), int(_FORGET_SHARE * self.capacity)))
        self._make_room(self._n + len(halves))
        rows = slice(self._n, self._n + len(halves))
        self._features[rows], self._points[rows], self._stamps[rows] = halves, points, stamp
        self._n = rows.stop

    def observe(self, observation: Observation) -> None:
        """Add the patches of a frame; nothing happens without depth, instances and embeddings.

        Raises:
            ValueError: if an embedding is not of length `dim`; nothing is added then.
        """
        if observation.depth is None or observation.instance is None or not observation.embeddings:
            return
        shapes = {vector.shape for vector in observation.embeddings.values()}
        if shapes != {(self.dim,)}:
            raise ValueError(f"embeddings must be of length {self.dim}, got shapes {sorted(shapes)}")
        features, points = image_patches(observation, self.patches, self.max_range)
        self.append(features, points, float(observation.stamp))

    def query(self, query: Query) -> list[Hit]:
        """The patches most like `query.embedding`, or nearest to `query.near`; without either there is no answer.

        Ties: newest first.
        """
        if query.place is not None or query.kind not in (None, self.kind):
            return []
        if query.entity is not None or query.text is not None or (query.embedding is None and query.near is None):
            return []
        match = (query.since <= self.stamps) & (self.stamps < query.until)
        if query.box is not None:
            match &= ((self.points >= query.box[0]) & (self.points <= query.box[1])).all(axis=1)
        distance = np.zeros(self._n)
        if query.near is not None:
            distance = np.linalg.norm(self.points - query.near, axis=1)
            match &= distance <= query.radius
        score = -distance
        if query.embedding is not None:
            score = self._cosines(query.embedding)
            match &= score >= query.min_similarity
        found = np.flatnonzero(match)
        found = found[np.lexsort((-found, -score[found]))][: query.k]
        what = "cosine" if query.embedding is not None else "minus the distance [m]"
        return [
            Hit(
                score=float(score[i]),
                why=f"patch {i}, {what} {score[i]:.3f}",
                layer=self.kind,
                stamp=float(self._stamps[i]),
                position=self._points[i].copy(),
            )
            for i in found
        ]

    def tick(self, stamp: float) -> None:
        """Time alone changes nothing; room does."""

    def deform(self, deformation: Deformation) -> None:
        """Move every patch with the keyframe nearest to the time it was seen."""
        if len(deformation.stamps) == 0 or self._n == 0:
            return
        T = deformation.at(self.stamps)
        self._points[: self._n] = np.einsum("nij,nj->ni", T[:, :3, :3], self.points) + T[:, :3, 3]

    def stats(self) -> dict[str, float]:
        """Patches, places that hold one, bytes of RAM."""
        n_bytes = self._features.nbytes + self._points.nbytes + self._stamps.nbytes
        places = np.unique(self._places(), axis=0) if self._n else np.zeros(0)
        return {"patches": float(self._n), "places": float(len(places)), "bytes": float(n_bytes + 1)}

    def save(self) -> LayerState:
        """All patches, oldest first."""
        params = {name: getattr(self, name) for name in NUMBERS}
        arrays = {name: getattr(self, name).copy() for name in ("features", "points", "stamps")}
        return LayerState(self.kind, self.version, params, arrays)

    @classmethod
    def load(cls, state: LayerState) -> EgoGrid:
        """The grid that was saved.

        Raises:
            InputError: if the state is of another kind, a newer version or malformed.
        """
        check_header(state, cls.kind, cls.version)
        numbers = checked_numbers(state, NUMBERS)
        whole = {name: int(numbers[name]) for name in ("dim", "capacity", "patches")}
        if any(whole[name] != numbers[name] for name in whole):
            raise InputError(f"layer {cls.kind!r} needs whole numbers, got {numbers}")
        points = checked_array(state, "points", np.float64, (None, 3))
        features = checked_array(state, "features", np.float16, (len(points), whole["dim"]))
        stamps = checked_array(state, "stamps", np.float64, (len(points),))
        try:
            grid = cls(**{**numbers, **whole})  # type: ignore[arg-type]
        except ValueError as error:
            raise InputError(f"layer {cls.kind!r}: {error}") from error
        if len(points) > grid.capacity:
            raise InputError(f"layer {cls.kind!r} holds {len(points)} patches, more than its {grid.capacity}")
        grid._make_room(len(points))
        grid._features[: len(points)], grid._points[: len(points)] = features, points
        grid._stamps[: len(points)], grid._n = stamps, len(points)
        return grid

    def _places(self) -> Int[np.ndarray, "n 2"]:
        """The square that each patch lies in."""
        return np.floor(self.points[:, :2] / self.place).astype(np.int64)

    def _forget(self, target: int) -> None:
        """Keep `target` patches: of every place the newest, the same number where there are so many."""
        _, place = np.unique(self._places(), axis=0, return_inverse=True)
        newest_first = np.lexsort((-np.arange(self._n), place.ravel()))
        ends = np.cumsum(np.bincount(place.ravel()))
        rank = np.empty(self._n, dtype=np.int64)  # within its place, 0 is the newest
        rank[newest_first] = np.arange(self._n) - np.repeat(np.append(0, ends[:-1]), np.diff(ends, prepend=0))
        kept = np.sort(np.lexsort((-np.arange(self._n), rank))[:target])
        for array in (self._features, self._points, self._stamps):
            array[: len(kept)] = array[kept]
        self._n = len(kept)

    def _make_room(self, n: int) -> None:
        """Make the arrays at least n long; they double up to the capacity."""
        if n <= len(self._stamps):
            return
        size = min(max(2 * len(self._stamps), n, 256), self.capacity)
        for name in ("_features", "_points", "_stamps"):
            old = getattr(self, name)
            new = np.zeros((size, *old.shape[1:]), dtype=old.dtype)
            new[: self._n] = old[: self._n]
            setattr(self, name, new)

    def _cosines(self, embedding: np.ndarray) -> Float[np.ndarray, " n"]:
        asked = np.asarray(embedding, dtype=np.float32)
        if asked.shape != (self.dim,):
            raise ValueError(f"the embedding asked for must be of length {self.dim}, got shape {asked.shape}")
        rows = self.features.astype(np.float32)
        lengths = np.linalg.norm(rows, axis=1) * np.linalg.norm(asked)
        return (rows @ asked / np.maximum(lengths, 1e-12)).astype(np.float64)


def image_patches(
    observation: Observation, patches: int, max_range: float
) -> tuple[Float[np.ndarray, "n d"], Float[np.ndarray, "n 3"]]:
    """(features, points [m] in the map) of the parts of an image with embeddings, row by row.

    Ties between segments: the lower number.
    """
    if observation.depth is None or observation.instance is None or not observation.embeddings:
        raise ValueError("need depth, an instance image and embeddings")
    height, width = observation.depth.shape
    numbers = np.array(sorted(observation.embeddings))
    vectors = np.stack([observation.embeddings[int(number)] for number in numbers])
    at = np.minimum(np.searchsorted(numbers, observation.instance), len(numbers) - 1)
    depth = observation.depth
    is_shown = (numbers[at] == observation.instance) & (depth > 0) & (depth <= max_range)
    rows = np.arange(height) * patches // height
    columns = np.arange(width) * patches // width
    group = ((rows[:, None] * patches + columns) * len(numbers) + at)[is_shown]
    shape = (patches * patches, len(numbers))
    counts = np.bincount(group, minlength=shape[0] * shape[1]).reshape(shape)
    local = backproject(depth.astype(np.float32), observation.intrinsics)[is_shown].astype(np.float64)
    points = transform_points(np.asarray(observation.T_map_camera, dtype=np.float64), local)
    sums = [np.bincount(group, weights=points[:, axis], minlength=counts.size).reshape(shape) for axis in range(3)]
    shown = np.flatnonzero(counts.max(axis=1) > 0)
    winner = counts[shown].argmax(axis=1)
    means = np.stack(sums, axis=-1)[shown, winner] / counts[shown, winner, None]
    return vectors[winner], means


def planar_pose(T_map_camera: Float[np.ndarray, "4 4"]) -> Float[np.ndarray, "3"]:
    """(x, y [m], heading [rad]) of a camera."""
    return np.array([T_map_camera[0, 3], T_map_camera[1, 3], heading(T_map_camera)[0]])


def ego_cells(
    points: Float[np.ndarray, "n c"], pose: Float[np.ndarray, "3"], side: int = SIDE
) -> tuple[Int[np.ndarray, " n"], float]:
    """(cell of each point, half-width [m]) of the grid around a pose (x, y, heading); -1 is outside of the grid.

    Cell = row * side + column; rows go along the heading, from behind to ahead, columns to the left. The grid is as
    wide as the points ask for: its half-width is 2/3 of their largest extent along or across the heading, at least
    `LEAST_HALF_WIDTH`. What is farther away than that, behind the corner that the robot stands in, is outside.
    """
    if len(points) == 0:
        return np.zeros(0, dtype=np.int64), LEAST_HALF_WIDTH
    cosine, sine = quarter_exact(float(pose[2]))
    offset = points[:, :2] - pose[:2]
    ahead = cosine * offset[:, 0] + sine * offset[:, 1]
    left = cosine * offset[:, 1] - sine * offset[:, 0]
    extent = max(float(np.ptp(ahead)), float(np.ptp(left)))
    half = max(EXTENT_SHARE * extent, LEAST_HALF_WIDTH)
    rows, columns = (np.floor(np.round((u + half) * (side / (2.0 * half)), _DIGITS)) for u in (ahead, left))
    is_in = (rows >= 0) & (rows < side) & (columns >= 0) & (columns < side)
    return np.where(is_in, rows * side + columns, -1).astype(np.int64), half


def quarter_exact(angle: float) -> tuple[float, float]:
    """(cosine, sine), which are exactly 0 and 1 at multiples of a right angle."""
    quarters = round(angle / (math.pi / 2))
    if abs(angle - quarters * (math.pi / 2)) < _QUARTER * max(1.0, abs(angle)):
        return ((1.0, 0.0), (0.0, 1.0), (-1.0, 0.0), (0.0, -1.0))[quarters % 4]
    return math.cos(angle), math.sin(angle)
