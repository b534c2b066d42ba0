"""A scene graph as plain data, and back with everything checked: a file is untrusted input."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field, fields
from typing import Any

import numpy as np

from embmem.errors import InputError
from embmem.maps.object_rows import decoded_names, encoded_names
from embmem.maps.scene_graph.floors import Floor
from embmem.maps.scene_graph.relations import RelationRules
from embmem.maps.scene_graph.rooms import Doors, RoomMap, RoomRules
from embmem.maps.scene_graph.things import Things
from embmem.maps.scene_graph.trail import Trail
from embmem.maps.states import checked_array, checked_numbers
from embmem.protocols import LayerState

_RULES: tuple[tuple[str, type[RoomRules | RelationRules]], ...] = (
    ("room_rules", RoomRules), ("relation_rules", RelationRules)
)  # fmt: skip
_MOST_CELLS = 2**31
_MOST_ROOMS = 2**30  # so that numbers yet to be given fit into 32 bits
_FARTHEST = 1e9  # [m]
_FINEST = 1e-3  # [m] edge of a cell


@dataclass(frozen=True, eq=False)
class Parts:
    """What a scene graph holds and cannot derive."""

    things: Things = field(default_factory=Things.none)
    floors: list[Floor] = field(default_factory=list)
    merged: dict[int, int] = field(default_factory=dict)
    trail: Trail = field(default_factory=Trail)
    next_room: int = 0
    names: dict[int, str] = field(default_factory=dict)  # of rooms that were given one


def params_to_json(params: dict[str, Any]) -> dict[str, Any]:
    """The constructor's arguments as JSON values."""
    return {name: asdict(value) if isinstance(value, (RoomRules, RelationRules)) else value
            for name, value in params.items()}  # fmt: skip


def params_from_state(state: LayerState) -> dict[str, Any]:
    """The constructor's arguments.

    Raises:
        InputError: if they are malformed.
    """
    params = dict(state.params)
    found: dict[str, Any] = {}
    for name, rules in _RULES:
        numbers = params.pop(name, None)
        if not isinstance(numbers, dict):
            raise InputError(f"the {name} of layer {state.kind!r} are {numbers!r}, not numbers by name")
        names = tuple(each.name for each in fields(rules))
        try:
            found[name] = rules(**checked_numbers(LayerState(state.kind, state.version, numbers, {}), names))
        except ValueError as error:
            raise InputError(f"layer {state.kind!r}: {error}") from error
    for name in ("furniture", "containers"):
        names_given = params.pop(name, None)
        if not isinstance(names_given, list) or not all(isinstance(each, str) for each in names_given):
            raise InputError(f"the {name} of layer {state.kind!r} is not a list of names")
        found[name] = names_given
    return found | checked_numbers(LayerState(state.kind, state.version, params, {}), ("furniture_size",))


def parts_to_arrays(parts: Parts) -> dict[str, np.ndarray]:
    """Everything as plain arrays for a `LayerState`."""
    things, maps = parts.things, [floor.rooms for floor in parts.floors]
    names = list(dict.fromkeys(things.categories))
    number = {name: i for i, name in enumerate(names)}
    doors = [(i, each.doors) for i, each in enumerate(maps)]
    return {
        "thing_id": things.ids.astype(np.int64),
        "thing_category": np.array([number[name] for name in things.categories], dtype=np.int64),
        "thing_box": np.ascontiguousarray(things.box, dtype=np.float64),
        "thing_stamp": things.stamp.astype(np.float64),
        "thing_confidence": things.confidence.astype(np.float64),
        "categories": encoded_names(names),
        "floor_height": np.array([floor.height for floor in parts.floors], dtype=np.float64),
        "floor_origin": np.array([each.origin for each in maps], dtype=np.float64).reshape(-1, 2),
        "floor_resolution": np.array([each.resolution for each in maps], dtype=np.float64),
        "floor_shape": np.array([each.labels.shape for each in maps], dtype=np.int64).reshape(-1, 2),
        "labels": np.concatenate([np.zeros(0, dtype=np.int32), *(each.labels.ravel() for each in maps)]),
        "door_floor": np.concatenate([np.zeros(0, dtype=np.int64), *(np.full(len(d), i) for i, d in doors)]),
        "door_rooms": np.concatenate([np.zeros((0, 2), dtype=np.int64), *(d.rooms for _, d in doors)]),
        "door_position": np.concatenate([np.zeros((0, 2)), *(d.position for _, d in doors)]),
        "door_width": np.concatenate([np.zeros(0), *(d.width for _, d in doors)]),
        "merged": np.array(sorted(parts.merged.items()), dtype=np.int64).reshape(-1, 2),
        "trail": parts.trail.rows(),
        "next_room": np.array([parts.next_room], dtype=np.int64),
        **_names_to_arrays(parts.names),
    }


def _names_to_arrays(names: dict[int, str]) -> dict[str, np.ndarray]:
    """Nothing where no room was given a name."""
    if not names:
        return {}
    distinct = list(dict.fromkeys(names.values()))
    rows = [(room, distinct.index(name)) for room, name in sorted(names.items())]
    return {"named_rooms": np.array(rows, dtype=np.int64), "room_names": encoded_names(distinct)}


def _names(state: LayerState) -> dict[int, str]:
    if "named_rooms" not in state.arrays:
        return {}
    rows = checked_array(state, "named_rooms", np.int64, (None, 2))
    names = decoded_names(checked_array(state, "room_names", np.uint8, (None,)))
    _refuse(state, {
        "a room is named twice": len(np.unique(rows[:, 0])) != len(rows),
        "the name of a room is not in the list": ((rows[:, 1] < 0) | (rows[:, 1] >= len(names))).any(),
    })  # fmt: skip
    return {room: names[i] for room, i in rows.tolist()}


def parts_from_state(state: LayerState) -> Parts:
    """What was saved.

    Raises:
        InputError: if anything in it is malformed or contradicts itself.
    """
    next_room = int(checked_array(state, "next_room", np.int64, (1,))[0])
    merged = checked_array(state, "merged", np.int64, (None, 2))
    floors = _floors(state)
    rooms = np.concatenate([np.zeros(0, dtype=np.int64), *(floor.rooms.ids() for floor in floors)])
    _refuse(state, {
        "a room has a number that was not given yet": len(rooms) and rooms.max() >= next_room,
        "too many rooms were numbered": not 0 <= next_room <= _MOST_ROOMS,
        "a room is on two floors": len(np.unique(rooms)) != len(rooms),
        "a merged room is none": ((merged < 0) | (merged >= next_room)).any() or np.isin(merged[:, 0], rooms).any(),
        "a room is merged twice": len(np.unique(merged[:, 0])) != len(merged),
    })  # fmt: skip
    trail = checked_array(state, "trail", np.float64, (None, 4))
    _refuse(state, {"the trail is out of range": (np.abs(trail[:, :3]) > _FARTHEST).any()})
    pairs = {int(old): int(new) for old, new in merged.tolist()}
    return Parts(_things(state), floors, pairs, Trail(trail), next_room, _names(state))


def _things(state: LayerState) -> Things:
    ids = checked_array(state, "thing_id", np.int64, (None,))
    n = len(ids)
    category = checked_array(state, "thing_category", np.int64, (n,))
    names = decoded_names(checked_array(state, "categories", np.uint8, (None,)))
    _refuse(state, {"a category is not in the list": ((category < 0) | (category >= len(names))).any()})
    box = checked_array(state, "thing_box", np.float64, (n, 2, 3))
    _refuse(state, {"a thing is out of range": (np.abs(box) > _FARTHEST).any()})
    try:
        return Things(
            ids,
            tuple(names[i] for i in category.tolist()),
            box,
            checked_array(state, "thing_stamp", np.float64, (n,)),
            checked_array(state, "thing_confidence", np.float64, (n,)),
        )
    except ValueError as error:
        raise InputError(f"layer {state.kind!r}: {error}") from error


def _floors(state: LayerState) -> list[Floor]:
    height = checked_array(state, "floor_height", np.float64, (None,))
    n = len(height)
    origin = checked_array(state, "floor_origin", np.float64, (n, 2))
    resolution = checked_array(state, "floor_resolution", np.float64, (n,))
    shape = checked_array(state, "floor_shape", np.int64, (n, 2))
    labels = checked_array(state, "labels", np.int32, (None,))
    is_sane = (shape >= 0).all() and (shape <= _MOST_CELLS).all()
    sizes = [int(h) * int(w) for h, w in shape.tolist()]
    _refuse(state, {
        "the floors do not ascend": (np.diff(height) < 0).any(),
        "the cells do not fit the floors": not is_sane or sum(sizes) != len(labels),
        "a label is below -1": (labels < -1).any(),
        "a floor is out of range": (np.abs(origin) > _FARTHEST).any() or (np.abs(height) > _FARTHEST).any(),
        "cells are too fine or too coarse": not ((resolution >= _FINEST) & (resolution <= _FARTHEST)).all(),
    })  # fmt: skip
    ends = np.cumsum([0, *sizes])
    doors = _doors(state, n)
    floors = []
    for i in range(n):
        cells = labels[ends[i] : ends[i + 1]].reshape(shape[i])
        rooms = RoomMap(origin[i], float(resolution[i]), cells, doors[i])
        _refuse(state, {"a door leads to no room": not np.isin(doors[i].rooms, rooms.ids()).all()})
        floors.append(Floor(float(height[i]), rooms))
    return floors


def _doors(state: LayerState, n_floors: int) -> list[Doors]:
    floor = checked_array(state, "door_floor", np.int64, (None,))
    n = len(floor)
    rooms = checked_array(state, "door_rooms", np.int64, (n, 2))
    position = checked_array(state, "door_position", np.float64, (n, 2))
    width = checked_array(state, "door_width", np.float64, (n,))
    _refuse(state, {
        "a door is on no floor": ((floor < 0) | (floor >= n_floors)).any() or (np.diff(floor) < 0).any(),
        "a door leads back into its room": (rooms[:, 0] >= rooms[:, 1]).any(),
        "a door has no width": (width < 0).any(),
    })  # fmt: skip
    return [Doors(rooms[floor == i], position[floor == i], width[floor == i]) for i in range(n_floors)]


def _refuse(state: LayerState, problems: dict[str, Any]) -> None:
    for problem, is_so in problems.items():
        if is_so:
            raise InputError(f"layer {state.kind!r}: {problem}")
