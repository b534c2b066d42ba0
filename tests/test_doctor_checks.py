"""What stamps, poses and images show by themselves, each against the number of faults that were made."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from embmem.doctor.glimpses import Glimpse, Glimpses, Picture
from embmem.doctor.image_checks import check_images
from embmem.doctor.pose_checks import check_poses
from embmem.doctor.registration import check_registration
from embmem.doctor.survey import Survey, Track, period
from embmem.doctor.timing import check_clocks, check_stamps
from embmem.doctor.units import Believed, check_plausible, explain_scale
from embmem.recordings.raw import RawPose
from embmem.recordings.recording import Recording, Stream

EVEN = np.arange(100, dtype=np.int64) * 100_000_000 + 10**18  # 10 Hz


def track(kind: str, stamps: np.ndarray, *, late: float = 0.01, poses: tuple[RawPose, ...] = ()) -> Track:
    received = np.sort(EVEN[: len(stamps)]) / 1e9 + late
    stream = Stream(f"/{kind}", kind, "", len(stamps))
    return Track(
        stream, stamps, received, 0, Counter(), Counter(), {}, list(poses), stamps[: len(poses)] if poses else stamps,
        received, [], set(),
    )  # fmt: skip


def looked(*tracks: Track) -> Survey:
    streams = tuple(t.stream for t in tracks)
    recording = Recording(Path("x"), "test", streams, lambda _: iter(()))
    return Survey(recording, {t.stream.name: t for t in tracks}, {})


def said(stamps: np.ndarray) -> dict[str, dict[str, object]]:
    return {f.kind: dict(f.evidence) for f in check_stamps(looked(track("depth", stamps)), "/depth", lambda _: None)}


def test_even_stamps_are_fine() -> None:
    assert said(EVEN) == {}
    assert period(EVEN) == pytest.approx(0.1)


@given(st.integers(3, 30), st.integers(0, 2**32 - 1))
def test_dropped_frames_are_counted(n: int, seed: int) -> None:
    gone = np.random.default_rng(seed).choice(np.arange(1, 99), n, replace=False)
    found = said(np.delete(EVEN, gone))
    assert set(found) == {"dropped_frames"}
    assert found["dropped_frames"]["missing"] == n


@given(st.sets(st.integers(0, 40), min_size=1, max_size=20))
def test_duplicates_and_swaps_are_counted_and_are_no_gaps(places: set[int]) -> None:
    twice, swapped = EVEN.copy(), EVEN.copy()
    for at in places:
        twice[2 * at + 1] = twice[2 * at]
        swapped[[2 * at + 1, 2 * at + 2]] = swapped[[2 * at + 2, 2 * at + 1]]
    assert said(twice) == {"duplicate_stamps": {"n": len(places), "share": len(places) / 100}}
    assert said(swapped)["reordered_stamps"]["n"] == len(places)
    assert set(said(swapped)) == {"reordered_stamps"}


@pytest.mark.parametrize("seconds", [-2.5, 60.0])
def test_a_clock_that_jumps_is_told_from_frames_that_are_missing(seconds: float) -> None:
    jumped = EVEN.copy()
    jumped[50:] += int(seconds * 1e9)
    found = said(jumped)
    assert found["clock_jump"]["seconds"] == pytest.approx(seconds, abs=0.11)
    assert "dropped_frames" not in found


def test_two_clocks_are_compared_by_when_their_messages_came() -> None:
    ahead = EVEN + int(3600e9)
    (found,) = check_clocks(looked(track("depth", ahead), track("odometry", EVEN)), "/depth", 0.0)[:1]
    assert (found.kind, found.fix) == ("time_offset", {"time_offset": -3600.0})
    assert check_clocks(looked(track("depth", EVEN), track("odometry", EVEN)), "/depth", 0.0) == []


def test_poses_that_are_none_and_jumps_are_counted() -> None:
    rng = np.random.default_rng(0)
    positions = np.cumsum(rng.normal(0, 0.01, (100, 3)), axis=0)
    quats = np.tile([0.0, 0, 0, 1], (100, 1))
    positions[60:] += 4.0
    positions[10] = np.nan
    quats[20:25] *= 1.1
    poses = tuple(RawPose(p, q) for p, q in zip(positions, quats, strict=True))
    found = {f.kind: f.evidence["n"] for f in check_poses(looked(track("pose", EVEN, poses=poses)))}
    assert found == {"nan_poses": 1, "quaternion_norm": 5, "pose_jump": 1}


def picture(values: np.ndarray, *, is_depth: bool) -> Picture:
    small = values.astype(np.float32)
    return Picture(hash(values.tobytes()), small, small, values.ravel() if is_depth else None)


def glimpses(depth: list[np.ndarray], color: list[np.ndarray]) -> Glimpses:
    pairs = enumerate(zip(depth, color, strict=True))
    frames = [Glimpse(n, n / 10, picture(d, is_depth=True), picture(c, is_depth=False)) for n, (d, c) in pairs]
    return Glimpses(frames, {}, (0.0, 65535.0))


def scene(n: int = 30) -> tuple[list[np.ndarray], list[np.ndarray], dict[int, np.ndarray]]:
    """A step that moves to the right, in depth and in colour, and poses that move along."""
    rng = np.random.default_rng(1)
    texture = rng.uniform(60, 160, (48, 120))
    depth, color, poses = [], [], {}
    for k in range(n):
        wall = np.full((48, 64), 2000) + rng.integers(-20, 20, (48, 64)) + np.arange(64) * 8
        wall[12:36, 10 + k : 24 + k] -= 800
        depth.append(wall.astype(np.uint16))
        grey = texture[:, :64].copy()
        grey[12:36, 10 + k : 24 + k] += 80
        color.append(grey)
        poses[k] = np.eye(4)
        poses[k][0, 3] = 0.02 * k
    return depth, color, poses


STREAMS = {"depth": "depth", "color": "color"}


def kinds(g: Glimpses, poses: dict[int, np.ndarray]) -> set[str]:
    return {f.kind for f in check_images(g, poses, STREAMS) if f.severity != "note"}


def test_images_of_a_clean_scene_are_fine() -> None:
    depth, color, poses = scene()
    assert kinds(glimpses(depth, color), poses) == set()


def test_each_fault_of_images_is_named() -> None:
    depth, color, poses = scene()
    holes = [d.copy() for d in depth]
    for d in holes:
        d[::9, ::7] = 9999
    (found,) = [f for f in check_images(glimpses(holes, color), poses, STREAMS) if f.kind == "depth_invalid"]
    assert found.fix == {"depth_invalid": [0.0, 65535.0, 9999.0]}
    assert kinds(glimpses([d.byteswap() for d in depth], color), poses) == {"byte_order"}
    hung = [depth[k - k % 2] for k in range(30)]
    assert kinds(glimpses(hung, color), poses) == {"repeated_images"}
    assert kinds(glimpses(depth, [c * (0.5 if 10 <= k < 20 else 1.0) for k, c in enumerate(color)]), poses) == {
        "exposure_changes"
    }
    assert kinds(glimpses(depth, color), {k: poses[min(k, 5)] for k in poses}) == {"frozen_poses"}


def test_repeated_images_of_a_camera_that_stands_still_are_fine() -> None:
    depth, color, _ = scene(1)
    assert kinds(glimpses(depth * 30, color * 30), {k: np.eye(4) for k in range(30)}) == set()


def test_colour_beside_depth_is_measured() -> None:
    depth, color, _ = scene()
    (found,) = check_registration(glimpses(depth, [np.roll(c, 6, axis=1) for c in color]), "color")
    assert found.evidence["right"] == pytest.approx(6 / 63, abs=0.02)


def test_what_is_plausible_decides_between_poses_and_depth() -> None:
    poses = explain_scale(1.37, Believed(2.0, 0.001, 0.3, 1.0), {}, "")
    assert poses.fix == {"pose_scale": 1.37}
    depth = explain_scale(4.99, Believed(10.0, 0.001, 0.3, 1.0), {}, "")
    assert depth.fix == {"depth_unit": 0.0002}
    millimetres = explain_scale(0.001002, Believed(2.0, 0.001, 300.0, 1.0), {}, "")
    assert millimetres.fix == {"pose_scale": 0.001}
    (far,) = check_plausible(np.full(10, 2000.0), 1.0)
    assert far.fix == {"depth_unit": 0.001}
    assert check_plausible(np.full(10, 2.0), 1.0) == []
