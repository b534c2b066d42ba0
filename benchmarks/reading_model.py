"""A stand-in for a language model behind a server: it knows nothing but the prompt, and answers by rule.

It reads the JSON lines of the data and the task as a model would, so that it can only be as good as what the prompt
says. It takes single errands and sequences of them, conditions, "everything on", "where the other is" and what people
told; references to earlier tasks it cannot resolve, and leaves them.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field
from typing import Any

from embmem.policies.household.memory import fits, in_room, is_called
from embmem.policies.household.parse import If, Move, Routine, Spot, Thing, noun_phrases, parse

_TASK = "The task, in the words of the person who gave it: "
_THING = re.compile(r'^\[.*?\] kind "thing"; what \["([^"]+)"\]; place "([^"]+)"')
_TOLD = re.compile(r'^\[.*?\] kind "told".*; text ("(?:[^"\\]|\\.)*")$')
Calls = list[dict[str, str]]


@dataclass
class Shown:
    """What a prompt says."""

    task: str = ""
    at: str | None = None
    held: list[str] = field(default_factory=list)
    on: dict[str, str] = field(default_factory=dict)  # thing -> receptacle
    states: dict[str, str] = field(default_factory=dict)
    room: dict[str, str] = field(default_factory=dict)  # of receptacles that were seen
    doors: dict[str, str] = field(default_factory=dict)
    places: list[str] = field(default_factory=list)
    guesses: list[tuple[str, str]] = field(default_factory=list)  # thing, receptacle
    told: list[str] = field(default_factory=list)
    known: dict[str, str] = field(default_factory=dict)  # receptacle -> room, remembered
    moved: list[str] = field(default_factory=list)  # things that were picked, oldest first


def decide(request: dict[str, Any]) -> str:
    """The content of the answer to a chat completions request."""
    return json.dumps({"thought": "by rule", "steps": _next_steps(read(request["messages"][-1]["content"]))})


def read(prompt: str) -> Shown:
    """What the prompt says."""
    shown = Shown()
    for line in prompt.splitlines():
        if line.startswith(_TASK):
            shown.task = json.loads(line[len(_TASK) :])
        elif line.startswith("{"):
            _take(shown, json.loads(line))
        elif match := _THING.match(line):
            shown.guesses.append((match[1], match[2]))
        elif match := _TOLD.match(line):
            shown.told.append(json.loads(match[1]))
    return shown


def _take(shown: Shown, fact: dict[str, Any]) -> None:
    shown.states |= fact.get("states", {})
    if "robot_at" in fact:
        shown.at, shown.held = fact["robot_at"], fact["holding"]
    elif "receptacle" in fact:
        shown.room[fact["receptacle"]] = fact["room"]
        shown.on |= dict.fromkeys(fact["holds"], fact["receptacle"])
        if "door" in fact:
            shown.doors[fact["receptacle"]] = fact["door"]
    elif "place" in fact and "room" in fact:
        shown.known[fact["place"]] = fact["room"]
    elif "place" in fact:
        shown.places.append(fact["place"])
    elif str(fact.get("step", "")).startswith("pick(") and fact["worked"]:
        shown.moved.append(fact["step"][5:-1])


def _next_steps(shown: Shown) -> Calls:
    """The first thing that is still to be done, as far as it can be foreseen."""
    mentioned: list[tuple[str, ...]] = []
    for move in _moves(shown):
        for words in _things(shown, move, mentioned):
            steps = _bring(shown, words, move.spot)
            mentioned.append(words)
            if steps is not None:
                return steps
    return [{"action": "stop", "reason": "nothing is left to do"}]


def _moves(shown: Shown) -> list[Move]:
    moves: list[Move] = []
    for request in parse(shown.task):
        if isinstance(request, Move):
            moves.append(request)
        elif isinstance(request, If):
            name = _seen(shown, request.thing.words)
            is_so = name is not None and shown.states.get(name) == request.state
            look = Move((request.thing,), Spot(("nowhere",)))
            moves += [look] if name is None else list(request.then if is_so else request.otherwise)
        elif isinstance(request, Routine):
            told = [[each for each in parse(text) if isinstance(each, Move)] for text in shown.told]
            moves += next((found for found in told if found), [])
    return moves


def _things(shown: Shown, move: Move, mentioned: list[tuple[str, ...]]) -> list[tuple[str, ...]]:
    """The words of each thing that is meant."""
    meant: list[tuple[str, ...]] = []
    for thing in move.things:
        if thing.kind == "named":
            meant.append(thing.words)
        elif thing.kind == "it":
            subject = next((r.thing.words for r in parse(shown.task) if isinstance(r, If)), None)
            meant += mentioned[-1:] or ([subject] if subject else [])
        elif thing.kind == "everything" and move.source is not None:
            source = set(_receptacles(shown, move.source))
            meant += [tuple(name.split("_")) for name, where in sorted(shown.on.items()) if where in source]
            meant += [tuple(name.split("_")) for name in shown.moved]
        elif thing.kind == "personal":
            meant += _personal(shown, thing)
    return meant


def _personal(shown: Shown, thing: Thing) -> list[tuple[str, ...]]:
    for text in shown.told:
        for words in noun_phrases(text):
            if len(words) > 1 and any(words[-len(tail) :] == tail for tail in _tails(thing.words)):
                return [words]
    return []


def _tails(words: tuple[str, ...]) -> list[tuple[str, ...]]:
    end = next((i for i, word in enumerate(words) if word in ("that", "which", "from", "for", "i", "my")), len(words))
    return [words[i:end] for i in range(end)]


def _bring(shown: Shown, words: tuple[str, ...], spot: Spot) -> Calls | None:
    """What brings a thing nearer to its place; None if it is there, or cannot be found."""
    goals = _receptacles(shown, spot)
    name = next((held for held in shown.held if is_called(held, words)), None)
    if name is not None:
        if not goals:
            return _explore(shown) or [{"action": "stop", "reason": "no such place"}]
        return _visit(shown, goals[0]) or [{"action": "place", "object": name, "receptacle": goals[0]}]
    name = _seen(shown, words)
    if name is not None:
        if shown.on[name] in goals:
            return None
        return _visit(shown, shown.on[name]) or [{"action": "pick", "object": name}]
    if shown.held:
        return None
    for thing, receptacle in shown.guesses:
        is_open_to_doubt = receptacle not in shown.room or shown.doors.get(receptacle) == "closed"
        if is_called(thing, words) and is_open_to_doubt and receptacle in {*shown.known, *shown.places, *shown.room}:
            return _visit(shown, receptacle)
    return _explore(shown)


def _seen(shown: Shown, words: tuple[str, ...]) -> str | None:
    names = [name for name in sorted({*shown.on, *shown.held}) if is_called(name, words)]
    return names[0] if names else None


def _receptacles(shown: Shown, spot: Spot) -> list[str]:
    """Those that are meant; where the robot stands, and those that were seen, first."""
    if spot.beside is not None:
        other = _seen(shown, spot.beside.words)
        return [] if other is None or other not in shown.on else [shown.on[other]]
    rooms = {**shown.known, **shown.room}
    found = [name for name, room in rooms.items() if fits(name, spot.words) and in_room(room, spot.room)]
    return sorted(found, key=lambda name: (name != shown.at, name not in shown.room, name))


def _visit(shown: Shown, receptacle: str) -> Calls | None:
    """Go there and open it; None if that is done."""
    steps: Calls = [] if shown.at == receptacle else [{"action": "go", "place": receptacle}]
    if shown.doors.get(receptacle) == "closed":
        steps.append({"action": "open", "receptacle": receptacle})
    return steps or None


def _explore(shown: Shown) -> Calls | None:
    """A room that was not seen, then a door that is closed."""
    seen = set(shown.room.values())
    unseen = [p for p in shown.places if p not in seen and p not in shown.known and p not in shown.room]
    if unseen:
        return [{"action": "go", "place": unseen[0]}]
    closed = [name for name, door in sorted(shown.doors.items()) if door == "closed"]
    return _visit(shown, closed[0]) if closed else None
