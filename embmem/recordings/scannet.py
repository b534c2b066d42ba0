"""ScanNet as its SensReader exports it (Dai et al., CVPR 2017): color/N.jpg, depth/N.png, pose/N.txt, intrinsic/*.txt.

Depth is 16 bit in millimetres, 0 is invalid; a pose of -inf is a frame that was lost; colour has a camera of its own.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path

from embmem.errors import InputError
from embmem.recordings.conventions import Conventions
from embmem.recordings.files import FRAME_RATE, Folder, FrameFiles
from embmem.recordings.layout import camera_from_matrix, numbered, read_matrix, size_of_first
from embmem.recordings.raw import RawCamera
from embmem.recordings.recording import Recording
from embmem.recordings.rgbd_files import read_pose


def is_scannet(path: Path) -> bool:
    """Whether the folder has ScanNet's three folders."""
    return all((path / name).is_dir() for name in ("depth", "pose", "intrinsic"))


def open_scannet(path: Path) -> Recording:
    """The recording in an exported scene of ScanNet.

    Raises:
        InputError: if it holds no depth image.
    """
    depth, color = numbered(path / "depth"), numbered(path / "color")
    if not depth:
        raise InputError(f"{path}: no N.png in depth/")
    frames = []
    for number in sorted(depth):
        files = {"depth": depth[number]} | ({"color": color.get(number, path / f"color/{number}.jpg")} if color else {})
        pose = path / "pose" / f"{number}.txt"
        frames.append(FrameFiles(number, number / FRAME_RATE, files, partial(read_pose, pose), str(pose)))
    return Folder(
        path=path,
        format="RGB-D folder (ScanNet)",
        frames=frames,
        camera=_camera(path, "depth", partial(size_of_first, depth, is_u16=True)),
        color_camera=_camera(path, "color", partial(size_of_first, color, is_u16=False)) if color else None,
        conventions=Conventions(depth_invalid=(0.0,)),
    ).recording()


def _camera(path: Path, kind: str, size: Callable[[], tuple[int, int]]) -> Callable[[], RawCamera]:
    file = path / "intrinsic" / f"intrinsic_{kind}.txt"
    return lambda: camera_from_matrix(read_matrix(file), size(), file)
