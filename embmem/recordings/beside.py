"""Images in folders with a trajectory beside them: TUM's format by stamp, KITTI's by number.

depth/, rgb/ and the like hold images whose names are stamps or numbers; times.txt may give the stamps. Intrinsics come
from calib.txt (KITTI) or any of the usual files.
"""

from __future__ import annotations

import heapq
import re
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import numpy as np

from embmem.errors import InputError
from embmem.recordings.files import FRAME_RATE, Folder, FrameFiles, image_samples
from embmem.recordings.images import image_size
from embmem.recordings.layout import camera_file, camera_from_matrix, first_folder
from embmem.recordings.raw import RawCamera, RawPose, Sample
from embmem.recordings.recording import Recording, Stream
from embmem.recordings.trajectories import numbers_of, pose_samples, read_lines, read_matrices, read_tum

DEPTH = ("depth", "depths", "depth_images")
COLOR = ("rgb", "color", "colour", "image", "images", "image_2", "image_02", "image_0", "image_00")
_TRAJECTORIES = ("poses.txt", "trajectory.txt", "groundtruth.txt", "traj.txt", "CameraTrajectory.txt", "pose.txt")
_STAMP = re.compile(r"\d+(\.\d+)?")
_IMAGES = (".png", ".jpg", ".jpeg")


def is_beside(path: Path) -> bool:
    """Whether a trajectory lies beside a folder of images."""
    return _trajectory(path) is not None and first_folder(path, DEPTH + COLOR) is not None


def open_beside(path: Path) -> Recording:
    """The recording of images with a trajectory beside them.

    Raises:
        InputError: if the trajectory is in no known format, or stamps do not fit the images.
    """
    trajectory = _trajectory(path)
    if trajectory is None:
        raise InputError(f"{path}: no trajectory beside the images, such as {', '.join(_TRAJECTORIES)}")
    images = {
        kind: folder for kind, names in (("depth", DEPTH), ("color", COLOR)) if (folder := first_folder(path, names))
    }
    listed = {kind: _images(folder, path) for kind, folder in images.items()}
    if not any(listed.values()):
        raise InputError(f"{path}: no images in {', '.join(folder.name for folder in images.values())}")
    first = next(iter(listed.values()))
    camera = _camera(path, images, partial(_size, first, "depth" in listed))
    if _n_numbers(trajectory) == 8:
        return _by_stamp(path, trajectory, listed, camera)
    poses = read_matrices(trajectory)
    frames = []
    is_paired = len(listed.get("color", [])) == len(first)  # else some are missing, and names tell which
    color = {number if is_paired else file.stem: file for number, (_, file) in enumerate(listed.get("color", []))}
    for number, (stamp, file) in enumerate(first):
        files = {next(iter(listed)): file}
        if len(listed) == 2 and (image := color.get(number if is_paired else file.stem)) is not None:
            files["color"] = image
        source = f"{trajectory}: line {number + 1}"
        frames.append(FrameFiles(number, stamp, files, partial(_pose, poses, number, source), source))
    return Folder(path, "images with a KITTI trajectory", frames, camera=camera).recording()


def _trajectory(path: Path) -> Path | None:
    found = [path / name for name in _TRAJECTORIES] + sorted(path.glob("*.tum")) + sorted(path.glob("*.kitti"))
    return next((file for file in found if file.is_file()), None)


def _n_numbers(trajectory: Path) -> int:
    lines = read_lines(trajectory)
    if not lines:
        raise InputError(f"{trajectory}: no pose in this file")
    return len(numbers_of(trajectory, lines[0]))


def _images(folder: Path, path: Path) -> list[tuple[float, Path]]:
    """(stamp [s], file) in the order of the names: from times.txt, else from the names, else at 30 a second."""
    files = sorted((f for f in folder.iterdir() if f.suffix.lower() in _IMAGES), key=_order)
    times = next((path / name for name in ("times.txt", "timestamps.txt") if (path / name).is_file()), None)
    if times is not None:
        stamps = [numbers_of(times, line, 1)[0] for line in read_lines(times)]
        if len(stamps) != len(files):
            raise InputError(f"{times}: {len(stamps)} stamps for {len(files)} images in {folder.name}/")
    elif all("." in f.stem and _STAMP.fullmatch(f.stem) for f in files):
        stamps = [float(f.stem) for f in files]
    else:
        stamps = [number / FRAME_RATE for number in range(len(files))]
    return list(zip(stamps, files, strict=True))


def _order(file: Path) -> tuple[float, str]:
    return (float(file.stem) if _STAMP.fullmatch(file.stem) else -1.0), file.name


def _camera(path: Path, images: dict[str, Path], size: Callable[[], tuple[int, int]]) -> Callable[[], RawCamera] | None:
    calib = path / "calib.txt"
    if not calib.is_file():
        return camera_file(path, size)
    number = next((f.name[-1] for f in images.values() if re.fullmatch(r"image_0?\d", f.name)), "0")
    return lambda: _kitti_camera(calib, number, size())


def _kitti_camera(calib: Path, number: str, size: tuple[int, int]) -> RawCamera:
    """The camera of the line `P<number>: ` of KITTI's calib.txt."""
    for n, line in read_lines(calib):
        name, _, rest = line.partition(":")
        if name.strip() in (f"P{number}", f"P_rect_0{number}"):
            return camera_from_matrix(np.array(numbers_of(calib, (n, rest), 12)).reshape(3, 4)[:, :3], size, calib)
    raise InputError(f"{calib}: no line P{number}: of 12 numbers")


def _size(images: list[tuple[float, Path]], is_depth: bool) -> tuple[int, int]:
    return image_size(images[0][1], is_u16=is_depth)


def _pose(poses: list[RawPose], number: int, source: str) -> RawPose:
    if number >= len(poses):
        raise InputError(f"{source}: there are only {len(poses)} poses")
    return poses[number]


def _by_stamp(
    path: Path,
    trajectory: Path,
    listed: dict[str, list[tuple[float, Path]]],
    camera: Callable[[], RawCamera] | None,
) -> Recording:
    poses = read_tum(trajectory)
    streams = [Stream(kind, kind, "images", len(images)) for kind, images in listed.items()]
    streams.append(Stream(trajectory.name, "pose", "TUM trajectory", len(poses)))
    if camera is not None:
        streams.append(Stream("camera", "camera", "intrinsics", 1))

    def samples(names: frozenset[str]) -> Iterator[Sample]:
        if camera is not None and "camera" in names:
            yield Sample("camera", "camera", 0.0, f"{path}: camera", camera)
        parts = [image_samples(kind, images) for kind, images in listed.items() if kind in names]
        if trajectory.name in names:
            parts.append(pose_samples(trajectory, poses))
        yield from heapq.merge(*parts, key=lambda sample: sample.stamp)

    return Recording(path, "images with a TUM trajectory", tuple(streams), samples, is_listed=True)
