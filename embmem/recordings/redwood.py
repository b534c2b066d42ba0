"""Redwood's layout (Choi et al., CVPR 2015; Open3D's samples): numbered images beside a trajectory.log.

color_00000.jpg and depth_00000.png (16 bit, millimetres) in one folder, or 00000.jpg in color/, image/ or rgb/ and
00000.png in depth/; poses camera to world. The camera is a PrimeSense unless a file of intrinsics lies there.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path

from embmem.errors import InputError
from embmem.recordings.conventions import Conventions
from embmem.recordings.files import FRAME_RATE, Folder, FrameFiles
from embmem.recordings.layout import camera_file, first_folder, numbered, size_of_first
from embmem.recordings.raw import RawCamera, RawPose
from embmem.recordings.recording import Recording
from embmem.recordings.trajectories import read_log

TRAJECTORIES = ("trajectory.log", "odometry.log", "pose.log")  # best first
_PRIMESENSE = (525.0, 525.0, 319.5, 239.5)  # Open3D's PrimeSenseDefault, of 640 x 480


def is_redwood(path: Path) -> bool:
    """Whether numbered depth images lie beside a trajectory log."""
    return path.is_dir() and any((path / name).is_file() for name in TRAJECTORIES)


def open_redwood(path: Path) -> Recording:
    """The recording in a folder of Redwood's layout.

    Raises:
        InputError: if there are no depth images, or the trajectory is cut or has no pose for one of them.
    """
    depth, color = _images(path, "depth", ("depth",)), _images(path, "color", ("color", "image", "rgb"))
    if not depth:
        raise InputError(f"{path}: no depth_NNNNN.png here and no NNNNN.png in depth/")
    log = next(path / name for name in TRAJECTORIES if (path / name).is_file())
    poses = {header[0]: pose for header, pose in read_log(log)}
    # Poses count from 0, images from 0 or 1.
    shift = min(depth) - min(poses, default=0) if min(depth) <= 1 else 0
    frames = []
    for number in sorted(depth):
        files = {"depth": depth[number]} | (
            {"color": color.get(number, path / f"color_{number:05d}.*")} if color else {}
        )
        source = f"{log}: pose {number - shift}"
        pose = partial(_pose, poses.get(number - shift), source)
        frames.append(FrameFiles(number, number / FRAME_RATE, files, pose, source))
    size = partial(size_of_first, depth, is_u16=True)
    camera = camera_file(path, size)
    note = "no intrinsics: those of a PrimeSense are assumed (read.intrinsics says otherwise)"
    return Folder(
        path=path,
        format="RGB-D folder (Redwood)",
        frames=frames,
        camera=camera or (lambda: _primesense(size(), path)),
        conventions=Conventions(depth_invalid=(0.0,)),
        notes=() if camera else (note,),
    ).recording()


def _images(path: Path, prefix: str, folders: tuple[str, ...]) -> dict[int, Path]:
    beside = numbered(path, f"{prefix}_") or numbered(path, f"{prefix}")
    folder = first_folder(path, folders)
    return beside or ({} if folder is None else numbered(folder) or numbered(folder, f"{prefix}_"))


def _pose(pose: RawPose | None, source: str) -> RawPose:
    if pose is None:
        raise InputError(f"{source}: not in the trajectory")
    return pose


def _primesense(size: tuple[int, int], path: Path) -> RawCamera:
    if size != (640, 480):
        raise InputError(
            f"{path}: no intrinsics, and images of {size[0]}x{size[1]} are no PrimeSense's; "
            "give them with read.intrinsics=[fx,fy,cx,cy]"
        )
    return RawCamera(*size, *_PRIMESENSE)
