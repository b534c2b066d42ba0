"""Thresholds and confidences against brute force, SciPy and closed forms."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.optimize import minimize

from embmem.maps.voxels.meaning.calibration import Calibration, calibrate, fit_logistic

scores_of = arrays(np.float64, st.integers(1, 30), elements=st.floats(-1.0, 1.0).map(lambda x: round(x, 2)))


@given(scores_of, scores_of)
def test_the_threshold_has_the_best_youden_index_of_all(present: np.ndarray, absent: np.ndarray) -> None:
    def index(threshold: float) -> float:
        return float((present >= threshold).mean() - (absent >= threshold).mean())

    found = calibrate(present, absent).threshold
    every = np.unique(np.concatenate([present, absent]))
    assert index(found) == pytest.approx(max(0.0, *(index(t) for t in every), *(index(t + 1e-6) for t in every)))
    assert np.abs(found - every).min() > 1e-13


@given(scores_of, scores_of, st.floats(0.0, 0.99))
def test_a_bound_on_false_positives_holds_at_the_lowest_threshold(
    present: np.ndarray, absent: np.ndarray, bound: float
) -> None:
    found = calibrate(present, absent, max_false_positives=bound).threshold
    assert (absent >= found).mean() <= bound + 1e-9
    lower = np.unique(np.concatenate([present, absent]))
    lower = lower[lower < found]
    assert not len(lower) or (absent >= lower[-1]).mean() > bound


@given(scores_of, scores_of)
def test_confidence_has_the_greatest_likelihood_that_scipy_finds(present: np.ndarray, absent: np.ndarray) -> None:
    n, m = len(present), len(absent)
    scores, target = np.concatenate([present, absent]), np.repeat([(n + 1) / (n + 2), 1 / (m + 2)], [n, m])

    def loss(weights: np.ndarray) -> float:
        z = weights[0] * scores + weights[1]
        return float(np.sum(np.logaddexp(0.0, z) - target * z))

    start = np.array([0.0, np.log(target.mean() / (1 - target.mean()))])
    reference = minimize(loss, start, bounds=[(0.0, None), (None, None)], method="L-BFGS-B", tol=1e-12)
    assert loss(np.array(fit_logistic(present, absent))) <= reference.fun + 1e-6 * len(scores)


@given(st.integers(1, 40), st.integers(1, 40), st.floats(0.01, 0.5))
def test_two_score_values_have_a_closed_form(n: int, m: int, apart: float) -> None:
    slope, offset = fit_logistic(np.full(n, 0.3 + apart), np.full(m, 0.3))
    at = 1.0 / (1.0 + np.exp(-(slope * np.array([0.3 + apart, 0.3]) + offset)))
    np.testing.assert_allclose(at, [(n + 1) / (n + 2), 1 / (m + 2)], atol=1e-6)


def test_confidence_grows_with_the_score_and_stays_in_bounds() -> None:
    rng = np.random.default_rng(0)
    calibration = calibrate(rng.normal(0.6, 0.1, 200), rng.normal(0.3, 0.1, 200))
    assert calibration.threshold == pytest.approx(0.45, abs=0.05)
    told = calibration.confidence(np.linspace(-50, 50, 1001))
    assert (np.diff(told) >= 0).all()
    assert told[0] == 0.0
    assert told[-1] == 1.0
    assert calibration.confidence(np.array([0.45]))[0] == pytest.approx(0.5, abs=0.1)


def test_calibration_refuses_what_it_cannot_learn_from() -> None:
    for present, absent in ((np.zeros(0), np.ones(2)), (np.ones(2), np.zeros(0)), (np.array([np.nan]), np.ones(1))):
        with pytest.raises(ValueError, match="finite scores"):
            calibrate(present, absent)
    with pytest.raises(ValueError, match="max_false_positives"):
        calibrate(np.ones(1), np.zeros(1), max_false_positives=1.0)
    with pytest.raises(ValueError, match="finite"):
        Calibration(threshold=float("nan"))
