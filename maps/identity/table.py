"""Everything that is remembered about things: rows, looks, earlier places, and who was seen beside whom."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field

import numpy as np
from jaxtyping import Bool, Float, Float32, Int

from embmem.maps.object_rows import PLACE, ROW
from embmem.protocols import Deformation

MOST_PLACES = 64  # that are kept of each thing


@dataclass(frozen=True, eq=False)
class Excerpt:
    """What a table holds about a few things."""

    rows: np.ndarray  # (n,) ROW, ids ascending
    looks: Float32[np.ndarray, "n d"]
    places: np.ndarray  # (h,) PLACE
    apart: Int[np.ndarray, "k 2"]

    @property
    def n_bytes(self) -> int:
        """Bytes of the arrays."""
        return sum(array.nbytes for array in (self.rows, self.looks, self.places, self.apart))


def _no_looks() -> np.ndarray:
    return np.zeros((0, 0), dtype=np.float32)


def no_pairs() -> Int[np.ndarray, "0 2"]:
    """An empty list of pairs of ids."""
    return np.zeros((0, 2), dtype=np.int64)


@dataclass(eq=False)
class ThingTable:
    """Rows by ascending id. A look is the mean of unit embeddings, not normalised again, 0 where there was none.

    The length of such a mean tells how alike its embeddings were, so the expected product of the looks of one thing
    does not depend on how many embeddings went into each.
    """

    rows: np.ndarray = field(default_factory=lambda: np.zeros(0, dtype=ROW))
    looks: Float32[np.ndarray, "n d"] = field(default_factory=_no_looks)  # d = 0 before the first embedding
    places: np.ndarray = field(default_factory=lambda: np.zeros(0, dtype=PLACE))  # that things have left
    apart: Int[np.ndarray, "k 2"] = field(default_factory=no_pairs)  # ids a < b of two things seen in one frame
    next_id: int = 0

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def n_bytes(self) -> int:
        """Bytes of the arrays."""
        return Excerpt(self.rows, self.looks, self.places, self.apart).n_bytes

    def index(self, thing: int) -> int:
        """The row of a thing.

        Raises:
            ValueError: if there is no thing of that id.
        """
        at = int(np.searchsorted(self.rows["id"], thing))
        if at == len(self.rows) or self.rows["id"][at] != thing:
            raise ValueError(f"there is no thing {thing}")
        return at

    def append(self, rows: np.ndarray, looks: Float32[np.ndarray, "n d"]) -> None:
        """New things; they are given the next ids."""
        rows["id"] = self.next_id + np.arange(len(rows))
        self.next_id += len(rows)
        self.widen(looks.shape[1])
        self.rows = np.concatenate([self.rows, rows])
        self.looks = np.concatenate([self.looks, _widened(looks, self.looks.shape[1])])

    def widen(self, dim: int) -> None:
        """Make room for looks of length `dim`, unless there is room for looks already."""
        self.looks = _widened(self.looks, max(dim, self.looks.shape[1]))

    def drop(self, is_over: Bool[np.ndarray, " n"]) -> None:
        """Forget rows and all that belongs to them."""
        ids = self.rows["id"][is_over]
        self.rows, self.looks = self.rows[~is_over], self.looks[~is_over]
        self.places = self.places[~np.isin(self.places["thing"], ids)]
        self.apart = self.apart[~np.isin(self.apart, ids).any(axis=1)]

    def leave(self, at: Int[np.ndarray, " n"]) -> None:
        """Keep the present places of these rows as places that they have left."""
        if len(at) == 0:
            return
        self.places = ordered_places(np.concatenate([self.places, places_of(self.rows[at])]))

    def keep_apart(self, pairs: Int[np.ndarray, "k 2"]) -> None:
        """Remember that the things of each pair are two."""
        if len(pairs):
            self.apart = np.unique(np.concatenate([self.apart, np.sort(pairs, axis=1)]), axis=0)

    def are_apart(self, a: Int[np.ndarray, " n"], b: Int[np.ndarray, " n"]) -> Bool[np.ndarray, " n"]:
        """Whether these pairs of ids are known to be two things."""
        if len(self.apart) == 0:
            return np.zeros(len(a), dtype=np.bool_)
        codes = self.apart[:, 0] * self.next_id + self.apart[:, 1]  # ascending
        wanted = np.minimum(a, b) * self.next_id + np.maximum(a, b)
        at = np.minimum(np.searchsorted(codes, wanted), len(codes) - 1)
        return np.equal(codes[at], wanted)

    def excerpt(self, ids: Collection[int]) -> Excerpt:
        """What is held about the things of these ids; those that are not there are left out."""
        mine = np.isin(self.rows["id"], list(ids))
        return Excerpt(
            self.rows[mine],
            self.looks[mine],
            self.places[np.isin(self.places["thing"], list(ids))],
            self.apart[np.isin(self.apart, list(ids)).any(axis=1)],
        )

    def replace(self, ids: Collection[int], new: Excerpt) -> None:
        """Exchange all that is held about the things of these ids; pairs with things that are gone are left out."""
        mine = np.isin(self.rows["id"], list(ids))
        self.widen(new.looks.shape[1])
        rows = np.concatenate([self.rows[~mine], new.rows])
        looks = np.concatenate([self.looks[~mine], _widened(new.looks, self.looks.shape[1])])
        order = np.argsort(rows["id"], kind="stable")
        self.rows, self.looks = rows[order], looks[order]
        others = self.places[~np.isin(self.places["thing"], list(ids))]
        self.places = ordered_places(np.concatenate([others, new.places]))
        kept = self.apart[~np.isin(self.apart, list(ids)).any(axis=1)]
        self.apart = np.zeros((0, 2), dtype=np.int64)
        pairs = np.concatenate([kept, new.apart])
        self.keep_apart(pairs[np.isin(pairs, self.rows["id"]).all(axis=1)])

    def deform(self, deformation: Deformation) -> None:
        """Move rows and earlier places with the keyframe nearest to their last sighting."""
        deform_places(self.rows, deformation)
        deform_places(self.places, deformation)


def places_of(rows: np.ndarray) -> np.ndarray:
    """The present places of things as places that they leave."""
    places = np.zeros(len(rows), dtype=PLACE)
    for name in ("position", "box", "last_seen"):
        places[name] = rows[name]
    places["thing"], places["first_seen"] = rows["id"], rows["here_since"]
    return places


def ordered_places(places: np.ndarray) -> np.ndarray:
    """Places by thing, then by time; of each thing the newest `MOST_PLACES`."""
    places = places[np.lexsort((places["first_seen"], places["last_seen"], places["thing"]))]
    n_newer = np.searchsorted(places["thing"], places["thing"], side="right") - np.arange(len(places)) - 1
    return places[n_newer < MOST_PLACES]


def deform_places(table: np.ndarray, deformation: Deformation) -> None:
    """Move position and box of every row, in place, with the keyframe nearest to its last sighting."""
    if len(deformation.stamps) == 0 or len(table) == 0:
        return
    T = deformation.at(table["last_seen"])
    table["position"] = np.einsum("nij,nj->ni", T[:, :3, :3], table["position"]) + T[:, :3, 3]
    table["box"] = moved_boxes(table["box"], T)


def moved_boxes(box: Float[np.ndarray, "n 2 3"], T: Float[np.ndarray, "n 4 4"]) -> Float[np.ndarray, "n 2 3"]:
    """Each box moved by its own transform; boxes stay axis-aligned and hold what they held."""
    R, t = T[:, :3, :3], T[:, :3, 3]
    middle = np.einsum("nij,nj->ni", R, box.mean(axis=1)) + t
    half = np.einsum("nij,nj->ni", np.abs(R), 0.5 * (box[:, 1] - box[:, 0]))
    return np.stack([middle - half, middle + half], axis=1)


def _widened(looks: np.ndarray, dim: int) -> Float[np.ndarray, "n d"]:
    return looks if looks.shape[1] == dim else np.zeros((len(looks), dim), dtype=np.float32)
