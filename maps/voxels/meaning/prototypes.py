"""A table of prototypes: what many voxels look like, kept once."""

from __future__ import annotations

from typing import Any

import numpy as np
from jaxtyping import Float, Int, Shaped

from embmem.errors import InputError
from embmem.maps.states import checked_array
from embmem.protocols import LayerState

MOST = 65534  # ids that a voxel can hold
LONGEST = 8192  # numbers in an embedding


class PrototypeTable:
    """Running means of embeddings that are alike, by id from 0; an id never changes its meaning.

    An embedding joins the most similar prototype if their cosine is at least `merge_cosine`, else it founds one. Those
    of one call are compared with the prototypes as they were before it and with those that it founds, in order. A full
    table founds none: the embedding is counted with the most similar prototype without moving its mean (merging two
    old ones instead would mean to find and rename their voxels all over the map).
    """

    def __init__(self, dim: int, capacity: int = 16384, merge_cosine: float = 0.85) -> None:
        """An empty table.

        Args:
            dim: length of an embedding, up to 8,192.
            capacity: the most prototypes, up to 65,534.
            merge_cosine: least cosine, in (0, 1], of an embedding with the prototype that it joins.
        """
        if not (1 <= dim <= LONGEST and 1 <= capacity <= MOST and 0.0 < merge_cosine <= 1.0):
            given = (dim, capacity, merge_cosine)
            raise ValueError(f"need dim <= {LONGEST}, capacity <= {MOST}, merge_cosine in (0, 1], got {given}")
        self.dim, self.capacity, self.merge_cosine = dim, capacity, merge_cosine
        self.n = 0
        self.n_crowded = 0  # embeddings that found the table full
        # zero pages: no memory before they are written to
        self._mean = np.zeros((capacity, dim), dtype=np.float32)
        self._direction = np.zeros((capacity, dim), dtype=np.float32)
        self._count = np.zeros(capacity, dtype=np.int64)
        self._last_seen = np.zeros(capacity)

    def __len__(self) -> int:
        """Number of prototypes."""
        return self.n

    @property
    def mean(self) -> Float[np.ndarray, "n d"]:
        """Mean of the unit embeddings of each prototype; its length tells how alike they were."""
        return self._mean[: self.n]

    @property
    def direction(self) -> Float[np.ndarray, "n d"]:
        """The means as unit vectors."""
        return self._direction[: self.n]

    @property
    def count(self) -> Int[np.ndarray, " n"]:
        """How many embeddings joined each prototype."""
        return self._count[: self.n]

    @property
    def last_seen(self) -> Float[np.ndarray, " n"]:
        """Latest stamp [s] of each prototype."""
        return self._last_seen[: self.n]

    def assign(self, embeddings: Float[np.ndarray, "n d"], stamp: float) -> Int[np.ndarray, " n"]:
        """The ids of the prototypes that the embeddings join or found at `stamp` [s].

        Raises:
            ValueError: if an embedding is of another length, zero or not finite.
        """
        units = unit_rows(embeddings, self.dim)
        ids = np.full(len(units), -1, dtype=np.int64)
        if self.n and len(units):
            cosines = units @ self.direction.T
            nearest = cosines.argmax(axis=1)
            is_like = cosines[np.arange(len(units)), nearest] >= self.merge_cosine
            ids[is_like] = nearest[is_like]
        moves_mean = np.ones(len(units), dtype=np.bool_)
        n_before = self.n
        for i in np.flatnonzero(ids < 0):
            ids[i], moves_mean[i] = self._newcomer(units[i], n_before)
        self._average(units[moves_mean], ids[moves_mean])
        np.add.at(self._count, ids[~moves_mean], 1)
        self._last_seen[ids] = np.maximum(self._last_seen[ids], stamp)
        return ids

    def scores(self, embedding: Float[np.ndarray, " d"]) -> Float[np.ndarray, " n"]:
        """The cosine of each prototype with an embedding, float32.

        Raises:
            ValueError: if the embedding is of another length, zero or not finite.
        """
        return self.direction @ unit_rows(np.asarray(embedding)[None], self.dim)[0]

    def n_bytes(self) -> int:
        """Bytes of RAM that hold prototypes."""
        return sum(a[: self.n].nbytes for a in (self._mean, self._direction, self._count, self._last_seen))

    def params(self) -> dict[str, Any]:
        """The constructor's arguments, with what else a file keeps in numbers."""
        return {
            "dim": self.dim,
            "capacity": self.capacity,
            "merge_cosine": self.merge_cosine,
            "n_crowded": self.n_crowded,
        }

    def arrays(self) -> dict[str, np.ndarray]:
        """What is saved of the prototypes."""
        return {
            "prototype_mean": self.mean.copy(),
            "prototype_count": self.count.copy(),
            "prototype_last_seen": self.last_seen.copy(),
        }

    @classmethod
    def from_state(cls, params: object, state: LayerState) -> PrototypeTable:
        """The table that was saved as `params` and among the arrays of a layer.

        Raises:
            InputError: if anything in it is missing or malformed.
        """
        names = {"dim": int, "capacity": int, "merge_cosine": float, "n_crowded": int}
        if not isinstance(params, dict) or set(params) != set(names):
            raise InputError(f"the prototypes of layer {state.kind!r} have parameters {params!r}, not {sorted(names)}")
        if not all(type(params[name]) is kind for name, kind in names.items()) or params["n_crowded"] < 0:
            raise InputError(f"the prototypes of layer {state.kind!r} have parameters {params!r}")
        mean = checked_array(state, "prototype_mean", np.float32, (None, params["dim"]))
        count = checked_array(state, "prototype_count", np.int64, (len(mean),))
        last_seen = checked_array(state, "prototype_last_seen", np.float64, (len(mean),))
        length = np.linalg.norm(mean, axis=1)
        if len(mean) > params["capacity"] or (count < 1).any() or ((length <= 0) | (length > 1.001)).any():
            raise InputError(f"the prototypes of layer {state.kind!r} are too many, or not means of unit vectors")
        try:
            table = cls(params["dim"], params["capacity"], params["merge_cosine"])
        except ValueError as error:
            raise InputError(f"layer {state.kind!r}: {error}") from error
        table.n, table.n_crowded = len(mean), params["n_crowded"]
        table._mean[: table.n], table._direction[: table.n] = mean, mean / length[:, None]
        table._count[: table.n], table._last_seen[: table.n] = count, last_seen
        return table

    def absorb(self, other: PrototypeTable) -> Int[np.ndarray, " n"]:
        """The ids that the prototypes of another table have here: of the one they are alike, else a new one.

        What finds the table full is counted with the most similar prototype without moving its mean.

        Raises:
            ValueError: if the other table's embeddings are of another length.
        """
        if other.dim != self.dim:
            raise ValueError(f"embeddings must be of length {self.dim}, got {other.dim}")
        ids = np.full(other.n, -1, dtype=np.int64)
        if self.n and other.n:
            cosines = other.direction @ self.direction.T
            ids = np.where(cosines.max(axis=1) >= self.merge_cosine, cosines.argmax(axis=1), ids)
        new = np.flatnonzero(ids < 0)
        new, crowded = np.split(new, [self.capacity - self.n])
        ids[new] = self.n + np.arange(len(new))
        self._last_seen[ids[new]] = -np.inf
        self._direction[ids[new]] = other.direction[new]
        self.n += len(new)
        moving = ids >= 0
        if len(crowded):
            ids[crowded] = (other.direction[crowded] @ self.direction.T).argmax(axis=1)
        changed = np.unique(ids[moving])
        sums = np.zeros((self.n, self.dim))
        sums[changed] = self._mean[changed] * self._count[changed, None].astype(np.float64)
        np.add.at(sums, ids[moving], other.mean[moving] * other.count[moving, None].astype(np.float64))
        counts = self._count[: self.n] + np.bincount(ids[moving], other.count[moving], minlength=self.n)
        self._mean[changed] = sums[changed] / counts[changed, None]
        self._direction[changed] = self._mean[changed] / np.linalg.norm(self._mean[changed], axis=1, keepdims=True)
        np.add.at(self._count, ids, other.count)
        np.maximum.at(self._last_seen, ids, other.last_seen)
        self.n_crowded += len(crowded)
        return ids

    def _newcomer(self, unit: np.ndarray, n_before: int) -> tuple[int, bool]:
        """(id, whether it moves the mean) of a unit vector that is like none of the first `n_before` prototypes."""
        cosines = self._direction[n_before : self.n] @ unit
        if len(cosines) and cosines.max() >= self.merge_cosine:
            return n_before + int(cosines.argmax()), True
        if self.n == self.capacity:
            self.n_crowded += 1
            return int((self.direction @ unit).argmax()), False
        self._direction[self.n] = unit
        self._last_seen[self.n] = -np.inf
        self.n += 1
        return self.n - 1, True

    def _average(self, units: np.ndarray, ids: np.ndarray) -> None:
        """Move the means of `ids` by their new members."""
        changed, index, n_new = np.unique(ids, return_inverse=True, return_counts=True)
        sums = np.zeros((len(changed), self.dim), dtype=np.float32)
        np.add.at(sums, index, units)
        self._count[changed] += n_new
        step = sums - n_new[:, None].astype(np.float32) * self._mean[changed]
        self._mean[changed] += step / self._count[changed, None].astype(np.float32)
        mean = self._mean[changed]
        self._direction[changed] = mean / np.linalg.norm(mean, axis=1, keepdims=True)


def unit_rows(embeddings: Shaped[np.ndarray, "..."], dim: int) -> Float[np.ndarray, "n d"]:
    """The rows of an (n, dim) array scaled to length 1, float32.

    Raises:
        ValueError: if it is of another shape, or a row is zero or not finite.
    """
    vectors = np.asarray(embeddings, dtype=np.float64)
    if vectors.ndim != 2 or vectors.shape[1] != dim:
        raise ValueError(f"embeddings must be of length {dim}, got an array of shape {vectors.shape}")
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    if not np.isfinite(lengths).all() or (lengths == 0).any():
        raise ValueError("an embedding is zero or not finite")
    return (vectors / lengths).astype(np.float32)
