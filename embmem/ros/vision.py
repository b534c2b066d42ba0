"""vision_msgs (4.x, Humble and later) for libraries that do not bring them, and their detections as plain data."""

from __future__ import annotations

from typing import Any

from embmem.recordings.raw import RawDetection, RawDetections
from embmem.ros.messages import pose_inside, vector_of

ARRAYS = ("vision_msgs/msg/Detection2DArray", "vision_msgs/msg/Detection3DArray")
_FOUND = "std_msgs/Header header\nvision_msgs/ObjectHypothesisWithPose[] results"
# The fields as vision_msgs defines them; Foxy's geometry_msgs/Pose2D has the same bytes.
DEFINITIONS = {
    "vision_msgs/msg/Point2D": "float64 x\nfloat64 y",
    "vision_msgs/msg/Pose2D": "vision_msgs/Point2D position\nfloat64 theta",
    "vision_msgs/msg/BoundingBox2D": "vision_msgs/Pose2D center\nfloat64 size_x\nfloat64 size_y",
    "vision_msgs/msg/BoundingBox3D": "geometry_msgs/Pose center\ngeometry_msgs/Vector3 size",
    "vision_msgs/msg/ObjectHypothesis": "string class_id\nfloat64 score",
    "vision_msgs/msg/ObjectHypothesisWithPose": (
        "vision_msgs/ObjectHypothesis hypothesis\ngeometry_msgs/PoseWithCovariance pose"
    ),
    "vision_msgs/msg/Detection2D": f"{_FOUND}\nvision_msgs/BoundingBox2D bbox\nstring id",
    "vision_msgs/msg/Detection3D": f"{_FOUND}\nvision_msgs/BoundingBox3D bbox\nstring id",
    "vision_msgs/msg/Detection2DArray": "std_msgs/Header header\nvision_msgs/Detection2D[] detections",
    "vision_msgs/msg/Detection3DArray": "std_msgs/Header header\nvision_msgs/Detection3D[] detections",
}


def detections_of(message: Any) -> RawDetections:
    """The detections of a Detection2DArray or Detection3DArray; those without a hypothesis have no label."""
    return RawDetections(tuple(map(_detection, message.detections)))


def _detection(message: Any) -> RawDetection:
    best = max((r.hypothesis for r in message.results), key=lambda h: float(h.score), default=None)
    label, score = ("", float("nan")) if best is None else (str(best.class_id), float(best.score))
    box = message.bbox
    if not hasattr(box, "size_x"):
        return RawDetection(label, score, str(message.id), pose=pose_inside(box.center), size=vector_of(box.size))
    middle = box.center.position if hasattr(box.center, "position") else box.center
    x, y, w, h = float(middle.x), float(middle.y), float(box.size_x), float(box.size_y)
    return RawDetection(label, score, str(message.id), box=(x - w / 2, y - h / 2, x + w / 2, y + h / 2))
