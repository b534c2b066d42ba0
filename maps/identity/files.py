"""The table of things and the operations on it as arrays, and back."""

from __future__ import annotations

import numpy as np

from embmem.errors import InputError
from embmem.maps.identity.operations import MERGE, SPLIT, Operation, OperationLog
from embmem.maps.identity.table import Excerpt, ThingTable, no_pairs, ordered_places
from embmem.maps.object_rows import check_ids, fields_to_arrays, places_from_state, rows_from_state
from embmem.maps.states import checked_array
from embmem.protocols import LayerState

_PARTS = ("rows", "looks", "places", "apart")


def table_to_arrays(table: ThingTable) -> dict[str, np.ndarray]:
    """The table as plain arrays for a `LayerState`."""
    return {
        **fields_to_arrays(table.rows),
        **fields_to_arrays(table.places, "place_"),
        "looks": np.ascontiguousarray(table.looks),
        "apart": np.ascontiguousarray(table.apart),
        "next_id": np.array([table.next_id], dtype=np.int64),
    }


def table_from_state(state: LayerState, n_categories: int) -> ThingTable:
    """The table that was saved; one of version 1 has no looks, places or pairs.

    Raises:
        InputError: if anything in it is malformed or contradicts itself.
    """
    rows = rows_from_state(state)
    next_id = int(checked_array(state, "next_id", np.int64, (1,))[0])
    check_ids(state, rows, next_id, n_categories)
    if state.version == 1:
        return ThingTable(rows, looks=np.zeros((len(rows), 0), dtype=np.float32), next_id=next_id)
    looks = checked_array(state, "looks", np.float32, (len(rows), None))
    places = places_from_state(state)
    apart = checked_array(state, "apart", np.int64, (None, 2))
    if not (np.isin(places["thing"], rows["id"]).all() and np.isin(apart, rows["id"]).all()):
        raise InputError(f"layer {state.kind!r}: a place or a pair names a thing that is not there")
    _check_pairs(state, apart)
    if not np.array_equal(apart, np.unique(apart, axis=0)) or not np.array_equal(places, ordered_places(places)):
        raise InputError(f"layer {state.kind!r}: pairs or places are not in order")
    return ThingTable(rows, looks, places, apart, next_id)


def log_to_arrays(log: OperationLog) -> dict[str, np.ndarray]:
    """The operations as plain arrays: their excerpts one after the other, with their lengths."""
    sides = [excerpt for entry in log.entries for excerpt in (entry.before, entry.after)]
    empty = Excerpt(ThingTable().rows, ThingTable().looks, ThingTable().places, no_pairs())
    width = max((side.looks.shape[1] for side in sides), default=0)
    looks = [np.pad(side.looks, ((0, 0), (0, width - side.looks.shape[1]))) for side in sides]
    numbers = [(entry.id, entry.kept, entry.other, entry.kind == SPLIT, entry.is_asked) for entry in log.entries]
    counts = [[len(getattr(side, part)) for part in _PARTS] + [side.looks.shape[1]] for side in sides]
    return {
        "op_numbers": np.array(numbers, dtype=np.int64).reshape(-1, 5),
        "op_scores": np.array([(entry.stamp, entry.score) for entry in log.entries], dtype=np.float64).reshape(-1, 2),
        "op_counts": np.array(counts, dtype=np.int64).reshape(-1, 2, len(_PARTS) + 1),
        "op_next": np.array([log.next_id], dtype=np.int64),
        "op_looks": np.concatenate([np.zeros((0, width), dtype=np.float32), *looks]),
        "op_apart": np.concatenate([empty.apart, *(side.apart for side in sides)]),
        **fields_to_arrays(np.concatenate([empty.rows, *(side.rows for side in sides)]), "op_row_"),
        **fields_to_arrays(np.concatenate([empty.places, *(side.places for side in sides)]), "op_place_"),
    }


def log_from_state(state: LayerState, capacity: int, table: ThingTable, n_categories: int) -> OperationLog:
    """The operations on this table that were saved; version 1 had none.

    Raises:
        InputError: if anything in them is malformed or contradicts itself.
    """
    if state.version == 1:
        return OperationLog(capacity)
    numbers = checked_array(state, "op_numbers", np.int64, (None, 5))
    n = len(numbers)
    scores = checked_array(state, "op_scores", np.float64, (n, 2))
    counts = checked_array(state, "op_counts", np.int64, (n, 2, len(_PARTS) + 1))
    next_id = int(checked_array(state, "op_next", np.int64, (1,))[0])
    ids = np.append(numbers[:, 0], next_id)
    if (np.diff(ids) <= 0).any() or ids[0] < 0 or n > capacity:
        raise InputError(f"layer {state.kind!r}: the ids of operations must ascend, at most {capacity} of them")
    if ((numbers[:, 3:] < 0) | (numbers[:, 3:] > 1)).any():
        raise InputError(f"layer {state.kind!r}: an operation is of no known kind")
    sides = _sides(state, counts.reshape(-1, len(_PARTS) + 1))
    entries = []
    for i, (number, kept, other, is_split, is_asked) in enumerate(numbers.tolist()):
        before, after = sides[2 * i], sides[2 * i + 1]
        whole, parted = (before, after) if is_split else (after, before)
        is_its = whole.rows["id"].tolist() == [kept] and parted.rows["id"].tolist() == [kept, other]
        if not is_its or not 0 <= kept < other < table.next_id:
            raise InputError(f"layer {state.kind!r}: operation {number} does not hold its two things")
        if (np.concatenate([before.rows, after.rows])["category"] >= n_categories).any():
            raise InputError(f"layer {state.kind!r}: operation {number} names a category that is not in the list")
        if not {before.looks.shape[1], after.looks.shape[1]} <= {0, table.looks.shape[1]}:
            raise InputError(f"layer {state.kind!r}: operation {number} holds looks of another length")
        if not np.isin(np.concatenate([before.places, after.places])["thing"], [kept, other]).all():
            raise InputError(f"layer {state.kind!r}: operation {number} holds a place of another thing")
        kind = SPLIT if is_split else MERGE
        stamp, score = scores[i].tolist()
        entries.append(Operation(number, kind, kept, other, stamp, score, bool(is_asked), before, after))
    return OperationLog(capacity, entries, next_id)


def _sides(state: LayerState, counts: np.ndarray) -> list[Excerpt]:
    """The excerpts, cut out of the arrays that hold them one after the other."""
    tables = {
        "rows": rows_from_state(state, "op_row_"),
        "looks": checked_array(state, "op_looks", np.float32, (None, None)),
        "places": places_from_state(state, "op_place_"),
        "apart": checked_array(state, "op_apart", np.int64, (None, 2)),
    }
    _check_pairs(state, tables["apart"])
    widths = counts[:, -1]
    if (counts < 0).any() or (widths > tables["looks"].shape[1]).any():
        raise InputError(f"layer {state.kind!r}: an operation counts below 0 or beyond its looks")
    pieces = {}
    for column, part in enumerate(_PARTS):
        ends = np.cumsum(counts[:, column])
        if (counts[:, column] > len(tables[part])).any() or (ends[-1] if len(ends) else 0) != len(tables[part]):
            raise InputError(f"layer {state.kind!r}: the operations do not add up to their {part}")
        pieces[part] = [tables[part][end - count : end] for end, count in zip(ends, counts[:, column], strict=True)]
    if (counts[:, 0] != counts[:, 1]).any():
        raise InputError(f"layer {state.kind!r}: an operation has not one look for each row")
    return [
        Excerpt(pieces["rows"][i], pieces["looks"][i][:, : widths[i]], pieces["places"][i], pieces["apart"][i])
        for i in range(len(counts))
    ]


def _check_pairs(state: LayerState, apart: np.ndarray) -> None:
    if (apart[:, 0] >= apart[:, 1]).any() or (apart < 0).any():
        raise InputError(f"layer {state.kind!r}: a pair of things does not ascend")
