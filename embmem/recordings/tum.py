"""TUM RGB-D (Sturm et al., IROS 2012): depth.txt, rgb.txt and groundtruth.txt, each with its own stamps.

Depth is 16 bit at 5000 a metre, 0 is invalid. Colour goes with the depth nearest in time; poses are interpolated. Depth
is registered to colour by the driver's intrinsics, which the authors recommend for all their cameras.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterator
from functools import partial
from pathlib import Path

from embmem.errors import InputError
from embmem.recordings.conventions import Conventions
from embmem.recordings.files import image_samples
from embmem.recordings.layout import camera_file, size_of_first
from embmem.recordings.raw import RawCamera, RawPose, Sample
from embmem.recordings.recording import Recording, Stream
from embmem.recordings.trajectories import numbers_of, pose_samples, read_lines, read_tum

UNIT = 1.0 / 5000.0  # [m]
_INTRINSICS = (525.0, 525.0, 319.5, 239.5)  # ROS's default, of 640 x 480
_POSES = ("groundtruth.txt", "trajectory.txt", "poses.txt", "CameraTrajectory.txt", "KeyFrameTrajectory.txt")


def is_tum(path: Path) -> bool:
    """Whether a list of depth images lies in the folder."""
    return (path / "depth.txt").is_file() or (path / "associations.txt").is_file()


def open_tum(path: Path) -> Recording:
    """The recording in a folder of TUM RGB-D, with lists of its own for depth and colour or with associations.txt.

    Raises:
        InputError: if a list is missing, or a line of it is none.
    """
    depth, color = _lists(path)
    if not depth:
        raise InputError(f"{path}: no depth image is listed")
    file = next((path / name for name in _POSES if (path / name).is_file()), None)
    poses = [] if file is None else read_tum(file)
    camera = camera_file(path, lambda: _size(depth))
    streams = [Stream("depth", "depth", "PNG", len(depth)), Stream("camera", "camera", "intrinsics", 1)]
    streams += [Stream("color", "color", "PNG", len(color))] if color else []
    streams += [Stream(file.name, "pose", "TUM trajectory", len(poses))] if file is not None else []
    return Recording(
        path=path,
        format="RGB-D folder (TUM)",
        streams=tuple(streams),
        samples_of=partial(_samples, path, depth, color, (file, poses), camera or partial(_driver, depth, path)),
        conventions=Conventions(depth_unit=UNIT, depth_invalid=(0.0,)),
        is_listed=True,
        notes=() if camera else ("the driver's intrinsics of TUM RGB-D (read.intrinsics says otherwise)",),
    )


def _lists(path: Path) -> tuple[list[tuple[float, Path]], list[tuple[float, Path]]]:
    """(stamp [s], file) of depth and of colour."""
    if (path / "depth.txt").is_file():
        return _list(path / "depth.txt"), _list(path / "rgb.txt") if (path / "rgb.txt").is_file() else []
    file = path / "associations.txt"
    depth: list[tuple[float, Path]] = []
    color: list[tuple[float, Path]] = []
    for line in read_lines(file):
        words = line[1].split()
        if len(words) < 4:
            raise InputError(f"{file}: line {line[0]}: expected stamp, file, stamp, file, got {line[1]!r}")
        for at in (0, 2):
            pair = numbers_of(file, (line[0], words[at]), 1)[0], _inside(path, words[at + 1], file)
            (depth if "depth" in words[at + 1] else color).append(pair)
    return depth, color


def _list(file: Path) -> list[tuple[float, Path]]:
    found = []
    for line in read_lines(file):
        words = line[1].split()
        if len(words) != 2:
            raise InputError(f"{file}: line {line[0]}: expected a stamp and a file, got {line[1]!r}")
        found.append((numbers_of(file, (line[0], words[0]), 1)[0], _inside(file.parent, words[1], file)))
    return found


def _inside(folder: Path, name: str, source: Path) -> Path:
    """A file that a list names, which must lie in the folder of the list."""
    if Path(name).is_absolute() or ".." in Path(name).parts or "\0" in name:
        raise InputError(f"{source} names {name!r}, which is outside of its folder or no file at all")
    return folder / name


def _samples(
    path: Path,
    depth: list[tuple[float, Path]],
    color: list[tuple[float, Path]],
    poses: tuple[Path | None, list[tuple[float, RawPose]]],
    camera: object,
    names: frozenset[str],
) -> Iterator[Sample]:
    if "camera" in names and callable(camera):
        yield Sample("camera", "camera", depth[0][0], f"{path}: camera", camera)
    lists = [(kind, images) for kind, images in (("color", color), ("depth", depth)) if kind in names]
    streams = [image_samples(kind, images) for kind, images in lists]
    file, listed = poses
    if file is not None and file.name in names:
        streams.append(pose_samples(file, listed))
    yield from heapq.merge(*streams, key=lambda sample: sample.stamp)


def _size(depth: list[tuple[float, Path]]) -> tuple[int, int]:
    return size_of_first({number: file for number, (_, file) in enumerate(depth)}, is_u16=True)


def _driver(depth: list[tuple[float, Path]], path: Path) -> RawCamera:
    size = _size(depth)
    if size != (640, 480):
        raise InputError(
            f"{path}: no intrinsics, and images of {size[0]}x{size[1]} are not TUM's; "
            "give them with read.intrinsics=[fx,fy,cx,cy]"
        )
    return RawCamera(*size, *_INTRINSICS)
