"""The buffer of transforms against scipy's slerp and plain products of matrices."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation, Slerp

from embmem.geometry import invert_pose
from embmem.ros.tf_buffer import NANOSECONDS, TfBuffer, TransformError

START = 1_700_000_000 * NANOSECONDS


def at(T: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    return T[:3, 3], Rotation.from_matrix(T[:3, :3]).as_quat()


def random_pose(rng: np.random.Generator) -> np.ndarray:
    T = np.eye(4)
    T[:3, :3] = Rotation.random(random_state=int(rng.integers(2**31))).as_matrix()
    T[:3, 3] = rng.uniform(-10, 10, 3)
    return T


def by_scipy(stamps: np.ndarray, poses: np.ndarray, stamp: int) -> np.ndarray:
    times = (stamps - stamps[0]).astype(np.float64)
    T = np.eye(4)
    now = float(stamp - stamps[0])
    T[:3, :3] = Slerp(times, Rotation.from_matrix(poses[:, :3, :3]))(now).as_matrix()
    T[:3, 3] = [np.interp(now, times, poses[:, i, 3]) for i in range(3)]
    return T


@given(seed=st.integers(0, 2**32 - 1))
def test_a_chain_of_moving_and_fixed_frames_is_the_product_of_what_scipy_interpolates(seed: int) -> None:
    rng = np.random.default_rng(seed)
    buffer = TfBuffer()
    chain = ["map", "odom", "base_link", "camera_link", "camera_optical"]
    expected = {}
    asked = START + int(rng.integers(NANOSECONDS, 2 * NANOSECONDS))
    for parent, child in itertools.pairwise(chain):
        if child.startswith("camera"):
            T = random_pose(rng)
            buffer.add(parent, child, *at(T), stamp_ns=0, is_static=True)
            expected[child] = T
            continue
        stamps = START + np.sort(rng.choice(3 * NANOSECONDS, 30, replace=False))
        stamps[0], stamps[-1] = START, START + 3 * NANOSECONDS
        poses = np.stack([random_pose(rng) for _ in stamps])
        for i in rng.permutation(len(stamps)):  # they may come in any order
            buffer.add(parent, child, *at(poses[i]), stamp_ns=int(stamps[i]))
        expected[child] = by_scipy(stamps, poses, asked)
    T = np.eye(4)
    for child in chain[1:]:
        T = T @ expected[child]
    np.testing.assert_allclose(buffer.lookup("map", "camera_optical", asked), T, atol=1e-12)
    np.testing.assert_allclose(buffer.lookup("camera_optical", "map", asked), invert_pose(T), atol=1e-12)
    assert buffer.root("camera_optical") == "map"
    assert buffer.frames == sorted(chain)


def test_frames_of_two_branches_meet_at_their_common_parent() -> None:
    rng = np.random.default_rng(3)
    left, right = random_pose(rng), random_pose(rng)
    buffer = TfBuffer()
    buffer.add("base", "left", *at(left), stamp_ns=0, is_static=True)
    buffer.add("base", "/right", *at(right), stamp_ns=0, is_static=True)
    np.testing.assert_allclose(buffer.lookup("left", "right", 7), invert_pose(left) @ right, atol=1e-12)
    np.testing.assert_array_equal(buffer.lookup("left", "left", 7), np.eye(4))


def test_nothing_is_extrapolated_and_every_refusal_has_a_name() -> None:
    buffer = TfBuffer()
    quat = np.array([0.0, 0.0, 0.0, 1.0])
    for second in (1, 2, 9):
        buffer.add("odom", "base", np.array([float(second), 0.0, 0.0]), quat, stamp_ns=second * NANOSECONDS)
    buffer.add("world", "table", np.zeros(3), quat, stamp_ns=0, is_static=True)
    for target, source, stamp, fault in (
        ("odom", "base", NANOSECONDS - 1, "extrapolation"),
        ("odom", "base", 9 * NANOSECONDS + 1, "extrapolation"),
        ("odom", "base", 5 * NANOSECONDS, "tf_gap"),
        ("odom", "moon", 5 * NANOSECONDS, "unknown_frame"),
        ("odom", "table", 5 * NANOSECONDS, "not_connected"),
    ):
        with pytest.raises(TransformError) as caught:
            buffer.lookup(target, source, stamp, max_gap=2.0)
        assert caught.value.fault == fault
    assert buffer.lookup("odom", "base", 5 * NANOSECONDS)[0, 3] == pytest.approx(5.0)
    assert buffer.nearest_stamp("base", 4 * NANOSECONDS) == 2 * NANOSECONDS
    assert buffer.nearest_stamp("table", 4) is None


@pytest.mark.parametrize(
    ("parent", "child", "position", "quaternion"),
    [
        ("a", "a", (0, 0, 0), (0, 0, 0, 1)),
        ("", "a", (0, 0, 0), (0, 0, 0, 1)),
        ("a", "b", (np.nan, 0, 0), (0, 0, 0, 1)),
        ("a", "b", (0, 0, 0), (0, 0, 0, 0)),
        ("a", "b", (0, 0, 0), (0, 0, 0, 2)),
        ("a", "b", (0, 0, 0), (0, 0, np.inf, 1)),
    ],
)
def test_what_tf2_would_not_take_is_refused(
    parent: str, child: str, position: tuple[float, ...], quaternion: tuple[float, ...]
) -> None:
    buffer = TfBuffer()
    with pytest.raises(TransformError):
        buffer.add(parent, child, np.array(position, float), np.array(quaternion, float), stamp_ns=0)
    assert buffer.frames == []


def test_a_loop_of_frames_ends() -> None:
    buffer, quat = TfBuffer(), np.array([0.0, 0.0, 0.0, 1.0])
    for parent, child in (("a", "b"), ("b", "c"), ("c", "a"), ("x", "y")):
        buffer.add(parent, child, np.ones(3), quat, stamp_ns=0, is_static=True)
    with pytest.raises(TransformError, match="two trees"):
        buffer.lookup("a", "x", 0)


def test_a_frame_may_change_its_parent_and_the_first_of_two_with_one_stamp_stays() -> None:
    buffer, quat = TfBuffer(), np.array([0.0, 0.0, 0.0, 1.0])
    buffer.add("hand", "cup", np.array([1.0, 0, 0]), quat, stamp_ns=0)
    buffer.add("hand", "cup", np.array([9.0, 0, 0]), quat, stamp_ns=0)
    buffer.add("table", "cup", np.array([2.0, 0, 0]), quat, stamp_ns=10)
    assert buffer.lookup("hand", "cup", 5)[0, 3] == 1.0
    assert buffer.lookup("table", "cup", 10)[0, 3] == 2.0
    assert buffer.parent("cup") == "table"


def test_history_that_is_not_kept_costs_nothing() -> None:
    buffer, quat = TfBuffer(keep=1.0), np.array([0.0, 0.0, 0.0, 1.0])
    for i in range(500):
        buffer.add("odom", "base", np.array([i / 100, 0.0, 0.0]), quat, stamp_ns=i * NANOSECONDS // 100)
    first, last, n = buffer.span("base")
    assert (last - first, n) == (NANOSECONDS, 101)
