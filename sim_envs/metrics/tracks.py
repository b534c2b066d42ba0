"""How well identities are kept: switches (CLEAR MOT) and IDF1."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Int
from scipy.optimize import linear_sum_assignment


@dataclass(frozen=True)
class TrackScores:
    """`switches` is a number, the others lie in [0, 1]."""

    switches: int
    idf1: float
    idp: float
    idr: float


def track_scores(true: Int[np.ndarray, " n"], given: Int[np.ndarray, " n"]) -> TrackScores:
    """Scores of sightings in the order of time: whose each was (0 = nobody's) and whose it was said to be (-1 = none).

    A switch is a sighting of somebody that is said to be another's than the one before (Bernardin and Stiefelhagen,
    Evaluating multiple object tracking performance: the CLEAR MOT metrics, EURASIP JIVP 2008). IDF1 is the F1 score of
    the sightings under the best one-to-one pairing of true and given identities over the whole time (Ristani et al.,
    Performance measures and a data set for multi-target, multi-camera tracking, ECCV workshops 2016).

    Raises:
        ValueError: if the arrays differ in length, or an identity is below 0 or -1.
    """
    if len(true) != len(given) or (true < 0).any() or (given < -1).any():
        raise ValueError(f"need as many given (>= -1) as true (>= 0) identities, got {len(given)} and {len(true)}")
    both = (true > 0) & (given >= 0)
    order = np.argsort(true[both], kind="stable")
    who, said = true[both][order], given[both][order]
    switches = int(np.count_nonzero((who[1:] == who[:-1]) & (said[1:] != said[:-1])))
    names, i = np.unique(who, return_inverse=True)
    ids, j = np.unique(said, return_inverse=True)
    common = np.zeros((len(names), len(ids)), dtype=np.int64)
    np.add.at(common, (i, j), 1)
    rows, columns = linear_sum_assignment(-common)
    n_right = int(common[rows, columns].sum())
    n_true, n_given = int((true > 0).sum()), int((given >= 0).sum())
    return TrackScores(
        switches, 2.0 * n_right / max(n_true + n_given, 1), n_right / max(n_given, 1), n_right / max(n_true, 1)
    )
