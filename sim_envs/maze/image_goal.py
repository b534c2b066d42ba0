"""Image goals in mazes: find the place of a picture, again and again in the same maze."""

from __future__ import annotations

import numpy as np
from jaxtyping import Bool, Float, Int

from embmem.policies.learned.tokens import Spec, Tokens
from embmem.sim_envs.maze.grids import dig, one_of, routes, wander

VIEW = 1  # kind of token
N_ACTIONS = 4  # north, east, south, west
N_NOW, N_REMEMBERED = 8, 2  # features beside the picture
N_STATE = 11  # numbers beside the goal's picture
STEP_COST = 0.02
REACH = 12.0  # steps that a feature of 1 stands for


class ImageGoalWorld:
    """n agents in n mazes, each after one picture at a time; who stands where it was taken gets the next one.

    First the agent is shown around for `tour` steps; then it has `steps` steps. A place has a random unit vector of
    `dim` numbers for its appearance; a picture of it is that plus noise of length `noise`, a unit vector again. An
    agent sees the pictures of the cells within `view` steps on foot and keeps them in its bank if they are news: if no
    picture there has a cosine above `novelty` with it (the novelty gate of episodic memory; Savinov et al., ICLR 2019,
    b = 0.5 on reachability). A token is a picture of the bank: itself, how like the goal it is (the score that a search
    by the goal's picture gives), where it lies by odometry, the way to it over what was seen, and its age.

    With probability `in_view` a goal is taken of a place in view, else of any other place. Rewards: 1 for a goal less
    `STEP_COST` a step. Scores: `success`, the share of `n_goals` found; `hidden`, 1 where the first goal had been seen
    on the tour and was not in view when it was given: the split on which memory matters.
    """

    def __init__(
        self,
        n: int,
        *,
        size: int = 5,
        view: int = 2,
        loops: float = 0.2,
        tour: int = 14,
        steps: int = 24,
        n_goals: int = 6,
        in_view: float = 0.0,
        dim: int = 16,
        noise: float = 0.1,
        novelty: float = 0.9,
    ) -> None:
        if min(n, view, tour, steps, n_goals, dim) < 1 or noise < 0.0 or not -1.0 < novelty <= 1.0:
            raise ValueError(
                f"need n, view, tour, steps, n_goals, dim >= 1, noise >= 0 and novelty in (-1, 1], got {n=}, {view=}, "
                f"{tour=}, {steps=}, {n_goals=}, {dim=}, {noise=}, {novelty=}"
            )
        if not 0.0 <= in_view <= 1.0:
            raise ValueError(f"need in_view in [0, 1], got {in_view}")
        self.n, self.n_steps, self.tour = n, tour + steps, tour
        self.size, self.view, self.loops, self.in_view = size, view, loops, in_view
        self.n_goals, self.dim, self.noise, self.novelty = n_goals, dim, noise, novelty
        self.spec = Spec(
            vocabulary=(), n_kinds=2, n_now=N_NOW + dim, n_features=N_NOW + dim + N_REMEMBERED, n_state=N_STATE + dim,
            n_actions=N_ACTIONS, n_words=1,
        )  # fmt: skip
        self._rows, self.rewards = np.arange(n), np.zeros(n, dtype=np.float32)
        self._time, self._found = self.n_steps, np.zeros(n, np.int64)  # nobody acts before `reset`

    def reset(self, rng: np.random.Generator) -> Tokens:
        """New mazes, an empty bank; the tokens are those of the tour's first cell."""
        n, c = self.n, self.size**2
        self._rng = rng
        self._ways = dig(n, self.size, loops=self.loops, rng=rng)
        self._walk = wander(self._ways, self.tour, rng)
        self._looks = _unit(rng.normal(size=(n, c, self.dim)))
        self._at, self._time, self._last = self._walk[:, 0], 0, np.zeros(n, np.int64)
        self._expanded, self._is_seen = np.zeros((n, c), np.bool_), np.zeros((n, c), np.bool_)
        self._bank, self._n_bank = np.zeros((n, c, self.dim)), np.zeros(n, np.int64)  # as many pictures as cells
        self._cells, self._stamps = np.zeros((n, c), np.int64), np.zeros((n, c))
        self._found, self._is_hidden = np.zeros(n, np.int64), np.zeros(n, np.bool_)
        self._goal, self._picture = self._at.copy(), np.zeros((n, self.dim))
        self._look()
        return self._tokens()

    def step(self, actions: Int[np.ndarray, " n"]) -> Tokens:
        """Move; where there is a wall, stay. During the tour all follow it."""
        is_acting = self.is_acting
        self._time += 1
        if self._time <= self.tour:
            to = self._walk[:, self._time]
            self._last = np.argmax(self._ways[self._rows, self._at] == to[:, None], axis=1)
            self._at = to
        else:
            self._at = np.where(is_acting, self._ways[self._rows, self._at, actions], self._at)
            self._last = actions
        is_there = is_acting & (self._at == self._goal)
        self._found += is_there
        self.rewards = (is_there - STEP_COST * is_acting).astype(np.float32)
        self._look()
        if self._time >= self.tour:
            self._next_goals(is_there | (self._time == self.tour))
        if self._time == self.tour:
            self._is_hidden = (self._is_seen & ~self._is_near)[self._rows, self._goal]
        return self._tokens()

    @property
    def is_acting(self) -> Bool[np.ndarray, " n"]:
        """Whether what each agent answers now counts."""
        return (self._found < self.n_goals) & (self.tour <= self._time < self.n_steps)

    def expert(self) -> Float[np.ndarray, "n a"]:
        """The first moves of the shortest ways to the goal in the whole maze, which only a teacher knows."""
        _, first = routes(self._ways, self._at)
        best = first[self._rows, self._goal].astype(np.float32)
        best[~self.is_acting] = 0.0
        return best / np.maximum(best.sum(axis=1, keepdims=True), 1.0)

    def scores(self) -> dict[str, np.ndarray]:
        """The share of the goals that were found, and the split."""
        return {"success": self._found / self.n_goals, "hidden": self._is_hidden.astype(float)}

    def _next_goals(self, is_due: np.ndarray) -> None:
        """Another cell than the one where the agent stands, and a picture taken there."""
        is_other = np.arange(self.size**2) != self._at[:, None]
        is_put = self._rng.uniform(size=self.n) < self.in_view
        cells = one_of(is_other & (self._is_near | ~is_put[:, None]), self._rng).argmax(axis=1)
        pictures = self._take()[self._rows, cells]
        self._goal = np.where(is_due, cells, self._goal)
        self._picture = np.where(is_due[:, None], pictures, self._picture)

    def _take(self) -> np.ndarray:
        """(n, c, dim) a picture of every cell."""
        return _unit(self._looks + self.noise / np.sqrt(self.dim) * self._rng.normal(size=self._looks.shape))

    def _look(self) -> None:
        """Take pictures of what is near, keep those that are news, and find the ways over what was seen."""
        near, _ = routes(self._ways, self._at, most=self.view)
        self._is_near = near <= self.view
        self._is_seen |= self._is_near
        self._expanded |= near < self.view
        pictures = self._take()
        likeness = np.where(self._is_used()[:, None], pictures @ self._bank.transpose(0, 2, 1), -1.0).max(axis=2)
        is_new = self._is_near & (likeness <= self.novelty)
        slots = self._n_bank[:, None] + is_new.cumsum(axis=1) - 1
        rows, cells = np.nonzero(is_new & (slots < self._bank.shape[1]))
        slots = slots[rows, cells]
        self._bank[rows, slots], self._cells[rows, slots] = pictures[rows, cells], cells
        self._stamps[rows, slots] = self._time
        self._n_bank = np.minimum(self._n_bank + is_new.sum(axis=1), self._bank.shape[1])
        self._steps, self._first = routes(self._ways, self._at, is_expanded=self._expanded)

    def _is_used(self) -> Bool[np.ndarray, "n c"]:
        """Which places of the bank hold a picture."""
        return np.arange(self._bank.shape[1]) < self._n_bank[:, None]

    def _tokens(self) -> Tokens:
        rows, is_used = self._rows[:, None], self._is_used()
        steps = np.minimum(self._steps[rows, self._cells], REACH)
        likeness = np.einsum("ncd,nd->nc", self._bank, self._picture)
        now = [
            likeness[..., None], self._offset(self._cells, self._at[:, None]), steps[..., None] / REACH,
            self._first[rows, self._cells], self._bank,
        ]  # fmt: skip
        age = self._time - self._stamps
        remembered = [age[..., None] / self.n_steps, np.exp(-age / 4.0)[..., None]]
        features = np.concatenate([*now, *remembered], axis=-1).astype(np.float32) * is_used[..., None]
        return Tokens(
            words=np.zeros((self.n, 1), np.int64),
            kinds=is_used.astype(np.int64),
            names=np.zeros_like(self._cells),
            features=features,
            is_visible=is_used & self._is_near[rows, self._cells],
            state=self._state(),
        )

    def _state(self) -> Float[np.ndarray, "n s"]:
        """Ways out, last action, place since the beginning, share of the goals found, the goal's picture."""
        ways = self._ways[self._rows, self._at] != self._at[:, None]
        place = self._offset(self._at, self._walk[:, 0])
        found = self._found[:, None] / self.n_goals
        told = [ways, np.eye(N_ACTIONS)[self._last], place, found, self._picture]
        return np.concatenate(told, axis=1).astype(np.float32)

    def _offset(self, to: np.ndarray, at: np.ndarray) -> np.ndarray:
        """(..., 2) from one cell to another, east and north, in sizes of the maze."""
        return np.stack([to % self.size - at % self.size, to // self.size - at // self.size], axis=-1) / self.size


def _unit(vectors: np.ndarray) -> np.ndarray:
    return vectors / np.linalg.norm(vectors, axis=-1, keepdims=True)
