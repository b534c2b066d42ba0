"""Clean recordings in RAM, and the ways in which they are written down: folder, TUM's layout, ROS 2 bag."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from scipy.spatial.transform import Rotation

from embmem.recordings.interpret import AXES
from embmem.recordings.opening import read_recording


@dataclass
class Take:
    """A recording as it will be written; faults change its fields."""

    stamps: np.ndarray  # (n,) [s] of images
    depth: list[np.ndarray]  # (h, w) uint16, or float32 in a bag
    color: list[np.ndarray]  # (h, w, 3) uint8
    K: np.ndarray  # fx fy cx cy
    pose_stamps: np.ndarray  # (m,) [s]; those of the images in a folder
    positions: np.ndarray  # (m, 3)
    quats: np.ndarray  # (m, 4) x y z w, or whatever a fault makes of them
    size: tuple[int, int]  # that the intrinsics claim
    unit: float = 0.001  # [m] of depth as it is written
    received: np.ndarray | None = None  # (n,) [s] of images, in a bag
    pose_received: np.ndarray | None = None
    order: np.ndarray | None = None  # in which images are written, in a bag
    rotation_scale: float = 1.0  # of matrices, in a folder
    damage: Callable[[Path], None] | None = None  # done to what was written
    without: set[str] = field(default_factory=set)  # camera, poses, static
    odd: str = ""  # a topic of the wrong type, or an empty one

    def matrices(self) -> np.ndarray:
        """(m, 4, 4) of the poses."""
        T = np.tile(np.eye(4), (len(self.positions), 1, 1))
        T[:, :3, :3] = Rotation.from_quat(self.quats).as_matrix()
        T[:, :3, 3] = self.positions
        return T

    def set_matrices(self, T: np.ndarray) -> None:
        """Replace the poses."""
        self.quats, self.positions = Rotation.from_matrix(T[:, :3, :3]).as_quat(), T[:, :3, 3].copy()


def load(path: Path | str, *, first: int = 0, n: int = 120, every: int = 1, thin: int = 1) -> Take:
    """A clean stretch of a recording: `n` frames from `first` on, each `every`-th, images thinned out.

    Some images of 7-Scenes repeat the one before bit for bit; they are left out, and the stamps are made even again.
    """
    reading = read_recording(path, frame="identity")
    stamps: list[float] = []
    depth, color, poses = [], [], []
    last = b""
    for number, observation in enumerate(reading):
        if number < first or (number - first) % every or len(stamps) == n:
            continue
        rgb, metres = np.asarray(observation.rgb), np.asarray(observation.depth)
        if rgb.tobytes() == last:
            continue
        last = rgb.tobytes()
        raw = np.nan_to_num(np.rint(metres[::thin, ::thin] * 1000.0)).astype(np.uint16)
        depth.append(raw)
        color.append(np.ascontiguousarray(rgb[::thin, ::thin]))
        stamps.append(observation.stamp)
        poses.append(observation.T_map_camera)
        k = observation.intrinsics
    K = np.array([k.fx, k.fy, k.cx, k.cy]) / thin
    at = 1_700_000_000.0 + np.arange(len(stamps)) * float(np.median(np.diff(stamps)))
    take = Take(at, depth, color, K, at.copy(), np.empty((len(at), 3)), np.empty((len(at), 4)), depth[0].shape[::-1])
    take.set_matrices(np.array(poses))
    return take


def write_folder(take: Take, path: Path) -> Path:
    """7-Scenes' layout: a pose a frame."""
    path.mkdir(parents=True)
    fx, fy, cx, cy = take.K
    np.savetxt(path / "camera-intrinsics.txt", [[fx, 0, cx], [0, fy, cy], [0, 0, 1]])
    (path / "timestamps.txt").write_text("".join(f"{s!r}\n" for s in take.stamps.tolist()))
    is_matrix = bool(np.isfinite(take.quats).all() and np.allclose(np.linalg.norm(take.quats, axis=1), 1, atol=1e-6))
    T = take.matrices() if is_matrix else None
    for n, (depth, color) in enumerate(zip(take.depth, take.color, strict=True)):
        stem = path / f"frame-{n:06d}"
        cv2.imwrite(f"{stem}.depth.png", depth, [cv2.IMWRITE_PNG_COMPRESSION, 1])
        cv2.imwrite(f"{stem}.color.jpg", color[..., ::-1])
        if "poses" not in take.without:
            pose = np.r_[take.positions[n], take.quats[n]][None] if T is None else T[n].copy()
            if T is not None:
                pose[:3, :3] *= take.rotation_scale
            np.savetxt(f"{stem}.pose.txt", pose)
    return path


def write_tum(take: Take, path: Path) -> Path:
    """TUM's layout: lists by stamp, poses at their own."""
    (path / "depth").mkdir(parents=True)
    (path / "rgb").mkdir()
    fx, fy, cx, cy = take.K
    np.savetxt(path / "camera-intrinsics.txt", [[fx, 0, cx], [0, fy, cy], [0, 0, 1]])
    lists: dict[str, list[str]] = {"depth": [], "rgb": []}
    for n, stamp in enumerate(take.stamps.tolist()):
        scaled = np.rint(take.depth[n] * (5.0 * take.unit / 0.001)) if take.unit != 0.0002 else take.depth[n]
        raw = np.where(scaled < 65535, scaled, 0).astype(np.uint16)
        cv2.imwrite(str(path / "depth" / f"{n:05d}.png"), raw, [cv2.IMWRITE_PNG_COMPRESSION, 1])
        cv2.imwrite(str(path / "rgb" / f"{n:05d}.jpg"), take.color[n][..., ::-1])
        lists["depth"].append(f"{stamp:.6f} depth/{n:05d}.png")
        lists["rgb"].append(f"{stamp:.6f} rgb/{n:05d}.jpg")
    for name, lines in lists.items():
        (path / f"{name}.txt").write_text("\n".join(lines) + "\n")
    if "poses" not in take.without:
        rows = np.column_stack([take.pose_stamps, take.positions, take.quats])
        lines = [f"{row[0]:.6f} " + " ".join(f"{x:.9g}" for x in row[1:]) for row in rows.tolist()]
        (path / "groundtruth.txt").write_text("\n".join(lines) + "\n")
    return path


def write_bag(take: Take, path: Path) -> Path:
    """A ROS 2 bag (MCAP) with plain images, camera_info, TF of an optical camera in a link."""
    return _Bag(take).write(path)


class _Bag:
    """Messages of a take by the classes of rosbags."""

    def __init__(self, take: Take) -> None:
        from rosbags.typesys import Stores, get_typestore

        self.take = take
        self.store = get_typestore(Stores.LATEST)
        self.types = self.store.types
        self.events: list[tuple[float, int, str, Any]] = []  # received [s], order of ties, topic, message

    def write(self, path: Path) -> Path:
        from rosbags.rosbag2 import StoragePlugin, Writer

        self._poses()
        received = self.take.stamps + 0.01 if self.take.received is None else self.take.received
        order = np.arange(len(self.take.stamps)) if self.take.order is None else self.take.order
        for place, n in enumerate(order.tolist()):
            self._frame(n, float(received[place]))
        if self.take.odd == "wrong_type":
            said = self.types["std_msgs/msg/String"](data="fx fy cx cy")
            self.events += [(float(r), 5, "/front/camera_info", said) for r in received]
        with Writer(path, version=9, storage_plugin=StoragePlugin.MCAP) as writer:
            connections = {}
            if self.take.odd == "empty":
                writer.add_connection("/front/depth/image_raw", "sensor_msgs/msg/Image", typestore=self.store)
            for at, _, topic, message in sorted(self.events, key=lambda e: (e[0], e[1])):
                if topic not in connections:
                    connections[topic] = writer.add_connection(topic, message.__msgtype__, typestore=self.store)
                data = self.store.serialize_cdr(message, message.__msgtype__)
                writer.write(connections[topic], round(at * 1e9), data)
        return path

    def _header(self, stamp: float, frame: str) -> Any:
        nanoseconds = round(stamp * 1e9)
        time = self.types["builtin_interfaces/msg/Time"](sec=nanoseconds // 10**9, nanosec=nanoseconds % 10**9)
        return self.types["std_msgs/msg/Header"](stamp=time, frame_id=frame)

    def _transform(self, parent: str, child: str, xyz: np.ndarray, quat: np.ndarray, stamp: float) -> Any:
        t = self.types
        one = t["geometry_msgs/msg/TransformStamped"](
            header=self._header(stamp, parent),
            child_frame_id=child,
            transform=t["geometry_msgs/msg/Transform"](
                translation=t["geometry_msgs/msg/Vector3"](*xyz), rotation=t["geometry_msgs/msg/Quaternion"](*quat)
            ),
        )
        return t["tf2_msgs/msg/TFMessage"](transforms=[one])

    def _poses(self) -> None:
        """TF of the link, or of the optical camera itself where the numbers are to be written as they are."""
        take = self.take
        is_plain = "plain" in take.without or not np.isfinite(take.quats).all()
        received = take.pose_stamps + 0.01 if take.pose_received is None else take.pose_received
        if "static" not in take.without:
            quat = Rotation.from_matrix(np.eye(3) if is_plain else AXES["body"][:3, :3]).as_quat()
            static = self._transform("camera_link", "camera_optical", np.zeros(3), quat, float(take.pose_stamps[0]))
            self.events.append((float(received[0]) - 0.01, 0, "/tf_static", static))
        if "poses" in take.without:
            return
        positions, quats = take.positions, take.quats
        if not is_plain:
            T = take.matrices() @ np.linalg.inv(AXES["body"])
            norm = np.linalg.norm(take.quats, axis=1, keepdims=True)
            positions, quats = T[:, :3, 3], Rotation.from_matrix(T[:, :3, :3]).as_quat() * norm
        for n, stamp in enumerate(take.pose_stamps.tolist()):
            moved = self._transform("map", "camera_link", positions[n], quats[n], stamp)
            self.events.append((float(received[n]), 1, "/tf", moved))

    def _frame(self, n: int, received: float) -> None:
        take, t = self.take, self.types
        header = self._header(float(take.stamps[n]), "camera_optical")
        if "camera" not in take.without:
            fx, fy, cx, cy = take.K
            roi = t["sensor_msgs/msg/RegionOfInterest"](0, 0, 0, 0, False)
            info = t["sensor_msgs/msg/CameraInfo"](
                header=header, width=take.size[0], height=take.size[1], distortion_model="plumb_bob", d=np.zeros(5),
                k=np.array([fx, 0, cx, 0, fy, cy, 0, 0, 1.0]), r=np.eye(3).ravel(),
                p=np.array([fx, 0, cx, 0, 0, fy, cy, 0, 0, 0, 1.0, 0]), binning_x=0, binning_y=0, roi=roi,
            )  # fmt: skip
            self.events.append((received, 2, "/camera/depth/camera_info", info))
        depth = np.ascontiguousarray(take.depth[n])
        encoding = "32FC1" if depth.dtype == np.float32 else "16UC1"
        image = t["sensor_msgs/msg/Image"](
            header=header, height=depth.shape[0], width=depth.shape[1], encoding=encoding, is_bigendian=0,
            step=depth.strides[0], data=depth.view(np.uint8).ravel(),
        )  # fmt: skip
        self.events.append((received, 3, "/camera/depth/image_raw", image))
        jpeg = cv2.imencode(".jpg", take.color[n][..., ::-1])[1].ravel()
        form = "rgb8; jpeg compressed bgr8"
        compressed = t["sensor_msgs/msg/CompressedImage"](header=header, format=form, data=jpeg)
        self.events.append((received, 4, "/camera/color/image_raw/compressed", compressed))


WRITERS: dict[str, Callable[[Take, Path], Path]] = {"folder": write_folder, "tum": write_tum, "bag": write_bag}


def png_cut(path: Path, share: float) -> None:
    """Cut a file."""
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * share)])
