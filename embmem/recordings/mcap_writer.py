"""Record observations to an MCAP file that ROS 2, Foxglove and Rerun open, and `embmem.recordings.rosbag` reads back.

/tf                                          map -> camera_link (x ahead, REP 103), at the stamp of each image
/tf_static                                   camera_link -> camera_optical_frame
/camera/depth/image_raw/compressedDepth      16UC1 [mm], 0 invalid, PNG
/camera/{depth,color}/camera_info            plumb_bob or rational_polynomial
/camera/color/image_raw/compressed           PNG or JPEG
/camera/{semantic,instance}/image/compressed 16-bit PNG of ids
/camera/semantic/labels                      std_msgs/String, a JSON list: the id is the place in it
"""

from __future__ import annotations

import json
import shutil
import struct
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Literal

import numpy as np
from scipy.spatial.transform import Rotation

from embmem.errors import import_extra
from embmem.observation import Intrinsics, Observation
from embmem.output import new_file
from embmem.recordings.bag_writer import Topic, qos_of
from embmem.recordings.images import encode_image
from embmem.recordings.interpret import AXES
from embmem.recordings.rgbd_writer import ids_16, millimetres
from embmem.ros.messages import NANOSECONDS

MAP, LINK, OPTICAL = "map", "camera_link", "camera_optical_frame"
DEPTH = "/camera/depth/image_raw/compressedDepth"
COLOR = "/camera/color/image_raw/compressed"
IDS = "/camera/{}/image/compressed"
LABELS = "/camera/semantic/labels"
_LATCHED = ("/tf_static", LABELS)  # said once, for whoever comes later


def write_mcap(observations: Iterable[Observation], path: Path | str, *, color: Literal["png", "jpg"] = "png") -> int:
    """Number of frames written; the file appears whole or not at all. RAM holds a few megabytes of it.

    Depth is rounded to millimetres as in an RGB-D folder, stamps to nanoseconds.

    Raises:
        OutputExistsError: if `path` exists.
        ValueError: if there is no observation, one without depth, or the labels change on the way.
        MissingExtraError: without rosbags.
    """
    rosbag2 = import_extra("rosbags.rosbag2", "ros")
    with new_file(Path(path)) as part:
        bag = part.with_name(part.name + ".bag")  # rosbags writes a folder
        shutil.rmtree(bag, ignore_errors=True)
        try:
            with rosbag2.Writer(bag, version=9, storage_plugin=rosbag2.StoragePlugin.MCAP) as writer:
                n = _Recorder(writer, color).write_all(observations)
            next(bag.glob("*.mcap")).replace(part)
        finally:
            shutil.rmtree(bag, ignore_errors=True)
    return n


class _Recorder:
    """Messages of observations, by the classes of rosbags."""

    def __init__(self, writer: Any, color: str) -> None:
        typesys = import_extra("rosbags.typesys", "ros")
        self._store = typesys.get_typestore(typesys.Stores.LATEST)
        self._types = self._store.types
        self._writer, self._color = writer, color
        self._connections: dict[str, Any] = {}

    def write_all(self, observations: Iterable[Observation]) -> int:
        labels, n = None, 0
        for observation in observations:
            if labels is None:
                self._write_once(observation)
            elif observation.labels != labels:
                raise ValueError(f"frame {n} has other labels than the first")
            labels = observation.labels
            if observation.depth is None:
                raise ValueError(f"frame {n} has no depth")
            self._write_frame(observation, observation.depth)
            n += 1
        if labels is None:
            raise ValueError("nothing to record: no observation came")
        return n

    def _write_once(self, first: Observation) -> None:
        stamp = _nanoseconds(first.stamp)
        static = self._transform(AXES["body"], LINK, OPTICAL, stamp)
        self._write("/tf_static", self._of("tf2_msgs/msg/TFMessage", transforms=[static]), stamp)
        if first.labels:
            self._write(LABELS, self._of("std_msgs/msg/String", data=json.dumps(list(first.labels))), stamp)

    def _write_frame(self, observation: Observation, depth: np.ndarray) -> None:
        stamp, k = _nanoseconds(observation.stamp), observation.intrinsics
        T_map_link = observation.T_map_camera @ np.linalg.inv(AXES["body"])
        moved = self._transform(T_map_link, MAP, LINK, stamp)
        self._write("/tf", self._of("tf2_msgs/msg/TFMessage", transforms=[moved]), stamp)
        self._write("/camera/depth/camera_info", self._camera_info(k, stamp), stamp)
        png = struct.pack("<iff", 0, 0.0, 0.0) + encode_image(millimetres(depth), "png")
        self._write_image(DEPTH, "16UC1; compressedDepth png", png, stamp)
        if observation.rgb is not None:
            self._write("/camera/color/camera_info", self._camera_info(k, stamp), stamp)
            kind = {"png": "png", "jpg": "jpeg"}[self._color]
            self._write_image(COLOR, f"rgb8; {kind} compressed bgr8", encode_image(observation.rgb, self._color), stamp)
        for kind, ids in (("semantic", observation.semantic), ("instance", observation.instance)):
            if ids is not None:
                png = encode_image(ids_16(ids, kind), "png")
                self._write_image(IDS.format(kind), "16UC1; png compressed", png, stamp)

    def _write_image(self, topic: str, form: str, data: bytes, stamp: int) -> None:
        pixels = np.frombuffer(data, dtype=np.uint8)
        header = self._header(OPTICAL, stamp)
        self._write(topic, self._of("sensor_msgs/msg/CompressedImage", header=header, format=form, data=pixels), stamp)

    def _write(self, topic: str, message: Any, stamp: int) -> None:
        msgtype = message.__msgtype__
        if topic not in self._connections:
            offered = [qos_of(Topic(topic, msgtype, is_latched=True))] if topic in _LATCHED else []
            self._connections[topic] = self._writer.add_connection(
                topic, msgtype, typestore=self._store, offered_qos_profiles=offered
            )
        self._writer.write(self._connections[topic], stamp, self._store.serialize_cdr(message, msgtype))

    def _of(self, msgtype: str, **fields: Any) -> Any:
        return self._types[msgtype](**fields)

    def _header(self, frame_id: str, stamp: int) -> Any:
        sec, nanosec = divmod(stamp, NANOSECONDS)
        time = self._of("builtin_interfaces/msg/Time", sec=sec, nanosec=nanosec)
        return self._of("std_msgs/msg/Header", stamp=time, frame_id=frame_id)

    def _transform(self, T: np.ndarray, parent: str, child: str, stamp: int) -> Any:
        x, y, z, w = map(float, Rotation.from_matrix(T[:3, :3]).as_quat())
        position = self._of("geometry_msgs/msg/Vector3", **dict(zip("xyz", map(float, T[:3, 3]), strict=True)))
        rotation = self._of("geometry_msgs/msg/Quaternion", x=x, y=y, z=z, w=w)
        return self._of(
            "geometry_msgs/msg/TransformStamped",
            header=self._header(parent, stamp),
            child_frame_id=child,
            transform=self._of("geometry_msgs/msg/Transform", translation=position, rotation=rotation),
        )

    def _camera_info(self, k: Intrinsics, stamp: int) -> Any:
        d = k.distortion or (0.0,) * 5
        d = (*d, *[0.0] * (5 - len(d))) if len(d) < 5 else d
        roi = self._of("sensor_msgs/msg/RegionOfInterest", x_offset=0, y_offset=0, height=0, width=0, do_rectify=False)
        return self._of(
            "sensor_msgs/msg/CameraInfo",
            header=self._header(OPTICAL, stamp),
            height=k.height,
            width=k.width,
            distortion_model="rational_polynomial" if len(d) == 8 else "plumb_bob",
            d=np.array(d),
            k=k.matrix().ravel(),
            r=np.eye(3).ravel(),
            p=np.hstack([k.matrix(), np.zeros((3, 1))]).ravel(),
            binning_x=0,
            binning_y=0,
            roi=roi,
        )


def _nanoseconds(stamp: float) -> int:
    """[ns], which ROS keeps in 32 bits of seconds and a rest.

    Raises:
        ValueError: if the stamp is not in [0, 2^31) s.
    """
    if not 0 <= stamp < 2**31:
        raise ValueError(f"a stamp in ROS lies in [0, 2^31) s, got {stamp}")
    return round(stamp * NANOSECONDS)
