"""Recordings of a furnished box for the doctor's tests, written with numpy and OpenCV alone."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import cv2
import numpy as np
from scipy.spatial.transform import Rotation

from embmem.doctor.finding import Diagnosis
from embmem.geometry import backproject, camera_pose
from embmem.observation import Intrinsics

CAMERA = Intrinsics.from_fov(96, 72, 70.0)
RATE = 10.0
# Least and greatest corners of the room, seen from inside, and of what stands in it, seen from outside.
ROOM = np.array([[0.0, 0.0, 0.0], [6.0, 5.0, 2.6]])
THINGS = np.array(
    [[[1.0, 0.2, 0], [2.2, 0.9, 0.9]], [[4.6, 3.4, 0], [5.6, 4.6, 1.5]], [[0.2, 3.6, 0], [1.0, 4.8, 2.0]]]
)


def depth_at(T: np.ndarray, camera: Intrinsics = CAMERA) -> np.ndarray:
    """(h, w) z depth [m] by the slab method (Kay & Kajiya, SIGGRAPH 1986)."""
    rays = backproject(np.ones((camera.height, camera.width), np.float32), camera).astype(np.float64)
    d = rays @ T[:3, :3].T
    with np.errstate(divide="ignore", invalid="ignore"):
        near = np.minimum((ROOM[0] - T[:3, 3]) / d, (ROOM[1] - T[:3, 3]) / d)
        far = np.maximum((ROOM[0] - T[:3, 3]) / d, (ROOM[1] - T[:3, 3]) / d)
        depth = np.nanmin(far, axis=-1)
        for low, high in THINGS:
            a, b = (low - T[:3, 3]) / d, (high - T[:3, 3]) / d
            near, far = np.minimum(a, b).max(axis=-1), np.maximum(a, b).min(axis=-1)
            depth = np.where((near < far) & (near > 0), np.minimum(depth, near), depth)
    return depth


def pose_at(t: float) -> np.ndarray:
    """`T_map_camera` after t seconds: a slow look around from a small loop, never quite level."""
    position = np.array([3.0 + 0.9 * np.cos(0.5 * t), 2.3 + 0.7 * np.sin(0.5 * t), 1.3 + 0.15 * np.sin(0.9 * t)])
    return camera_pose(position, 0.45 * t + 0.25 * np.sin(0.8 * t), -0.25 + 0.2 * np.sin(0.6 * t))


@dataclass
class Room:
    """What is written; a test spoils one field of it."""

    n: int = 26
    stamps: np.ndarray = field(default_factory=lambda: np.empty(0))
    depth: list[np.ndarray] = field(default_factory=list)  # uint16 [mm]
    color: list[np.ndarray] = field(default_factory=list)
    T: np.ndarray = field(default_factory=lambda: np.empty((0, 4, 4)))
    K: np.ndarray = field(default_factory=CAMERA.matrix)
    per_metre: float = 1000.0

    def __post_init__(self) -> None:
        self.stamps = np.arange(self.n) / RATE
        self.T = np.array([pose_at(t) for t in self.stamps])
        rng = np.random.default_rng(0)
        for T in self.T:
            z = depth_at(T)
            self.depth.append(np.rint(z * 1000.0 + rng.normal(0, 3.0, z.shape)).astype(np.uint16))
            grey = np.clip(220 - 35 * z + rng.normal(0, 2.0, z.shape), 0, 255).astype(np.uint8)
            self.color.append(np.repeat(grey[..., None], 3, axis=2))


def write_folder(room: Room, path: Path) -> Path:
    """7-Scenes' layout."""
    path.mkdir()
    np.savetxt(path / "camera-intrinsics.txt", room.K)
    (path / "timestamps.txt").write_text("".join(f"{s!r}\n" for s in room.stamps.tolist()))
    for n in range(len(room.depth)):
        cv2.imwrite(str(path / f"frame-{n:06d}.depth.png"), room.depth[n])
        cv2.imwrite(str(path / f"frame-{n:06d}.color.png"), room.color[n])
        np.savetxt(path / f"frame-{n:06d}.pose.txt", room.T[n])
    return path


def write_tum(room: Room, path: Path, *, order: str = "xyzw", late: float = 0.0) -> Path:
    """TUM's layout with poses at 20 Hz; the stamps of images are `late` seconds behind the truth."""
    (path / "depth").mkdir(parents=True)
    np.savetxt(path / "camera-intrinsics.txt", room.K)
    lines = []
    for n, stamp in enumerate(room.stamps.tolist()):
        cv2.imwrite(str(path / "depth" / f"{n}.png"), room.depth[n] * 5)
        lines.append(f"{stamp + late:.6f} depth/{n}.png")
    (path / "depth.txt").write_text("\n".join(lines))
    poses = []
    for t in np.arange(-0.6, room.n / RATE + 0.6, 0.05):
        T = pose_at(t)
        quat = Rotation.from_matrix(T[:3, :3]).as_quat()
        quat = quat if order == "xyzw" else quat[[3, 0, 1, 2]]
        poses.append(" ".join(f"{x:.9f}" for x in (t, *T[:3, 3], *quat)))
    (path / "groundtruth.txt").write_text("\n".join(poses))
    return path


def serious(diagnosis: Diagnosis) -> dict[str, dict[str, object]]:
    """Kinds of errors and warnings, with the settings that mend them."""
    return {f.kind: dict(f.fix) for f in diagnosis.findings if f.severity != "note"}


def spoilt(change: Callable[[Room], None]) -> Room:
    """The room after something was done to it."""
    room = Room()
    change(room)
    return room
