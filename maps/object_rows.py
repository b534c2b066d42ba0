"""The tables behind the object memory: one row a thing, one a place that a thing has left; how a file is checked."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence

import numpy as np
from jaxtyping import Float

from embmem.errors import InputError
from embmem.maps.states import checked_array
from embmem.protocols import LayerState

Form = list[tuple[str, type, tuple[int, ...]]]
_ROW_FORM: Form = [
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
    ("lead", np.int64, ()),  # of the category in the votes of the detector
    ("n_looks", np.int64, ()),  # embeddings in the mean of its look
    ("here_since", np.float64, ()),  # [s] first seen at its present place
]
_PLACE_FORM: Form = [
    ("thing", np.int64, ()),  # id of what lay there
    ("position", np.float64, (3,)),  # [m]
    ("box", np.float64, (2, 3)),  # [m]
    ("first_seen", np.float64, ()),  # [s] there
    ("last_seen", np.float64, ()),  # [s] there
]
_MOST_IDS = 2**31  # so that a pair of them fits into 64 bits
_ADDED = ("lead", "n_looks", "here_since")  # in version 2
ROW = np.dtype(_ROW_FORM)
PLACE = np.dtype(_PLACE_FORM)
_TOLD = ("id", "category", "position", "box", "first_seen", "here_since", "last_seen", "times_seen", "times_missed")
THING = np.dtype([*(field for field in _ROW_FORM if field[0] in _TOLD), ("confidence", np.float64, ())])


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


def fields_to_arrays(table: np.ndarray, prefix: str = "") -> dict[str, np.ndarray]:
    """The fields of a structured array as plain arrays for a `LayerState`."""
    return {prefix + name: np.ascontiguousarray(table[name]) for name in table.dtype.names or ()}


def rows_from_state(state: LayerState, prefix: str = "") -> np.ndarray:
    """Rows of things; those of version 1 had no votes and no looks.

    Raises:
        InputError: if anything in them is malformed or contradicts itself.
    """
    form = [field for field in _ROW_FORM if state.version > 1 or field[0] not in _ADDED]
    rows = _fields(state, form, ROW, prefix)
    if state.version == 1:
        rows["lead"], rows["here_since"] = 1, rows["first_seen"]
    _refuse(state, {
        "a category is below 0": (rows["category"] < 0).any(),
        "a weight is negative": (rows["weight"] < 0).any(),
        "a count is negative": (rows["times_seen"] < 1).any() or (rows["times_missed"] < 0).any(),
        "here_since lies outside of first_seen and last_seen": (
            (rows["here_since"] < rows["first_seen"]) | (rows["here_since"] > rows["last_seen"])
        ).any(),
        "votes or looks are negative": (rows["lead"] < 0).any() or (rows["n_looks"] < 0).any(),
        **_of_places(rows),
    })  # fmt: skip
    return rows


def places_from_state(state: LayerState, prefix: str = "place_") -> np.ndarray:
    """Rows of places that things have left.

    Raises:
        InputError: if anything in them is malformed or contradicts itself.
    """
    places = _fields(state, _PLACE_FORM, PLACE, prefix)
    _refuse(state, _of_places(places))
    return places


def check_ids(state: LayerState, rows: np.ndarray, next_id: int, n_categories: int) -> None:
    """Refuse a table whose ids do not ascend below `next_id` or whose categories are not in the list.

    Raises:
        InputError: if it is such a table.
    """
    ids = np.append(rows["id"], next_id)
    _refuse(state, {
        "ids must ascend from 0": (np.diff(ids) <= 0).any() or ids[0] < 0 or next_id >= _MOST_IDS,
        "a category is not in the list": (rows["category"] >= n_categories).any(),
    })  # fmt: skip


def encoded_names(names: Sequence[str]) -> np.ndarray:
    """A list of names as an array of bytes."""
    return np.frombuffer(json.dumps(list(names)).encode(), dtype=np.uint8).copy()


def decoded_names(encoded: np.ndarray) -> list[str]:
    """The list of different names that such an array holds.

    Raises:
        InputError: if it holds something else.
    """
    try:
        names = json.loads(encoded.tobytes().decode())
    except (ValueError, RecursionError) as error:
        raise InputError(f"the list of categories is damaged: {error}") from error
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise InputError("the categories are not a list of names")
    if len(set(names)) != len(names):
        raise InputError("the list of categories names one twice")
    return names


def _fields(state: LayerState, form: Form, dtype: np.dtype, prefix: str) -> np.ndarray:
    table = np.zeros(len(checked_array(state, prefix + form[0][0], np.int64, (None,))), dtype=dtype)
    for name, kind, shape in form:
        table[name] = checked_array(state, prefix + name, kind, (len(table), *shape))
    return table


def _of_places(table: np.ndarray) -> dict[str, bool]:
    return {
        "first_seen is after last_seen": bool((table["first_seen"] > table["last_seen"]).any()),
        "a box is inside out": bool((table["box"][:, 0] > table["box"][:, 1]).any()),
    }


def _refuse(state: LayerState, problems: Mapping[str, bool | np.bool_]) -> None:
    for problem, is_so in problems.items():
        if is_so:
            raise InputError(f"layer {state.kind!r}: {problem}")
