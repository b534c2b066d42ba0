"""Messages of sensors as samples: the same conversions for a bag and for what comes over the wire."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from embmem.errors import InputError
from embmem.recordings.raw import RawData, RawMessage, Sample
from embmem.ros import messages, vision
from embmem.ros.images import compressed_image_of, image_of

KINDS = {  # message type -> kind, where the name of the topic does not matter
    "sensor_msgs/msg/CameraInfo": "camera",
    "sensor_msgs/msg/PointCloud2": "cloud",
    "sensor_msgs/msg/LaserScan": "scan",
    "sensor_msgs/msg/Imu": "imu",
    "nav_msgs/msg/Odometry": "odometry",
    "geometry_msgs/msg/PoseStamped": "pose",
    "geometry_msgs/msg/PoseWithCovarianceStamped": "pose",
    "geometry_msgs/msg/TransformStamped": "pose",
    **dict.fromkeys(vision.ARRAYS, "detections"),
}
CONVERSIONS: dict[str, Callable[[Any], RawData]] = {
    "sensor_msgs/msg/Image": image_of,
    "sensor_msgs/msg/CompressedImage": compressed_image_of,
    "sensor_msgs/msg/CameraInfo": messages.camera_of,
    "sensor_msgs/msg/PointCloud2": messages.cloud_of,
    "sensor_msgs/msg/LaserScan": messages.scan_of,
    "sensor_msgs/msg/Imu": messages.imu_of,
    "nav_msgs/msg/Odometry": messages.pose_of,
    "geometry_msgs/msg/PoseStamped": messages.pose_of,
    "geometry_msgs/msg/PoseWithCovarianceStamped": messages.pose_of,
    "geometry_msgs/msg/TransformStamped": messages.pose_of,
    **dict.fromkeys(vision.ARRAYS, vision.detections_of),
}


def sample_of(message: Any, type: str, *, stream: str, kind: str, number: int) -> Sample:
    """A message with a header as a sample; it is converted when the sample is read.

    Args:
        message: of any library.
        type: its type, e.g. `sensor_msgs/msg/Image`.
        stream: name of the topic.
        kind: what it holds, of `recordings.recording.KINDS`.
        number: of the message, for complaints.
    """
    stamp = messages.stamp_ns(message.header.stamp)
    source = f"{stream} message {number}"
    return Sample(
        stream=stream, kind=kind, stamp=messages.seconds(stamp), source=source,
        read=partial(_converted, message, type, source), frame_id=str(message.header.frame_id), stamp_ns=stamp,
    )  # fmt: skip


def _converted(message: Any, type: str, source: str) -> RawData:
    try:
        return CONVERSIONS.get(type, RawMessage)(message)
    except InputError:
        raise
    except Exception as error:  # whatever a senseless message makes a conversion raise
        reason = " ".join(str(error).split())
        raise InputError(f"{source}: no {type} ({reason or error.__class__.__name__})") from None
