"""When a score is high enough to answer, and how sure the answer is, from labelled examples."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

_TINY = 1e-12


@dataclass(frozen=True)
class Calibration:
    """Scores below `threshold` are no answer; the confidence of a score is 1 / (1 + exp(-(slope * score + offset))).

    The defaults are not fitted to anything: .21 is what DynaMem takes for cosines of SigLIP (Liu et al., ICRA 2025),
    confidence .5 lies there, and the slope is a guess. Fit them to the encoder in use with `calibrate`.
    """

    threshold: float = 0.21
    slope: float = 30.0
    offset: float = -6.3

    def __post_init__(self) -> None:
        if not np.isfinite([self.threshold, self.slope, self.offset]).all() or self.slope < 0:
            raise ValueError(f"need finite numbers and slope >= 0, got {self}")

    def confidence(self, scores: Float[np.ndarray, " n"]) -> Float[np.ndarray, " n"]:
        """How sure the scores are, in [0, 1]."""
        return 0.5 * (1.0 + np.tanh(0.5 * (self.slope * scores + self.offset)))  # tanh does not overflow


def calibrate(
    present: Float[np.ndarray, " n"],
    absent: Float[np.ndarray, " m"],
    *,
    max_false_positives: float | None = None,
) -> Calibration:
    """Threshold and confidence for scores like these.

    Args:
        present: best scores of queries for what was there.
        absent: best scores of queries for what was not.
        max_false_positives: share of `absent` that may pass, in [0, 1); the lowest threshold that holds it is taken.
            Without it the threshold with the largest Youden's J = true positive rate - false positive rate (Youden,
            Cancer 1950), the highest of those with the same J.

    Raises:
        ValueError: if there is no example of one kind, or a score is not finite.
    """
    if len(present) == 0 or len(absent) == 0 or not (np.isfinite(present).all() and np.isfinite(absent).all()):
        raise ValueError(f"need finite scores of both kinds, got {len(present)} present and {len(absent)} absent")
    if max_false_positives is not None and not 0 <= max_false_positives < 1:
        raise ValueError(f"max_false_positives must be in [0, 1), got {max_false_positives}")
    present, absent = np.sort(present).astype(np.float64), np.sort(absent).astype(np.float64)
    scores = np.unique(np.concatenate([present, absent]))
    # cuts in the middle between neighbouring scores, one below and one above all
    cuts = np.concatenate([[scores[0] - _TINY], 0.5 * (scores[:-1] + scores[1:]), [scores[-1] + _TINY]])
    true_rate = 1.0 - np.searchsorted(present, cuts) / len(present)
    false_rate = 1.0 - np.searchsorted(absent, cuts) / len(absent)
    if max_false_positives is None:
        best = len(cuts) - 1 - int(np.argmax((true_rate - false_rate)[::-1]))
    else:
        best = int(np.argmax(false_rate <= max_false_positives + _TINY))
    slope, offset = fit_logistic(present, absent)
    return Calibration(float(cuts[best]), slope, offset)


def fit_logistic(present: Float[np.ndarray, " n"], absent: Float[np.ndarray, " m"]) -> tuple[float, float]:
    """(slope, offset) of the logistic curve of greatest likelihood, slope >= 0.

    The targets are Platt's, (n + 1) / (n + 2) and 1 / (m + 2), so that the curve stays finite where the scores do not
    overlap (Platt, Advances in Large Margin Classifiers 1999); Newton's method with halved steps (Lin, Lin and Weng,
    Machine Learning 2007). Where high scores speak against presence the slope is 0.
    """
    scores = np.concatenate([present, absent])
    target = np.concatenate([
        np.full(len(present), (len(present) + 1.0) / (len(present) + 2.0)),
        np.full(len(absent), 1.0 / (len(absent) + 2.0)),
    ])  # fmt: skip
    shift, scale = float(scores.mean()), max(float(scores.std()), _TINY)
    design = np.stack([(scores - shift) / scale, np.ones(len(scores))], axis=1)
    prior = float(target.mean())
    flat = np.array([0.0, np.log(prior / (1.0 - prior))])
    weights = flat.copy()
    for _ in range(100):
        p = 0.5 * (1.0 + np.tanh(0.5 * (design @ weights)))
        gradient = design.T @ (p - target)
        if np.abs(gradient).max() < 1e-10 * len(scores):
            break
        hessian = (design.T * (p * (1.0 - p))) @ design + _TINY * np.eye(2)
        step = np.linalg.solve(hessian, gradient)
        size = 1.0
        while size > 1e-10 and _loss(design, target, weights - size * step) > _loss(design, target, weights):
            size *= 0.5
        weights = weights - size * step
    if weights[0] < 0:
        weights = flat
    slope = float(weights[0] / scale)
    return slope, float(weights[1] - slope * shift)


def _loss(design: np.ndarray, target: np.ndarray, weights: np.ndarray) -> float:
    """Negative log-likelihood."""
    z = design @ weights
    return float(np.sum(np.logaddexp(0.0, z) - target * z))
