"""A camera on the wire: frames of a Kinect to and fro, stamped with the time now, at a steady rate.

    python benchmarks/ros_load.py RECORDING DOMAIN HZ SECONDS

Prints one line of JSON in the end: how many frames were offered, and how late the sender itself was.
"""

from __future__ import annotations

import itertools
import json
import struct
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
from scipy.spatial.transform import Rotation

from embmem.dds.names import Names
from embmem.dds.ports import DdsPorts
from embmem.dds.topics import to_cdr
from embmem.observation import Observation
from embmem.recordings.opening import read_recording
from embmem.ros.ports import SENSOR_DATA, Fields

CAMERA, MAP = "camera_optical_frame", "map"
_TIME = struct.Struct("<iI")  # sec, nanosec, behind the four bytes that say how the rest is encoded


def stamped(data: bytes, stamp_ns: int) -> bytes:
    """The CDR of a message that begins with a header, with another stamp."""
    changed = bytearray(data)
    _TIME.pack_into(changed, 4, *divmod(stamp_ns, 1_000_000_000))
    return bytes(changed)


def image(seen: Observation) -> Fields:
    """16UC1 [mm], 0 = nothing."""
    millimetres = np.rint(np.nan_to_num(np.asarray(seen.depth, dtype=np.float64)) * 1000.0).astype("<u2")
    height, width = millimetres.shape
    return {
        "header": {"frame_id": CAMERA}, "height": height, "width": width, "encoding": "16UC1", "step": 2 * width,
        "data": millimetres.view(np.uint8).ravel(),
    }  # fmt: skip


def camera_info(seen: Observation) -> Fields:
    """Of a pinhole."""
    i = seen.intrinsics
    k = np.array([i.fx, 0.0, i.cx, 0.0, i.fy, i.cy, 0.0, 0.0, 1.0])
    p = np.array([i.fx, 0.0, i.cx, 0.0, 0.0, i.fy, i.cy, 0.0, 0.0, 0.0, 1.0, 0.0])
    return {
        "header": {"frame_id": CAMERA}, "height": i.height, "width": i.width, "distortion_model": "plumb_bob",
        "d": np.zeros(5), "k": k, "r": np.eye(3).ravel(), "p": p,
    }  # fmt: skip


def transform(seen: Observation, stamp_ns: int) -> Fields:
    """Where the camera is."""
    sec, nanosec = divmod(stamp_ns, 1_000_000_000)
    x, y, z = map(float, seen.T_map_camera[:3, 3])
    q = dict(zip("xyzw", map(float, Rotation.from_matrix(seen.T_map_camera[:3, :3]).as_quat()), strict=True))
    inside = {"translation": {"x": x, "y": y, "z": z}, "rotation": q}
    head = {"stamp": {"sec": sec, "nanosec": nanosec}, "frame_id": MAP}
    return {"transforms": [{"header": head, "child_frame_id": CAMERA, "transform": inside}]}


def main(recording: str, domain: str, hz: str, seconds: str) -> None:
    """Send until the time is over."""
    seen = list(read_recording(Path(recording), {}, frame="level", rgb=False, every=1))
    infos = [to_cdr("sensor_msgs/msg/CameraInfo", camera_info(seen[0])).tobytes()]
    images = [to_cdr("sensor_msgs/msg/Image", image(one)).tobytes() for one in seen]
    ports = DdsPorts(Names("camera"), int(domain))
    tf = ports.publisher("tf2_msgs/msg/TFMessage", "/tf")
    info = ports.publisher("sensor_msgs/msg/CameraInfo", "/depth/camera_info", SENSOR_DATA)
    depth: Any = ports.publisher("sensor_msgs/msg/Image", "/depth/image", SENSOR_DATA)
    while not depth.n_subscriptions or not tf.n_subscriptions:
        time.sleep(0.01)
    there_and_back = itertools.cycle([*range(len(seen)), *range(len(seen) - 2, 0, -1)])
    begin, late = time.monotonic() + 0.1, []
    n = int(float(hz) * float(seconds))
    for i in range(n):
        due = begin + i / float(hz)
        time.sleep(max(0.0, due - time.monotonic()))
        late.append(time.monotonic() - due)
        now, k = time.time_ns(), next(there_and_back)
        tf.publish(transform(seen[k], now))
        info.publish_cdr(stamped(infos[0], now))
        depth.publish_cdr(stamped(images[k], now))
    time.sleep(1.0)  # the last one is on its way
    ports.close()
    print(json.dumps({"offered": n, "late p99 [s]": float(np.quantile(late, 0.99))}))


if __name__ == "__main__":
    main(*sys.argv[1:])
