"""The gate: every fault is found, counted and handled as its policy says."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from embmem.errors import RefusedObservation
from embmem.geometry import camera_pose
from embmem.ingress import IngressGate
from embmem.observation import Intrinsics, Observation
from embmem.testing import wall_ahead

GOOD = wall_ahead(1.0)


def with_pose(entry: tuple[int, int], value: float) -> Observation:
    T = GOOD.T_map_camera.copy()
    T[entry] = value
    return replace(GOOD, T_map_camera=T)


FAULTY = [
    ("stamp_not_finite", replace(GOOD, stamp=float("nan"))),
    ("pose_not_finite", with_pose((0, 3), np.nan)),
    ("pose_not_rigid", with_pose((0, 0), 1.7)),
    ("pose_not_rigid", with_pose((3, 0), 1.0)),
    ("pose_not_rigid", replace(GOOD, T_map_camera=np.diag([-1.0, 1.0, 1.0, 1.0]))),
    ("bad_intrinsics", replace(GOOD, intrinsics=replace(GOOD.intrinsics, fx=0.0))),
    ("bad_intrinsics", replace(GOOD, intrinsics=replace(GOOD.intrinsics, cy=float("inf")))),
    ("wrong_shape", replace(GOOD, depth=np.ones((3, 3), dtype=np.float32))),
    ("wrong_shape", replace(GOOD, depth=np.ones((24, 32), dtype=np.uint16))),
    ("wrong_shape", replace(GOOD, rgb=np.zeros((24, 32), dtype=np.uint8))),
    ("wrong_shape", replace(GOOD, labels=("unlabelled",))),
    ("wrong_shape", replace(GOOD, T_map_camera=np.eye(3))),
    ("bad_embeddings", replace(GOOD, embeddings={1: np.array([1.0, np.nan])})),
    ("bad_embeddings", replace(GOOD, embeddings={1: np.zeros(2)})),
    ("bad_embeddings", replace(GOOD, embeddings={1: np.ones((1, 2))})),
    ("bad_embeddings", replace(GOOD, embeddings={1: np.ones(2, dtype=np.int64)})),
    ("bad_embeddings", replace(GOOD, embeddings={0: np.ones(2)})),
    ("bad_embeddings", replace(GOOD, embeddings={1: np.ones(2), 7: np.ones(2)})),
    ("bad_embeddings", replace(GOOD, embeddings={1: np.ones(2)}, instance=None)),
    (
        "bad_embeddings",
        replace(
            GOOD, embeddings={1: np.ones(2), 2: np.ones(3)}, instance=np.arange(24 * 32, dtype=np.int32).reshape(24, 32)
        ),
    ),
]


@pytest.mark.parametrize(("fault", "observation"), FAULTY)
def test_faults_are_refused_by_name_and_counted(fault: str, observation: Observation) -> None:
    gate = IngressGate()
    with pytest.raises(RefusedObservation, match=fault) as caught:
        gate.admit(observation)
    assert caught.value.fault == fault
    assert gate.counts == {fault: 1}


def test_embeddings_of_segments_in_the_image_pass() -> None:
    observation = replace(GOOD, embeddings={1: np.ones(4, dtype=np.float32)})
    assert IngressGate().admit(observation) is observation


def test_a_good_observation_passes_unchanged() -> None:
    gate = IngressGate()
    assert gate.admit(GOOD) is GOOD
    assert gate.counts == {"admitted": 1}


@given(arrays(np.float32, (24, 32), elements=st.floats(-10, 40, width=32) | st.sampled_from([np.nan, np.inf, -np.inf])))
def test_repaired_depth_is_nan_exactly_where_it_was_outside_the_range(depth: np.ndarray) -> None:
    admitted = IngressGate(depth_max=10.0).admit(replace(GOOD, depth=depth)).depth
    assert admitted is not None
    valid = np.isfinite(depth) & (depth > 0) & (depth <= 10.0)
    np.testing.assert_array_equal(admitted, np.where(valid, depth, np.nan))


def test_depth_outside_the_range_can_be_refused() -> None:
    far = replace(GOOD, depth=np.full((24, 32), 99.0, dtype=np.float32))
    with pytest.raises(RefusedObservation, match="depth_range"):
        IngressGate({"depth_range": "refuse"}).admit(far)


@given(st.floats(-3, 3), st.floats(-0.03, 0.03))
def test_a_repaired_pose_is_the_nearest_rotation(yaw: float, noise: float) -> None:
    T = camera_pose(np.zeros(3), yaw)
    bent = T.copy()
    bent[:3, :3] *= 1.0 + noise
    admitted = IngressGate({"pose_not_rigid": "repair"}).admit(replace(GOOD, T_map_camera=bent))
    # Within the tolerance of the gate the pose passes as it is.
    np.testing.assert_allclose(admitted.T_map_camera, T, atol=1e-3)


def test_a_pose_too_far_off_is_not_repaired() -> None:
    with pytest.raises(RefusedObservation, match="too far"):
        IngressGate({"pose_not_rigid": "repair"}).admit(with_pose((0, 0), 1.7))


def test_a_clock_that_runs_backwards_is_refused_or_starts_a_session() -> None:
    strict, lenient = IngressGate(), IngressGate({"clock_backwards": "new_session"})
    for gate in (strict, lenient):
        gate.admit(replace(GOOD, stamp=5.0))
    with pytest.raises(RefusedObservation, match="clock_backwards"):
        strict.admit(replace(GOOD, stamp=4.0))
    strict.admit(replace(GOOD, stamp=5.0))  # the refused one did not move the clock
    lenient.admit(replace(GOOD, stamp=4.0))
    assert (strict.session, lenient.session) == (0, 1)


def test_unknown_policies_are_refused_with_what_there_is() -> None:
    with pytest.raises(ValueError, match="pose_not_finite: refuse"):
        IngressGate({"pose_not_finite": "repair"})
    with pytest.raises(ValueError, match="no policy"):
        IngressGate({"typo": "refuse"})


def test_intrinsics_from_a_field_of_view() -> None:
    k = Intrinsics.from_fov(640, 480, 90.0)
    assert k.fx == pytest.approx(320.0)
    assert (k.cx, k.cy) == (319.5, 239.5)
