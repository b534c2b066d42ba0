"""ROS messages as arrays and back: duck-typed, so that rclpy's, rosbags' and anybody's classes will do."""

from __future__ import annotations

from typing import Any

import numpy as np

from embmem.errors import InputError
from embmem.recordings.raw import RawCamera, RawCloud, RawImu, RawPose, RawTransforms

NANOSECONDS = 1_000_000_000
MAX_POINTS = 1 << 26
# sensor_msgs/PointField: datatype -> numpy
_POINT_TYPES = {1: "i1", 2: "u1", 3: "i2", 4: "u2", 5: "i4", 6: "u4", 7: "f4", 8: "f8"}


def stamp_ns(stamp: Any) -> int:
    """[ns] of a builtin_interfaces/Time; a whole number, as a float64 is too coarse by a quarter of a microsecond."""
    return int(stamp.sec) * NANOSECONDS + int(stamp.nanosec)


def seconds(nanoseconds: int) -> float:
    """[s], the float nearest to it."""
    return nanoseconds / NANOSECONDS


def camera_of(message: Any) -> RawCamera:
    """The intrinsics of a sensor_msgs/CameraInfo; those of the rectified image are in P.

    Raises:
        InputError: if K or P are no matrices.
    """
    k, p = np.asarray(message.k, dtype=np.float64), np.asarray(message.p, dtype=np.float64)
    if k.shape != (9,) or p.shape != (12,):
        raise InputError(f"camera info with K of shape {k.shape} and P of shape {p.shape}")
    rectified = (float(p[0]), float(p[5]), float(p[2]), float(p[6])) if p[0] != 0 else None
    return RawCamera(
        width=int(message.width), height=int(message.height),
        fx=float(k[0]), fy=float(k[4]), cx=float(k[2]), cy=float(k[5]),
        model=str(message.distortion_model), distortion=tuple(map(float, message.d)), rectified=rectified,
    )  # fmt: skip


def vector_of(message: Any) -> np.ndarray:
    """(3,) of a geometry_msgs Vector3 or Point."""
    return np.array([message.x, message.y, message.z], dtype=np.float64)


def quaternion_of(message: Any) -> np.ndarray:
    """(4,) x y z w of a geometry_msgs Quaternion, as its fields are named."""
    return np.array([message.x, message.y, message.z, message.w], dtype=np.float64)


def pose_of(message: Any) -> RawPose:
    """The pose of an Odometry, a PoseStamped, a PoseWithCovarianceStamped or a TransformStamped."""
    parent, child = str(message.header.frame_id), str(getattr(message, "child_frame_id", ""))
    if hasattr(message, "transform"):
        inside = message.transform
        return RawPose(vector_of(inside.translation), quaternion_of(inside.rotation), parent=parent, child=child)
    inside = message.pose
    return pose_inside(inside.pose if hasattr(inside, "pose") else inside, parent, child)  # behind a covariance


def pose_inside(message: Any, parent: str = "", child: str = "") -> RawPose:
    """The pose of a geometry_msgs/Pose."""
    return RawPose(vector_of(message.position), quaternion_of(message.orientation), parent=parent, child=child)


def transforms_of(message: Any, *, is_static: bool) -> RawTransforms:
    """The transforms of a tf2_msgs/TFMessage."""
    stamps = tuple(stamp_ns(t.header.stamp) for t in message.transforms)
    return RawTransforms(stamps, tuple(map(pose_of, message.transforms)), is_static)


def imu_of(message: Any) -> RawImu:
    """The reading of a sensor_msgs/Imu; a covariance of -1 says that there is no orientation (its definition)."""
    has_orientation = float(message.orientation_covariance[0]) != -1.0
    return RawImu(
        vector_of(message.angular_velocity),
        vector_of(message.linear_acceleration),
        quaternion_of(message.orientation) if has_orientation else None,
    )


def cloud_of(message: Any) -> RawCloud:
    """The points of a sensor_msgs/PointCloud2 that have finite x, y, z, with their other fields of one number each.

    Raises:
        InputError: if there is no x, y, z, or fields reach beyond what is there.
    """
    width, height, step, row = (int(x) for x in (message.width, message.height, message.point_step, message.row_step))
    n = width * height
    data = np.frombuffer(bytes(message.data), dtype=np.uint8)
    if not 0 <= n <= MAX_POINTS or step < 1 or row < width * step or len(data) < height * row:
        raise InputError(f"a cloud of {width}x{height} points of {step} bytes, rows of {row}, in {len(data)} bytes")
    if len(message.fields) > step:  # each becomes a column
        raise InputError(f"a cloud of {len(message.fields)} fields in {step} bytes a point")
    points = data[: height * row].reshape(height, row)[:, : width * step].reshape(n, step)
    endian = ">" if message.is_bigendian else "<"
    columns: dict[str, np.ndarray] = {}
    for field in message.fields:
        dtype, offset = np.dtype(endian + _POINT_TYPES.get(int(field.datatype), "u1")), int(field.offset)
        if int(field.datatype) not in _POINT_TYPES or not 0 <= offset <= step - dtype.itemsize:
            raise InputError(f"field {field.name!r} of a cloud: type {field.datatype} at byte {offset} of {step}")
        if int(field.count) in (0, 1):
            column = np.ascontiguousarray(points[:, offset : offset + dtype.itemsize]).view(dtype)[:, 0]
            columns[str(field.name)] = column.astype(dtype.newbyteorder("="), copy=False)
    if not {"x", "y", "z"} <= set(columns) or any(columns[a].dtype.kind != "f" for a in "xyz"):
        raise InputError(f"a cloud without floats x, y, z, only {sorted(columns)}")
    xyz = np.stack([columns.pop(a) for a in "xyz"], axis=1)
    keep = np.isfinite(xyz).all(axis=1)
    return RawCloud(xyz[keep], {name: column[keep] for name, column in columns.items()})


def scan_of(message: Any) -> RawCloud:
    """The points of a sensor_msgs/LaserScan with a range inside its limits, in the frame of the scanner (z = 0)."""
    ranges = np.asarray(message.ranges, dtype=np.float32)
    angles = float(message.angle_min) + float(message.angle_increment) * np.arange(len(ranges))
    with np.errstate(invalid="ignore"):
        keep = np.isfinite(ranges) & (ranges >= message.range_min) & (ranges <= message.range_max) & np.isfinite(angles)
    ranges, angles = ranges[keep], angles[keep]
    points = np.stack([ranges * np.cos(angles), ranges * np.sin(angles), np.zeros_like(ranges)], axis=1)
    return RawCloud(points.astype(np.float32))
