"""What a walker knows at a moment as tokens: offered moves, told legs, landmarks in view and recalled."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Any, Protocol, runtime_checkable

import numpy as np
from jaxtyping import Float
from scipy.spatial import cKDTree

from embmem.maps.streets import Pose, StreetAction, StreetMap
from embmem.maps.streets.graph import JUNCTION
from embmem.maps.streets.legs import FAR, bearing, crossings, hops_ahead
from embmem.maps.streets.moves import relative_angle
from embmem.policies.learned.tokens import Spec, Tokens
from embmem.policies.street.agent import Sighting, StreetInstruction
from embmem.policies.street.asking import options
from embmem.policies.street.features import FLOW, SHARP, SLIGHT
from embmem.policies.street.memory import Parts, Recollection
from embmem.policies.street.words import TURN, Leg, normalised, parse

MOVES = (
    StreetAction.STOP,
    StreetAction.FORWARD,
    StreetAction.LEFT,
    StreetAction.RIGHT,
    StreetAction.TURN_AROUND,
)  # action i of the network; the token of kind i + 1 stands for it
LEG, SIGHTED, RECALLED = (len(MOVES) + 1 + i for i in range(3))
N_KINDS = RECALLED + 1
N_LEGS, N_SIGHTED, N_RECALLED = 5, 4, 12  # tokens of a kind, at most
N_TOKENS = len(MOVES) + N_LEGS + N_SIGHTED + N_RECALLED
N_WORDS = 24
_WAY, _TOLD, _MARK = 9, 7, 8  # features of a move, a told leg, a landmark, one after the other
N_NOW = _WAY + _TOLD + _MARK
_OF_MOVE = 8  # what memory says of a move: distance, whether it comes nearer, cosine, for the goal and for this leg
_OF_MARK = 3 + len(MOVES)  # what it says of a landmark: distance, in all, whether it is known, and for each move
N_FEATURES = N_NOW + _OF_MOVE + _OF_MARK
N_STATE = 24
MOST_HOPS = 60  # that are counted to a landmark
STEP_SECONDS = 1.0  # of the walker's own clock
Row = Float[np.ndarray, " f"]


def street_spec(vocabulary: Sequence[str]) -> Spec:
    """The sizes of these tokens, and the words that a network is to know."""
    return Spec(
        vocabulary=tuple(vocabulary), n_kinds=N_KINDS, n_now=N_NOW, n_features=N_FEATURES, n_state=N_STATE,
        n_actions=len(MOVES), n_words=N_WORDS,
    )  # fmt: skip


@runtime_checkable
class Memory(Protocol):
    """What `StreetMemory` does, as far as a walker asks for it."""

    parts: Parts

    def write(self, position: np.ndarray, embedding: np.ndarray, stamp: float, here: np.ndarray) -> None:
        """Take a sighting."""

    def read(self, embedding: np.ndarray, here: np.ndarray) -> list[Recollection]:
        """Where something like that was seen, most alike first."""


class Walker:
    """One who follows an instruction: what was told, walked, seen and recalled, as tokens.

    Its leg is the told one with as many turns before it as were walked. A landmark of the instruction is what one of
    its phrases names; all that is known of it before it is in view comes from the memory.
    """

    def __init__(self, task: StreetInstruction, memory: Memory, spec: Spec) -> None:
        """Begin an instruction with what is remembered."""
        self.task, self.memory = task, memory
        self.streets: StreetMap = task.streets
        pose = task.start
        self.walked = [pose.place] if pose.previous in (-1, pose.place) else [pose.previous, pose.place]
        self.pose = pose
        program = parse(task.text)
        self._legs, self._stops_at_junction = program.legs, program.stops_at_junction
        self._words = spec.encode([" ".join(leg.text.split()[-N_WORDS:]) for leg in self._legs])
        self._marks = [_mention(normalised(task.text), phrase) for phrase, _ in task.landmarks]
        self._units = np.array([e for _, e in task.landmarks], dtype=np.float64)
        self._in_view: list[tuple[int, float, np.ndarray]] = []
        self._offered: dict[int, int] | None = None
        self.recalled: list[tuple[int, Recollection, int]] = []  # phrase, recollection, place of it
        self.recall()

    def recall(self) -> None:
        """Ask the memory for every phrase of the instruction."""
        here, found = self.streets.xy[self.pose.place], []
        for i, (_, embedding) in enumerate(self.task.landmarks):
            for r in self.memory.read(embedding, here):
                found.append((i, r, _place(self.streets, r.position)))
        found.sort(key=lambda one: (-one[1].cosine, one[0], one[1].position))
        self.recalled = found[:N_RECALLED]

    def see(self, pose: Pose, sightings: Sequence[Sighting], stamp: float) -> None:
        """Stand at a pose and see; what is like a told landmark is news, and the memory is asked again."""
        self.pose, self._offered = pose, None
        if pose.place != self.walked[-1]:
            self.walked.append(pose.place)
            self._in_view = []
        here, is_news = self.streets.xy[pose.place], False
        for sighting in sightings:
            angle = np.radians(sighting.bearing)
            position = here + sighting.distance * np.array([np.sin(angle), np.cos(angle)])
            self.memory.write(position, sighting.embedding, stamp, here)
            alike = self._units @ sighting.embedding if len(self._units) else np.zeros(1)
            if len(self._units) and alike.max() >= self.memory.parts.similar:
                self._in_view.append((int(alike.argmax()), float(alike.max()), position))
                is_news = True
        if is_news:
            self.recall()

    def moves(self) -> dict[int, int]:
        """The moves that are offered, but for stopping, as numbers in `MOVES`, with the places that they lead to."""
        if self._offered is None:
            exits, offered = dict(self.streets.exits(self.pose.place)), options(self.streets, self.pose)
            self._offered = {MOVES.index(a): exits[heading] for a, heading in offered.items() if heading in exits}
        return self._offered

    def tokens(self) -> dict[str, np.ndarray]:
        """The fields of `Tokens` for one walker, without the leading axis."""
        kinds = np.zeros(N_TOKENS, dtype=np.int64)
        features = np.zeros((N_TOKENS, N_FEATURES), dtype=np.float32)
        is_visible = np.zeros(N_TOKENS, dtype=bool)
        n_turns, n_passed, since, bend = self._progress()
        leg = min(n_turns, len(self._legs) - 1)
        moves = self.moves()
        kinds[0] = 1
        for action, place in moves.items():
            kinds[action] = action + 1
            features[action, :_WAY] = self._way(place, self._legs[leg])
        at = len(MOVES)
        for i, told in list(enumerate(self._legs))[leg : leg + N_LEGS]:
            kinds[at], features[at, _WAY : _WAY + _TOLD] = LEG, _told(told, i - leg)
            at += 1
        for i, alike, position in self._in_view[-N_SIGHTED:]:
            kinds[at], features[at, _WAY + _TOLD : N_NOW] = SIGHTED, self._mark(i, alike, position, leg)
            at += 1
        is_visible[:at] = True
        hops = [self._hops(place) for _, _, place in self.recalled]
        for (i, r, _), away in zip(self.recalled, hops, strict=True):
            kinds[at], features[at, _WAY + _TOLD : N_NOW] = RECALLED, self._mark(i, r.cosine, np.array(r.position), leg)
            features[at, N_NOW + _OF_MOVE :] = self._recalled(away, moves)
            at += 1
        for action, place in [(0, self.pose.place), *moves.items()]:
            features[action, N_NOW : N_NOW + _OF_MOVE] = self._remembered(place, leg, hops)
        state = self._state(leg, n_turns, n_passed, since, bend)
        return {
            "words": self._words[leg], "kinds": kinds, "names": np.zeros(N_TOKENS, dtype=np.int64),
            "features": features, "is_visible": is_visible, "state": state,
        }  # fmt: skip

    def _progress(self) -> tuple[int, int, int, float]:
        """Turns walked, crossings passed since, hops since the last crossing, bend so far of one that is not over."""
        n_turns = n_passed = 0
        end, since = len(self.walked) - 1, len(self.walked) - 1
        for c in crossings(self.streets, self.walked):
            if c.last >= end:
                before = bearing(self.streets, self.walked[max(0, c.first - 2)], self.walked[c.first])
                return n_turns, n_passed, 0, (self.pose.heading - before + 180) % 360 - 180
            n_turns, n_passed = (n_turns, n_passed + 1) if c.symbol == "S" else (n_turns + 1, 0)
            since = end - c.last
        return n_turns, n_passed, since, 0.0

    def _way(self, place: int, leg: Leg) -> Row:
        """What can be seen of a way that is offered."""
        heading = self.streets.heading(self.pose.place, place)
        bend = relative_angle(self.pose.heading % 360, heading)
        angle, size = np.radians(bend), abs(bend)
        flow = abs((heading - self.streets.yaw[self.pose.place] + 180) % 360 - 180) < FLOW
        ahead = hops_ahead(self.streets, self.pose.place, place) / FAR
        is_told = leg.turn is not None and (bend < 0) == (leg.turn == "L") and size >= SLIGHT
        return _row(
            np.sin(angle), np.cos(angle), size < SLIGHT, SLIGHT <= size < SHARP, size >= SHARP, flow, ahead,
            self.streets.n_exits[place] >= JUNCTION, is_told,
        )  # fmt: skip

    def _mark(self, i: int, alike: float, position: np.ndarray, leg: int) -> Row:
        """A landmark as the walker sees it, and what the words say of it."""
        of_leg, share, is_last, is_corner = self._marks[i]
        east, north = position - self.streets.xy[self.pose.place]
        angle = np.arctan2(east, north) - np.radians(self.pose.heading)
        distance = np.hypot(east, north)
        ahead = _limited(float(of_leg - leg), -2.0, 2.0)
        return _row(np.sin(angle), np.cos(angle), min(distance / 30.0, 8.0), alike, ahead, share, is_last, is_corner)

    def _hops(self, place: int) -> np.ndarray:
        return _hops_to(self.streets, place)

    def _recalled(self, away: np.ndarray, moves: dict[int, int]) -> Row:
        """How far a remembered landmark is, now and after each move."""
        now = float(away[self.pose.place])
        nearer = [0.0] * len(MOVES)
        for action, place in moves.items():
            nearer[action] = _limited(now - float(away[place]), -1.0, 1.0)
        walked = len(self.walked) - 1
        return _row(now / 40.0, (now + walked - 40.0) / 10.0, 1.0, *nearer)

    def _remembered(self, place: int, leg: int, hops: Sequence[np.ndarray]) -> Row:
        """What the memory says of a place to go to (or to stay at): for the goal's landmarks, then for this leg's."""
        said: list[float] = []
        for is_goal in (True, False):
            best = (float(MOST_HOPS), 0.0, 0.0, 0.0)
            for (i, r, _), away in zip(self.recalled, hops, strict=True):
                of_leg, _, is_last, _ = self._marks[i]
                if is_last if is_goal else (of_leg == leg and not is_last):
                    after = float(away[place])
                    nearer = _limited(float(away[self.pose.place]) - after, -1.0, 1.0)
                    best = min(best, (after, nearer, r.cosine, 1.0))
            said += [best[0] / 40.0, *best[1:]]
        return _row(*said)

    def _state(self, leg: int, n_turns: int, n_passed: int, since: int, bend: float) -> Row:
        """Where on the way the walker is, by its own count."""
        told, n = self._legs[leg], len(self._legs)
        n_exits, hops = int(self.streets.n_exits[self.pose.place]), len(self.walked) - 1
        before = self.walked[-2] if len(self.walked) > 1 else self.pose.place
        ahead = hops_ahead(self.streets, before, self.pose.place)
        is_last = leg == n - 1
        return _row(
            n_exits >= JUNCTION, n_exits == 2, n_exits < 2, hops / 40.0, _limited((hops - 34) / 10.0, -1.0, 2.0),
            min(since, 12) / 12.0, since == 1, since == 2, since == 3, ahead / FAR, ahead == 1,
            since / (since + ahead + 1), bend / 90.0, abs(bend) > SHARP, n_passed / 3.0, told.n_pass / 3.0,
            _limited(float(told.n_pass - n_passed), -2.0, 2.0), told.n_pass == n_passed, told.turn == "L",
            told.turn == "R", is_last, (n - 1 - n_turns) / 3.0,
            is_last and self._stops_at_junction, is_last and n_turns > 0,
        )  # fmt: skip


def _told(leg: Leg, ahead: int) -> Row:
    turn = leg.turn
    return _row(ahead / 3.0, ahead == 0, ahead == 1, turn == "L", turn == "R", leg.n_pass / 3.0, turn is None)


def _row(*values: Any) -> Row:
    return np.array(values, dtype=np.float32)


def _mention(text: str, phrase: str) -> tuple[int, float, bool, bool]:
    """Of a phrase: turns told before it, its share of its leg's words, whether in the last sentence, at a corner."""
    begin = max(text.find(normalised(phrase)), 0)
    turns = [m.end() for m in TURN.finditer(text)]
    marks = [0, *turns, len(text)]
    leg = sum(begin >= turn for turn in turns)
    share = (begin - marks[leg]) / max(1, marks[leg + 1] - marks[leg])
    sentence = max((m for m in (text.rstrip(" .!?").rfind(end) for end in (" . ", " ! ", " ? "))), default=-1)
    return leg, share, begin >= sentence, "corner" in text[max(0, begin - 40) : begin + len(phrase) + 40]


@lru_cache(maxsize=4)
def _tree(streets: StreetMap) -> cKDTree:
    return cKDTree(streets.xy)


def _place(streets: StreetMap, point: tuple[float, float]) -> int:
    """The place nearest to a point."""
    return int(_tree(streets).query(point)[1])


def _limited(value: float, low: float, high: float) -> float:
    return min(max(value, low), high)


@lru_cache(maxsize=4_000)
def _hops_to(streets: StreetMap, place: int) -> Float[np.ndarray, " n"]:
    """Hops from every place to one, whichever way the streets are entered."""
    hops = streets.hops_from(place, is_directed=False, most=MOST_HOPS).astype(np.float32)
    hops[hops < 0] = MOST_HOPS
    return hops


def stacked(rows: Sequence[dict[str, np.ndarray]]) -> Tokens:
    """The tokens of several walkers."""
    return Tokens(**{name: np.stack([row[name] for row in rows]) for name in rows[0]})
