"""Errands in mazes: the agent is shown around, then told to go to what it has seen."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from jaxtyping import Bool, Float, Int

from embmem.policies.learned.tokens import Spec, Tokens
from embmem.sim_envs.maze.grids import FAR, dig, one_of, routes, wander
from embmem.sim_envs.maze.instructions import KINDS, LANDMARKS, N_WORDS, phrase, vocabulary

STOP, N_ACTIONS = 0, 5  # stop, then north, east, south, west
LANDMARK, START = 1, 2  # kinds of tokens
N_NOW, N_REMEMBERED = 8, 5
REACH = 12.0  # steps that a feature of 1 stands for


class MazeWorld:
    """n errands in n mazes, none of which was there before.

    An episode: a walk of `tour` steps that the agent watches, then an instruction and `steps` steps to carry it out.
    What lies within `view` steps on foot is in view. A landmark is a token once it was in view: its name, how far and
    in which direction it lies (odometry is exact), the way to it over what was seen (`with_ways`), and when it was seen
    first and last and whether the agent stood there since. The place where the instruction was given is a token, too.
    The agent succeeds if it stops at the last of its goals after having been at the one before. With probability
    `in_view` the landmark that is named first is put where it is in view, not underfoot, when the instruction is given;
    all else is as likely as ever.

    The teacher takes the shortest way over what was seen. Scores: `success`, `spl` (against the shortest way in the
    whole maze), `hidden` (1 where the first goal was not in view when the instruction was given: the split on which
    memory matters), `kind` (number in `instructions.KINDS`).
    """

    def __init__(
        self,
        n: int,
        *,
        size: int = 6,
        n_landmarks: int = 6,
        view: int = 2,
        loops: float = 0.2,
        tour: int = 20,
        steps: int = 20,
        with_ways: bool = True,
        is_held_out: bool = False,
        kinds: Sequence[str] = KINDS,
        in_view: float = 0.0,
    ) -> None:
        if not 2 <= n_landmarks <= min(len(LANDMARKS), size) or min(n, view, tour, steps) < 1:
            raise ValueError(
                f"need n, view, tour, steps >= 1 and 2 to {min(len(LANDMARKS), size)} landmarks, "
                f"got {n=}, {view=}, {tour=}, {steps=}, {n_landmarks=}"
            )
        if not 0.0 <= in_view <= 1.0:
            raise ValueError(f"need in_view in [0, 1], got {in_view}")
        if not kinds or set(kinds) - set(KINDS):
            raise ValueError(f"need kinds of errands out of {KINDS}, got {list(kinds)}")
        self._drawn = np.array([KINDS.index(kind) for kind in kinds])
        self.n, self.n_steps = n, tour + steps
        self.size, self.n_landmarks, self.view, self.loops = size, n_landmarks, view, loops
        self.tour, self.with_ways, self.is_held_out = tour, with_ways, is_held_out
        self.spec = Spec(
            vocabulary=vocabulary(), n_kinds=3, n_now=N_NOW, n_features=N_NOW + N_REMEMBERED, n_state=12,
            n_actions=N_ACTIONS, n_words=N_WORDS,
        )  # fmt: skip
        self._rows, self.in_view = np.arange(n), in_view

    def reset(self, rng: np.random.Generator) -> Tokens:
        """Dig new mazes, walk through them, choose the errands; the tokens are those of the walk's first cell."""
        n, c = self.n, self.size**2
        self._ways = dig(n, self.size, loops=self.loops, rng=rng)
        self._walk = wander(self._ways, self.tour, rng)
        self._expanded, self._seen = np.zeros((n, c), np.bool_), np.full((2, n, c), -1)  # first and last time in view
        self._stood = np.full((n, c), -1)  # last time there
        self._time, self._at = 0, self._walk[:, 0]
        self._last = np.zeros(n, np.int64)
        self._has_stopped, self._moved = np.zeros(n, np.bool_), np.zeros(n, np.int64)
        self._choose(rng)
        self._stage = np.zeros(n, np.int64)
        self._look()
        return self._tokens()

    def step(self, actions: Int[np.ndarray, " n"]) -> Tokens:
        """Move those that have not stopped; during the walk all follow it."""
        self._time += 1
        if self._time <= self.tour:
            to = self._walk[:, self._time]
            self._last = 1 + np.argmax(self._ways[self._rows, self._at] == to[:, None], axis=1)
            self._at = to
        else:
            self._has_stopped |= actions == STOP
            acts = np.where(self._has_stopped, STOP, actions)
            moved = self._ways[self._rows, self._at, np.maximum(acts, 1) - 1]
            self._at = np.where(acts == STOP, self._at, moved)
            self._moved += acts != STOP
            self._last = acts
        if self._time >= self.tour:
            self._stage |= (self._at == self._goals[:, 0]).astype(np.int64)
        self._look()
        return self._tokens()

    @property
    def is_acting(self) -> Bool[np.ndarray, " n"]:
        """Whether what each agent answers now counts."""
        return ~self._has_stopped & (self._time >= self.tour) & (self._time < self.n_steps)

    def expert(self) -> Float[np.ndarray, "n a"]:
        """The first moves of the shortest known ways to the goal of the moment, alike; STOP at the last goal."""
        goal = self._goals[self._rows, self._stage]
        best = np.zeros((self.n, N_ACTIONS), dtype=np.float32)
        best[:, 1:] = self._first[self._rows, goal]
        best[:, STOP] = (self._at == goal) & (self._stage == 1)
        best[~self.is_acting] = 0.0
        return best / np.maximum(best.sum(axis=1, keepdims=True), 1.0)

    def scores(self) -> dict[str, np.ndarray]:
        """Success, SPL, the split and the kind of every episode."""
        success = self._has_stopped & (self._stage == 1) & (self._at == self._goals[:, 1])
        spl = success * self._shortest / np.maximum(np.maximum(self._moved, self._shortest), 1)
        return {
            "success": success.astype(float), "spl": spl, "hidden": self._is_hidden.astype(float),
            "kind": self._kinds.astype(float),
        }  # fmt: skip

    def _choose(self, rng: np.random.Generator) -> None:
        """Put landmarks where the walk will see them and choose errands, before the walk is taken."""
        n, k = self.n, self.n_landmarks
        first = self._first_in_view()
        key = rng.uniform(size=first.shape) + FAR * (first < 0)
        start = self._walk[:, -1]
        near, _ = routes(self._ways, start, most=self.view)
        is_put = rng.uniform(size=n) < self.in_view
        key[is_put] -= FAR * one_of(((near > 0) & (near <= self.view))[is_put], rng)
        order = np.argsort(key, axis=1)
        self._landmarks = order[:, :k]
        if ((first >= 0).sum(axis=1) < k).any():
            raise ValueError(f"a walk of {self.tour} steps sees fewer than {k} cells: take a longer one")
        self._names = 1 + np.argsort(rng.uniform(size=(n, len(LANDMARKS))), axis=1)[:, :k]
        when = first[self._rows[:, None], self._landmarks]
        earliest = when.argmin(axis=1)
        is_one = (when == when.min(axis=1, keepdims=True)).sum(axis=1) == 1
        kinds = self._drawn[rng.integers(len(self._drawn), size=n)]
        self._kinds = np.where((kinds == KINDS.index("first")) & ~is_one, KINDS.index("named"), kinds)
        a = np.where(self._kinds == KINDS.index("first"), earliest, 0)
        goal_a, goal_b = self._landmarks[self._rows, a], self._landmarks[:, 1]
        last = np.where(self._kinds == KINDS.index("back"), start, goal_a)
        last = np.where(self._kinds == KINDS.index("then"), goal_b, last)
        self._goals = np.stack([goal_a, last], axis=1)
        choices = rng.uniform(size=n)
        names = np.array(["", *LANDMARKS])
        said = [
            phrase(KINDS[kind], names[i], names[j], choice, is_held_out=self.is_held_out)
            for kind, i, j, choice in zip(self._kinds, self._names[:, 0], self._names[:, 1], choices, strict=True)
        ]
        self._words = self.spec.encode(said)
        to_a, _ = routes(self._ways, start)
        from_a, _ = routes(self._ways, goal_a)
        self._shortest = to_a[self._rows, goal_a] + from_a[self._rows, last]
        self._is_hidden = to_a[self._rows, goal_a] > self.view

    def _first_in_view(self) -> np.ndarray:
        """(n, c) the time at which the walk first has each cell in view, -1: never."""
        first = np.full((self.n, self.size**2), -1)
        for t, at in enumerate(self._walk.T):
            steps, _ = routes(self._ways, at, most=self.view)
            first[(first < 0) & (steps <= self.view)] = t
        return first

    def _look(self) -> None:
        """See from where the agents stand now: what is near, and the ways over all that was seen."""
        near, _ = routes(self._ways, self._at, most=self.view)
        self._is_near = near <= self.view
        self._expanded |= near < self.view
        first, last = self._seen
        first[self._is_near & (first < 0)] = self._time
        last[self._is_near] = self._time
        self._stood[self._rows, self._at] = self._time
        most = FAR if self._time >= self.tour else self.view
        self._steps, self._first = routes(self._ways, self._at, is_expanded=self._expanded, most=most)

    def _tokens(self) -> Tokens:
        rows, is_told = self._rows[:, None], self._time >= self.tour
        cells = np.concatenate([self._landmarks, self._walk[:, -1:]], axis=1)
        seen_first, seen_last = self._seen[:, rows, cells]
        is_there = seen_first >= 0
        is_there[:, -1] = is_told
        away = self._offset(cells, self._at[:, None])
        steps, first = self._steps[rows, cells], self._first[rows, cells]
        stood = self._stood[rows, cells]
        now = [away, (steps == 0)[..., None], np.minimum(steps, REACH)[..., None] / REACH, first]
        if not self.with_ways:
            now[2:] = [np.zeros_like(now[2]), np.zeros_like(first)]
        rank = (
            (seen_first[:, :, None] > seen_first[:, None, :]) & is_there[:, None, :] & (cells != cells[:, -1:])[:, None]
        )
        remembered = [
            (self._time - seen_first) / self.n_steps, (self._time - seen_last) / self.n_steps,
            rank.sum(axis=2) / self.n_landmarks, stood > self.tour, (self._time - stood) * (stood >= 0) / self.n_steps,
        ]  # fmt: skip
        features = np.concatenate([*now, np.stack(remembered, axis=-1)], axis=-1).astype(np.float32)
        kinds = np.where(is_there, [LANDMARK] * self.n_landmarks + [START], 0)
        names = np.concatenate([self._names, np.zeros((self.n, 1), np.int64)], axis=1)
        return Tokens(
            words=self._words if is_told else np.zeros_like(self._words),
            kinds=kinds,
            names=np.where(is_there, names, 0),
            features=features * is_there[..., None],
            is_visible=self._is_near[rows, cells] & is_there,
            state=self._state(),
        )

    def _state(self) -> Float[np.ndarray, "n s"]:
        """Ways out, last action, place since the beginning of the walk, time."""
        ways = self._ways[self._rows, self._at] != self._at[:, None]
        last = np.eye(N_ACTIONS)[self._last]
        place = self._offset(self._at, self._walk[:, 0])
        time = np.full((self.n, 1), self._time / self.n_steps)
        return np.concatenate([ways, last, place, time], axis=1).astype(np.float32)

    def _offset(self, to: np.ndarray, at: np.ndarray) -> np.ndarray:
        """(..., 2) from one cell to another, east and north, in sizes of the maze."""
        return np.stack([to % self.size - at % self.size, to // self.size - at // self.size], axis=-1) / self.size
