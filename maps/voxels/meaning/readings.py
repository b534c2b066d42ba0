"""What the payload of a voxel map knows at given points."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float, Int

from embmem.maps.voxels.blocks import AXIS_LIMIT, SIDE, BlockPool
from embmem.maps.voxels.meaning.payload import Payload
from embmem.maps.voxels.meaning.pixels import COLOUR_SCALE, locate


class Readings:
    """One row a point; NaN or -1 where nothing is known.

    Every method raises ValueError if the map does not keep its channel.
    """

    def __init__(
        self,
        pool: BlockPool,
        payload: Payload,
        rows: Int[np.ndarray, " n"],
        cells: Int[np.ndarray, " n"],
        epoch: float,
    ) -> None:
        """Readings of the voxels at `cells` of the blocks `rows`, -1 for no block; `epoch` [s] is the map's."""
        self._pool, self._payload, self._rows, self._cells, self._epoch = pool, payload, rows, cells, epoch

    @classmethod
    def at(
        cls, points: Float[np.ndarray, "n 3"], pool: BlockPool, payload: Payload, resolution: float, epoch: float
    ) -> Readings:
        """Readings of the voxels around the points [m]."""
        inside = np.isfinite(points).all(axis=1)
        voxels = np.floor(np.where(inside[:, None], points, 0.0) / resolution)
        inside &= (np.abs(voxels) < AXIS_LIMIT * SIDE).all(axis=1)
        voxels[~inside] = 0
        rows, cells = np.empty(len(points), dtype=np.int64), np.empty(len(points), dtype=np.int64)
        locate(pool.table, pool.keys, voxels.astype(np.int64), rows, cells)
        return cls(pool, payload, np.where(inside, rows, -1), cells, epoch)

    def colour(self) -> Float[np.ndarray, "n 3"]:
        """Mean red, green and blue in [0, 255]."""
        mean = self._values("colour")
        return np.where(mean[:, 3:] > 0, mean[:, :3] / COLOUR_SCALE, np.nan)

    def colour_weight(self) -> Int[np.ndarray, " n"]:
        """Frames behind the mean colour, 0 for none, at most `max_weight`."""
        return self._values("colour")[:, 3].astype(np.int64)

    def labels(self) -> tuple[Int[np.ndarray, "n slots"], Int[np.ndarray, "n slots"]]:
        """(numbers, votes) of the labels, most votes first; numbers index `Payload.names`, -1 with 0 votes is none."""
        slots = self._values("labels").astype(np.int64)
        numbers, votes = slots[..., 0] - 1, slots[..., 1]
        order = np.lexsort((numbers, -votes), axis=1)
        return np.take_along_axis(numbers, order, axis=1), np.take_along_axis(votes, order, axis=1)

    def top_label(self) -> Int[np.ndarray, " n"]:
        """Number of the label with most votes, an index to `Payload.names`; the lowest of those with equally many."""
        return self.labels()[0][:, 0]

    def top_share(self) -> Float[np.ndarray, " n"]:
        """Votes of the top label over the votes of all labels that are remembered."""
        votes = self.labels()[1]
        total = votes.sum(axis=1)
        return np.where(total > 0, votes[:, 0] / np.maximum(total, 1), np.nan)

    def last_seen(self) -> Float[np.ndarray, " n"]:
        """Stamp [s] at which a surface was last measured there, as exact as float32 seconds since the epoch are."""
        seconds = self._values("seen")
        return np.where(seconds != 0, self._epoch + (seconds.astype(np.float64) - 1.0), np.nan)

    def keyframe(self) -> Int[np.ndarray, " n"]:
        """Number of the last frame that measured a surface there, an index to `Payload.stamps`."""
        return self._values("keyframe").astype(np.int64) - 1

    def prototype(self) -> Int[np.ndarray, " n"]:
        """Id of the prototype."""
        return self._values("prototype").astype(np.int64) - 1

    def _values(self, name: str) -> np.ndarray:
        if name not in self._payload.channels:
            raise ValueError(f"this map keeps no {name!r}, only {list(self._payload.channels)}")
        channel = self._payload.open_channels(self._pool)[name]
        values = channel[np.maximum(self._rows, 0), self._cells]
        values[self._rows < 0] = 0
        return values
