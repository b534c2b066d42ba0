"""A folder of posed RGB-D frames, the layout of 7-Scenes (Shotton et al., CVPR 2013) and 3DMatch (Zeng et al., 2017).

camera-intrinsics.txt      3x3 K
frame-NNNNNN.pose.txt      4x4 camera-to-world, or seven numbers x y z qx qy qz qw
frame-NNNNNN.depth.png     16 bit [mm], 0 and 65535 invalid
frame-NNNNNN.color.jpg|png optional, like the next two: every frame or none
frame-NNNNNN.semantic.png  16 bit category ids, lines of labels.txt
frame-NNNNNN.instance.png  16 bit segment ids
timestamps.txt             optional, one stamp [s] a frame; otherwise N / 30 s
T_map_world.txt            optional 4x4 from the poses' world to a z-up map
"""

from __future__ import annotations

from functools import partial
from pathlib import Path

from embmem.recordings.files import Folder, FrameFiles
from embmem.recordings.raw import RawPose, Sample
from embmem.recordings.recording import Recording
from embmem.recordings.rgbd_files import (
    frame_files,
    is_frame_folder,
    read_intrinsics,
    read_labels,
    read_pose,
    read_stamps,
)

KINDS = ("depth", "color", "semantic", "instance")


def is_rgbd_folder(path: Path) -> bool:
    """Whether the folder holds frame-NNNNNN files."""
    return path.is_dir() and is_frame_folder(path)


def open_rgbd_folder(path: Path) -> Recording:
    """The recording in a folder of frame-NNNNNN files.

    Raises:
        InputError: if the folder is missing, or its time stamps or labels are.
    """
    files = frame_files(path)
    stamps = read_stamps(path / "timestamps.txt", sorted(files))
    present = {kind for found in files.values() for kind in found}
    kinds = [kind for kind in KINDS if kind in present or kind == "depth"]
    frames = []
    for number in sorted(files):
        stem = f"frame-{number:06d}"
        found = {kind: files[number].get(kind, path / f"{stem}.{kind}.*") for kind in kinds}
        pose = files[number].get("pose", path / f"{stem}.pose.txt")
        read = partial(_pose, pose) if "pose" in present else None  # none at all is no fault: odometry may find them
        frames.append(FrameFiles(number, stamps[number], found, read, str(pose)))
    given = path / "T_map_world.txt"
    return Folder(
        path=path,
        format="RGB-D folder (7-Scenes, 3DMatch)",
        frames=frames,
        camera=partial(read_intrinsics, path, files),
        labels=read_labels(path / "labels.txt") if "semantic" in present else (),
        T_map_world=Sample("world", "pose", 0.0, str(given), partial(_pose, given)) if given.is_file() else None,
    ).recording()


def _pose(file: Path) -> RawPose:
    return read_pose(file)
