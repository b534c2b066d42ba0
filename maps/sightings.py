"""What a sighting does to the rows of the object memory."""

from __future__ import annotations

import numpy as np
from jaxtyping import Bool, Float, Int

from embmem.maps.association import duplicates
from embmem.maps.identity.table import ThingTable
from embmem.maps.object_rows import ROW
from embmem.maps.segments import Segments

INSIDE = 0.03  # [m] by which the middle of a thing may lie outside of the box of another that is the same
_SHRINK = 0.2  # how much slower boxes shrink than positions move
_NEAREST = 0.5  # [m] nearer than this a sighting weighs no more
_CUT_WEIGHT = 0.05  # of all sightings together that the border of the image cuts
MAX_WEIGHT = 10.0  # of the past in a position, in sightings from 1 m: a thing that was pushed is followed


def shapes(rows: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Positions (n, 3), boxes (n, 2, 3) [m] and categories (n,) as arrays of their own, which kernels want."""
    position, box, category = (np.ascontiguousarray(rows[name]) for name in ("position", "box", "category"))
    return position, box, category


def thickened(box: Float[np.ndarray, "n 2 3"], least: float) -> Float[np.ndarray, "n 2 3"]:
    """The boxes with no side shorter than `least` [m], about the same middles."""
    pad = 0.5 * np.maximum(least - (box[:, 1] - box[:, 0]), 0.0)
    return np.stack([box[:, 0] - pad, box[:, 1] + pad], axis=1)


def confirmed(rows: np.ndarray, segments: Segments, columns: Int[np.ndarray, " n"], *, stamp: float) -> np.ndarray:
    """The rows after each was seen as one of the segments `columns`.

    Near sightings weigh more, and each shows at most the whole thing, so boxes rather grow than shrink.
    """
    rows = rows.copy()
    weight = _weight(segments)[columns]
    share = (weight / (rows["weight"] + weight))[:, None]
    rows["position"] += share * (segments.position[columns] - rows["position"])
    box = segments.box[columns]
    shrunk = rows["box"] + _SHRINK * share[:, None] * (box - rows["box"])
    rows["box"][:, 0] = np.minimum(box[:, 0], shrunk[:, 0])
    rows["box"][:, 1] = np.maximum(box[:, 1], shrunk[:, 1])
    cap = np.where(segments.is_cut[columns], np.maximum(_CUT_WEIGHT, rows["weight"]), MAX_WEIGHT)
    rows["weight"] = np.minimum(rows["weight"] + weight, cap)
    rows["last_seen"] = stamp
    rows["times_seen"] += 1
    return rows


def absorb_duplicates(table: ThingTable, seen: Int[np.ndarray, " n"]) -> Bool[np.ndarray, " m"]:
    """True for the unseen rows that are the same thing as one seen now, which takes over their past in place.

    Things that are kept apart are not the same.
    """
    rows = table.rows
    is_seen = np.zeros(len(rows), dtype=np.bool_)
    is_seen[seen] = True
    of = duplicates(shapes(rows), is_seen, INSIDE)
    other = np.flatnonzero(of >= 0)
    of[other[table.are_apart(rows["id"][other], rows["id"][of[other]])]] = -1
    other = np.flatnonzero(of >= 0)
    if len(other):
        for name in ("first_seen", "here_since"):
            np.minimum.at(rows[name], of[other], rows[name][other])
        np.add.at(rows["times_seen"], of[other], rows["times_seen"][other])
        np.minimum.at(rows["box"][:, 0], of[other], rows["box"][other, 0])
        np.maximum.at(rows["box"][:, 1], of[other], rows["box"][other, 1])
    return of >= 0


def new_rows(segments: Segments, columns: Int[np.ndarray, " n"], *, stamp: float) -> np.ndarray:
    """Rows for things seen for the first time; id, category and log-odds are left 0."""
    rows = np.zeros(len(columns), dtype=ROW)
    rows["position"] = segments.position[columns]
    rows["box"] = segments.box[columns]
    rows["weight"] = _weight(segments)[columns]
    rows["first_seen"] = rows["here_since"] = rows["last_seen"] = stamp
    rows["times_seen"] = rows["lead"] = 1
    return rows


def _weight(segments: Segments) -> Float[np.ndarray, " n"]:
    """Of each sighting in the position of its thing; the error of depth grows with the square of the distance."""
    weight = 1.0 / np.maximum(segments.distance, _NEAREST) ** 2
    return np.where(segments.is_cut, np.minimum(weight, _CUT_WEIGHT), weight)
