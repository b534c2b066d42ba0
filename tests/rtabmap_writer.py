"""A database as RTAB-Map writes it, byte for byte after its C++ (Compression.cpp, CameraModel.cpp, rvl_codec.cpp,
DBDriverSqlite3.cpp, DatabaseSchema.sql.in of introlab/rtabmap), with nothing of the reader that it tests.
"""

from __future__ import annotations

import sqlite3
import struct
import zlib
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np

from embmem.observation import Intrinsics, Observation

# The optical camera on a robot that stands upright.
T_BASE_CAMERA = np.array([[0.0, 0, 1, 0.1], [-1, 0, 0, 0.02], [0, -1, 0, 0.6], [0, 0, 0, 1]])
_SCHEMA = """
CREATE TABLE Node (id INTEGER NOT NULL, map_id INTEGER NOT NULL, weight INTEGER, stamp FLOAT, pose BLOB,
 ground_truth_pose BLOB, velocity BLOB, label TEXT, gps BLOB, env_sensors BLOB, time_enter DATE, PRIMARY KEY (id));
CREATE TABLE Data (id INTEGER NOT NULL, image BLOB, depth BLOB, depth_confidence BLOB, calibration BLOB, scan BLOB,
 scan_info BLOB, ground_cells BLOB, obstacle_cells BLOB, empty_cells BLOB, cell_size FLOAT, view_point_x FLOAT,
 view_point_y FLOAT, view_point_z FLOAT, user_data BLOB, time_enter DATE, PRIMARY KEY (id));
CREATE TABLE Link (from_id INTEGER NOT NULL, to_id INTEGER NOT NULL, type INTEGER NOT NULL,
 information_matrix BLOB NOT NULL, transform BLOB, user_data BLOB);
CREATE TABLE Admin (version TEXT, preview_image BLOB, opt_cloud BLOB, opt_ids BLOB, opt_poses BLOB,
 opt_last_localization BLOB, opt_map BLOB, time_enter DATE);
CREATE TRIGGER insert_Node_timeEnter AFTER INSERT ON Node
BEGIN UPDATE Node SET time_enter = DATETIME('NOW') WHERE rowid = new.rowid; END;
"""


def transform(T: np.ndarray) -> bytes:
    """Transform::data(): 3x4 floats, row by row."""
    return struct.pack("<12f", *np.asarray(T)[:3].ravel())


def compressed(numbers: np.ndarray) -> bytes:
    """compressData2: zlib, then rows, columns and OpenCV's type."""
    kind = {"int32": 4, "float32": 5}[numbers.dtype.name]
    return zlib.compress(numbers.tobytes()) + struct.pack("<3i", 1, numbers.size, kind)


def rvl(depth: np.ndarray) -> bytes:
    """compressImage with ".rvl": RvlCodec::CompressRVL behind its head, a nibble at a time."""
    nibbles: list[int] = []

    def encode(value: int) -> None:
        while True:
            nibble, value = value & 7, value >> 3
            nibbles.append(nibble | (8 if value else 0))
            if not value:
                return

    flat, at, previous = depth.ravel().tolist(), 0, 0
    while at < len(flat):
        zeros = next((i for i, v in enumerate(flat[at:]) if v), len(flat) - at)
        at += zeros
        encode(zeros)
        run = next((i for i, v in enumerate(flat[at:]) if not v), len(flat) - at)
        encode(run)
        for current in flat[at : at + run]:
            delta = current - previous
            encode((delta << 1) ^ (delta >> 31))
            previous = current
        at += run
    nibbles += [0] * (-len(nibbles) % 8)
    words = [sum(n << (28 - 4 * i) for i, n in enumerate(nibbles[k : k + 8])) for k in range(0, len(nibbles), 8)]
    head = b"DEPTHRVL" + struct.pack("<2I", depth.shape[1], depth.shape[0])
    return head + struct.pack(f"<{len(words)}I", *words)


def depth_blob(depth: np.ndarray | None, form: str) -> bytes:
    """Depth [m] as "png" [mm], "float" (a PNG whose channels are the bytes) or "rvl" [mm]."""
    assert depth is not None
    if form == "float":
        bgra = np.ascontiguousarray(depth.astype("<f4")).view(np.uint8).reshape(*depth.shape, 4)
        return cv2.imencode(".png", bgra)[1].tobytes()
    raw = np.rint(depth * 1000.0).astype(np.uint16)
    return rvl(raw) if form == "rvl" else cv2.imencode(".png", raw)[1].tobytes()


def calibration(camera: Intrinsics, version: tuple[int, int, int], T: np.ndarray = T_BASE_CAMERA) -> bytes:
    """CameraModel::serialize, or the floats of versions before 0.18."""
    if version >= (0, 18, 0):
        K = camera.matrix()
        P = np.hstack([K, np.zeros((3, 1))])
        numbers = [*K.ravel(), *np.zeros(5), *np.eye(3).ravel(), *P.ravel()]
        header = struct.pack("<11i", *version, 0, camera.width, camera.height, 9, 5, 9, 12, 12)
        return header + struct.pack(f"<{len(numbers)}d", *numbers) + transform(T)
    size = (camera.width, camera.height) if version >= (0, 11, 2) else ()
    return struct.pack(f"<{4 + len(size)}f", camera.fx, camera.fy, camera.cx, camera.cy, *size) + transform(T)


def stereo(version: tuple[int, int, int] = (0, 20, 0)) -> bytes:
    """StereoCameraModel::serialize without matrices."""
    return struct.pack("<10i", *version, 1, 0, 0, 0, 0, 0, 0) + bytes(4)


def write_rtabmap(
    path: Path,
    frames: Sequence[Observation],
    *,
    version: tuple[int, int, int] = (0, 21, 4),
    depth: str = "png",
    odometry: Sequence[np.ndarray] | None = None,
    is_optimised: bool = True,
    decimation: int = 1,
    sessions: Sequence[int] | None = None,
) -> None:
    """A node a frame; `odometry` are poses of the camera as drifted, the frames' own are the optimised ones."""
    inverse = np.linalg.inv(T_BASE_CAMERA)
    with sqlite3.connect(path) as db:
        db.executescript(_SCHEMA)
        for i, frame in enumerate(frames):
            T = frame.T_map_camera if odometry is None else odometry[i]
            row = (
                i + 1,
                sessions[i] if sessions else 0,
                0,
                frame.stamp,
                transform(T @ inverse),
                transform(np.zeros((3, 4))),
            )
            db.execute("INSERT INTO Node(id, map_id, weight, stamp, pose, ground_truth_pose) VALUES (?,?,?,?,?,?)", row)
            assert frame.rgb is not None
            assert frame.depth is not None
            image = cv2.imencode(".png", frame.rgb[..., ::-1])[1].tobytes()
            blob = depth_blob(frame.depth[::decimation, ::decimation], depth)
            data = (i + 1, image, blob, calibration(frame.intrinsics, version))
            db.execute("INSERT INTO Data(id, image, depth, calibration) VALUES (?,?,?,?)", data)
            if i:
                link = np.linalg.inv(frames[i - 1].T_map_camera @ inverse) @ frame.T_map_camera @ inverse
                information = np.eye(6).tobytes()
                db.execute("INSERT INTO Link VALUES (?,?,0,?,?,NULL)", (i, i + 1, information, transform(link)))
        # A node without images, as localisation leaves them.
        db.execute(
            "INSERT INTO Node(id, map_id, weight, stamp, pose) VALUES (9999, 0, -1, 99.0, ?)", (transform(np.eye(4)),)
        )
        db.execute("INSERT INTO Admin(version) VALUES (?)", (".".join(map(str, version)),))
        if is_optimised:
            ids = np.arange(1, len(frames) + 1, dtype=np.int32)
            poses = np.concatenate([(f.T_map_camera @ inverse)[:3].ravel() for f in frames]).astype(np.float32)
            db.execute("UPDATE Admin SET opt_ids = ?, opt_poses = ?", (compressed(ids), compressed(poses)))
    db.close()
