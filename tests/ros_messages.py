"""Messages and small bags for tests, by the classes of rosbags."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from embmem.ros.vision import DEFINITIONS

NS = 1_000_000_000


def store() -> Any:
    from rosbags.typesys import Stores, get_types_from_msg, get_typestore

    types = get_typestore(Stores.LATEST)
    for name, text in DEFINITIONS.items():
        types.register(get_types_from_msg(text, name))
    return types


class Messages:
    """Makes messages by the names of their types, headers filled in."""

    def __init__(self) -> None:
        self.store = store()

    def of(self, msgtype: str, **fields: Any) -> Any:
        return self.store.types[msgtype](**fields)

    def header(self, stamp_ns: int, frame_id: str) -> Any:
        sec, nanosec = divmod(stamp_ns, NS)
        return self.of("std_msgs/msg/Header", stamp=self.of("builtin_interfaces/msg/Time", sec=sec, nanosec=nanosec),
                       frame_id=frame_id)  # fmt: skip

    def image(
        self, pixels: np.ndarray, encoding: str, stamp_ns: int = 0, frame_id: str = "optical", **more: Any
    ) -> Any:
        fields = {
            "height": pixels.shape[0],
            "width": pixels.shape[1],
            "is_bigendian": 0,
            "step": pixels.strides[0],
            "data": np.frombuffer(pixels.tobytes(), np.uint8),
        }
        header = self.header(stamp_ns, frame_id)
        return self.of("sensor_msgs/msg/Image", header=header, encoding=encoding, **{**fields, **more})

    def compressed(self, data: bytes, form: str, stamp_ns: int = 0, frame_id: str = "optical") -> Any:
        pixels = np.frombuffer(data, np.uint8)
        return self.of(
            "sensor_msgs/msg/CompressedImage", header=self.header(stamp_ns, frame_id), format=form, data=pixels
        )

    def vector(self, x: float, y: float, z: float) -> Any:
        return self.of("geometry_msgs/msg/Vector3", x=float(x), y=float(y), z=float(z))

    def quaternion(self, x: float, y: float, z: float, w: float) -> Any:
        return self.of("geometry_msgs/msg/Quaternion", x=float(x), y=float(y), z=float(z), w=float(w))

    def transform(self, parent: str, child: str, position: Any, quat: Any, stamp_ns: int = 0) -> Any:
        inside = self.of(
            "geometry_msgs/msg/Transform", translation=self.vector(*position), rotation=self.quaternion(*quat)
        )
        return self.of("geometry_msgs/msg/TransformStamped", header=self.header(stamp_ns, parent), child_frame_id=child,
                       transform=inside)  # fmt: skip

    def tf(self, *transforms: Any) -> Any:
        return self.of("tf2_msgs/msg/TFMessage", transforms=list(transforms))

    def pose(self, parent: str, position: Any, quat: Any, stamp_ns: int = 0) -> Any:
        return self.of(
            "geometry_msgs/msg/PoseStamped", header=self.header(stamp_ns, parent), pose=self._pose(position, quat)
        )

    def odometry(self, parent: str, child: str, position: Any, quat: Any, stamp_ns: int = 0) -> Any:
        zero = self.vector(0, 0, 0)
        twist = self.of("geometry_msgs/msg/Twist", linear=zero, angular=zero)
        return self.of(
            "nav_msgs/msg/Odometry", header=self.header(stamp_ns, parent), child_frame_id=child,
            pose=self._with_covariance("Pose", pose=self._pose(position, quat)),
            twist=self._with_covariance("Twist", twist=twist),
        )  # fmt: skip

    def _with_covariance(self, name: str, **inside: Any) -> Any:
        return self.of(f"geometry_msgs/msg/{name}WithCovariance", covariance=np.zeros(36), **inside)

    def _pose(self, position: Any, quat: Any) -> Any:
        point = self.of("geometry_msgs/msg/Point", **dict(zip("xyz", map(float, position), strict=True)))
        return self.of("geometry_msgs/msg/Pose", position=point, orientation=self.quaternion(*quat))

    def camera_info(self, width: int, height: int, focal: float, stamp_ns: int = 0, **more: Any) -> Any:
        k = np.array([focal, 0, (width - 1) / 2, 0, focal, (height - 1) / 2, 0, 0, 1.0])
        roi = self.of("sensor_msgs/msg/RegionOfInterest", x_offset=0, y_offset=0, height=0, width=0, do_rectify=False)
        fields: dict[str, Any] = {
            "distortion_model": "plumb_bob", "d": np.zeros(5), "k": k, "r": np.eye(3).ravel(),
            "p": np.hstack([k.reshape(3, 3), np.zeros((3, 1))]).ravel(), "binning_x": 0, "binning_y": 0, "roi": roi,
        }  # fmt: skip
        header = self.header(stamp_ns, "optical")
        return self.of("sensor_msgs/msg/CameraInfo", header=header, height=height, width=width, **{**fields, **more})

    def cloud(self, points: np.ndarray, stamp_ns: int = 0, frame_id: str = "lidar", **more: Any) -> Any:
        """Of a structured array; `more` overrules fields of the message."""
        kinds = {"f4": 7, "f8": 8, "u1": 2, "u2": 4, "u4": 6, "i4": 5}
        assert points.dtype.fields is not None
        fields = [
            self.of("sensor_msgs/msg/PointField", name=n, offset=int(at), datatype=kinds[dtype.str[1:]], count=1)
            for n, (dtype, at, *_) in points.dtype.fields.items()
        ]
        step = points.dtype.itemsize
        values: dict[str, Any] = {
            "height": 1, "width": len(points), "fields": fields, "is_bigendian": False, "point_step": step,
            "row_step": step * len(points), "data": np.frombuffer(points.tobytes(), np.uint8), "is_dense": False,
        }  # fmt: skip
        header = self.header(stamp_ns, frame_id)
        return self.of("sensor_msgs/msg/PointCloud2", header=header, **{**values, **more})


def write_bag(path: Path, topics: list[tuple[str, int, Any]], *, storage: str = "MCAP") -> None:
    """A bag folder of (topic, time of receipt [ns], message)."""
    from rosbags.rosbag2 import StoragePlugin, Writer

    types, connections = store(), {}
    with Writer(path, version=9, storage_plugin=StoragePlugin[storage]) as writer:
        for topic, received, message in topics:
            if topic not in connections:
                connections[topic] = writer.add_connection(topic, message.__msgtype__, typestore=types)
            writer.write(connections[topic], received, types.serialize_cdr(message, message.__msgtype__))
