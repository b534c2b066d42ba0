"""The Bayes filter over landmarks against a hidden Markov model worked out by hand, and what it is for."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from embmem.geometry import camera_pose
from embmem.maps.landmarks import LandmarkGraph, Localiser
from embmem.observation import Intrinsics, Observation


def random_graph(rng: np.random.Generator, n: int, dim: int = 3) -> LandmarkGraph:
    graph = LandmarkGraph()
    graph.add_landmarks(rng.uniform(0, 5, (n, 3)), rng.normal(size=(n, dim)))
    pairs = np.unique(rng.integers(0, n, (2 * n, 2)), axis=0)
    pairs = pairs[pairs[:, 0] != pairs[:, 1]]
    if len(pairs):
        graph.connect(pairs, rng.uniform(0.5, 4, len(pairs)))
    return graph


def transition(graph: LandmarkGraph, step: np.ndarray, sigma: float, kidnap: float) -> np.ndarray:
    """(n, n) probability of j after i, a loop over the edges of the networkx graph."""
    peer = graph.to_networkx()
    ids = sorted(peer.nodes)
    A = np.zeros((len(ids), len(ids)))
    for i, a in enumerate(ids):
        weights = {}
        for b in [a, *peer.successors(a)]:
            if len(step) == 3:
                there = np.subtract(peer.nodes[b]["position"], peer.nodes[a]["position"])
                error = float(np.sum((there - step) ** 2))
            else:
                error = ((0.0 if a == b else peer.edges[a, b]["length"]) - step[0]) ** 2
            weights[ids.index(b)] = -error / (2 * sigma**2)
        top = max(weights.values())
        total = sum(np.exp(w - top) for w in weights.values())
        for j, w in weights.items():
            A[i, j] = np.exp(w - top) / total
    return (1 - kidnap) * A + kidnap / len(ids)


@settings(max_examples=25)
@given(st.integers(0, 10**6), st.integers(1, 9), st.booleans())
def test_the_belief_is_that_of_the_forward_pass_of_a_hidden_markov_model(seed: int, n: int, by_vector: bool) -> None:
    rng = np.random.default_rng(seed)
    graph = random_graph(rng, n)
    sigma, kappa, kidnap = rng.uniform(0.1, 2), rng.uniform(1, 30), rng.uniform(0.01, 0.5)
    localiser = graph.localiser(sigma=float(sigma), kappa=float(kappa), kidnap=float(kidnap))
    alpha = np.full(n, 1.0 / n)
    peer = graph.to_networkx()
    means = np.array([peer.nodes[i]["descriptor"] for i in sorted(peer.nodes)], dtype=float)
    means /= np.linalg.norm(means, axis=1, keepdims=True)
    for _ in range(4):
        step = rng.normal(size=3) if by_vector else rng.uniform(0, 3, 1)
        localiser.move(step if by_vector else float(step[0]))
        look = rng.normal(size=3)
        estimate = localiser.see(look)
        alpha = alpha @ transition(graph, step, sigma, kidnap)  # the forward pass, Rabiner 1989, eq. 20
        alpha *= np.exp(kappa * (means @ look / np.linalg.norm(look) - 1.0))
        alpha /= alpha.sum()
        np.testing.assert_allclose(localiser.belief, alpha, rtol=1e-5, atol=1e-12)
        p = alpha[alpha > 0]
        expected = -(p * np.log(p)).sum() / np.log(n) if n > 1 else 0.0
        assert estimate.entropy == pytest.approx(expected, abs=1e-5)
        assert estimate.probability == pytest.approx(alpha.max(), rel=1e-5)


def ring(n: int = 40, dim: int = 16) -> tuple[LandmarkGraph, np.ndarray, np.ndarray]:
    """Places on a circle, 1 m apart, each of which looks like another one on the far side; (graph, places, looks)."""
    rng = np.random.default_rng(5)
    angle = 2 * np.pi * np.arange(n) / n
    places = np.stack([np.cos(angle), np.sin(angle), 0 * angle], axis=1) * n / (2 * np.pi)
    looks = np.tile(rng.normal(size=(n // 2, dim)), (2, 1))
    looks[0] = rng.normal(size=dim)  # but one
    graph = LandmarkGraph()
    graph.add_landmarks(places, looks)
    pairs = np.stack([np.arange(n), (np.arange(n) + 1) % n], axis=1)
    graph.connect(np.concatenate([pairs, pairs[:, ::-1]]), np.ones(2 * n))
    return graph, places, looks


def walk(localiser: Localiser, graph: LandmarkGraph, way: list[int], *, noise: float) -> list[bool]:
    """Which steps of a walk were told right and not lost."""
    rng = np.random.default_rng(1)
    nodes, right = graph.to_networkx().nodes, []
    for before, here in pairwise(way):
        step = np.subtract(nodes[here]["position"], nodes[before]["position"])
        localiser.move(step + rng.normal(scale=0.1, size=3))
        estimate = localiser.see(nodes[here]["descriptor"] + noise * rng.normal(size=16))
        right.append(estimate.id == here and not estimate.is_lost)
    return right


def test_two_places_that_look_alike_are_told_apart_by_the_way() -> None:
    graph, _, looks = ring()
    localiser = graph.localiser(sigma=0.3, kappa=20.0)
    first = localiser.see(looks[25])
    assert first.probability == pytest.approx(0.5, abs=0.01)
    right = walk(localiser, graph, list(range(25, 50 - 10)), noise=0.05)
    assert all(right[3:])
    assert localiser.estimate().probability > 0.95


def test_a_kidnapped_robot_is_lost_and_finds_itself_again() -> None:
    graph, _, looks = ring()
    localiser = graph.localiser(sigma=0.3)
    assert localiser.estimate().is_lost  # no idea yet
    walk(localiser, graph, list(range(10)), noise=0.05)
    before = localiser.estimate()
    assert not before.is_lost
    localiser.move(1.0)
    after = localiser.see(looks[16])  # it expected another view, and there are two such places
    assert after.is_lost
    assert after.expected_cosine < before.expected_cosine - 0.1
    assert after.entropy > before.entropy
    right = walk(localiser, graph, [16, 17, 18, 19, 20, 21], noise=0.05)
    assert right[-1]


def test_views_of_nothing_in_the_map_mean_lost_however_sure_the_belief() -> None:
    graph, _, _ = ring()
    localiser = graph.localiser(sigma=0.3)
    walk(localiser, graph, list(range(10)), noise=0.05)
    rng = np.random.default_rng(2)
    for _ in range(4):
        localiser.move(1.0)
        estimate = localiser.see(rng.normal(size=16))
    assert estimate.is_lost
    assert estimate.expected_cosine < 0.5


def test_frames_in_a_frame_of_their_own_are_enough_and_count_once_a_stride() -> None:
    graph, places, looks = ring()
    localiser = graph.localiser(sigma=0.3, stride=0.9)
    turned = camera_pose(np.array([7.0, -3.0, 1.0]), 2.0)  # odometry that knows nothing of the map
    camera, ones = Intrinsics.from_fov(8, 6, 79.0), np.ones((6, 8), dtype=np.int32)

    def frame(i: float) -> Observation:
        at, yaw = places[int(i)] + (i % 1) * (places[int(i) + 1] - places[int(i)]), 0.16 * i
        pose = turned @ camera_pose(at, yaw)
        return Observation(i, pose, camera, instance=ones, embeddings={1: looks[round(i)].astype(np.float32)})

    for i in np.arange(15.0, 23.0, 0.25):
        estimate = localiser.observe(frame(float(i)))
    assert estimate.id == 22
    assert not estimate.is_lost
    belief = localiser.belief
    for _ in range(3):  # standing still proves nothing
        localiser.observe(frame(22.75))
    assert localiser.belief is belief
    blind = replace(frame(23.75), embeddings=None, instance=None)
    assert localiser.observe(blind) == estimate
    localiser.observe(replace(frame(22.75), T_map_camera=frame(22.75).T_map_camera @ camera_pose(np.zeros(3), 2.0)))
    assert localiser.belief is not belief


def test_dead_landmarks_are_no_places_to_be_at() -> None:
    graph, _, looks = ring()
    graph.merge(3, 23)
    localiser = graph.localiser()
    assert 23 not in localiser.ids
    assert localiser.see(looks[23]).id == 3
    ids, probabilities = localiser.most_probable(2)
    assert ids[0] == 3
    assert probabilities[0] > probabilities[1]


def test_a_view_that_cannot_be_where_the_robot_is_believed_to_be_begins_anew() -> None:
    """So sure a filter that e^(-kappa) is no number any more, and no step between the two views."""
    graph = LandmarkGraph()
    graph.add_landmarks(np.array([[0.0, 0, 0], [9.0, 0, 0]]), np.eye(2))
    localiser = graph.localiser(kappa=1000.0)
    assert localiser.see(np.array([1.0, 0.0])).id == 0
    assert localiser.see(np.array([0.0, 1.0]))[:3] == (1, 1.0, 1.0)
    np.testing.assert_array_equal(localiser.belief, [0.0, 1.0])


def test_bad_input_is_refused() -> None:
    graph, _, looks = ring()
    localiser = graph.localiser()
    belief = localiser.belief.copy()
    for displacement in (-1.0, np.inf, np.array([0.0, np.nan, 0.0])):
        with pytest.raises(ValueError, match="finite"):
            localiser.move(displacement)
    for look in (looks[0][:3], np.zeros(16), np.full(16, np.nan)):
        with pytest.raises(ValueError, match="descriptor"):
            localiser.see(look)
    with pytest.raises(ValueError, match="no landmarks"):
        LandmarkGraph().localiser()
    with pytest.raises(ValueError, match="kidnap"):
        graph.localiser(kidnap=0.0)
    with pytest.raises(ValueError, match="stride"):
        graph.localiser(turn=0.0)
    np.testing.assert_array_equal(localiser.belief, belief)
