"""Where to look for a thing of a category that is not on the map yet: a learned 8 x 8 prior over the map.

FILM (Min et al., ICLR 2022) predicts, from the semantic map, a distribution over a coarse grid for the category that is
looked for, and draws a goal from it every 25 steps, after 30 steps of uniform goals. Its convolutional network is a
table here: the score of a cell is a sum of weights for the categories known in it and around it and for how much of it
was seen, trained as a conditional likelihood on generated homes (`benchmarks/search_prior.py`). No torch is needed.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Float
from safetensors import SafetensorError
from safetensors.numpy import load

from embmem.errors import InputError
from embmem.maps.grid import UNSEEN
from embmem.maps.semantic_map.layer import SemanticMap

SIDE = 8  # cells along an edge
CELL = 2.0  # [m] edge of a cell
N_STATES = 4  # features of a cell beside its categories
WEIGHTS = Path(__file__).with_name("search_prior.safetensors")
UNIFORM_STEPS, GOAL_STEPS = 30, 25
_MAX_BYTES = 1 << 20


@dataclass(frozen=True, eq=False)
class CoarseMap:
    """What is known of a square of 16 m, in cells of 2 m; rows along +y, columns along +x."""

    origin: Float[np.ndarray, "2"]  # (x, y) [m] of the outer corner of cell (0, 0)
    explored: Float[np.ndarray, "8 8"]  # share of the cell that was seen
    categories: tuple[str, ...]
    present: Float[np.ndarray, "8 8 c"]  # 1 where a thing of the category has its middle

    def features(self) -> Float[np.ndarray, "8 8 f"]:
        """Of each cell: categories in it, how many of the eight cells around have them, and four states."""
        around = _sum_around(self.present)
        seen = self.explored[..., None]
        states = np.concatenate([1.0 - seen, seen, _sum_around(seen) / 8.0, seen * (1.0 - seen)], axis=-1)
        return np.concatenate([self.present, around, states], axis=-1)


@dataclass(frozen=True, eq=False)
class Prior:
    """Where a thing may be: probabilities of the cells of a `CoarseMap`, which sum to 1."""

    origin: Float[np.ndarray, "2"]  # [m]
    probability: Float[np.ndarray, "8 8"]

    def draw(self, rng: np.random.Generator) -> Float[np.ndarray, "2"]:
        """A point (x, y) [m], anywhere in a cell that is drawn by its probability."""
        cell = int(rng.choice(SIDE * SIDE, p=self.probability.ravel()))
        row, column = divmod(cell, SIDE)
        return self.origin + (np.array([column, row]) + rng.random(2)) * CELL


class SearchPrior:
    """The table: one score for each category looked for, by what is known of a cell."""

    def __init__(self, categories: Sequence[str], weights: Float[np.ndarray, "f c"]) -> None:
        """`weights` has a row a feature (see `CoarseMap.features`) and a column a category."""
        n = len(categories)
        if weights.shape != (2 * n + N_STATES, n) or len(set(categories)) != n or not np.isfinite(weights).all():
            raise ValueError(f"weights for {n} distinct categories must be finite and {2 * n + N_STATES, n}")
        self.categories = tuple(categories)
        self.weights = weights.astype(np.float64)

    @classmethod
    def load(cls, path: Path = WEIGHTS) -> SearchPrior:
        """The prior in a file; by default the one that comes with embmem, trained on its generated homes.

        Raises:
            InputError: if the file is missing, damaged or holds something else.
        """
        if not path.is_file() or path.stat().st_size > _MAX_BYTES:
            raise InputError(f"{path} is no file of a search prior")
        try:
            arrays = load(path.read_bytes())
            names = bytes(arrays["categories"]).decode().split("\n")
            return cls(names, arrays["weights"].astype(np.float64))
        except (SafetensorError, KeyError, ValueError, TypeError) as error:
            raise InputError(f"{path} holds no search prior: {error}") from error

    def __call__(self, known: CoarseMap, category: str) -> Prior:
        """Where a thing of a category may be; uniform over what was not seen for a category never trained on.

        Raises:
            ValueError: if the map tells of other categories than the table.
        """
        if known.categories != self.categories:
            raise ValueError("the map must tell of the categories of the prior, in their order")
        if category not in self.categories:
            return uniform(known)
        scores = known.features() @ self.weights[:, self.categories.index(category)]
        powers = np.exp(scores - scores.max())
        return Prior(known.origin, powers / powers.sum())


def uniform(known: CoarseMap) -> Prior:
    """Every cell by the share of it that was not seen; all alike if everything was."""
    share = 1.0 - known.explored
    share = share if share.sum() > 0 else np.ones_like(share)
    return Prior(known.origin, share / share.sum())


def coarse_map(semantic_map: SemanticMap, categories: Sequence[str]) -> CoarseMap:
    """A semantic map as the prior sees it: the square around the middle of what was seen."""
    grid = semantic_map.occupancy()
    known = np.argwhere(grid.cells != UNSEEN)
    points = grid.to_points(known) if len(known) else np.zeros((0, 2))
    agent = semantic_map.agent
    corners = points if len(points) or agent is None else agent[None, :2]
    middle = (corners.min(axis=0) + corners.max(axis=0)) / 2.0 if len(corners) else np.zeros(2)
    origin = middle - 0.5 * SIDE * CELL
    explored = np.zeros((SIDE, SIDE))
    at = _cells(points, origin)
    np.add.at(explored, tuple(at[_inside(at)].T), (grid.resolution / CELL) ** 2)
    present = np.zeros((SIDE, SIDE, len(categories)))
    number = {name: i for i, name in enumerate(categories)}
    things = [thing for thing in semantic_map.things() if thing.category in number]
    middles = np.array([thing.centroid for thing in things]).reshape(-1, 2)
    cells, numbers = _cells(middles, origin), np.array([number[t.category] for t in things], dtype=np.int64)
    is_in = _inside(cells)
    present[cells[is_in, 0], cells[is_in, 1], numbers[is_in]] = 1.0
    return CoarseMap(origin, np.minimum(explored, 1.0), tuple(categories), present)


class GoalChooser:
    """FILM's policy: uniform goals for the first 30 steps, then goals drawn from the prior; a new one every 25."""

    def __init__(self, prior: SearchPrior, category: str, rng: np.random.Generator) -> None:
        """A new search for a category; all that is random comes from `rng`."""
        self.prior, self.category, self.rng = prior, category, rng
        self.goal: np.ndarray | None = None
        self._step = 0

    def step(self, semantic_map: SemanticMap) -> Float[np.ndarray, "2"]:
        """The goal (x, y) [m] of this step."""
        if self.goal is None or self._step % GOAL_STEPS == 0:
            known = coarse_map(semantic_map, self.prior.categories)
            prior = uniform(known) if self._step < UNIFORM_STEPS else self.prior(known, self.category)
            self.goal = prior.draw(self.rng)
        self._step += 1
        return self.goal


def _sum_around(planes: Float[np.ndarray, "8 8 c"]) -> Float[np.ndarray, "8 8 c"]:
    """Of the eight cells around each; beyond the border there is nothing."""
    padded = np.pad(planes, ((1, 1), (1, 1), (0, 0)))
    rows = padded[:-2] + padded[1:-1] + padded[2:]
    return rows[:, :-2] + rows[:, 1:-1] + rows[:, 2:] - planes


def _cells(points: np.ndarray, origin: np.ndarray) -> np.ndarray:
    """(row, column) of points (x, y) [m]."""
    return np.floor((points - origin) / CELL).astype(np.int64)[:, ::-1]


def _inside(cells: np.ndarray) -> np.ndarray:
    is_inside: np.ndarray = np.all((cells >= 0) & (cells < SIDE), axis=1)
    return is_inside
