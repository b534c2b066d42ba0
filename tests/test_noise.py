"""The sensors' mistakes: as often as asked for, repeatable, and never an invention where there is nothing."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hydra import compose, initialize_config_module
from hydra.utils import instantiate
from hypothesis import given
from hypothesis import strategies as st

from embmem.sim_envs.house import LABEL_IDS, OBJECT_CATEGORIES
from embmem.sim_envs.noise import CameraNoise, Detector

MUG, BOOK, BED, WALL = (LABEL_IDS[name] for name in ("mug", "book", "bed", "wall"))
STILL = CameraNoise(0.0, 0.0, 0.0, 0.0, near=0.0, far=np.inf)
PRESETS = sorted(path.stem for path in (Path(__file__).parents[1] / "configs" / "noise").glob("*.yaml"))


def flat(depth: float, shape: tuple[int, int] = (192, 256)) -> np.ndarray:
    """A wall straight ahead."""
    return np.full(shape, depth, dtype=np.float32)


def segments(n: int, label: int, side: int = 6) -> tuple[np.ndarray, np.ndarray]:
    """Images of n square segments of side^2 pixels with instances 10, 20, ..., beside a strip of bare wall."""
    instance = np.kron(10 * np.arange(1, n + 1, dtype=np.int32)[None, :], np.ones((side, side), dtype=np.int32))
    semantic = np.full_like(instance, label)
    wall = np.zeros((side, side), dtype=np.int32)
    return np.hstack([semantic, wall + WALL]), np.hstack([instance, wall])


@given(depth=st.floats(0.5, 6.0), sigma=st.floats(1e-4, 3e-3))
def test_deviation_grows_with_the_square_of_depth(depth: float, sigma: float) -> None:
    noise = CameraNoise(sigma, 0.0, 0.0, 0.0, near=0.0, far=np.inf)
    inverse = 1.0 / noise.apply(flat(depth), np.random.default_rng(3)).astype(np.float64)
    z = (inverse - 1.0 / np.float64(np.float32(depth))) / sigma
    assert abs(z.mean()) < 0.03
    assert z.std() == pytest.approx(1.0, rel=0.02)
    assert np.mean(np.abs(z) < 1.0) == pytest.approx(0.683, abs=0.02)
    assert np.mean(np.abs(z) < 2.0) == pytest.approx(0.954, abs=0.01)


def test_disparity_levels_are_evenly_spaced() -> None:
    step = 2.85e-3
    depth = np.linspace(0.5, 5.0, 192 * 256, dtype=np.float32).reshape(192, 256)
    measured = CameraNoise(0.0, step, 0.0, 0.0, near=0.0, far=np.inf).apply(depth, np.random.default_rng(0))
    level = 1.0 / measured.astype(np.float64) / step
    assert np.abs(level - level.round()).max() < 1e-3
    assert np.abs(1.0 / measured - 1.0 / depth).max() <= step / 2 * 1.001


@given(rate=st.floats(0.0, 1.0), seed=st.integers(0, 1000))
def test_holes_appear_at_their_rate(rate: float, seed: int) -> None:
    noise = CameraNoise(0.0, 0.0, rate, 0.0, near=0.0, far=np.inf)
    holes = np.isnan(noise.apply(flat(2.0), np.random.default_rng(seed)))
    spread = 5.0 * np.sqrt(rate * (1 - rate) / holes.size) + 1e-9
    assert abs(holes.mean() - rate) <= spread
    assert abs(holes[:, :128].mean() - rate) <= 1.5 * spread


def test_edges_lose_pixels_on_both_sides_and_nothing_else_does() -> None:
    depth = flat(2.0)
    depth[:, 100:] = 3.0
    noise = CameraNoise(0.0, 0.0, 0.0, 0.5, edge_jump=0.05, near=0.0, far=np.inf)
    holes = np.isnan(noise.apply(depth, np.random.default_rng(0)))
    assert not np.delete(holes, (99, 100), axis=1).any()
    assert 0.35 < holes[:, 99].mean() < 0.65
    assert 0.35 < holes[:, 100].mean() < 0.65


def test_nothing_is_measured_outside_the_range() -> None:
    depth = np.array([[0.3, 0.5, 2.0, 4.9, 5.1]], dtype=np.float32)
    measured = CameraNoise(0.0, 0.0, 0.0, 0.0, near=0.4, far=5.0).apply(depth, np.random.default_rng(0))
    assert np.array_equal(np.isnan(measured), [[True, False, False, False, True]])


@given(seed=st.integers(0, 1000))
def test_what_is_invalid_stays_invalid(seed: int) -> None:
    rng = np.random.default_rng(seed)
    depth = rng.uniform(0.2, 9.0, (40, 30)).astype(np.float32)
    depth[rng.random(depth.shape) < 0.3] = np.nan
    before = depth.copy()
    measured = CameraNoise().apply(depth, rng)
    assert np.isnan(measured[np.isnan(depth)]).all()
    assert np.array_equal(depth, before, equal_nan=True)
    valid = measured[np.isfinite(measured)]
    assert np.all((valid >= 0.1) & (valid <= 8.0))


def test_the_perfect_sensors_change_nothing_but_the_numbers() -> None:
    rng = np.random.default_rng(0)
    depth = rng.uniform(0.2, 90.0, (40, 30)).astype(np.float32)
    assert np.allclose(STILL.apply(depth, rng), depth, rtol=1e-6)
    semantic, instance = segments(9, MUG)
    seen, number = Detector(0.0, 0.0, 0.0, min_pixels=1).apply(semantic, instance, rng)
    assert np.array_equal(seen, semantic)
    assert sorted(np.unique(number)) == list(range(10))
    assert len(np.unique(np.stack([instance, number]).reshape(2, -1), axis=1).T) == 10  # one to one


@pytest.mark.parametrize("name", PRESETS)
def test_the_same_seed_gives_the_same_bytes_and_another_seed_others(name: str) -> None:
    with initialize_config_module("embmem.configs", version_base="1.3"):
        cfg = compose(overrides=[f"+noise={name}"]).noise
    camera, detector = instantiate(cfg.camera), instantiate(cfg.detector)
    assert isinstance(camera, CameraNoise)
    assert isinstance(detector, Detector)
    depth, (semantic, instance) = flat(2.0), segments(40, BOOK)

    def draw(seed: int) -> bytes:
        rng = np.random.default_rng(seed)
        seen, number = detector.apply(semantic, instance, rng)
        return camera.apply(depth, rng).tobytes() + seen.tobytes() + number.tobytes()

    assert draw(1) == draw(1)
    assert draw(1) != draw(2)


def test_misses_and_confusions_come_at_their_rates() -> None:
    detector = Detector(miss=0.2, false_positive=0.0, confusion=0.1, min_pixels=12)
    semantic, instance = segments(200, MUG)
    rng = np.random.default_rng(7)
    n_missed = n_confused = 0
    for _ in range(50):
        seen, number = detector.apply(semantic, instance, rng)
        one = seen[0, :1200:6]  # one pixel of each segment
        n_missed += np.count_nonzero(one == 0)
        n_confused += np.count_nonzero((one != 0) & (one != MUG))
        assert np.array_equal(np.unique(number), np.arange(len(np.unique(number))))
        assert np.array_equal(number == 0, (seen == 0) | (seen == WALL))
        assert np.all(seen[:, 1200:] == WALL)
    assert n_missed / 10_000 == pytest.approx(0.2, abs=0.02)
    assert n_confused / (10_000 - n_missed) == pytest.approx(0.1, abs=0.015)


def test_false_segments_come_at_their_rate_and_stay_on_one_surface() -> None:
    detector = Detector(miss=0.0, false_positive=0.5, confusion=0.0, labels=["bed"])
    semantic = np.full((96, 128), WALL, dtype=np.int32)
    semantic[:, 64:] = LABEL_IDS["floor"]
    instance = np.zeros_like(semantic)
    rng = np.random.default_rng(5)
    n_false = 0
    for _ in range(400):
        seen, number = detector.apply(semantic, instance, rng)
        assert np.array_equal(seen != semantic, number > 0)
        assert set(np.unique(seen[number > 0])) <= {BED}
        for blob in range(1, number.max() + 1):
            assert len(np.unique(semantic[number == blob])) <= 1  # a later blob may hide an earlier one
        n_false += number.max()
    assert n_false / 400 == pytest.approx(0.5, abs=0.12)


def test_small_segments_and_unknown_labels_are_never_found() -> None:
    rng = np.random.default_rng(0)
    semantic, instance = segments(20, MUG, side=3)
    seen, number = Detector(0.0, 0.0, 0.0, min_pixels=10).apply(semantic, instance, rng)
    assert not number.any()
    assert set(np.unique(seen)) == {0, WALL}
    seen, number = Detector(0.0, 0.0, 0.5, min_pixels=9, labels=["book", "bed"]).apply(semantic, instance, rng)
    assert not number.any()
    assert set(np.unique(seen)) == {0, WALL}


def test_a_confused_label_is_another_one_that_the_detector_knows() -> None:
    semantic, instance = segments(300, MUG)
    detector = Detector(0.0, 0.0, 1.0, labels=["mug", "book", "bed"])
    seen, _ = detector.apply(semantic, instance, np.random.default_rng(0))
    assert set(np.unique(seen[:, :1800])) == {BOOK, BED}
    everything = Detector(0.0, 0.0, 1.0).apply(semantic, instance, np.random.default_rng(0))[0]
    assert len(np.unique(everything)) > len(OBJECT_CATEGORIES) / 2


@pytest.mark.parametrize("change", [{"hole_rate": 1.5}, {"near": 9.0}, {"edge_jump": 0.0}, {"disparity_step": -1.0}])
def test_impossible_cameras_are_refused(change: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="need"):
        CameraNoise(**change)


def test_impossible_detectors_are_refused() -> None:
    with pytest.raises(ValueError, match="probabilities"):
        Detector(miss=1.2)
    with pytest.raises(ValueError, match="griffin"):
        Detector(labels=["griffin"])
