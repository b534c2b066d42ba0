"""The table behind the object memory: one row a thing, and its checks when it comes from a file."""

from __future__ import annotations

import json
from collections.abc import Sequence

import numpy as np
from jaxtyping import Float

from embmem.errors import InputError
from embmem.maps.states import checked_array
from embmem.protocols import LayerState

_FORM: list[tuple[str, type, tuple[int, ...]]] = [
    ("id", np.int64, ()),
    ("category", np.int64, ()),  # index in the list of categories
    ("position", np.float64, (3,)),  # [m]
    ("box", np.float64, (2, 3)),  # [m] lowest and highest corner of what was seen of it
    ("weight", np.float64, ()),  # of all sightings that went into the position
    ("log_odds", np.float64, ()),  # of being where it is remembered
    ("first_seen", np.float64, ()),  # [s]
    ("last_seen", np.float64, ()),  # [s]
    ("times_seen", np.int64, ()),
    ("times_missed", np.int64, ()),  # looks at its place that found it empty
]
ROW = np.dtype(_FORM)
_TOLD = ("id", "category", "position", "box", "first_seen", "last_seen", "times_seen", "times_missed")
THING = np.dtype([*(field for field in _FORM if field[0] in _TOLD), ("confidence", np.float64, ())])


def things_of(rows: np.ndarray) -> np.ndarray:
    """What the table says to others: the fields of `THING`, a row a thing, ids ascending."""
    things = np.zeros(len(rows), dtype=THING)
    for name in _TOLD:
        things[name] = rows[name]
    things["confidence"] = confidence(rows["log_odds"])
    return things


def confidence(log_odds: Float[np.ndarray, " n"]) -> Float[np.ndarray, " n"]:
    """Probabilities of log-odds."""
    return 1.0 / (1.0 + np.exp(-log_odds))


def rows_to_arrays(rows: np.ndarray, categories: Sequence[str], next_id: int) -> dict[str, np.ndarray]:
    """The table as plain arrays for a `LayerState`."""
    arrays = {name: np.ascontiguousarray(rows[name]) for name, _, _ in _FORM}
    arrays["categories"] = np.frombuffer(json.dumps(list(categories)).encode(), dtype=np.uint8).copy()
    arrays["next_id"] = np.array([next_id], dtype=np.int64)
    return arrays


def rows_from_state(state: LayerState) -> tuple[np.ndarray, list[str], int]:
    """(rows, categories, next id) of a saved table.

    Raises:
        InputError: if anything in it is malformed or contradicts itself.
    """
    categories = _categories(checked_array(state, "categories", np.uint8, (None,)))
    next_id = int(checked_array(state, "next_id", np.int64, (1,))[0])
    rows = np.zeros(len(checked_array(state, "id", np.int64, (None,))), dtype=ROW)
    for name, kind, shape in _FORM:
        rows[name] = checked_array(state, name, kind, (len(rows), *shape))
    ids = np.append(rows["id"], next_id)
    problems = {
        "ids must ascend from 0": (np.diff(ids) <= 0).any() or ids[0] < 0,
        "a category is not in the list": ((rows["category"] < 0) | (rows["category"] >= len(categories))).any(),
        "first_seen is after last_seen": (rows["first_seen"] > rows["last_seen"]).any(),
        "a box is inside out": (rows["box"][:, 0] > rows["box"][:, 1]).any(),
        "a weight is negative": (rows["weight"] < 0).any(),
        "a count is negative": (rows["times_seen"] < 1).any() or (rows["times_missed"] < 0).any(),
    }
    for problem, is_so in problems.items():
        if is_so:
            raise InputError(f"layer {state.kind!r}: {problem}")
    return rows, categories, next_id


def _categories(encoded: np.ndarray) -> list[str]:
    try:
        categories = json.loads(encoded.tobytes().decode())
    except (ValueError, RecursionError) as error:
        raise InputError(f"the list of categories is damaged: {error}") from error
    if not isinstance(categories, list) or not all(isinstance(name, str) for name in categories):
        raise InputError("the categories are not a list of names")
    if len(set(categories)) != len(categories):
        raise InputError("the list of categories names one twice")
    return categories
