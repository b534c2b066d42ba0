"""Told routes as a world of tokens: from room to room, by choices, many episodes side by side."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from jaxtyping import Float, Int

from embmem.policies.instructions.steps import Step
from embmem.policies.instructions.tokens import STOP, Moment, Reader, Row, fill, make_row, make_spec
from embmem.policies.learned.tokens import Tokens, WayTokens
from embmem.sim_envs.instructions.pool import PooledRoute, draw_pool
from embmem.sim_envs.instructions.wording import JOINTS, SPLITS, WAYS, Split, say

UNKNOWN = "~"  # a word that nobody knows


@dataclass(eq=False)
class _Episode:
    """One route and what became of it."""

    told: PooledRoute
    words: str
    walk: list[int]  # rooms of the tour, in order
    is_in_view: bool
    is_shown: bool
    start: Float[np.ndarray, "2"]
    heading: Float[np.ndarray, "2"]
    room: int
    gone: frozenset[int]
    origin: Float[np.ndarray, "2"]
    position: Float[np.ndarray, "2"] = field(default_factory=lambda: np.zeros(2))
    came_by: int | None = None
    thing: int | None = None
    used: dict[int, int] = field(default_factory=dict)
    entered: dict[int, int] = field(default_factory=dict)
    last_seen: dict[int, int] = field(default_factory=dict)
    rooms: list[int] = field(default_factory=list)
    length: float = 0.0
    has_stopped: bool = False
    row: Row | None = None

    def shortest(self) -> float:
        """[m] of the told way, from door to door in straight lines."""
        atlas = self.told.atlas
        doors = [] if self.is_in_view else [atlas.doors[d] for d in self.told.route.doors]
        stops = np.array([self.start, *doors, atlas.places[self.told.goal]])
        return float(np.linalg.norm(np.diff(stops, axis=0), axis=1).sum())


class HouseWorld:
    """n told routes in houses whose rooms, doors and things are known as far as they were seen.

    An episode: a tour of `tour` rooms that the agent watches (in a share `toured` of the episodes, else it stands
    still), then it stands where the route begins, hears it, and has `steps` choices: an exit of the room, a thing in
    it, or to stop. A room is seen when one is in it. In a share `in_view` the goal stands in the room where the agent
    is and is all that is told: nobody needs a memory. In a share `terse` of the others only the end of the route is
    told, where that says which thing is meant: without memory nobody knows the way.

    The teacher takes the way that was told; from elsewhere the shortest. Scores: `success` (stopped in front of the
    goal), `spl`, `followed` (success, and through the rooms that were told), and what kind of episode it is:
    `in_view`, `toured`, `shown` (every door of the way is the only one, or told by what is next to it), `hidden`
    (toured, neither in view nor shown: where memory matters).

    Args:
        n: episodes side by side.
        first_house: seed of the first house; `n_houses` from it on are drawn from.
        n_houses: in which routes are drawn.
        rooms: fewest and most rooms of a house.
        per_house: routes.
        tour: rooms of the tour.
        steps: choices.
        split: of the wordings.
        toured: share of the episodes with a tour.
        in_view: share of the episodes with the goal in the room of the start.
        terse: share of the other episodes of which only the end is told.
        full: share of the rest of which all is told that can be told.
        mumbled: share of the words that are not names and that nobody knows.
        missed: share of the things that are not seen.
    """

    def __init__(
        self,
        n: int,
        *,
        first_house: int = 10_000,
        n_houses: int = 40,
        rooms: tuple[int, int] | list[int] = (5, 8),
        per_house: int = 24,
        tour: int = 14,
        steps: int = 10,
        split: Split = "train",
        toured: float = 0.8,
        in_view: float = 0.2,
        terse: float = 0.4,
        full: float = 0.5,
        mumbled: float = 0.1,
        missed: float = 0.03,
    ) -> None:
        shares = (toured, in_view, terse, full, mumbled, missed)
        if min(n, n_houses, per_house, tour, steps) < 1 or not 2 <= rooms[0] <= rooms[1]:
            raise ValueError(f"need n, n_houses, per_house, tour, steps >= 1 and 2 <= rooms, got {n}, {rooms}")
        if any(not 0.0 <= share <= 1.0 for share in shares) or split not in SPLITS:
            raise ValueError(f"need shares in [0, 1] and a split of {SPLITS}, got {shares}, {split}")
        self.n, self.tour, self.n_steps = n, tour, tour + steps
        self.split: Split = split
        self._shares = dict(zip(("toured", "in_view", "terse", "full", "mumbled", "missed"), shares, strict=True))
        self._pool = draw_pool(first_house, n_houses, rooms[0], rooms[1], per_house)
        self.spec = make_spec(known_words())
        self._reader = Reader()

    def reset(self, rng: np.random.Generator) -> Tokens:
        """Draw routes, words and tours; the tokens are those of the tour's first room."""
        self._time = 0
        self._episodes = [self._draw(rng) for _ in range(self.n)]
        self._words = self.spec.encode([episode.words for episode in self._episodes])
        for episode in self._episodes:
            self._visit(episode)
        return self._tokens()

    def _draw(self, rng: np.random.Generator) -> _Episode:
        told = self._pool[int(rng.integers(len(self._pool)))]
        toured, in_view, terse = rng.uniform(size=3) < [self._shares[k] for k in ("toured", "in_view", "terse")]
        is_full = rng.uniform() < self._shares["full"]
        atlas, route = told.atlas, told.route
        goal_room = route.rooms[-1]
        own = [atlas.names[i] for i in atlas.things_in(goal_room)]
        in_view = bool(in_view) and own.count(atlas.names[told.goal]) == 1
        start, yaw, steps = route.start, route.yaw, told.parts
        if in_view:
            start, yaw = atlas.middles[goal_room], float(rng.uniform(-np.pi, np.pi))
            steps = (Step("stop", landmark=atlas.names[told.goal]),)
        elif terse and told.end is not None:
            steps = told.end
        elif is_full and told.all is not None:
            steps = told.all
        words = self._reader.read(say(steps, rng, self.split))
        missed = rng.uniform(size=len(atlas.names)) < self._shares["missed"]
        missed[told.goal] = False
        heading = np.array([np.cos(yaw), np.sin(yaw)])
        room = goal_room if in_view else route.rooms[0]
        walk = self._walk(told, rng) if toured else []
        is_shown = not in_view and told.is_shown(steps)
        gone = frozenset(np.flatnonzero(missed).tolist())
        origin = atlas.middles[walk[0]] if walk else start
        return _Episode(told, self._mumble(words, rng), walk, in_view, is_shown, start, heading, room, gone, origin)

    def _mumble(self, words: str, rng: np.random.Generator) -> str:
        """The words with some of those that are no names unheard."""
        said = words.split()
        is_lost = rng.uniform(size=len(said)) < self._shares["mumbled"]
        kept = ("left", "right", "straight", ",")
        names = set(self.spec.vocabulary[: self.spec.vocabulary.index(",")])
        return " ".join(
            UNKNOWN if lost and word not in names and word not in kept else word
            for word, lost in zip(said, is_lost, strict=True)
        )

    def _walk(self, told: PooledRoute, rng: np.random.Generator) -> list[int]:
        """A depth-first walk from a room drawn at random, as long as the tour."""
        atlas = told.atlas
        walk = [atlas.rooms[int(rng.integers(len(atlas.rooms)))]]
        way, been = list(walk), set(walk)
        while len(walk) < self.tour and way:
            nexts = [atlas.other_side(d, way[-1]) for d in rng.permutation(atlas.doors_of(way[-1])).tolist()]
            fresh = next((room for room in nexts if room not in been), None)
            if fresh is None:
                way.pop()
                walk += way[-1:]
            else:
                way.append(fresh)
                been.add(fresh)
                walk.append(fresh)
        return walk[: self.tour]

    def _visit(self, episode: _Episode) -> None:
        """Stand where the tour is, or where the route begins."""
        atlas = episode.told.atlas
        if self._time < self.tour and episode.walk:
            room = episode.walk[min(self._time, len(episode.walk) - 1)]
            episode.position = atlas.middles[room]
            episode.last_seen[room] = self._time
            self._see(episode, room)
        elif self._time >= self.tour and not episode.rooms:
            episode.position, episode.rooms = episode.start, [episode.room]
            episode.last_seen[episode.room] = self._time
            self._see(episode, episode.room)
        elif self._time < self.tour:
            episode.position = episode.start
            episode.last_seen[episode.room] = self._time
            self._see(episode, episode.room)

    def _see(self, episode: _Episode, room: int) -> None:
        """The tokens of this moment."""
        is_told = self._time >= self.tour
        seen = frozenset(episode.last_seen) if is_told else frozenset([room])
        ages = {each: (self._time - last) / self.n_steps for each, last in episode.last_seen.items()}
        moment = Moment(
            room, episode.position, episode.heading, episode.came_by, episode.thing,
            n_doors=max(len(episode.rooms) - 1, 0), used=episode.used, entered=episode.entered,
            n_choices=max(self._time - self.tour, 0), origin=episode.origin, seen=seen, ages=ages, gone=episode.gone,
        )  # fmt: skip
        episode.row = make_row(episode.told.atlas, moment)

    def _tokens(self) -> Tokens:
        rows = [episode.row for episode in self._episodes if episode.row is not None]
        words = self._words if self._time >= self.tour else np.zeros_like(self._words)
        return WayTokens(words=words, **fill(rows, self.spec))

    def step(self, actions: Int[np.ndarray, " n"]) -> Tokens:
        """Carry out the choices; during the tour all follow it."""
        is_told = self._time >= self.tour
        self._time += 1
        for episode, action in zip(self._episodes, actions.tolist(), strict=True):
            if not is_told:
                self._visit(episode)
            elif not episode.has_stopped:
                self._choose(episode, action)
        return self._tokens()

    def _choose(self, episode: _Episode, action: int) -> None:
        atlas, row = episode.told.atlas, episode.row
        kind, number = ("nothing", 0) if row is None else row.choices.get(action, ("nothing", 0))
        if kind == "stop":
            episode.has_stopped = True
            return
        room = episode.rooms[-1]
        if kind == "door":
            room = atlas.other_side(number, room)
            episode.heading = atlas.through(number, room, episode.position)
            episode.came_by, episode.thing = number, None
            episode.used[number] = episode.used.get(number, 0) + 1
            episode.entered[room] = episode.entered.get(room, 0) + 1
            episode.rooms.append(room)
            to = atlas.doors[number]
        elif kind == "thing":
            episode.thing, to = number, atlas.places[number]
        else:
            return
        episode.length += float(np.hypot(*(to - episode.position)))
        episode.position = to
        episode.last_seen[room] = self._time
        self._see(episode, room)

    def expert(self) -> Float[np.ndarray, "n a"]:
        """The teacher's choice."""
        result = np.zeros((self.n, self.spec.n_actions))
        if self._time < self.tour:
            return result
        for best, episode in zip(result, self._episodes, strict=True):
            if not episode.has_stopped:
                best[self._best(episode)] = 1.0
        return result

    def _best(self, episode: _Episode) -> int:
        told, room, row = episode.told, episode.rooms[-1], episode.row
        atlas, rooms = told.atlas, told.route.rooms
        if room == rooms[-1]:
            wanted = ("stop", 0) if episode.thing == told.goal else ("thing", told.goal)
        elif room in rooms:
            wanted = ("door", told.route.doors[rooms.index(room)])
        else:
            first, length = atlas.ways(room, episode.position, atlas.rooms)
            doors = atlas.doors_of(rooms[-1])
            wanted = ("door", int(first[doors[int(np.argmin(length[doors]))]]))
        choices = {} if row is None else row.choices
        return next((action for action, choice in choices.items() if choice == wanted), STOP)

    def scores(self) -> dict[str, np.ndarray]:
        """(n,) values of the episodes so far."""
        found = [_scores(episode) for episode in self._episodes]
        return {name: np.array([each[name] for each in found]) for name in found[0]}


def _scores(episode: _Episode) -> dict[str, float]:
    told = episode.told
    success = float(episode.has_stopped and episode.thing == told.goal)
    shortest = episode.shortest()
    is_true = episode.is_in_view or tuple(episode.rooms) == told.route.rooms
    toured = bool(episode.walk)
    return {
        "success": success, "spl": success * shortest / max(shortest, episode.length, 1e-9),
        "followed": success * float(is_true), "in_view": float(episode.is_in_view), "toured": float(toured),
        "shown": float(episode.is_shown), "hidden": float(toured and not episode.is_in_view and not episode.is_shown),
    }  # fmt: skip


def known_words() -> list[str]:
    """The words of training that are no names."""
    said = [way for ways in WAYS.values() for way in ways["train"]] + list(JOINTS["train"])
    words = " ".join(said).replace("{turn}", "left right").replace("{side}", "left right")
    words = words.replace("{room}", "").replace("{landmark}", "")
    return sorted({word for part in words.split() if (word := part.strip(".,"))})
