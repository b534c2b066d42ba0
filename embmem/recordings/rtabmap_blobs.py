"""What the columns of an RTAB-Map database hold, byte for byte (introlab/rtabmap: Compression.cpp, CameraModel.cpp,
DBDriverSqlite3.cpp, rvl_codec.cpp). Numbers are little-endian; nothing in them is code.
"""

from __future__ import annotations

import struct
import zlib
from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from embmem.errors import InputError
from embmem.recordings.images import encoded_size
from embmem.recordings.raw import RawCamera, RawImage
from embmem.ros.images import as_rgb, decode
from embmem.ros.rvl import decode_rvl

MAX_MATRIX = 1 << 28  # bytes of a decompressed matrix
_RVL = b"DEPTHRVL"
_SHAPE = struct.Struct("<iii")  # rows, columns, type behind the compressed numbers
_SIZE = struct.Struct("<II")  # columns, rows in front of RVL
_HEADER = struct.Struct("<11i")  # version (3), kind, width, height, numbers of K, D, R, P, local transform
_TYPES = {4: np.dtype("<i4"), 5: np.dtype("<f4")}  # CV_32SC1, CV_32FC1
_POSE = 12  # floats of a 3x4 transform, row by row
_MONO, _STEREO = 0, 1

Version = tuple[int, int, int]


class Calibration(NamedTuple):
    """The first camera of a node: intrinsics of its colour image, and where it is on the robot."""

    camera: RawCamera
    T_base_camera: Float[np.ndarray, "4 4"]
    n_cameras: int


def transform_of(blob: bytes) -> Float[np.ndarray, "4 4"] | None:
    """A pose; None where it is null, as RTAB-Map calls twelve zeros.

    Raises:
        InputError: if it is no 3x4 matrix of finite floats.
    """
    if len(blob) != 4 * _POSE:
        raise InputError(f"a transform of {len(blob)} bytes, not {4 * _POSE}")
    return _matrix(np.frombuffer(blob, dtype="<f4"))


def _matrix(numbers: np.ndarray) -> np.ndarray | None:
    if not np.isfinite(numbers).all():
        raise InputError("a transform with numbers that are not finite")
    if not numbers.any():
        return None
    T = np.eye(4)
    T[:3] = numbers.astype(np.float64).reshape(3, 4)
    u, _, vt = np.linalg.svd(T[:3, :3])
    nearest = u @ vt
    # Floats are rigid to 1e-6 at best; what is farther off is damage, which the ingress gate names.
    if np.linalg.det(nearest) > 0 and np.abs(nearest - T[:3, :3]).max() < 1e-3:
        T[:3, :3] = nearest
    return T


def decompress(blob: bytes) -> np.ndarray:
    """The (rows, columns) of a matrix that `compressData2` wrote.

    Raises:
        InputError: if it is cut, damaged, too large, or of another type than 32-bit numbers.
    """
    if len(blob) < _SHAPE.size:
        raise InputError(f"a compressed matrix of {len(blob)} bytes is cut")
    rows, columns, kind = _SHAPE.unpack(blob[-_SHAPE.size :])
    dtype = _TYPES.get(kind)
    if dtype is None or rows < 1 or columns < 1 or rows * columns * dtype.itemsize > MAX_MATRIX:
        raise InputError(f"a compressed matrix of {rows} x {columns} numbers of OpenCV's type {kind}")
    n_bytes = rows * columns * dtype.itemsize
    try:
        data = zlib.decompressobj().decompress(blob[: -_SHAPE.size], n_bytes + 1)
    except zlib.error as error:
        raise InputError(f"a compressed matrix is damaged ({error})") from None
    if len(data) != n_bytes:
        raise InputError(f"a compressed matrix does not hold {rows} x {columns} numbers")
    return np.frombuffer(data, dtype=dtype).reshape(rows, columns)


def poses_of(ids: bytes, poses: bytes) -> dict[int, Float[np.ndarray, "4 4"]]:
    """The optimised poses of a map by the number of their node.

    Raises:
        InputError: if they are damaged or are not as many as the numbers.
    """
    numbers, values = decompress(ids), decompress(poses)
    if numbers.dtype.kind != "i" or values.dtype.kind != "f" or values.size != _POSE * numbers.size:
        raise InputError(f"{numbers.size} nodes with optimised poses of {values.size} numbers")
    found = zip(numbers.ravel().tolist(), values.reshape(-1, _POSE), strict=True)
    return {number: T for number, row in found if (T := _matrix(row)) is not None}


def calibration_of(blob: bytes, version: Version) -> Calibration:
    """The camera of a node, as versions from 0.10 on wrote it; images are taken to be rectified, as RTAB-Map does.

    Raises:
        InputError: if it is cut, that of a stereo pair, or makes no sense.
    """
    if version >= (0, 18, 0):
        return _serialized(blob)
    n_before = 6 if version >= (0, 11, 2) else 4  # fx fy cx cy [width height], then the local transform
    size = 4 * (n_before + _POSE)
    if len(blob) in (4 * (7 + _POSE), 4 * (5 + _POSE)):
        raise InputError("the camera is a stereo pair, whose images hold no depth")
    if not blob or len(blob) % size:
        raise InputError(f"a calibration of {len(blob)} bytes, not a multiple of {size}")
    with np.errstate(invalid="ignore"):  # damage may be a signalling NaN
        numbers = np.frombuffer(blob, dtype="<f4", count=size // 4).astype(np.float64)
    fx, fy, cx, cy = numbers[:4].tolist()
    width, height = (numbers[4:6] if n_before == 6 else np.zeros(2)).tolist()
    return _calibration((width, height), (fx, fy, cx, cy), _matrix(numbers[n_before:]), len(blob) // size)


def _serialized(blob: bytes) -> Calibration:
    """`CameraModel::serialize`, one after another; only the first is read, the others are counted."""
    first: Calibration | None = None
    at = n = 0
    while at < len(blob):
        if len(blob) - at < _HEADER.size:
            raise InputError(f"a calibration is cut after {at} of {len(blob)} bytes")
        header = _HEADER.unpack_from(blob, at)
        kind, (n_k, n_d, n_r, n_p, n_local) = header[3], header[6:]
        if kind == _STEREO:
            raise InputError("the camera is a stereo pair, whose images hold no depth")
        if kind != _MONO or n_k not in (0, 9) or n_r not in (0, 9) or n_p not in (0, 12) or n_local not in (0, _POSE):
            raise InputError(f"a calibration of kind {kind} with {n_k}, {n_d}, {n_r}, {n_p}, {n_local} numbers")
        end = at + _HEADER.size + 8 * (n_k + n_d + n_r + n_p) + 4 * n_local
        if not 0 <= n_d <= 14 or end > len(blob):
            raise InputError(f"a calibration is cut: it needs {end} of {len(blob)} bytes")
        if first is None:
            doubles = np.frombuffer(blob, dtype="<f8", count=n_k + n_d + n_r + n_p, offset=at + _HEADER.size)
            K = doubles[-n_p:].reshape(3, 4) if n_p else doubles[:9].reshape(3, 3) if n_k else np.zeros((3, 3))
            local = np.frombuffer(blob, dtype="<f4", count=n_local, offset=end - 4 * n_local)
            T = _matrix(local) if n_local else None
            size = float(header[4]), float(header[5])
            first = _calibration(size, (K[0, 0], K[1, 1], K[0, 2], K[1, 2]), T, 1)
        at, n = end, n + 1
    if first is None:
        raise InputError("an empty calibration")
    return first._replace(n_cameras=n)


def _calibration(
    size: tuple[float, float], numbers: tuple[float, float, float, float], T: np.ndarray | None, n: int
) -> Calibration:
    fx, fy, cx, cy = (float(value) for value in numbers)
    is_sane = np.isfinite([*numbers, *size]).all() and 0 < fx < 1e6 and 0 < fy < 1e6 and abs(cx) + abs(cy) < 1e6
    if not is_sane or not all(0 <= side < 1e5 for side in size):
        raise InputError(f"a camera with fx, fy, cx, cy of {[fx, fy, cx, cy]} for images of {list(size)}")
    return Calibration(RawCamera(int(size[0]), int(size[1]), fx, fy, cx, cy), np.eye(4) if T is None else T, n)


def depth_size(blob: bytes) -> tuple[int, int]:
    """(width, height) of a depth image, as far as its head tells.

    Raises:
        InputError: if it is damaged.
    """
    if blob.startswith(_RVL):
        if len(blob) < len(_RVL) + _SIZE.size:
            raise InputError(f"RVL of {len(blob)} bytes is cut")
        width, height = _SIZE.unpack_from(blob, len(_RVL))
        return int(width), int(height)
    return encoded_size(blob, "depth")


def depth_image(blob: bytes) -> RawImage:
    """Depth as PNG of 16 bits [mm], PNG whose four channels are the bytes of a float [m], or RVL [mm].

    Raises:
        InputError: if it is damaged, or the right image of a stereo pair.
    """
    if blob.startswith(_RVL):
        return RawImage(decode_rvl(blob[len(_RVL) :]), "16UC1; RVL")
    pixels = decode(blob)
    if pixels.dtype == np.uint8 and pixels.ndim == 3 and pixels.shape[2] == 4:
        return RawImage(np.ascontiguousarray(pixels).view("<f4")[..., 0].astype(np.float32), "32FC1")
    if pixels.dtype != np.uint16 or pixels.ndim != 2:
        raise InputError(f"depth of {pixels.dtype}{pixels.shape}: the right image of a stereo pair, or damage")
    return RawImage(pixels, "16UC1")


def color_image(blob: bytes) -> RawImage:
    """The colour or grey image of a node.

    Raises:
        InputError: if it is damaged.
    """
    return RawImage(as_rgb(decode(blob)), "jpeg" if blob.startswith(b"\xff\xd8") else "png")
