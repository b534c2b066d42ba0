"""RGB-D folders: round trips, levelling, and every way in which a folder can be broken."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
from box_room import LABELS, walk
from hypothesis import given
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from embmem.errors import InputError, OutputExistsError
from embmem.observation import Observation
from embmem.recordings.images import image_size, read_rgb, read_u16, write_image
from embmem.recordings.level import level_transform
from embmem.recordings.opening import read_recording
from embmem.recordings.poses import NoPosesError
from embmem.recordings.rgbd_writer import write_rgbd_folder


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("recordings") / "room"
    write_rgbd_folder(walk(6), path)
    return path


@pytest.fixture
def folder(recorded: Path, tmp_path: Path) -> Path:
    """A copy to break."""
    return Path(shutil.copytree(recorded, tmp_path / "room"))


def test_what_was_recorded_is_read_back(recorded: Path) -> None:
    read, written = list(read_recording(recorded)), list(walk(6))
    assert len(read) == len(written) == len(read_recording(recorded))
    for a, b in zip(read, written, strict=True):
        assert a.stamp == b.stamp
        assert a.intrinsics == b.intrinsics
        assert a.labels == b.labels == LABELS
        np.testing.assert_allclose(a.T_map_camera, b.T_map_camera, atol=1e-9)
        for name in ("rgb", "semantic", "instance"):
            np.testing.assert_array_equal(getattr(a, name), getattr(b, name))
        assert a.depth is not None
        assert b.depth is not None
        np.testing.assert_allclose(a.depth, b.depth, atol=0.000501)


def test_invalid_depth_stays_invalid(tmp_path: Path) -> None:
    observation = next(walk(1))
    assert observation.depth is not None
    observation.depth[:4, 0] = [np.nan, 70.0, np.inf, 0.0]
    write_rgbd_folder([observation], tmp_path / "a")
    (read,) = read_recording(tmp_path / "a")
    assert read.depth is not None
    assert np.isnan(read.depth[:4, 0]).all()
    assert np.isfinite(read.depth[4:]).all()


def test_raw_0_and_65535_are_invalid_depth(folder: Path) -> None:
    raw = np.full((48, 64), 1500, np.uint16)
    raw[0, 0], raw[0, 1] = 0, 65535
    write_image(folder / "frame-000000.depth.png", raw)
    depth = next(iter(read_recording(folder))).depth
    assert depth is not None
    assert np.flatnonzero(np.isnan(depth)).tolist() == [0, 1]
    assert depth[5, 5] == np.float32(1.5)


def test_without_timestamps_the_frame_number_at_30_hz_is_the_clock(folder: Path) -> None:
    (folder / "timestamps.txt").unlink()
    assert [o.stamp for o in read_recording(folder, every=2)] == [0.0, 2 / 30, 4 / 30]


def test_a_pose_may_be_a_position_and_a_quaternion(folder: Path) -> None:
    before = [o.T_map_camera for o in read_recording(folder)]
    for number, T in enumerate(before):
        numbers = [*T[:3, 3], *Rotation.from_matrix(T[:3, :3]).as_quat()]
        (folder / f"frame-{number:06d}.pose.txt").write_text(" ".join(map(str, numbers)))
    np.testing.assert_allclose([o.T_map_camera for o in read_recording(folder)], before, atol=1e-12)


@given(st.integers(0, 2**32 - 1))
def test_levelling_finds_gravity_heading_and_floor_in_any_world_frame(seed: int) -> None:
    rng = np.random.default_rng(seed)
    T_world_map = np.eye(4)
    T_world_map[:3, :3] = Rotation.random(random_state=int(rng.integers(2**31))).as_matrix()
    T_world_map[:3, 3] = rng.uniform(-5, 5, 3)
    upright = list(walk(8, pitch=float(rng.uniform(-0.6, -0.1))))
    tilted = [_moved(o, T_world_map) for o in upright]
    T = level_transform(tilted) @ T_world_map  # map to levelled map: a turn about z and a shift along the floor
    np.testing.assert_allclose(T[2], [0, 0, 1, 0], atol=0.03)
    levelled = level_transform(tilted) @ tilted[0].T_map_camera
    np.testing.assert_allclose(levelled[:2, 3], 0, atol=1e-6)
    assert levelled[0, 2] > 0.7
    assert abs(levelled[1, 2]) < 0.02


def _moved(observation: Observation, T: np.ndarray) -> Observation:
    return replace(observation, T_map_camera=T @ observation.T_map_camera)


def test_levelling_without_depth_trusts_the_cameras() -> None:
    level = level_transform([replace(o, depth=None) for o in walk(8, pitch=0.0)])
    np.testing.assert_allclose(level[2, :3], [0, 0, 1], atol=1e-9)


def _truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def _flip_a_byte(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 0xFF
    path.write_bytes(bytes(data))


def _set_pose(value: float) -> Callable[[Path], object]:
    def edit(path: Path) -> None:
        pose = np.loadtxt(path)
        pose[0, 0] = value
        np.savetxt(path, pose)

    return edit


BREAKS: dict[str, tuple[str, Callable[[Path], object], str]] = {
    "missing depth": ("frame-000003.depth.png", Path.unlink, "no such file"),
    "missing colour": ("frame-000003.color.png", Path.unlink, "no such file"),
    "missing pose": ("frame-000003.pose.txt", Path.unlink, "no such file"),
    "missing semantic": ("frame-000003.semantic.png", Path.unlink, "no such file"),
    "truncated depth": ("frame-000003.depth.png", _truncate, "truncated"),
    "truncated first depth": ("frame-000000.depth.png", _truncate, "truncated"),
    "damaged depth": ("frame-000003.depth.png", _flip_a_byte, "damaged"),
    "truncated colour": ("frame-000003.color.png", _truncate, "truncated"),
    "empty depth": ("frame-000003.depth.png", lambda p: p.write_bytes(b""), "not a 16-bit PNG"),
    "8-bit depth": ("frame-000003.depth.png", lambda p: cv2.imwrite(str(p), np.ones((48, 64), np.uint8)), "8 bits"),
    "NaN pose": ("frame-000003.pose.txt", _set_pose(np.nan), "holds nan"),
    "infinite pose": ("frame-000003.pose.txt", _set_pose(-np.inf), "holds -inf"),
    "sheared pose": ("frame-000003.pose.txt", _set_pose(7.0), "rotation is off"),
    "pose of 3 rows": ("frame-000003.pose.txt", lambda p: np.savetxt(p, np.eye(4)[:3]), "4x4 pose"),
    "pose of words": ("frame-000003.pose.txt", lambda p: p.write_text("lost"), "could not convert"),
    "non-unit quaternion": (
        "frame-000003.pose.txt",
        lambda p: p.write_text("0 0 0 0 0 0 1.5"),
        "quaternion has length 1.5",
    ),
    "wrong image size": (
        "frame-000003.depth.png",
        lambda p: write_image(p, np.ones((24, 32), np.uint16)),
        "32x24",
    ),
}
FOLDER_BREAKS: dict[str, tuple[str, Callable[[Path], object], str]] = {
    "missing intrinsics": ("camera-intrinsics.txt", Path.unlink, "No such file"),
    "singular intrinsics": ("camera-intrinsics.txt", lambda p: np.savetxt(p, np.zeros((3, 3))), "fx, fy > 0"),
    "NaN intrinsics": ("camera-intrinsics.txt", lambda p: np.savetxt(p, np.full((3, 3), np.nan)), "finite"),
    "intrinsics of 2 rows": ("camera-intrinsics.txt", lambda p: np.savetxt(p, np.eye(3)[:2]), "3x3"),
    "too few timestamps": ("timestamps.txt", lambda p: p.write_text("1.0\n"), "1 stamps for 6 frames"),
    "missing labels": ("labels.txt", Path.unlink, "No such file"),
    "sheared map frame": ("T_map_world.txt", lambda p: np.savetxt(p, np.eye(4) * 2), "pose_not_rigid"),
}


@pytest.mark.parametrize("name", [*BREAKS, *FOLDER_BREAKS])
def test_a_broken_folder_is_refused_in_one_line_that_names_the_file(folder: Path, name: str) -> None:
    file, damage, word = {**BREAKS, **FOLDER_BREAKS}[name]
    damage(folder / file)
    with pytest.raises(InputError) as caught:
        read_recording(folder)
    message = str(caught.value)
    assert file.rsplit(".", 1)[0] in message
    assert word in message
    assert "\n" not in message


@pytest.mark.parametrize("name", BREAKS)
def test_a_broken_frame_may_be_skipped(folder: Path, name: str) -> None:
    file, damage, _ = BREAKS[name]
    damage(folder / file)
    recording = read_recording(folder, on_fault="skip")
    assert len(recording) == len(list(recording)) == 5
    (fault,) = recording.faults
    assert f"frame-{fault.number:06d}" in file
    assert file.rsplit(".", 1)[0] in fault.detail


def test_a_folder_without_frames_and_one_of_broken_frames_only_are_refused(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no such folder"):
        read_recording(tmp_path / "nowhere")
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match="no recording"):
        read_recording(tmp_path / "empty")
    for pose in folder.glob("*.pose.txt"):
        pose.write_text("lost")
    with pytest.raises(InputError, match="no usable frame"):
        read_recording(folder, on_fault="skip")
    for pose in folder.glob("*.pose.txt"):
        pose.unlink()
    with pytest.raises(NoPosesError, match="nothing says where the camera was"):
        read_recording(folder, on_fault="skip")


def test_a_recording_appears_whole_or_not_at_all(tmp_path: Path) -> None:
    def interrupted() -> Iterator[Observation]:
        yield from walk(3)
        raise RuntimeError("the battery is empty")

    with pytest.raises(RuntimeError, match="battery"):
        write_rgbd_folder(interrupted(), tmp_path / "tour")
    with pytest.raises(ValueError, match="nothing to record"):
        write_rgbd_folder([], tmp_path / "tour")
    assert list(tmp_path.iterdir()) == []


def test_an_occupied_folder_is_never_written_to(folder: Path) -> None:
    before = {p: p.read_bytes() for p in folder.iterdir()}
    with pytest.raises(OutputExistsError, match="room"):
        write_rgbd_folder(walk(2), folder)
    assert {p: p.read_bytes() for p in folder.iterdir()} == before


@given(
    width=st.integers(1, 40), height=st.integers(1, 40), cut=st.floats(0, 0.999), suffix=st.sampled_from(["png", "jpg"])
)
def test_no_truncated_image_passes_and_no_whole_one_fails(
    tmp_path_factory: pytest.TempPathFactory, width: int, height: int, cut: float, suffix: str
) -> None:
    file = tmp_path_factory.mktemp("images") / f"a.{suffix}"
    pixels = np.random.default_rng(width * 41 + height).integers(0, 256, (height, width, 3), dtype=np.uint8)
    write_image(file, pixels)
    assert image_size(file) == (width, height)
    whole = file.read_bytes()
    file.write_bytes(whole[: int(cut * len(whole))])
    with pytest.raises(InputError, match=file.name):
        image_size(file)


def test_image_readers_refuse_other_kinds_of_images(tmp_path: Path) -> None:
    cv2.imwrite(str(tmp_path / "grey8.png"), np.ones((3, 3), np.uint8))
    with pytest.raises(InputError, match="16-bit"):
        read_u16(tmp_path / "grey8.png")
    with pytest.raises(InputError, match="decoded"):
        read_rgb(tmp_path / "absent.png")


def test_real_folders_of_other_people_are_read(data_dir: Path) -> None:
    recording = read_recording(data_dir / "rgbd" / "3dmatch")
    assert [o.stamp for o in recording] == [n / 30 for n in (0, 1, 2, 116, 422)]
    assert {o.intrinsics.width for o in recording} == {640}
