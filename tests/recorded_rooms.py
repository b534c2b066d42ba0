"""The room of boxes in other people's layouts, written with numpy and OpenCV alone."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
from box_room import CAMERA, walk
from scipy.spatial.transform import Rotation

from embmem.observation import Observation

N = 5


def frames() -> list[Observation]:
    return list(walk(N, pitch=-0.3))


def png(path: Path, depth: np.ndarray | None, units: float) -> None:
    assert depth is not None
    path.parent.mkdir(parents=True, exist_ok=True)
    assert cv2.imwrite(str(path), np.rint(depth * units).astype(np.uint16))


def rgb(path: Path, pixels: np.ndarray | None, size: tuple[int, int] | None = None) -> None:
    assert pixels is not None
    path.parent.mkdir(parents=True, exist_ok=True)
    assert cv2.imwrite(str(path), cv2.resize(pixels, size or pixels.shape[1::-1])[..., ::-1])


def seven(T: np.ndarray) -> list[float]:
    return [*T[:3, 3], *Rotation.from_matrix(T[:3, :3]).as_quat()]


def text(values: object) -> str:
    return " ".join(f"{x!r}" for x in np.asarray(values, float).ravel().tolist())


def K() -> np.ndarray:
    return CAMERA.matrix()


def tum(path: Path) -> None:
    """Colour 4 ms behind depth, poses at 100 Hz that are true at the depth's stamps."""
    lists: dict[str, list[str]] = {"depth": ["# depth"], "rgb": ["# colour"], "pose": ["# stamp tx ty tz qx qy qz qw"]}
    for o in frames():
        png(path / "depth" / f"{o.stamp:.6f}.png", o.depth, 5000.0)
        rgb(path / "rgb" / f"{o.stamp + 0.004:.6f}.png", o.rgb)
        lists["depth"].append(f"{o.stamp:.6f} depth/{o.stamp:.6f}.png")
        lists["rgb"].append(f"{o.stamp + 0.004:.6f} rgb/{o.stamp + 0.004:.6f}.png")
        for ahead in (-0.01, 0.0, 0.01):
            lists["pose"].append(f"{o.stamp + ahead:.6f} {text(seven(o.T_map_camera))}")
    for name, file in (("depth", "depth.txt"), ("rgb", "rgb.txt"), ("pose", "groundtruth.txt")):
        (path / file).write_text("\n".join(lists[name]) + "\n")
    np.savetxt(path / "camera-intrinsics.txt", K())


def scannet(path: Path) -> None:
    for i, o in enumerate(frames()):
        png(path / "depth" / f"{i}.png", o.depth, 1000.0)
        rgb(path / "color" / f"{i}.png", o.rgb, (CAMERA.width * 2, CAMERA.height * 2))
        (path / "pose").mkdir(exist_ok=True)
        np.savetxt(path / "pose" / f"{i}.txt", o.T_map_camera)
    (path / "intrinsic").mkdir()
    for kind, scale in (("depth", 1), ("color", 2)):
        matrix = np.eye(4)
        matrix[:3, :3] = K()
        matrix[:2, :2] *= scale
        matrix[:2, 2] = matrix[:2, 2] * scale + (scale - 1) / 2
        np.savetxt(path / "intrinsic" / f"intrinsic_{kind}.txt", matrix)


def replica(path: Path) -> None:
    lines = []
    for i, o in enumerate(frames()):
        png(path / "results" / f"depth{i:06d}.png", o.depth, 6553.5)
        rgb(path / "results" / f"frame{i:06d}.png", o.rgb)
        lines.append(text(o.T_map_camera))
    (path / "traj.txt").write_text("\n".join(lines))
    names = {"w": CAMERA.width, "h": CAMERA.height, "fx": CAMERA.fx, "fy": CAMERA.fy, "cx": CAMERA.cx, "cy": CAMERA.cy}
    (path / "cam_params.json").write_text(json.dumps({"camera": {**names, "scale": 6553.5}}))


def redwood(path: Path) -> None:
    lines = []
    for i, o in enumerate(frames()):
        png(path / "depth" / f"{i + 1:05d}.png", o.depth, 1000.0)  # counted from 1, the log from 0
        rgb(path / "image" / f"{i + 1:05d}.png", o.rgb)
        lines += [f"{i} {i} {i + 1}", *(text(row) for row in o.T_map_camera)]
    (path / "trajectory.log").write_text("\n".join(lines))
    matrix = K().T.ravel().tolist()
    camera = {"width": CAMERA.width, "height": CAMERA.height, "intrinsic_matrix": matrix}
    (path / "camera_intrinsic.json").write_text(json.dumps(camera))


def kitti(path: Path) -> None:
    lines = []
    for i, o in enumerate(frames()):
        png(path / "depth" / f"{i:06d}.png", o.depth, 1000.0)
        rgb(path / "image_2" / f"{i:06d}.png", o.rgb)
        lines.append(text(o.T_map_camera[:3]))
    (path / "poses.txt").write_text("\n".join(lines))
    (path / "times.txt").write_text("\n".join(f"{o.stamp:e}" for o in frames()))
    p = np.hstack([K(), np.zeros((3, 1))])
    (path / "calib.txt").write_text("".join(f"P{n}: {text(p)}\n" for n in range(4)))


def tum_beside(path: Path) -> None:
    for o in frames():
        png(path / "depth" / f"{o.stamp:.6f}.png", o.depth, 1000.0)
        rgb(path / "rgb" / f"{o.stamp:.6f}.png", o.rgb)
    poses = [f"{o.stamp:.6f} {text(seven(o.T_map_camera))}" for o in frames()]
    (path / "trajectory.txt").write_text("\n".join(poses))
    np.savetxt(path / "intrinsics.txt", K())


LAYOUTS: dict[str, tuple[Callable[[Path], None], str, float]] = {  # how, what it is called, [m] of half a depth unit
    "tum": (tum, "RGB-D folder (TUM)", 0.5 / 5000),
    "scannet": (scannet, "RGB-D folder (ScanNet)", 0.5 / 1000),
    "replica": (replica, "RGB-D folder (Replica)", 0.5 / 6553.5),
    "redwood": (redwood, "RGB-D folder (Redwood)", 0.5 / 1000),
    "kitti": (kitti, "images with a KITTI trajectory", 0.5 / 1000),
    "tum_beside": (tum_beside, "images with a TUM trajectory", 0.5 / 1000),
}


def write(name: str, path: Path) -> Path:
    path.mkdir(parents=True, exist_ok=True)
    LAYOUTS[name][0](path)
    return path
