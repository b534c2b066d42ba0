"""Questions about what a robot did, answered from the records of its steps: templates of FindingDory's eleven families.

FindingDory (Yadav et al., 2025) asks an agent about a day of its own interactions. Here the day is a log of records,
one a step, and every template is a few lines over it. Whatever the log no longer holds cannot be answered, or is
answered wrongly: that is what a memory is judged by.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeAlias

from embmem.records import Record

KIND = "step"
HELD = "in the hand"
Value: TypeAlias = str | int | tuple[str, ...]  # tuples of sets are sorted


@dataclass(frozen=True)
class PastQuestion:
    """A question of a template; what the template does not ask about is empty."""

    template: str  # a key of TEMPLATES
    object: str = ""
    other: str = ""
    room: str = ""
    errand: str = ""
    text: str = ""
    n: int = 0


@dataclass(frozen=True)
class Event:
    """A step as its record has it."""

    step: int
    errand: str
    action: str
    arguments: tuple[str, ...]
    ok: bool
    result: str
    changed: dict[str, str]  # object -> "table_1 in kitchen_1" or HELD, where that is news


def step_record(event: Event) -> Record:
    """The record of a step."""
    payload = {
        "errand": event.errand, "action": event.action, "arguments": list(event.arguments), "ok": event.ok,
        "result": event.result, "changed": event.changed,
    }  # fmt: skip
    words = f"{event.action} {', '.join(event.arguments)}: {'done' if event.ok else 'failed'}"
    return Record(
        kind=KIND, t_event=float(event.step), source="robot", keys=(f"errand:{event.errand}",), text=words,
        entities=tuple(event.changed), payload=payload,
    )  # fmt: skip


def events(records: Sequence[Record]) -> list[Event]:
    """The steps of a log in their order; other records are passed over."""
    steps = sorted((r for r in records if r.kind == KIND), key=lambda r: r.t_event)
    return [
        Event(
            int(r.t_event), r.payload["errand"], r.payload["action"], tuple(r.payload["arguments"]), r.payload["ok"],
            r.payload["result"], r.payload["changed"],
        )
        for r in steps
    ]  # fmt: skip


def answer(log: Sequence[Event], question: PastQuestion) -> Value | None:
    """The answer that follows from the log; None if there is none.

    Raises:
        ValueError: if there is no such template.
    """
    if question.template not in TEMPLATES:
        raise ValueError(f"no template {question.template!r}; there are {', '.join(TEMPLATES)}")
    return TEMPLATES[question.template][1](log, question)


def answer_from_table(places: dict[str, str], question: PastQuestion) -> Value | None:
    """What a table of the present can say: where something is."""
    return places.get(question.object) if question.template == "where_is" else None


def _picks(log: Sequence[Event], errand: str = "") -> list[Event]:
    return [e for e in log if e.action == "Pick" and e.ok and errand in ("", e.errand)]


def _where_is(log: Sequence[Event], q: PastQuestion) -> Value | None:
    return next((e.changed[q.object] for e in reversed(log) if q.object in e.changed), None)


def _where_first(log: Sequence[Event], q: PastQuestion) -> Value | None:
    return next((e.changed[q.object] for e in log if q.object in e.changed), None)


def _last_picked(log: Sequence[Event], q: PastQuestion) -> Value | None:
    picks = _picks(log, q.errand)
    return picks[-1].arguments[0] if picks else None


def _n_picked(log: Sequence[Event], q: PastQuestion) -> Value | None:
    return len(_picks(log))


def _picked_after(log: Sequence[Event], q: PastQuestion) -> Value | None:
    entered = next((e.step for e in log if _rooms([e]) == [q.room] and e.errand == q.errand), None)
    if entered is None:
        return None
    return next((e.arguments[0] for e in _picks(log, q.errand) if e.step > entered), None)


def _described_as(log: Sequence[Event], q: PastQuestion) -> Value | None:
    return next((e.arguments[0] for e in log if e.action == "DescribeObjectTool" and q.text in e.result), None)


def _put_on(log: Sequence[Event], q: PastQuestion) -> Value | None:
    placed = [e for e in log if e.action == "Place" and e.ok and e.arguments[0] == q.object]
    return placed[-1].arguments[2] if placed else None


def _beside(log: Sequence[Event], q: PastQuestion) -> Value | None:
    """Other objects of the errand on the same furniture just before it was first picked."""
    places: dict[str, str] = {}
    for e in (e for e in log if e.errand == q.errand):
        if e.action == "Pick" and e.ok and e.arguments[0] == q.object:
            here = places.get(q.object)
            return None if here is None else tuple(sorted(o for o, p in places.items() if p == here and o != q.object))
        places |= e.changed
    return None


def _found_in(log: Sequence[Event], q: PastQuestion) -> Value | None:
    first = _where_first(log, q)
    return first.split(" in ")[1] if isinstance(first, str) and " in " in first and first != HELD else None


def _rooms(log: Sequence[Event], errand: str = "") -> list[str]:
    """Rooms that were gone to, in order; a room again only after another one."""
    rooms: list[str] = []
    for e in log:
        room = e.arguments[0] if e.arguments else ""
        if e.ok and errand in ("", e.errand) and e.action == "Explore" and rooms[-1:] != [room]:
            rooms.append(room)
    return rooms


def _step_of(action: str) -> Callable[[Sequence[Event], PastQuestion], Value | None]:
    def step(log: Sequence[Event], q: PastQuestion) -> Value | None:
        return next((e.step for e in log if e.action == action and e.ok and e.arguments[0] == q.object), None)

    return step


def _held_for(log: Sequence[Event], q: PastQuestion) -> Value | None:
    """Steps between the first pick and the first place after it."""
    begin = _step_of("Pick")(log, q)
    if not isinstance(begin, int):
        return None
    end = _step_of("Place")([e for e in log if e.step > begin], q)
    return end - begin if isinstance(end, int) else None


def _errand_steps(log: Sequence[Event], q: PastQuestion) -> Value | None:
    return sum(e.errand == q.errand for e in log) or None


def _nth_picked(log: Sequence[Event], q: PastQuestion) -> Value | None:
    picks = _picks(log)
    return picks[q.n - 1].arguments[0] if len(picks) >= q.n else None


def _picked_first(log: Sequence[Event], q: PastQuestion) -> Value | None:
    return next((e.arguments[0] for e in _picks(log) if e.arguments[0] in (q.object, q.other)), None)


def _moved(log: Sequence[Event], q: PastQuestion) -> Value | None:
    return tuple(sorted({e.arguments[0] for e in _picks(log, q.errand)})) or None


def _failed(log: Sequence[Event], q: PastQuestion) -> Value | None:
    return tuple(sorted({e.action for e in log if e.errand == q.errand and not e.ok})) or None


def _pick_order(log: Sequence[Event], q: PastQuestion) -> Value | None:
    return tuple(e.arguments[0] for e in _picks(log, q.errand)) or None


def _room_order(log: Sequence[Event], q: PastQuestion) -> Value | None:
    return tuple(_rooms(log, q.errand)) or None


# Template: (family, how it is answered).
TEMPLATES: dict[str, tuple[str, Callable[[Sequence[Event], PastQuestion], Value | None]]] = {
    "where_is": ("recall", _where_is),
    "where_first": ("recall", _where_first),
    "last_picked": ("interaction", _last_picked),
    "n_picked": ("interaction", _n_picked),
    "picked_after_room": ("conditional", _picked_after),
    "described_as": ("attribute", _described_as),
    "put_on": ("spatial", _put_on),
    "beside": ("spatial", _beside),
    "found_in": ("room", _found_in),
    "nth_picked": ("order", _nth_picked),
    "picked_first": ("order", _picked_first),
    "step_of_pick": ("time", _step_of("Pick")),
    "step_of_place": ("time", _step_of("Place")),
    "held_for": ("duration", _held_for),
    "errand_steps": ("duration", _errand_steps),
    "moved": ("unordered", _moved),
    "failed": ("unordered", _failed),
    "pick_order": ("ordered", _pick_order),
    "room_order": ("ordered", _room_order),
}
