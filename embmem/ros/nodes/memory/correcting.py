"""Corrections of records, as CorrectMemory asks for them."""

from __future__ import annotations

from typing import Any

import numpy as np
from jaxtyping import Float

from embmem.errors import InputError
from embmem.live import LiveMemory
from embmem.records import Record
from embmem.store.amend import correct, restore, withdraw
from embmem.store.purge import forget

CORRECT, WITHDRAW, RESTORE, FORGET, ADD = 1, 2, 3, 4, 5
MOST_IDS = 10_000


def corrected(
    memory: LiveMemory, request: Any, *, position: Float[np.ndarray, "3"] | None, place: Record | None
) -> tuple[list[int], str]:
    """(ids of the records that say so, in words); all of it is on the disk then, and the layers follow.

    Args:
        memory: it.
        request: of CorrectMemory.
        position: its position in the map, where it has one.
        place: a record with the robot's place and time, for what is added.

    Raises:
        InputError: if it makes no sense.
    """
    ids, action = [int(i) for i in request.ids], int(request.action)
    _check(request, ids, action)
    store, by, reason = memory.store, str(request.by) or "operator", str(request.reason)
    try:
        if action == ADD:
            written = [_add(memory, request, position, place)]
            return written, f"note {written[0]} was added"
        if action == CORRECT:
            written = [correct(store, ids[0], source=by, reason=reason, **_changes(request, position)).wait()]
            said = f"record {written[0]} stands in the place of {ids[0]}"
        elif action == WITHDRAW:
            written = withdraw(store, ids, source=by, reason=reason)
            said = f"{len(ids)} records are withdrawn"
        elif action == RESTORE:
            written = restore(memory.writable, ids[0], source=by, reason=reason)
            said = f"record {ids[0]} is believed again"
        else:
            written = []
            said = f"{forget(memory.writable, ids)} records were removed for ever"
    except ValueError as error:
        raise InputError(str(error)) from None
    memory.flush()
    if memory.refresh():
        said += "; the maps were made anew without what is not believed"
    return written, said


def _check(request: Any, ids: list[int], action: int) -> None:
    if action not in (CORRECT, WITHDRAW, RESTORE, FORGET, ADD):
        raise InputError(f"there is no action {action}, only CORRECT, WITHDRAW, RESTORE, FORGET and ADD")
    if request.layer not in ("", "records"):
        raise InputError(
            f"only records can be corrected; what the layer {str(request.layer)!r} holds follows from the frames: "
            "withdraw those"
        )
    if (action == ADD) != (not ids) or len(ids) > MOST_IDS or (action in (CORRECT, RESTORE) and len(ids) != 1):
        raise InputError(f"ADD takes no ids, CORRECT and RESTORE one, the others some; got {len(ids)}")


def _changes(request: Any, position: np.ndarray | None) -> dict[str, Any]:
    changes: dict[str, Any] = {name: str(getattr(request, name)) for name in ("text", "place")}
    changes = {name: value for name, value in changes.items() if value}
    if request.label:
        changes["entities"] = (str(request.label),)
    if position is not None:
        changes["position"] = position
    if request.confidence:
        changes["confidence"] = float(request.confidence)
    if not changes:
        raise InputError("a correction needs a text, a label, a place, a position or a confidence")
    return changes


def _add(memory: LiveMemory, request: Any, position: np.ndarray | None, place: Record | None) -> int:
    if not (request.text or request.label or request.place):
        raise InputError("a note needs a text, a label or a place")
    if position is None and place is None:
        raise InputError("the robot's place is not known, and no position was given")
    note = Record(
        kind="note",
        t_event=0.0 if place is None else place.t_event,
        source=str(request.by) or "operator",
        place=str(request.place) or None,
        T_map_obs=None if place is None else place.T_map_obs,
        position=position,
        entities=(str(request.label),) if request.label else (),
        text=str(request.text),
        confidence=float(request.confidence) or 1.0,
        payload={"reason": str(request.reason), "pinned": True},
    )
    return memory.store.write(note).wait()
