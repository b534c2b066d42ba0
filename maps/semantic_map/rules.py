"""Questions about an annotated map, answered by rules from its text alone.

Left, right, before and behind a thing are those of the agent that looks at it; of "me", those of its heading. Without
an agent they are those of the map with y up.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable
from dataclasses import dataclass

from embmem.errors import InputError

_NUMBER = r"(-?\d+\.\d+)"
_THING = re.compile(
    rf'- ("(?:[^"\\]|\\.)*") (\d+): x {_NUMBER}, y {_NUMBER}; {_NUMBER} {_NUMBER} to {_NUMBER} {_NUMBER}; '
    rf"z {_NUMBER} to {_NUMBER}(?:; .*)?"
)
_AGENT = re.compile(rf"agent: x {_NUMBER}, y {_NUMBER}; heading (-?\d+) deg from x to y")
_CONE = math.radians(50.0)  # around a direction that still counts as it
_SIDES = {"ahead": 0.0, "left": math.pi / 2, "behind": math.pi, "right": -math.pi / 2}
_ME = ("me", "you", "the agent", "agent", "the robot", "robot")
_PLACE = r"(to the left of|left of|to the right of|right of|in front of|before|ahead of|behind)"


@dataclass(frozen=True)
class Item:
    """A thing as the text tells it."""

    category: str
    number: int
    x: float
    y: float
    low: tuple[float, float]
    high: tuple[float, float]
    z: tuple[float, float]

    @property
    def middle(self) -> tuple[float, float]:
        """(x, y) [m] of its rectangle: of a thing seen from one side it is nearer to the truth than the centroid."""
        return (self.low[0] + self.high[0]) / 2.0, (self.low[1] + self.high[1]) / 2.0

    def distance(self, x: float, y: float) -> float:
        """[m] of its middle from a point."""
        return math.hypot(self.middle[0] - x, self.middle[1] - y)

    def gap(self, other: Item) -> float:
        """[m] between the two rectangles, 0 where they overlap."""
        gaps = [max(self.low[i] - other.high[i], other.low[i] - self.high[i], 0.0) for i in (0, 1)]
        return math.hypot(*gaps)


@dataclass(frozen=True)
class Reply:
    """What the rules found: things, best first, a truth value or a number."""

    items: tuple[Item, ...] = ()
    is_so: bool | None = None
    value: float | None = None


@dataclass(frozen=True)
class MapText:
    """A text of an annotated map, read."""

    items: tuple[Item, ...]
    agent: tuple[float, float, float] | None  # x, y [m], heading [rad]


def read_map(text: str) -> MapText:
    """The things and the agent that a text tells.

    Raises:
        InputError: if it is no text of an annotated map, or a line of it is malformed.
    """
    lines = text.splitlines()
    if not lines or not lines[0].startswith("semantic map: "):
        raise InputError("this is no text of an annotated map: it does not begin with 'semantic map:'")
    agent, items = None, []
    for number, line in enumerate(lines[1:], start=2):
        if line.startswith("- "):
            match = _THING.fullmatch(line)
            if match is None:
                raise InputError(f"line {number} of the annotated map is no thing: {line[:80]!r}")
            items.append(_item(match))
        elif line.startswith("agent: "):
            match = _AGENT.fullmatch(line)
            if match is None:
                raise InputError(f"line {number} of the annotated map is no pose: {line[:80]!r}")
            agent = (float(match[1]), float(match[2]), math.radians(float(match[3])))
    return MapText(tuple(items), agent)


def answer(text: str, question: str) -> Reply:
    """The answer to a question about the map.

    It understands "what is left of the bed", "what is the nearest chair to the desk", "is the sofa behind me", "is the
    lamp in front of the sofa", "how far is the bed from the door", "how many chairs", "where is the bed". Things are
    called by category, with a number where there are several; of several the nearest to the agent is meant.

    Raises:
        ValueError: if the rules do not understand the question, or something it names is not on the map.
    """
    world = read_map(text)
    asked = re.sub(r"\s+", " ", question.strip().rstrip("?.! ")).casefold()
    for pattern, rule in _RULES:
        match = re.fullmatch(pattern, asked)
        if match is not None:
            return rule(world, *match.groups())
    raise ValueError(f"the rules do not understand {question!r}")


def _what(world: MapText, place: str, name: str) -> Reply:
    """Things in the cone of that side of the thing named, nearest first."""
    x, y, axis = _frame(world, name)
    subject = None if name in _ME else _named(world, name)[0]
    found = []
    for item in world.items:
        if item != subject and _is_on(_side(place), item, (x, y, axis), of_me=subject is None):
            distance = item.distance(x, y) if subject is None else item.gap(subject)
            found.append((distance, item))
    return Reply(tuple(item for _, item in sorted(found, key=lambda pair: pair[0])))


def _nearest(world: MapText, kind: str, name: str | None) -> Reply:
    """All things of a kind, or of any, nearest first."""
    if name is None or name in _ME:
        if world.agent is None:
            raise ValueError("this map shows no agent")
        x, y, _ = world.agent
        things = _kind(world, kind)
        return Reply(tuple(sorted(things, key=lambda item: item.distance(x, y))))
    subject = _named(world, name)[0]
    things = [item for item in _kind(world, kind) if item != subject]
    return Reply(tuple(sorted(things, key=lambda i: (i.gap(subject), i.distance(*subject.middle)))))


def _is(world: MapText, kind: str, place: str, name: str | None) -> Reply:
    """Whether the nearest thing of that name lies on that side, in a half plane."""
    name = name or "me"
    item = _named(world, kind)[0]
    x, y, axis = _frame(world, name)
    turned = _bearing(item, (x, y, axis)) - _SIDES[_seen(_side(place), of_me=name in _ME)]
    return Reply((item,), is_so=math.cos(turned) > 0.0)


def _how_far(world: MapText, kind: str, name: str | None) -> Reply:
    item = _named(world, kind)[0]
    if name is None or name in _ME:
        if world.agent is None:
            raise ValueError("this map shows no agent")
        return Reply((item,), value=item.distance(*world.agent[:2]))
    return Reply((item,), value=item.gap(_named(world, name)[0]))


def _how_many(world: MapText, kind: str) -> Reply:
    names = {kind, kind.removesuffix("s"), kind.removesuffix("es")}
    items = tuple(item for item in world.items if item.category.casefold() in names)
    return Reply(items, value=float(len(items)))


def _where(world: MapText, kind: str) -> Reply:
    return Reply(tuple(_named(world, kind)))


_A = r"(?:the |a |an )?(.+?)"
_RULES: tuple[tuple[str, Callable[..., Reply]], ...] = (
    (rf"what (?:is|lies|stands) {_PLACE} {_A}", _what),
    (rf"(?:what|which) is (?:the )?(?:nearest|closest) {_A}(?: to {_A})?", _nearest),
    (rf"which {_A} is (?:nearest|closest) to {_A}", _nearest),
    (rf"(?:the )?nearest {_A} to {_A}", _nearest),
    (rf"is {_A} {_PLACE} {_A}", _is),
    (rf"is {_A} (in front|ahead|behind|left|right)", lambda world, kind, place: _is(world, kind, place, None)),
    (rf"how far (?:is|away is) {_A}(?: from {_A})?", _how_far),
    (rf"how many {_A}(?: are there)?", _how_many),
    (rf"where is {_A}", _where),
)


def _item(match: re.Match[str]) -> Item:
    try:
        name = json.loads(match[1])
    except ValueError as error:
        raise InputError(f"{match[1][:80]} is no quoted name") from error
    x, y, x0, y0, x1, y1, z0, z1 = (float(match[i]) for i in range(3, 11))
    return Item(str(name), int(match[2]), x, y, (x0, y0), (x1, y1), (z0, z1))


def _kind(world: MapText, kind: str) -> list[Item]:
    """The things of a category; all for "thing"."""
    if kind in ("thing", "object", "one"):
        return list(world.items)
    return [item for item in world.items if item.category.casefold() == kind]


def _named(world: MapText, name: str) -> list[Item]:
    """The things that may be meant, the nearest to the agent first."""
    items = _kind(world, name)
    numbered = re.fullmatch(r"(.+) #?(\d+)", name)
    if not items and numbered is not None:
        items = [item for item in _kind(world, numbered[1]) if item.number == int(numbered[2])]
    if not items:
        raise ValueError(f"there is no {name!r} on the map")
    if world.agent is None:
        return items
    x, y, _ = world.agent
    return sorted(items, key=lambda item: item.distance(x, y))


def _frame(world: MapText, name: str) -> tuple[float, float, float]:
    """(x, y, direction that is ahead) of the one that sides are asked of."""
    if name in _ME:
        if world.agent is None:
            raise ValueError("this map shows no agent")
        return world.agent
    x, y = _named(world, name)[0].middle
    if world.agent is None:
        return x, y, math.pi / 2
    dx, dy = x - world.agent[0], y - world.agent[1]
    return x, y, math.atan2(dy, dx) if (dx, dy) != (0.0, 0.0) else world.agent[2]


def _side(place: str) -> str:
    if "left" in place or "right" in place:
        return "left" if "left" in place else "right"
    return "behind" if place == "behind" else "ahead"


def _seen(side: str, *, of_me: bool) -> str:
    """What is before a thing that the agent looks at lies on the way to it, against the line of sight."""
    return side if of_me or side in ("left", "right") else {"ahead": "behind", "behind": "ahead"}[side]


def _bearing(item: Item, frame: tuple[float, float, float]) -> float:
    return math.atan2(item.middle[1] - frame[1], item.middle[0] - frame[0]) - frame[2]


def _is_on(side: str, item: Item, frame: tuple[float, float, float], *, of_me: bool) -> bool:
    turned = math.remainder(_bearing(item, frame) - _SIDES[_seen(side, of_me=of_me)], math.tau)
    return abs(turned) <= _CONE
