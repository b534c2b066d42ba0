"""Arrays as sensor_msgs/Image and CompressedImage, in every encoding that `embmem.ros.images` reads without loss."""

from __future__ import annotations

import struct

import numpy as np

from embmem.errors import InputError
from embmem.observation import Intrinsics
from embmem.recordings.images import encode_image
from embmem.ros.outgoing.parts import Fields, header

# encoding -> (where the channels red, green and blue go, None is opaque)
COLOURS: dict[str, tuple[int | None, ...]] = {
    "rgb8": (0, 1, 2),
    "bgr8": (2, 1, 0),
    "rgba8": (0, 1, 2, None),
    "bgra8": (2, 1, 0, None),
    "8UC3": (2, 1, 0),
    "8UC4": (2, 1, 0, None),
}
SINGLE: dict[str, str] = {
    "mono8": "u1", "mono16": "u2", "8UC1": "u1", "8SC1": "i1", "16UC1": "u2", "16SC1": "i2", "32SC1": "i4",
    "32FC1": "f4", "64FC1": "f8",
}  # fmt: skip
_READ_ONLY = ("bayer", "yuv", "uyvy", "yuyv")
_HEADER = struct.pack("<iff", 0, 0.0, 0.0)  # of compressed_depth_image_transport, for depth that is not quantised


def image(pixels: np.ndarray, encoding: str, stamp_ns: int, frame: str) -> Fields:
    """A sensor_msgs/Image.

    Args:
        pixels: (h, w, 3) uint8, red first, or (h, w) of the encoding's type.
        encoding: its name.
        stamp_ns: [ns].
        frame: that the camera is.

    Raises:
        InputError: if the encoding is not known, loses colours, or is for other pixels.
    """
    if encoding in COLOURS:
        if pixels.ndim != 3 or pixels.shape[2] != 3 or pixels.dtype != np.uint8:
            raise InputError(f"{encoding!r} holds colours of 8 bits, not {pixels.dtype}{pixels.shape}")
        opaque = np.full(pixels.shape[:2], 255, dtype=np.uint8)
        data = np.stack([opaque if i is None else pixels[..., i] for i in COLOURS[encoding]], axis=2)
    elif encoding in SINGLE:
        if pixels.ndim != 2 or pixels.dtype != np.dtype(SINGLE[encoding]):
            raise InputError(f"{encoding!r} holds one channel of {SINGLE[encoding]}, not {pixels.dtype}{pixels.shape}")
        data = np.ascontiguousarray(pixels, dtype=pixels.dtype.newbyteorder("<"))
    elif encoding.lower().startswith(_READ_ONLY):
        raise InputError(f"images of encoding {encoding!r} are read, not written: they lose colours")
    else:
        raise InputError(f"images of encoding {encoding!r} are not known, only {', '.join([*COLOURS, *SINGLE])}")
    height, width = pixels.shape[:2]
    return {
        "header": header(stamp_ns, frame), "height": height, "width": width, "encoding": encoding,
        "step": data.nbytes // max(height, 1), "data": data.tobytes(),
    }  # fmt: skip


def jpeg(rgb: np.ndarray, stamp_ns: int, frame: str) -> Fields:
    """A sensor_msgs/CompressedImage of (h, w, 3) uint8, red first."""
    return _compressed(encode_image(rgb, "jpg"), "rgb8; jpeg compressed bgr8", stamp_ns, frame)


def png(pixels: np.ndarray, stamp_ns: int, frame: str) -> Fields:
    """A sensor_msgs/CompressedImage without loss, of (h, w, 3) uint8 or (h, w) uint16."""
    said = "rgb8; png compressed bgr8" if pixels.ndim == 3 else "16UC1; png compressed"
    return _compressed(encode_image(pixels, "png"), said, stamp_ns, frame)


def compressed_depth(millimetres: np.ndarray, stamp_ns: int, frame: str) -> Fields:
    """A sensor_msgs/CompressedImage of (h, w) uint16, as compressed_depth_image_transport writes it."""
    data = _HEADER + encode_image(millimetres, "png")
    return _compressed(data, "16UC1; compressedDepth png", stamp_ns, frame)


def _compressed(data: bytes, form: str, stamp_ns: int, frame: str) -> Fields:
    return {"header": header(stamp_ns, frame), "format": form, "data": data}


def camera_info(k: Intrinsics, stamp_ns: int, frame: str) -> Fields:
    """A sensor_msgs/CameraInfo of an image that has not been rectified."""
    many = len(k.distortion) > 5
    return {
        "header": header(stamp_ns, frame), "width": k.width, "height": k.height,
        "distortion_model": "rational_polynomial" if many else "plumb_bob",
        "d": np.array(k.distortion or (0.0,) * 5, dtype=np.float64),
        "k": k.matrix().ravel(), "r": np.eye(3).ravel(),
        "p": np.hstack([k.matrix(), np.zeros((3, 1))]).ravel(),
    }  # fmt: skip
