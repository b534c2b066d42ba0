"""A known house as tokens for a learned policy: what is here, what can be chosen, and what a memory holds of the rest.

The one place where tokens are made: of the scene graph of an agent's own memory, and of the perfect house in which a
policy is trained.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from jaxtyping import Float

from embmem.policies.instructions.atlas import Atlas
from embmem.policies.instructions.parsing import LANDMARK_NAMES, ROOM_NAMES
from embmem.policies.instructions.words import LANDMARKS, MORE_NAMES, ROOMS
from embmem.policies.learned.tokens import Spec

N_EXITS, N_THINGS = 8, 10  # that can be chosen from, in a room
STOP, EXIT, THING = 0, 1, 1 + N_EXITS  # actions: stop here; through an exit; up to a thing
N_ACTIONS = 1 + N_EXITS + N_THINGS
FAR_THING, FAR_ROOM = N_ACTIONS + 1, N_ACTIONS + 2  # kinds; kind a + 1 is what action a chooses
N_TOKENS = 72
N_WORDS = 56
N_STATE = 12
ROOM_KINDS = tuple(names[0] for names in ROOMS)
N_NOW = 8
N_REMEMBERED = N_EXITS + 1 + len(ROOM_KINDS) + 2
REACH = 10.0  # [m] that a feature of 1 stands for
FARTHEST = 20.0  # [m] of a way
_LOUD = 3.0  # a feature that is there or not, beside those that are lengths: like must find like from the beginning
_MOST_DOORS = 6

Choice = tuple[str, int]  # ("stop", 0), ("door", number), ("opening", number) or ("thing", row of the atlas)


@dataclass(frozen=True, eq=False)
class Moment:
    """Where somebody stands who follows a route, and what became of it so far."""

    room: int
    position: Float[np.ndarray, "2"]  # [m]
    heading: Float[np.ndarray, "2"]  # unit vector: through the door that one came in by, or as one stood at the start
    came_by: int | None = None  # number of that door
    thing: int | None = None  # row of the thing that one stands in front of
    n_doors: int = 0  # that were come through since the words were heard
    used: Mapping[int, int] = field(default_factory=dict)  # door: how often since then
    entered: Mapping[int, int] = field(default_factory=dict)  # room: the same
    n_choices: int = 0  # since then
    origin: Float[np.ndarray, "2"] = field(default_factory=lambda: np.zeros(2))  # [m] where the memory begins
    seen: frozenset[int] | None = None  # rooms that are known; None: all
    ages: Mapping[int, float] = field(default_factory=dict)  # room: how long ago it was seen last, of all time
    openings: Float[np.ndarray, "k 2"] = field(default_factory=lambda: np.zeros((0, 2)))  # [m] into the unknown, here
    gone: frozenset[int] = frozenset()  # rows of things that turned out not to be there


@dataclass(frozen=True, eq=False)
class Row:
    """The tokens of one moment, and what each action would choose."""

    kinds: np.ndarray  # (m,)
    names: list[str]  # m words, "" for none
    features: Float[np.ndarray, "m f"]
    ways: np.ndarray  # (m,) action plus one that leads there, 0: none
    state: Float[np.ndarray, " s"]
    choices: dict[int, Choice]  # by action


def make_spec(words: Sequence[str]) -> Spec:
    """The sizes of a policy for told routes that knows `words` beside the names of rooms and landmarks."""
    names = [_joined(names[0]) for names in (*ROOMS, *LANDMARKS)]
    vocabulary = tuple(dict.fromkeys([*names, ",", *words]))
    return Spec(
        vocabulary=vocabulary, n_kinds=FAR_ROOM + 1, n_now=N_NOW, n_features=N_NOW + N_REMEMBERED, n_state=N_STATE,
        n_actions=N_ACTIONS, n_words=N_WORDS,
    )  # fmt: skip


class Reader:
    """Instructions with one word for each name, whatever it is called.

    Args:
        more: further names and the category that each means; `words.MORE_NAMES` by default.
    """

    def __init__(self, more: Mapping[str, str] = MORE_NAMES) -> None:
        self._names = {**ROOM_NAMES, **LANDMARK_NAMES, **more}
        longest_first = sorted(self._names, key=len, reverse=True)
        self._nouns = re.compile(r"\b(" + "|".join(map(re.escape, longest_first)) + r")\b")

    def read(self, words: str) -> str:
        """Lower case, names joined, a comma for whatever separates parts; the last word comes first.

        So where to stop is at the beginning, however much is told before.
        """
        joined = self._nouns.sub(lambda found: _joined(self._names[found[0]]), words.lower())
        return " ".join(re.findall(r"[\w]+|,", re.sub(r"[.;]", ",", joined).rstrip(" ,"))[::-1])


@dataclass(frozen=True, eq=False)
class _Entry:
    """A token, in metres and words."""

    kind: int
    name: str
    place: np.ndarray  # (2,) [m]
    inside: str = ""  # kind of the room that it is in, or that lies behind an exit
    is_exit: bool = False
    came_by: bool = False
    used: float = 0.0  # how often an exit was taken, or a room entered, in thirds of a time and at most 1
    is_reached: bool = False
    is_thing: bool = False
    slot: int | None = None  # exit by which the shortest known way leads there
    metres: float = 0.0  # of that way
    age: float = 0.0
    is_new: bool = False  # what is behind it is not known


def make_row(atlas: Atlas, moment: Moment) -> Row:
    """What is known at a moment."""
    seen = atlas.rooms if moment.seen is None else [room for room in atlas.rooms if room in moment.seen]
    exits = _exits(atlas, moment, atlas.exits(moment.room, seen))
    own = [row for row in atlas.things_in(moment.room) if row not in moment.gone]
    own.sort(key=lambda row: _bearing(atlas.places[row] - moment.position, moment.heading))
    own = own[:N_THINGS]
    here = atlas.kinds[moment.room]
    entries = [_Entry(1, here, moment.position, here, is_reached=moment.thing is not None)]
    entries += [_exit(atlas, moment, seen, slot, *each) for slot, each in enumerate(exits)]
    entries += [
        _Entry(
            THING + slot + 1, atlas.names[row], atlas.places[row], here, is_reached=row == moment.thing, is_thing=True,
            metres=float(np.hypot(*(atlas.places[row] - moment.position))),
        )
        for slot, row in enumerate(own)
    ]  # fmt: skip
    slots = {choice[1]: slot for slot, (choice, _) in enumerate(exits) if choice[0] == "door"}
    entries = [*entries, *_far(atlas, moment, seen, slots)][:N_TOKENS]
    choices: dict[int, Choice] = {STOP: ("stop", 0)}
    choices |= {EXIT + slot: choice for slot, (choice, _) in enumerate(exits)}
    choices |= {THING + slot: ("thing", row) for slot, row in enumerate(own)}
    kinds = np.array([entry.kind for entry in entries])
    ways = np.array([0 if entry.slot is None else EXIT + entry.slot + 1 for entry in entries])
    return Row(kinds, [entry.name for entry in entries], _features(entries, moment), ways, _state(moment), choices)


def _exit(
    atlas: Atlas, moment: Moment, seen: Sequence[int], slot: int, choice: Choice, point: Float[np.ndarray, "2"]
) -> _Entry:
    """A door, or a border to the unknown."""
    kind, number = choice
    metres = float(np.hypot(*(point - moment.position)))
    if kind == "opening":
        name = atlas.near(point, moment.room)
        return _Entry(EXIT + slot + 1, name, point, is_exit=True, slot=slot, metres=metres, is_new=True)
    behind = atlas.other_side(number, moment.room)
    is_new = behind not in seen
    return _Entry(
        EXIT + slot + 1, atlas.beside(number, moment.room), point, "" if is_new else atlas.kinds[behind], is_exit=True,
        came_by=number == moment.came_by, used=min(moment.used.get(number, 0), 3) / 3.0, slot=slot, metres=metres,
        is_new=is_new,
    )  # fmt: skip


def _far(atlas: Atlas, moment: Moment, seen: Sequence[int], slots: Mapping[int, int]) -> Iterator[_Entry]:
    """The other rooms and what is in them, as far as a way there is known."""
    first, length = atlas.ways(moment.room, moment.position, seen)
    for room in seen:
        doors = atlas.doors_of(room)
        if room == moment.room or not len(doors):
            continue
        far = [(FAR_ROOM, atlas.kinds[room], atlas.middles[room])]
        things = (row for row in atlas.things_in(room) if row not in moment.gone)
        far += [(FAR_THING, atlas.names[row], atlas.places[row]) for row in things]
        for kind, name, at in far:
            lengths = length[doors] + np.hypot(*(atlas.doors[doors] - at).T)
            best = int(np.argmin(lengths))
            if np.isfinite(lengths[best]):
                yield _Entry(
                    kind, name, at, atlas.kinds[room], used=float(moment.entered.get(room, 0) > 0),
                    slot=slots.get(int(first[doors[best]])), metres=float(lengths[best]),
                    age=moment.ages.get(room, 0.0),
                )  # fmt: skip


def _features(entries: Sequence[_Entry], moment: Moment) -> Float[np.ndarray, "m f"]:
    """What can be had by looking: place before the agent and what the thing is; then what only a memory knows."""
    features = np.zeros((len(entries), N_NOW + N_REMEMBERED))
    offsets = np.array([entry.place for entry in entries]) - moment.position
    features[:, 0] = offsets @ moment.heading / REACH
    features[:, 1] = offsets @ np.array([-moment.heading[1], moment.heading[0]]) / REACH
    features[:, 2] = np.hypot(*offsets.T) / REACH
    for row, entry in zip(features, entries, strict=True):
        row[3:N_NOW] = entry.is_exit, entry.came_by, entry.used, entry.is_reached, entry.is_thing
        if entry.slot is not None:
            row[N_NOW + entry.slot] = _LOUD
        row[N_NOW + N_EXITS] = entry.metres / FARTHEST
        if entry.inside in ROOM_KINDS:
            row[N_NOW + N_EXITS + 1 + ROOM_KINDS.index(entry.inside)] = _LOUD
        row[-2:] = entry.age, entry.is_new
    return features


def fill(rows: Sequence[Row], spec: Spec) -> dict[str, np.ndarray]:
    """The rows one under another: the fields of `WayTokens`, but for the words."""
    n = len(rows)
    kinds, names, ways = (np.zeros((n, N_TOKENS), np.int64) for _ in range(3))
    features = np.zeros((n, N_TOKENS, N_NOW + N_REMEMBERED), np.float32)
    numbers = {word: i + 1 for i, word in enumerate(spec.vocabulary)}
    for i, row in enumerate(rows):
        m = len(row.kinds)
        kinds[i, :m], features[i, :m], ways[i, :m] = row.kinds, row.features, row.ways
        names[i, :m] = [numbers.get(_joined(name), 0) for name in row.names]
    is_visible = (kinds > 0) & (kinds <= N_ACTIONS)
    state = np.stack([row.state for row in rows]).astype(np.float32)
    return {
        "kinds": kinds,
        "names": names,
        "features": features,
        "is_visible": is_visible,
        "state": state,
        "ways": ways,
    }


def _exits(atlas: Atlas, moment: Moment, doors: Sequence[int]) -> list[tuple[Choice, np.ndarray]]:
    """What leads out of the room, in the order of the bearing."""
    found: list[tuple[Choice, np.ndarray]] = [(("door", number), atlas.doors[number]) for number in doors]
    found += [(("opening", number), point) for number, point in enumerate(moment.openings)]
    found.sort(key=lambda each: _bearing(each[1] - moment.position, moment.heading))
    return found[:N_EXITS]


def _state(moment: Moment) -> np.ndarray:
    """Doors that were come through, whether something was reached, time, place and direction."""
    doors = np.eye(_MOST_DOORS + 1)[min(moment.n_doors, _MOST_DOORS)][:_MOST_DOORS]
    offset = (moment.position - moment.origin) / FARTHEST
    rest = [float(moment.thing is not None), min(moment.n_choices, 10) / 10.0, *offset, *moment.heading]
    return np.array([*doors, *rest])


def _bearing(offset: np.ndarray, heading: np.ndarray) -> float:
    """[rad] from the heading, positive left, from -pi to pi."""
    return float(np.arctan2(heading[0] * offset[1] - heading[1] * offset[0], heading @ offset))


def _joined(name: str) -> str:
    return name.replace(" ", "_")
