"""Which loop edges agree with each other: the largest set of pairwise consistent ones.

Mangelson et al., Pairwise Consistent Measurement Set Maximization, ICRA 2018. Two loops and the odometry between their
ends make a cycle, which must close within its covariance. The largest clique of loops that agree is believed.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from jaxtyping import Bool

from embmem.maps.pose_graph.graph import Chain, Edge
from embmem.maps.pose_graph.se3 import adjoint, inverse, likely_below, logarithm, mahalanobis

_CHUNK = 20_000  # pairs at once


def agreement(loops: Sequence[Edge], chain: Chain, probability: float = 0.99) -> Bool[np.ndarray, "n n"]:
    """Whether each two loops agree; those that do not speak about each other, see `about_each_other`, agree."""
    n = len(loops)
    result = np.eye(n, dtype=np.bool_)
    rows, columns = np.triu_indices(n, 1)
    limit = likely_below(probability)
    for start in range(0, len(rows), _CHUNK):
        a, b = rows[start : start + _CHUNK], columns[start : start + _CHUNK]
        result[a, b] = result[b, a] = _cycle_errors(loops, chain, a, b) <= limit
    return result | ~about_each_other(loops, chain)


def about_each_other(loops: Sequence[Edge], chain: Chain) -> Bool[np.ndarray, "n n"]:
    """Whether odometry joins the ends of each two loops: they lead from the same session to the same session."""
    i, j = (chain.session[[getattr(loop, end) for loop in loops]] for end in "ij")
    return (i[:, None] == i) & (j[:, None] == j)


def largest_clique(agrees: Bool[np.ndarray, "n n"]) -> Bool[np.ndarray, " n"]:
    """Members of a largest set of which each two agree.

    Greedy from every vertex in turn (Pattabiraman et al., Internet Mathematics 2015): exact on graphs as clear as
    these, never more than n^2 steps. Ties: the set of the earliest vertex.
    """
    n = len(agrees)
    best = np.zeros(n, dtype=np.bool_)
    degree = agrees.sum(axis=1)
    for start in range(n):
        if degree[start] <= best.sum():
            continue
        clique = np.zeros(n, dtype=np.bool_)
        clique[start] = True
        candidates = agrees[start].copy()
        candidates[start] = False
        while candidates.any():
            inside = np.where(candidates, agrees[:, candidates].sum(axis=1), -1)
            chosen = int(np.argmax(inside))
            clique[chosen] = True
            candidates &= agrees[chosen]
            candidates[chosen] = False
        if clique.sum() > best.sum():
            best = clique
    return best


def consistent(
    loops: Sequence[Edge], chain: Chain, *, probability: float = 0.99, min_support: int = 2
) -> Bool[np.ndarray, " n"]:
    """The loops to believe.

    Args:
        loops: loop edges, each between keyframes of the chain.
        chain: the odometry.
        probability: with which two right loops are to agree.
        min_support: fewer loops between two sessions, or within one, are not believed at all: a single loop has
            nothing to agree with.
    """
    if not loops:
        return np.zeros(0, dtype=np.bool_)
    chosen = largest_clique(agreement(loops, chain, probability))
    return chosen & (about_each_other(loops, chain)[:, chosen].sum(axis=1) >= min_support)


def _cycle_errors(loops: Sequence[Edge], chain: Chain, a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Squared Mahalanobis length of the cycle i_a -> j_a -> j_b -> i_b -> i_a of each pair that odometry joins."""
    i, j = (np.array([getattr(loop, end) for loop in loops]) for end in "ij")
    T = np.stack([loop.T_i_j for loop in loops])
    noise = np.stack([loop.covariance for loop in loops])
    there, there_noise = chain.between(j[a], j[b])
    back, back_noise = chain.between(i[b], i[a])
    undo = inverse(T[b])
    cycle = T[a] @ there @ undo @ back
    # Noise on the right of each factor is carried to the right end of the product. T_b Exp(xi) inverted puts its noise
    # on the left, which Ad(T_b) carries over.
    total = back_noise.copy()
    tail = inverse(back)
    total += _carried(tail @ T[b], noise[b])
    tail = tail @ T[b]
    total += _carried(tail, there_noise)
    total += _carried(tail @ inverse(there), noise[a])
    return mahalanobis(logarithm(cycle), total + 1e-12 * np.eye(6))


def _carried(T: np.ndarray, covariance: np.ndarray) -> np.ndarray:
    Ad = adjoint(T)
    return Ad @ covariance @ np.swapaxes(Ad, 1, 2)
