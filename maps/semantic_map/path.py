"""Where the robot was: a line of bounded length that keeps what is recent finer than what is long ago."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float

from embmem.errors import InputError
from embmem.maps.states import checked_array
from embmem.protocols import Deformation, LayerState


class Path:
    """Points of a way at least `spacing` apart; at `capacity` every second of the older half is left out."""

    def __init__(self, spacing: float, capacity: int = 4096) -> None:
        """No point yet. `spacing` in metres."""
        if not spacing > 0 or capacity < 4:
            raise ValueError(f"need spacing > 0 and capacity >= 4, got {spacing}, {capacity}")
        self.spacing, self.capacity = spacing, capacity
        self._rows = np.zeros((capacity, 3))  # x, y [m], stamp [s]
        self._n = 0

    @property
    def points(self) -> Float[np.ndarray, "n 2"]:
        """(x, y) [m], oldest first; a view."""
        return self._rows[: self._n, :2]

    @property
    def stamps(self) -> Float[np.ndarray, " n"]:
        """[s]; a view."""
        return self._rows[: self._n, 2]

    def append(self, point: Float[np.ndarray, "2"], stamp: float) -> None:
        """Add a point [m], if it is far enough from the last."""
        if self._n and np.hypot(*(point - self.points[-1])) < self.spacing:
            return
        if self._n == self.capacity:
            half = self._n // 2
            kept = np.concatenate([self._rows[:half:2], self._rows[half : self._n]])
            self._rows[: len(kept)], self._n = kept, len(kept)
        self._rows[self._n] = (*point, stamp)
        self._n += 1

    def deform(self, deformation: Deformation) -> None:
        """Move every point with the keyframe nearest in time."""
        if len(deformation.stamps) == 0 or self._n == 0:
            return
        T = deformation.at(self.stamps)
        self._rows[: self._n, :2] = np.einsum("nij,nj->ni", T[:, :2, :2], self.points) + T[:, :2, 3]

    def n_bytes(self) -> int:
        """Bytes of RAM."""
        return self._rows.nbytes

    def rows(self) -> Float[np.ndarray, "n 3"]:
        """(x, y, stamp) of the points, a copy."""
        return self._rows[: self._n].copy()

    def fill(self, state: LayerState, name: str) -> None:
        """Take the points saved as the array `name`.

        Raises:
            InputError: if it is malformed or too long.
        """
        rows = checked_array(state, name, np.float64, (None, 3))
        if len(rows) > self.capacity:
            raise InputError(f"array {name!r} of layer {state.kind!r} is no way of at most {self.capacity} points")
        self._rows[: len(rows)], self._n = rows, len(rows)
