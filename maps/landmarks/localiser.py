"""Where in the landmark graph the robot is: a discrete Bayes filter over its nodes."""

from __future__ import annotations

from typing import NamedTuple, no_type_check

import numpy as np
from jaxtyping import Float, Int
from numba import njit

from embmem.geometry import rotation_angle
from embmem.maps.landmarks.descriptors import describe, normalised
from embmem.maps.landmarks.tables import Tables
from embmem.observation import Observation


class Estimate(NamedTuple):
    """Where the robot is believed to be."""

    id: int  # of the most probable landmark
    probability: float
    nearby: float  # probability of being there or close by
    entropy: float  # of the belief, 0 = certain, 1 = no idea
    expected_cosine: float  # of the last views, each under the belief before it; NaN before the first
    is_lost: bool


class Localiser:
    """A histogram filter (Thrun, Burgard and Fox, Probabilistic Robotics, 2005, table 4.1) over landmarks.

    Motion: from landmark i the robot is at i still, or at the end of an edge i -> j. With a displacement u in the map
    frame the weight of an end at x_j is exp(-|x_j - x_i - u|^2 / 2 sigma^2); with a distance only, as after waking up
    somewhere, it is exp(-(length_ij - u)^2 / 2 sigma^2), and exp(-u^2 / 2 sigma^2) for staying. Weights are
    normalised for each i; with probability `kidnap` the robot is anywhere. A step should be about as long as an
    edge: gather odometry until it is.

    Views: a view whose descriptor has cosine c with the mean of a landmark has likelihood exp(kappa (c - 1)) there
    (von Mises and Fisher).

    The robot is lost while the probability of being within `radius` of the best guess is below `min_probability`,
    or the cosine of a view that the belief before it expects, averaged over about 1 / `forgetting` views, is below
    `min_cosine`: what is seen is not what the map holds, however sure the belief is.
    """

    def __init__(
        self,
        tables: Tables,
        *,
        sigma: float = 0.5,
        kappa: float = 20.0,
        kidnap: float = 0.01,
        radius: float = 2.0,
        min_probability: float = 0.6,
        min_cosine: float = 0.5,
        forgetting: float = 0.3,
        stride: float | None = None,
        turn: float = 0.5,
    ) -> None:
        """A filter that has no idea yet, over the living rows as they are now.

        Args:
            tables: of the graph.
            sigma: standard deviation [m] of a step.
            kappa: concentration of the views.
            kidnap: probability of being put anywhere, a step.
            radius: [m] around the best guess that counts as the same place.
            min_probability: of being there, below which the robot is lost.
            min_cosine: mean expected cosine below which it is.
            forgetting: weight of the last view in that mean.
            stride: [m] that `observe` gathers before it takes in another view; the median length of the edges if not
                given.
            turn: [rad] after which it takes one in all the same.
        """
        if not (sigma > 0 and kappa > 0 and 0 < kidnap < 1 and 0 < forgetting <= 1):
            raise ValueError(f"need sigma, kappa > 0, 0 < kidnap < 1, 0 < forgetting <= 1, got {sigma, kappa, kidnap}")
        if not (turn > 0 and (stride is None or stride >= 0)):
            raise ValueError(f"need stride >= 0 and turn > 0, got {stride}, {turn}")
        rows = np.flatnonzero(tables.nodes["is_alive"])
        if len(rows) == 0:
            raise ValueError("there are no landmarks to be at")
        self.sigma, self.kappa, self.kidnap = sigma, kappa, kidnap
        self.radius, self.min_probability = radius, min_probability
        self.min_cosine, self.forgetting = min_cosine, forgetting
        self.ids = tables.ids[rows].copy()
        self._positions = np.ascontiguousarray(tables.nodes["position"][rows])
        self._looks = tables.descriptors[rows].copy()
        self._looks /= np.maximum(np.linalg.norm(self._looks, axis=1, keepdims=True), 1e-30)
        row_of = np.full(tables.n_nodes, -1, dtype=np.int32)
        row_of[rows] = np.arange(len(rows))
        edges = tables.edges[tables.edges["is_alive"]]
        edges = edges[np.lexsort((edges["target"], edges["source"]))]
        self._sources, self._targets = row_of[edges["source"]], row_of[edges["target"]]
        self._lengths = np.ascontiguousarray(edges["length"])
        self._first = np.searchsorted(self._sources, np.arange(len(rows) + 1))
        self.belief = np.full(len(rows), 1.0 / len(rows))  # (n,) by row of `ids`
        self._seen = float(np.nan)
        self.stride = (float(np.median(self._lengths)) if len(edges) else 1.0) if stride is None else stride
        self.turn, self._travelled = turn, 0.0
        self._last: np.ndarray | None = None  # pose of the last frame
        self._seen_from: np.ndarray | None = None  # rotation of the last frame that counted

    def observe(self, observation: Observation) -> Estimate:
        """Take in a frame of a robot that knows its odometry but not the map, and say where it is now.

        Its pose may be in any frame: what counts is how far the camera went. Views less than `stride` and `turn`
        apart show almost the same, and would make the filter surer than it may be; only the first of them counts. A
        frame without a descriptor, or with one of another length, adds to the way only.
        """
        T = observation.T_map_camera
        if self._last is not None:
            self._travelled += float(np.linalg.norm(T[:3, 3] - self._last[:3, 3]))
        self._last = T
        is_due = self._seen_from is None or self._travelled >= self.stride
        if not is_due and self._seen_from is not None:
            is_due = rotation_angle(T[:3, :3].T @ self._seen_from) >= self.turn
        descriptor = describe(observation) if is_due else None
        if descriptor is None or len(descriptor) != self._looks.shape[1]:
            return self.estimate()
        if self._seen_from is not None:
            self.move(self._travelled)
        self._travelled, self._seen_from = 0.0, T[:3, :3]
        return self.see(descriptor)

    def move(self, displacement: Float[np.ndarray, "3"] | float) -> None:
        """Take in odometry: a displacement [m] in the map frame, or how far it went.

        Raises:
            ValueError: if it is not finite, or a distance is negative.
        """
        step = np.atleast_1d(np.asarray(displacement, dtype=np.float64))
        if not np.isfinite(step).all() or (len(step) == 1 and step[0] < 0):
            raise ValueError(f"a displacement must be finite and a distance not negative, got {displacement}")
        graph = (self._first, self._targets, self._lengths, self._positions)
        moved = _spread(graph, self.belief, step, 0.5 / self.sigma**2)
        self.belief = (1.0 - self.kidnap) * moved + self.kidnap / len(moved)

    def see(self, descriptor: Float[np.ndarray, " d"]) -> Estimate:
        """Take in a view and say where the robot is now.

        Raises:
            ValueError: if the descriptor is zero, not finite or of another length than those of the graph.
        """
        if len(descriptor) != self._looks.shape[1]:
            raise ValueError(f"descriptors have {self._looks.shape[1]} numbers here, got {len(descriptor)}")
        cosines = (self._looks @ normalised(descriptor[None])[0].astype(np.float32)).astype(np.float64)
        expected = float(self.belief @ cosines)
        weight = 1.0 if np.isnan(self._seen) else self.forgetting
        self._seen = expected if weight == 1.0 else (1.0 - weight) * self._seen + weight * expected
        likelihood = np.exp(self.kappa * (cosines - cosines.max()))
        belief = self.belief * likelihood
        if belief.sum() == 0.0:  # what was believed cannot be so: begin anew with what is seen
            belief = likelihood
        self.belief = belief / belief.sum()
        return self.estimate()

    def estimate(self) -> Estimate:
        """Where the robot is believed to be; the lower id of a tie."""
        best = int(np.argmax(self.belief))
        is_near = np.linalg.norm(self._positions - self._positions[best], axis=1) <= self.radius
        nearby = float(self.belief[is_near].sum())
        is_lost = nearby < self.min_probability or self._seen < self.min_cosine
        return Estimate(int(self.ids[best]), float(self.belief[best]), nearby, self.entropy(), self._seen, is_lost)

    def most_probable(self, k: int) -> tuple[Int[np.ndarray, " m"], Float[np.ndarray, " m"]]:
        """(ids, probabilities) of the k most probable landmarks, best first."""
        order = np.lexsort((self.ids, -self.belief))[:k]
        return self.ids[order], self.belief[order]

    def entropy(self) -> float:
        """Entropy of the belief over that of an even one, in [0, 1]; 0 where there is one landmark only."""
        if len(self.belief) == 1:
            return 0.0
        p = self.belief[self.belief > 0]
        return float(np.clip(-(p * np.log(p)).sum() / np.log(len(self.belief)), 0.0, 1.0))


@no_type_check
@njit(cache=True, inline="always")
def _error(graph, i, k, step):
    """Squared [m^2] error of a step if it led from i along edge k, or nowhere if k is -1."""
    _, targets, lengths, positions = graph
    if len(step) == 1:
        return (step[0] - (lengths[k] if k >= 0 else 0.0)) ** 2
    error = 0.0
    for axis in range(3):
        there = positions[targets[k], axis] - positions[i, axis] if k >= 0 else 0.0
        error += (there - step[axis]) ** 2
    return error


@no_type_check
@njit(cache=True)
def _spread(graph, belief, step, precision):
    """The belief after a step of one number, a distance, or of three."""
    first, targets = graph[:2]
    moved, weights = np.zeros(len(belief)), np.empty(len(targets))
    for i in range(len(belief)):
        if belief[i] == 0.0:
            continue
        begin, end = first[i], first[i + 1]
        least = _error(graph, i, -1, step)
        for k in range(begin, end):
            least = min(least, _error(graph, i, k, step))
        stay = np.exp(-precision * (_error(graph, i, -1, step) - least))
        total = stay
        for k in range(begin, end):
            weights[k] = np.exp(-precision * (_error(graph, i, k, step) - least))
            total += weights[k]
        moved[i] += belief[i] * stay / total
        for k in range(begin, end):
            moved[targets[k]] += belief[i] * weights[k] / total
    return moved
