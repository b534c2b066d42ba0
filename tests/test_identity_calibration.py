"""The probabilities of the shipped identity model are what they say, in houses that it was not fitted to."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from embmem.maps.identity import IdentityModel
from embmem.maps.identity.model import ELSEWHERE, HERE, N_FEATURES


@pytest.fixture(scope="module")
def fitting() -> Iterator[ModuleType]:
    """benchmarks/fit_identity.py."""
    folder = str(Path(__file__).parent.parent / "benchmarks")
    sys.path.insert(0, folder)
    import fit_identity

    yield fit_identity
    sys.path.remove(folder)


def test_probabilities_in_a_held_out_house_are_calibrated(fitting: ModuleType) -> None:
    pairs, model = fitting.Pairs(), IdentityModel()
    fitting.collect(model, islice(fitting.month(651, 1, noise="kinect", n_rooms=3), 2), pairs)
    for regime, most, least_pairs in ((HERE, 0.02, 1000), (ELSEWHERE, 0.25, 10)):
        features, is_same = pairs.of(regime)
        assert len(is_same) > least_pairs
        assert 0 < is_same.sum() < len(is_same)
        log_odds = model.log_odds(features, np.full(len(features), regime))
        error, _ = fitting.calibration_error(log_odds, is_same)
        assert error < most
        assert ((log_odds > 0) == is_same).mean() > 0.9 if regime == HERE else 0.7


@given(st.lists(st.tuples(st.floats(-9, 9), st.booleans()), min_size=1, max_size=30))
def test_the_calibration_error_is_what_its_definition_says(fitting: ModuleType, told: list[tuple[float, bool]]) -> None:
    log_odds = np.array([z for z, _ in told])
    is_same = np.array([same for _, same in told])
    p = 1.0 / (1.0 + np.exp(-log_odds))
    expected = 0.0
    for low in range(15):
        members = [i for i in range(len(p)) if low <= p[i] * 15 < low + 1 or (low == 14 and p[i] == 1.0)]
        if members:
            gap = abs(sum(p[i] for i in members) - sum(is_same[i] for i in members))
            expected += gap / len(p)
    error, bins = fitting.calibration_error(log_odds, is_same)
    assert error == pytest.approx(expected, abs=1e-9)
    assert sum(n for _, _, n in bins) == len(p)


def test_the_fit_finds_the_weights_that_made_the_data(fitting: ModuleType) -> None:
    rng = np.random.default_rng(0)
    weights = rng.normal(size=N_FEATURES)
    features = rng.normal(size=(20_000, N_FEATURES))
    features[:, 0] = 1.0
    features[:, 4] = 0.0  # says nothing
    is_same = rng.random(len(features)) < 1.0 / (1.0 + np.exp(-features @ weights))
    found = np.array(fitting.fit(features, is_same))
    assert found[4] == 0.0
    np.testing.assert_allclose(np.delete(found, 4), np.delete(weights, 4), atol=0.12)
