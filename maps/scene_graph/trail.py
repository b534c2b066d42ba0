"""Where the camera has been, and when it was last in each place: what rooms are anchored by."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float
from scipy.spatial import cKDTree

from embmem.maps.scene_graph.rooms import RoomMap
from embmem.protocols import Deformation

CELL = 0.5  # [m] one bit of trail for a cube of this edge
_STOREY = 2.0  # [m] above a floor the camera is on that level


class Trail:
    """The latest stamp in each cube that the camera was in."""

    def __init__(self, rows: Float[np.ndarray, "n 4"] | None = None) -> None:
        """The trail with these rows x y z [m], stamp [s]; of several in one cube the latest stays."""
        self._cells: dict[tuple[int, int, int], tuple[float, float, float, float]] = {}
        if rows is not None:
            for x, y, z, stamp in rows[np.argsort(rows[:, 3], kind="stable")].tolist():
                self._cells[_cube(x, y, z)] = (x, y, z, stamp)

    def add(self, position: Float[np.ndarray, "3"], stamp: float) -> None:
        """The camera was here; an earlier stamp than the one kept changes nothing."""
        x, y, z = np.asarray(position, dtype=np.float64).tolist()
        cube = _cube(x, y, z)
        if cube not in self._cells or self._cells[cube][3] <= stamp:
            self._cells[cube] = (x, y, z, float(stamp))

    def rows(self) -> Float[np.ndarray, "n 4"]:
        """x y z [m], stamp [s] in a fixed order."""
        return np.array([self._cells[cube] for cube in sorted(self._cells)], dtype=np.float64).reshape(-1, 4)

    @property
    def nbytes(self) -> int:
        """[bytes] of RAM."""
        return 200 * len(self._cells)

    def anchors(self, rooms: RoomMap, height: float) -> Float[np.ndarray, " n"]:
        """The stamp of each room: when the camera was in it last, or nearest to its middle; 0 without a trail."""
        ids, rows = rooms.ids(), self.rows()
        rows = rows[(rows[:, 2] >= height - 0.5) & (rows[:, 2] < height + _STOREY)]
        if len(rows) == 0:
            return np.zeros(len(ids))
        inside = rooms.at(rows[:, :2])
        stamps = np.full(len(ids), -np.inf)
        at = np.searchsorted(ids, inside[inside >= 0])
        np.maximum.at(stamps, at, rows[inside >= 0, 3])
        left = np.flatnonzero(~np.isfinite(stamps))
        if len(left):
            _, nearest = cKDTree(rows[:, :2]).query(np.stack([rooms.middle(int(ids[i])) for i in left]))
            stamps[left] = rows[nearest, 3]
        return stamps

    def moved(self, deformation: Deformation) -> Trail:
        """Every bit moved with the keyframe nearest in time."""
        rows = self.rows()
        T = deformation.at(rows[:, 3])
        rows[:, :3] = np.einsum("nij,nj->ni", T[:, :3, :3], rows[:, :3]) + T[:, :3, 3]
        return Trail(rows)


def _cube(x: float, y: float, z: float) -> tuple[int, int, int]:
    return int(np.floor(x / CELL)), int(np.floor(y / CELL)), int(np.floor(z / CELL))
