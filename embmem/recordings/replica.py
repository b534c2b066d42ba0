"""Replica as NICE-SLAM renders it (Zhu et al., CVPR 2022): results/frameN.jpg, results/depthN.png, traj.txt.

cam_params.json lies in the folder or above it and holds the camera and `scale`, the depth units a metre. Beside
results/ may lie semantic_class/semantic_class_N.png and semantic_instance/semantic_instance_N.png (Zhi et al., ICCV
2021) with the names of the classes in info_semantic.json.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path

from embmem.errors import InputError
from embmem.recordings.conventions import Conventions
from embmem.recordings.files import FRAME_RATE, Folder, FrameFiles
from embmem.recordings.layout import number_in, numbered, read_json
from embmem.recordings.raw import RawCamera, RawPose
from embmem.recordings.recording import Recording
from embmem.recordings.trajectories import read_matrices

_MAX_ID = 1 << 16  # of 16-bit images
_UNITS = 6553.5  # a metre, where cam_params.json does not say


def is_replica(path: Path) -> bool:
    """Whether rendered frames lie beside traj.txt."""
    return (path / "traj.txt").is_file() and (path / "results").is_dir()


def open_replica(path: Path) -> Recording:
    """The recording of a rendered scene.

    Raises:
        InputError: if it holds no depth image, or not one pose a frame.
    """
    depth, color = numbered(path / "results", "depth"), numbered(path / "results", "frame")
    if not depth:
        raise InputError(f"{path}: no depthNNNNNN.png in results/")
    poses = read_matrices(path / "traj.txt")
    names = path / "info_semantic.json"
    semantic = numbered(path / "semantic_class", "semantic_class_") if names.is_file() else {}
    instance = numbered(path / "semantic_instance", "semantic_instance_")
    frames = []
    for number in sorted(depth):
        files = {"depth": depth[number]}
        if color:
            files["color"] = color.get(number, path / "results" / f"frame{number:06d}.jpg")
        files |= {kind: ids[number] for kind, ids in (("semantic", semantic), ("instance", instance)) if number in ids}
        source = f"{path / 'traj.txt'}: pose {number}"
        frames.append(FrameFiles(number, number / FRAME_RATE, files, partial(_pose, poses, number, source), source))
    parameters = next((p for p in (path / "cam_params.json", path.parent / "cam_params.json") if p.is_file()), None)
    scale = _UNITS
    if parameters is not None and "scale" in (camera := _camera_values(parameters)):
        scale = number_in(camera, "scale", parameters)
        if scale <= 0:
            raise InputError(f"{parameters}: scale must be > 0, got {scale}")
    return Folder(
        path=path,
        format="RGB-D folder (Replica)",
        frames=frames,
        camera=None if parameters is None else partial(_camera, parameters),
        conventions=Conventions(depth_unit=1.0 / scale, depth_invalid=(0.0,)),
        labels=_classes(names) if semantic else (),
        notes=() if parameters else ("cam_params.json is missing, here and in the folder above",),
    ).recording()


def _pose(poses: list[RawPose], number: int, source: str) -> RawPose:
    if number >= len(poses):
        raise InputError(f"{source}: there are only {len(poses)}")
    return poses[number]


def _classes(path: Path) -> tuple[str, ...]:
    """Names of the classes, their ids the places; empty where an id has none."""
    rows = read_json(path).get("classes")
    names = {0: "unlabelled"}
    for row in rows if isinstance(rows, list) else [None]:
        number, name = (row.get("id"), row.get("name")) if isinstance(row, dict) else (None, None)
        if type(number) is not int or not 0 <= number < _MAX_ID or not isinstance(name, str):
            raise InputError(f"{path}: classes must be a list of ids below {_MAX_ID} with names, got {row!r:.80}")
        names[number] = name
    return tuple(names.get(i, "") for i in range(max(names) + 1))


def _camera_values(path: Path) -> dict[str, object]:
    values = read_json(path).get("camera")
    if not isinstance(values, dict):
        raise InputError(f"{path}: camera must be an object in braces, got {values!r}")
    return values


def _camera(path: Path) -> RawCamera:
    values = _camera_values(path)
    w, h, fx, fy, cx, cy = (number_in(values, name, path) for name in ("w", "h", "fx", "fy", "cx", "cy"))
    return RawCamera(int(w), int(h), fx, fy, cx, cy)
