"""Image goals in mazes: find the place of a picture, again and again in the same maze."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float, Int

from embmem.policies.learned.tokens import Spec, Tokens
from embmem.sim_envs.maze.grids import dig, routes

VIEW = 1  # kind of token
N_ACTIONS = 4  # north, east, south, west
N_NOW, N_REMEMBERED = 8, 2
STEP_COST = 0.02


class ImageGoalWorld:
    """n agents in n mazes, each after one picture at a time; who stands where it was taken gets the next one.

    A place has a random unit vector of `dim` numbers for its appearance; a picture of it is that plus noise of length
    `noise`, a unit vector again. An agent sees the pictures of its own cell and of those next to it, and keeps them in
    its bank if they are news: if no picture there has a cosine above `novelty` with it (the novelty gate of episodic
    memory; Savinov et al., ICLR 2019, b = 0.5 on reachability). A token is a picture of the bank: how like the goal it
    is (the score that a search by the goal's picture gives), where it lies by odometry, the way to it over what was
    seen, and its age. Rewards: 1 for a goal less `STEP_COST` a step. Scores: `success`, the share of `n_goals` found.
    """

    def __init__(
        self,
        n: int,
        *,
        size: int = 5,
        loops: float = 0.2,
        steps: int = 48,
        n_goals: int = 6,
        dim: int = 16,
        noise: float = 0.1,
        novelty: float = 0.9,
    ) -> None:
        if min(n, steps, n_goals, dim) < 1 or noise < 0.0 or not -1.0 < novelty <= 1.0:
            raise ValueError(
                f"need n, steps, n_goals, dim >= 1, noise >= 0 and novelty in (-1, 1], got {n=}, {steps=}, "
                f"{n_goals=}, {dim=}, {noise=}, {novelty=}"
            )
        self.n, self.n_steps, self.size, self.loops = n, steps, size, loops
        self.n_goals, self.dim, self.noise, self.novelty = n_goals, dim, noise, novelty
        self.spec = Spec(
            vocabulary=(), n_kinds=2, n_now=N_NOW, n_features=N_NOW + N_REMEMBERED, n_state=11,
            n_actions=N_ACTIONS, n_words=1,
        )  # fmt: skip
        self._rows, self.rewards = np.arange(n), np.zeros(n, dtype=np.float32)

    def reset(self, rng: np.random.Generator) -> Tokens:
        """New mazes, an empty bank."""
        n, c = self.n, self.size**2
        self._rng = rng
        self._ways = dig(n, self.size, loops=self.loops, rng=rng)
        self._looks = _unit(rng.normal(size=(n, c, self.dim)))
        self._at, self._time = rng.integers(c, size=n), 0
        self._start, self._last = self._at, np.zeros(n, np.int64)
        self._expanded = np.zeros((n, c), np.bool_)
        self._bank, self._n_bank = np.zeros((n, c, self.dim)), np.zeros(n, np.int64)  # as many pictures as cells
        self._cells, self._stamps = np.zeros((n, c), np.int64), np.zeros((n, c))
        self._found = np.zeros(n, np.int64)
        self._goal, self._picture = self._at.copy(), np.zeros((n, self.dim))
        self._next_goals(np.ones(n, np.bool_))
        self._look()
        return self._tokens()

    def step(self, actions: Int[np.ndarray, " n"]) -> Tokens:
        """Move; where there is a wall, stay."""
        self._time += 1
        self._at = self._ways[self._rows, self._at, actions]
        self._last = actions
        is_there = (self._at == self._goal) & (self._found < self.n_goals)
        self._found += is_there
        self.rewards = (is_there - STEP_COST * (self._found < self.n_goals)).astype(np.float32)
        self._next_goals(is_there)
        self._look()
        return self._tokens()

    def expert(self) -> Float[np.ndarray, "n a"]:
        """The first moves of the shortest ways to the goal in the whole maze, which only a teacher knows."""
        _, first = routes(self._ways, self._at)
        best = first[self._rows, self._goal].astype(np.float32)
        return best / np.maximum(best.sum(axis=1, keepdims=True), 1.0)

    def scores(self) -> dict[str, np.ndarray]:
        """The share of the goals that were found."""
        return {"success": self._found / self.n_goals}

    def _next_goals(self, is_due: np.ndarray) -> None:
        """Another cell than the one where the agent stands, and a picture taken there."""
        shift = self._rng.integers(1, self.size**2, size=self.n)
        self._goal = np.where(is_due, (self._at + shift) % self.size**2, self._goal)
        taken = self._take(self._goal)
        self._picture = np.where(is_due[:, None], taken, self._picture)

    def _take(self, cells: np.ndarray) -> np.ndarray:
        """(n, dim) a picture of a cell a maze."""
        looks = self._looks[self._rows, cells]
        return _unit(looks + self.noise / np.sqrt(self.dim) * self._rng.normal(size=looks.shape))

    def _look(self) -> None:
        """Take pictures around, keep those that are news, and find the ways over what was seen."""
        self._expanded[self._rows, self._at] = True
        for cells in (self._at, *self._ways[self._rows, self._at].T):
            picture = self._take(cells)
            is_used = np.arange(self._bank.shape[1]) < self._n_bank[:, None]
            likeness = np.where(is_used, np.einsum("ncd,nd->nc", self._bank, picture), -1.0)
            is_full = self._n_bank == self._bank.shape[1]
            is_new = (likeness.max(axis=1) <= self.novelty) & ~is_full
            rows, slots = self._rows[is_new], self._n_bank[is_new]
            self._bank[rows, slots], self._cells[rows, slots] = picture[is_new], cells[is_new]
            self._stamps[rows, slots] = self._time
            self._n_bank += is_new
        self._steps, self._first = routes(self._ways, self._at, is_expanded=self._expanded)

    def _tokens(self) -> Tokens:
        rows = self._rows[:, None]
        is_used = np.arange(self._bank.shape[1]) < self._n_bank[:, None]
        steps = np.minimum(self._steps[rows, self._cells], self.size**2)
        likeness = np.einsum("ncd,nd->nc", self._bank, self._picture)
        now = [
            likeness[..., None], self._offset(self._cells, self._at[:, None]), steps[..., None] / self.size,
            self._first[rows, self._cells],
        ]  # fmt: skip
        age = (self._time - self._stamps) / self.n_steps
        remembered = [age[..., None], np.exp(-age * self.n_steps / 4.0)[..., None]]
        features = np.concatenate([*now, *remembered], axis=-1).astype(np.float32) * is_used[..., None]
        none = np.zeros((self.n, 1), np.int64)
        return Tokens(
            words=none,
            kinds=is_used.astype(np.int64),
            names=np.zeros_like(self._cells),
            features=features,
            is_visible=is_used & (steps <= 1),
            state=self._state(),
        )

    def _state(self) -> Float[np.ndarray, "n s"]:
        """Ways out, last action, place since the beginning, share of the goals found."""
        ways = self._ways[self._rows, self._at] != self._at[:, None]
        place = self._offset(self._at, self._start)
        found = self._found[:, None] / self.n_goals
        return np.concatenate([ways, np.eye(N_ACTIONS)[self._last], place, found], axis=1).astype(np.float32)

    def _offset(self, to: np.ndarray, at: np.ndarray) -> np.ndarray:
        """(..., 2) from one cell to another, east and north, in sizes of the maze."""
        return np.stack([to % self.size - at % self.size, to // self.size - at // self.size], axis=-1) / self.size


def _unit(vectors: np.ndarray) -> np.ndarray:
    return vectors / np.linalg.norm(vectors, axis=-1, keepdims=True)
