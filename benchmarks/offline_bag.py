"""The frames of a bag as a folder, without our readers: images bit for bit by rosbags, poses as text by scipy."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from scipy.spatial.transform import Rotation

_OPTICAL = Rotation.from_quat([-0.5, 0.5, -0.5, 0.5]).as_matrix()  # REP 103: from the camera's body to its lens
_HEAD = 12  # bytes before the PNG of compressedDepth


def write_folder(bag: Path, folder: Path) -> None:
    """Write the Kinect bag in the layout of 7-Scenes."""
    from rosbags.highlevel import AnyReader

    folder.mkdir()
    stamps: list[str] = []
    counts = {"color": 0, "depth": 0}
    with AnyReader([bag]) as reader:
        for connection, _, data in reader.messages():
            message: Any = reader.deserialize(data, connection.msgtype)
            if connection.topic == "/tf":
                moved = message.transforms[1]
                np.savetxt(folder / f"frame-{len(stamps):06d}.pose.txt", _pose(moved.transform))
                stamps.append(f"{moved.header.stamp.sec}.{moved.header.stamp.nanosec:09d}")
            for kind, suffix, skip in (("color", "jpg", 0), ("depth", "png", _HEAD)):
                if connection.topic.startswith(f"/camera/{kind}/image"):
                    file = folder / f"frame-{counts[kind]:06d}.{kind}.{suffix}"
                    file.write_bytes(message.data.tobytes()[skip:])
                    counts[kind] += 1
            if connection.topic == "/camera/depth/camera_info":
                np.savetxt(folder / "camera-intrinsics.txt", message.k.reshape(3, 3))
    (folder / "timestamps.txt").write_text("\n".join(stamps))


def _pose(transform: Any) -> np.ndarray:
    q, t = transform.rotation, transform.translation
    T = np.eye(4)
    T[:3, :3] = Rotation.from_quat([q.x, q.y, q.z, q.w]).as_matrix() @ _OPTICAL
    T[:3, 3] = t.x, t.y, t.z
    return T
