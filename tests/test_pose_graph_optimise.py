"""Least squares on poses against closed forms; the largest set of loops that agree; wrong loops are thrown out."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import networkx
import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from pose_graph_worlds import circle, edge, noisy_graph, trajectory_error
from scipy.optimize import least_squares

from embmem.maps.pose_graph.consistency import agreement, consistent, largest_clique
from embmem.maps.pose_graph.graph import Chain, Drift, Edge, Keyframe
from embmem.maps.pose_graph.optimise import optimise
from embmem.maps.pose_graph.se3 import adjoint, exponential, inverse, logarithm

pytest.importorskip("gtsam", reason="needs GTSAM (extra recon)")

twists = st.lists(st.floats(-1.5, 1.5), min_size=6, max_size=6).map(lambda xi: np.array([xi]))


@given(twists, twists)
def test_logarithm_inverts_exponential_and_the_adjoint_carries_twists(a: np.ndarray, b: np.ndarray) -> None:
    assume(np.linalg.norm(a[0, :3]) < 3.1)
    np.testing.assert_allclose(logarithm(exponential(a)), a, atol=1e-7)
    T = exponential(b)
    carried = exponential((adjoint(T) @ a[..., None])[..., 0]) @ T
    np.testing.assert_allclose(T @ exponential(a), carried, atol=1e-9)
    np.testing.assert_allclose(inverse(T) @ T, np.eye(4)[None], atol=1e-12)


@given(twists)
def test_logarithm_equals_that_of_gtsam(xi: np.ndarray) -> None:
    gtsam: Any = pytest.importorskip("gtsam")
    T = exponential(xi)
    np.testing.assert_allclose(logarithm(T)[0], gtsam.Pose3.Logmap(gtsam.Pose3(T[0])), atol=1e-6)


def test_two_measurements_of_one_step_meet_at_their_weighted_mean() -> None:
    """Two poses, two edges along x with variances 1 and 4: the mean is (4 * 1.0 + 1 * 2.0) / 5."""
    poses = np.tile(np.eye(4), (2, 1, 1))
    long, short = np.eye(4), np.eye(4)
    short[0, 3], long[0, 3] = 1.0, 2.0
    edges = [Edge(0, 1, short, 1.0 * np.eye(6)), Edge(0, 1, long, 4.0 * np.eye(6), kind="loop")]
    found = optimise(poses, edges)
    assert found.poses[1, 0, 3] == pytest.approx(1.2, abs=1e-5)
    assert found.is_on.all()
    np.testing.assert_allclose(found.errors, [0.2**2, 0.8**2 / 4.0], atol=1e-5)


def test_the_error_of_a_straight_line_is_shared_evenly() -> None:
    """A line of 8 steps of 1 m whose loop says 8.4 m: with equal variances, nine edges share 0.4 m."""
    true = np.tile(np.eye(4), (9, 1, 1))
    true[:, 0, 3] = np.arange(9)
    edges = [edge(true, k, k + 1, sigma=0.1) for k in range(8)]
    loop = edge(true, 0, 8, kind="loop", sigma=0.1)
    loop.T_i_j[0, 3] = 8.4
    found = optimise(true, [*edges, loop]).poses
    np.testing.assert_allclose(np.diff(found[:, 0, 3]), 1.0 + 0.4 / 9.0, atol=1e-6)


def test_a_square_closes() -> None:
    """Four sides of 2 m, odometry that turns 5 degrees too far at each corner, one loop back to the start."""
    corner = np.eye(4)
    corner[:2, :2] = [[0.0, -1.0], [1.0, 0.0]]
    corner[0, 3] = 2.0
    too_far = exponential(np.array([[0.0, 0.0, np.radians(5.0), 0.0, 0.0, 0.0]]))[0]
    covariance = np.diag([1e-3**2, 1e-3**2, np.radians(5.0) ** 2, 1e-3**2, 1e-3**2, 1e-3**2])
    poses = [np.eye(4)]
    for _ in range(4):
        poses.append(poses[-1] @ corner @ too_far)
    edges = [Edge(k, k + 1, corner @ too_far, covariance) for k in range(4)]
    found = optimise(np.stack(poses), [*edges, Edge(0, 4, np.eye(4), 1e-8 * np.eye(6), kind="loop")]).poses
    square = [[0, 0, 0], [2, 0, 0], [2, 2, 0], [0, 2, 0], [0, 0, 0]]
    np.testing.assert_allclose(found[:, :3, 3], square, atol=2e-3)


def test_it_is_the_least_squares_of_scipy() -> None:
    _, start, edges = noisy_graph(8, 2, seed=5, sigma=0.02)
    found = optimise(start, edges, probability=1.0 - 1e-12)
    roots = [np.linalg.cholesky(np.linalg.inv(each.covariance)).T for each in edges]

    def residuals(xi: np.ndarray) -> np.ndarray:
        poses = np.concatenate([start[:1], start[1:] @ exponential(xi.reshape(-1, 6))])
        return np.concatenate([
            root @ logarithm(inverse(each.T_i_j[None]) @ inverse(poses[each.i][None]) @ poses[each.j][None])[0]
            for root, each in zip(roots, edges, strict=True)
        ])  # fmt: skip

    reference = least_squares(residuals, np.zeros(6 * (len(start) - 1)), xtol=1e-14, ftol=1e-14, gtol=1e-14)
    poses = np.concatenate([start[:1], start[1:] @ exponential(reference.x.reshape(-1, 6))])
    np.testing.assert_allclose(found.poses, poses, atol=1e-5)
    assert found.errors.sum() == pytest.approx(2.0 * reference.cost, rel=1e-6)


@settings(max_examples=10)
@given(twists, st.integers(0, 1000))
def test_where_the_map_lies_does_not_matter(xi: np.ndarray, seed: int) -> None:
    _, start, edges = noisy_graph(16, 3, seed)
    G = exponential(xi)
    here, there = optimise(start, edges), optimise(G @ start, edges)
    np.testing.assert_allclose(there.poses, G @ here.poses, atol=1e-5)
    np.testing.assert_array_equal(there.is_on, here.is_on)


@settings(max_examples=10)
@given(st.integers(0, 1000))
def test_optimising_again_changes_nothing_and_same_bits_every_time(seed: int) -> None:
    _, start, edges = noisy_graph(16, 3, seed)
    once = optimise(start, edges)
    twice = optimise(once.poses, edges)
    np.testing.assert_allclose(twice.poses, once.poses, atol=1e-6)
    assert optimise(start, edges).poses.tobytes() == once.poses.tobytes()


@settings(max_examples=10)
@given(st.integers(0, 1000), st.integers(1, 4))
def test_wrong_loops_change_nothing(seed: int, n_wrong: int) -> None:
    rng = np.random.default_rng(seed)
    _, start, edges = noisy_graph(30, 8, seed)
    ends = [sorted(rng.choice(30, 2, replace=False).tolist()) for _ in range(n_wrong)]
    T = exponential(np.concatenate([rng.uniform(-1, 1, (n_wrong, 3)), rng.uniform(2, 4, (n_wrong, 3))], axis=1))
    wrong = [Edge(i, j, Tij, 1e-4 * np.eye(6), kind="loop") for (i, j), Tij in zip(ends, T, strict=True) if j - i > 1]
    clean, dirty = optimise(start, edges), optimise(start, [*edges, *wrong])
    assert not dirty.is_on[len(edges) :].any()
    np.testing.assert_array_equal(dirty.is_on[: len(edges)], clean.is_on)
    np.testing.assert_allclose(dirty.poses, clean.poses, atol=1e-5)


def test_loops_halve_the_error_and_without_loops_nothing_moves() -> None:
    true, start, edges = noisy_graph(60, 10, seed=1, sigma=0.02)
    found = optimise(start, edges)
    assert trajectory_error(found.poses, true) < 0.5 * trajectory_error(start, true)
    odometry = [each for each in edges if each.kind == "odometry"]
    np.testing.assert_array_equal(optimise(start, odometry).poses, start)
    off = [replace(each, is_on=each.kind == "odometry") for each in edges]
    np.testing.assert_array_equal(optimise(start, off).poses, start)


def test_parts_that_nothing_joins_stay_where_they_are() -> None:
    _, start, edges = noisy_graph(16, 3, seed=2)
    twice = np.concatenate([start, start + 0.0])
    both = edges + [replace(each, i=each.i + 16, j=each.j + 16) for each in edges]
    found = optimise(twice, both).poses
    np.testing.assert_allclose(found[:16], found[16:], atol=1e-7)
    np.testing.assert_allclose(found[16], start[0], atol=1e-5)


def test_edges_that_lead_nowhere_are_refused() -> None:
    poses = circle(4)
    good = edge(poses, 0, 3, kind="loop")
    for bad in (replace(good, j=4), replace(good, i=3), replace(good, T_i_j=np.full((4, 4), np.nan))):
        with pytest.raises(ValueError, match="edge"):
            optimise(poses, [bad])
    with pytest.raises(ValueError, match="finite"):
        optimise(poses * np.nan, [good])


def keyframes(poses: np.ndarray) -> list[Keyframe]:
    nothing = np.zeros((0, 3), dtype=np.int16), np.zeros(1, dtype=np.float32)
    return [Keyframe(float(k), 0, T, T, T, *nothing) for k, T in enumerate(poses)]


def test_covariances_along_the_chain_are_those_of_many_drives() -> None:
    """The prefix sums against 4,000 drives with noise on every step."""
    rng = np.random.default_rng(0)
    poses = circle(12)
    chain = Chain(keyframes(poses), Drift())
    T, covariance = chain.between(np.array([2, 9]), np.array([9, 2]))
    steps = inverse(poses[:-1]) @ poses[1:]
    noise = Drift().covariances(steps, poses[1:, :3, :3])
    ends = np.tile(np.eye(4), (4000, 1, 1))
    for k in range(2, 9):
        ends = ends @ steps[k] @ exponential(rng.multivariate_normal(np.zeros(6), noise[k], 4000))
    for which, drives in ((0, ends), (1, inverse(ends))):
        sampled = np.cov(logarithm(inverse(T[which : which + 1]) @ drives).T)
        np.testing.assert_allclose(sampled, covariance[which], atol=0.08 * covariance[which].max())


def test_right_loops_agree_and_wrong_ones_do_not() -> None:
    rng = np.random.default_rng(3)
    true = np.concatenate([circle(20), circle(20)])
    chain = Chain(keyframes(true), Drift())
    right = [edge(true, k, k + 20, kind="loop") for k in range(0, 20, 3)]
    T = exponential(np.concatenate([rng.uniform(-1, 1, (5, 3)), rng.uniform(1, 3, (5, 3))], axis=1))
    wrong = [Edge(k, k + 12, Tij, 1e-4 * np.eye(6), kind="loop") for k, Tij in enumerate(T)]
    mixed = [*wrong, *right]
    agrees = agreement(mixed, chain)
    assert agrees[5:, 5:].all()
    assert not agrees[:5, 5:].any()
    np.testing.assert_array_equal(consistent(mixed, chain), [False] * 5 + [True] * len(right))
    assert not consistent(right[:1], chain).any()  # one alone has nothing to agree with
    assert consistent(right[:1], chain, min_support=1).all()
    assert len(consistent([], chain)) == 0


@settings(max_examples=20)
@given(st.integers(0, 10_000), st.integers(2, 25), st.floats(0.2, 0.8))
def test_the_clique_is_one_and_nearly_as_large_as_the_largest(seed: int, n: int, density: float) -> None:
    upper = np.triu(np.random.default_rng(seed).uniform(size=(n, n)) < density, 1)
    agrees = upper | upper.T | np.eye(n, dtype=np.bool_)
    members = np.flatnonzero(largest_clique(agrees))
    assert agrees[np.ix_(members, members)].all()
    largest, _ = networkx.max_weight_clique(networkx.from_numpy_array(upper | upper.T), weight=None)
    assert len(members) >= len(largest) - 1
