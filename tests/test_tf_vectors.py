"""What tf2's own tests expect of a buffer, as published, to 1e-12 (ros2/geometry2, test_tf2 and tf2 cache tests)."""

from __future__ import annotations

import itertools
from math import cos, pi, sin, sqrt

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from embmem.geometry import invert_pose
from embmem.ros.tf_buffer import NANOSECONDS, TfBuffer, TransformError

H = sqrt(2) / 2
# buffer_core_test.cpp, ring_45_configuration: links between the frames -> (x, y), (z, w) of the quaternion
RING = {
    0: ((0, 0), (0, 1)),
    1: ((H - 1, H), (sin(pi / 8), cos(pi / 8))),
    2: ((-1, 1), (sin(pi / 4), cos(pi / 4))),
    3: ((-1 - H, H), (sin(pi * 3 / 8), cos(pi * 3 / 8))),
    4: ((-2, 0), (sin(pi / 2), cos(pi / 2))),
    5: ((-1 - H, -H), (sin(pi * 5 / 8), cos(pi * 5 / 8))),
    6: ((-1, -1), (-sin(pi * 6 / 8), -cos(pi * 6 / 8))),
    7: ((H - 1, -H), (sin(-pi * 7 / 8), -cos(-pi * 7 / 8))),
    8: ((0, 0), (0, -1)),
}
# i, v, y and multi configuration: child -> parent, (x, y)
TREES = {
    "i": {"b": ("a", 1, 0), "c": ("b", 1, 0)},
    "y": {"b": ("a", 1, 0), "c": ("b", 1, 0), "d": ("b", 0, 1), "e": ("d", 0, 1)},
    "v": {"b": ("a", 1, 0), "c": ("b", 1, 0), "f": ("a", 0, 1), "g": ("f", 0, 1)},
    "multi": {"2": ("1", 1, 0), "b": ("a", 1, 0), "c": ("b", 1, 0), "f": ("a", 0, 1), "g": ("f", 0, 1)},
}
# The published translations of `lookupTransform(target, source)` one way; the other way they are the negative.
FOUND = {
    "i": {("a", "b"): (1, 0), ("b", "c"): (1, 0), ("a", "c"): (2, 0)},
    "y": {
        ("a", "b"): (1, 0), ("b", "c"): (1, 0), ("b", "d"): (0, 1), ("d", "e"): (0, 1), ("b", "e"): (0, 2),
        ("a", "c"): (2, 0), ("a", "d"): (1, 1), ("c", "d"): (-1, 1), ("a", "e"): (1, 2), ("c", "e"): (-1, 2),
    },
    "v": {
        ("a", "b"): (1, 0), ("b", "c"): (1, 0), ("a", "f"): (0, 1), ("f", "g"): (0, 1), ("a", "g"): (0, 2),
        ("a", "c"): (2, 0), ("b", "f"): (-1, 1), ("c", "f"): (-2, 1), ("b", "g"): (-1, 2), ("c", "g"): (-2, 2),
    },
}  # fmt: skip
FOUND["multi"] = {**FOUND["v"], ("1", "2"): (1, 0)}
NO_TURN = np.array([0.0, 0.0, 0.0, 1.0])


def _pose(x: float, y: float, z: float, quat: np.ndarray) -> np.ndarray:
    T = np.eye(4)
    T[:3, :3], T[:3, 3] = Rotation.from_quat(quat).as_matrix(), (x, y, z)
    return T


@pytest.mark.parametrize("evaluated", [0.0, 1.0, 10.0])
@pytest.mark.parametrize("space", [1.0, 0.001, 0.1])
def test_ring_45(evaluated: float, space: float) -> None:
    buffer, frames = TfBuffer(), "abcdefghi"
    step, turn = np.array([H - 1, H, 0.0]), np.array([0.0, 0.0, sin(pi / 8), cos(pi / 8)])
    now = round(evaluated * NANOSECONDS)
    for parent, child in itertools.pairwise(frames):
        for stamp in (max(0, now - round(space / 2 * NANOSECONDS)), now):
            buffer.add(parent, child, step, turn, stamp_ns=stamp)
    for (i, target), (j, source) in itertools.product(enumerate(frames), repeat=2):
        (x, y), (z, w) = RING[abs(j - i)]
        expected = _pose(x, y, 0.0, np.array([0.0, 0.0, z, w]))
        found = buffer.lookup(target, source, now)
        np.testing.assert_allclose(found, expected if j >= i else invert_pose(expected), rtol=0, atol=1e-12)


@pytest.mark.parametrize("name", TREES)
@pytest.mark.parametrize("evaluated", [0, 1, 10])
def test_trees(name: str, evaluated: int) -> None:
    buffer = TfBuffer()
    for child, (parent, x, y) in TREES[name].items():
        buffer.add(parent, child, np.array([x, y, 0.0], float), NO_TURN, stamp_ns=evaluated * NANOSECONDS)
    frames = set(TREES[name]) | {parent for parent, *_ in TREES[name].values()}
    for target, source in itertools.product(sorted(frames), repeat=2):
        vector = FOUND[name].get((target, source))
        if vector is None and (opposite := FOUND[name].get((source, target))) is not None:
            vector = -opposite[0], -opposite[1]
        if target == source:
            vector = 0, 0
        if vector is None:  # of two trees
            with pytest.raises(TransformError, match=r"two trees"):
                buffer.lookup(target, source, evaluated * NANOSECONDS)
            continue
        found = buffer.lookup(target, source, evaluated * NANOSECONDS)
        np.testing.assert_allclose(found, _pose(*vector, 0.0, NO_TURN), rtol=0, atol=1e-12)


def test_compound_transforms() -> None:
    """compound_xfm_configuration: root to a, root to b to c to d, with the products that it expects."""

    def euler(yaw: float, pitch: float, roll: float) -> np.ndarray:
        return np.asarray(Rotation.from_euler("ZYX", [yaw, pitch, roll]).as_quat())

    poses = {
        ("root", "a"): _pose(1.0, 1.0, 1.0, euler(0.25, 0.5, 0.75)),
        ("root", "b"): _pose(-1.0, 0.0, -1.0, euler(1.0, 0.25, 0.5)),
        ("b", "c"): _pose(0.0, 2.0, 0.5, euler(0.25, 0.75, 1.25)),
        ("c", "d"): _pose(0.5, -1.0, 1.5, euler(-0.5, 1.0, -0.75)),
    }
    buffer = TfBuffer()
    for (parent, child), T in poses.items():
        buffer.add(parent, child, T[:3, 3], Rotation.from_matrix(T[:3, :3]).as_quat(), stamp_ns=0)
    a, b, c, d = poses.values()
    inverse = np.linalg.inv
    expected = {
        ("root", "c"): b @ c, ("root", "d"): b @ c @ d, ("a", "b"): inverse(a) @ b, ("b", "a"): inverse(b) @ a,
        ("a", "c"): inverse(a) @ b @ c, ("c", "a"): inverse(c) @ inverse(b) @ a, ("a", "d"): inverse(a) @ b @ c @ d,
        ("d", "a"): inverse(d) @ inverse(c) @ inverse(b) @ a, ("c", "b"): inverse(c), ("b", "c"): c,
        ("b", "d"): c @ d, ("d", "b"): inverse(c @ d),
    }  # fmt: skip
    for (target, source), T in expected.items():
        np.testing.assert_allclose(buffer.lookup(target, source, 0), T, rtol=0, atol=1e-12)


def test_between_two_stamps() -> None:
    """CartesianInterpolation and AngularInterpolation: 100 ns apart, asked at every one."""
    rng = np.random.default_rng(0)
    for _ in range(10):
        ends, yaws, buffer = rng.uniform(-10, 10, (2, 3)), rng.uniform(-0.1, 0.1, 2), TfBuffer()
        for i in range(2):
            quat = np.array([0.0, 0.0, sin(yaws[i] / 2), cos(yaws[i] / 2)])
            buffer.add("p", "c", ends[i], quat, stamp_ns=200 + 100 * i)
        for at in range(101):
            yaw = yaws[0] + (yaws[1] - yaws[0]) * at / 100
            position = ends[0] + (ends[1] - ends[0]) * at / 100
            quat = np.array([0.0, 0.0, sin(yaw / 2), cos(yaw / 2)])
            expected = _pose(position[0], position[1], position[2], quat)
            np.testing.assert_allclose(buffer.lookup("p", "c", 200 + at), expected, rtol=0, atol=1e-12)


def test_no_interpolation_between_two_parents() -> None:
    """ReparentingInterpolationProtection: before the second stamp the first one holds."""
    buffer = TfBuffer()
    buffer.add("4", "c", np.array([1.0, 2.0, 3.0]), NO_TURN, stamp_ns=555)
    buffer.add("5", "c", np.array([4.0, 5.0, 6.0]), NO_TURN, stamp_ns=655)
    for at in range(100):
        np.testing.assert_array_equal(buffer.lookup("4", "c", 555 + at)[:3, 3], [1.0, 2.0, 3.0])


@pytest.mark.parametrize("is_reversed", [False, True])
def test_repeatability(is_reversed: bool) -> None:
    """Repeatability and RepeatabilityReverseInsertOrder, RepeatedElements: what came in comes out."""
    buffer, stamps = TfBuffer(), range(1, 100)
    for i in reversed(stamps) if is_reversed else stamps:
        for _ in range(2):
            buffer.add("p", "c", np.array([float(i), 0.0, 0.0]), NO_TURN, stamp_ns=i)
    assert buffer.span("c") == (1, 99, 99)
    assert [buffer.lookup("p", "c", i)[0, 3] for i in stamps] == list(map(float, stamps))


def test_backward_and_forward_extrapolation_is_refused() -> None:
    """simple_tf2_core.cpp, TransformException_Backward_Forward: one transform serves its own stamp alone."""
    buffer = TfBuffer()
    buffer.add("foo", "bar", np.array([1.0, 0.0, 0.0]), NO_TURN, stamp_ns=1_000)
    assert buffer.lookup("foo", "bar", 1_000)[0, 3] == 1.0
    for stamp in (999, 1_001):
        with pytest.raises(TransformError) as caught:
            buffer.lookup("foo", "bar", stamp)
        assert caught.value.fault == "extrapolation"


def test_static_transforms_outlive_what_is_cleared() -> None:
    """simple_tf2_core.cpp, LookUp_Static_Transfrom_Succeed and _Fail."""
    buffer = TfBuffer()
    buffer.add("foo", "bar", np.array([1.0, 0.0, 0.0]), NO_TURN, stamp_ns=1, is_static=True)
    buffer.add("bar", "moving", np.array([1.0, 0.0, 0.0]), NO_TURN, stamp_ns=1)
    buffer.forget_moving()
    assert buffer.lookup("foo", "bar", 2)[0, 3] == 1.0
    with pytest.raises(TransformError):
        buffer.lookup("foo", "moving", 1)
