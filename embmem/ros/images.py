"""sensor_msgs/Image and CompressedImage as arrays, whatever library made the message.

Encodings: sensor_msgs/image_encodings.hpp; compressedDepth: image_transport_plugins, compressed_depth_image_transport.
"""

from __future__ import annotations

import re
import struct
from typing import Any

import numpy as np

from embmem.errors import InputError
from embmem.recordings.images import encoded_size
from embmem.recordings.raw import RawImage
from embmem.ros.rvl import MAX_PIXELS, decode_rvl

_RED_FIRST, _BLUE_FIRST = slice(None, 3), slice(2, None, -1)
_COLOURS = {  # encoding -> (channels, where red, green and blue are)
    "rgb8": (3, _RED_FIRST),
    "bgr8": (3, _BLUE_FIRST),
    "rgba8": (4, _RED_FIRST),
    "bgra8": (4, _BLUE_FIRST),
    "8UC3": (3, _BLUE_FIRST),
    "8UC4": (4, _BLUE_FIRST),
}
# OpenCV's BayerRG is the pattern BGGR: it is called by the second row. Its names of four letters are what they say.
_BAYER = {f"bayer_{pattern.lower()}8": f"Bayer{pattern}" for pattern in ("RGGB", "BGGR", "GBRG", "GRBG")}
_YUV = {"yuv422": "UYVY", "uyvy": "UYVY", "yuv422_yuy2": "YUY2", "yuyv": "YUY2"}
_SINGLE = re.compile(r"(8|16|32|64)(U|S|F)C1")
_PNG = b"\x89PNG\r\n\x1a\n"
_DEPTH_HEADER = struct.Struct("<iff")  # format, depthQuantA, depthQuantB


def image_of(message: Any) -> RawImage:
    """The pixels of a sensor_msgs/Image: depth and ids as they are, colour as red, green, blue.

    Raises:
        InputError: if the encoding is unknown or the data do not fill height x step.
    """
    encoding, height, width, step = str(message.encoding), int(message.height), int(message.width), int(message.step)
    channels, dtype = _layout(encoding)
    if height < 1 or width < 1 or height * width > MAX_PIXELS:
        raise InputError(f"an image of {width} x {height} pixels")
    data = np.frombuffer(bytes(message.data), dtype=np.uint8)
    row = width * channels * dtype.itemsize
    if step < row or len(data) < height * step:
        needed = height * max(row, step)
        raise InputError(f"{len(data)} bytes for {width}x{height} {encoding!r}, rows of {step} bytes; {needed} needed")
    rows = data[: height * step].reshape(height, step)[:, :row]
    pixels = np.ascontiguousarray(rows).view(dtype.newbyteorder(">" if message.is_bigendian else "<"))
    pixels = pixels.reshape((height, width, channels) if channels > 1 else (height, width))
    return RawImage(_as_recorded(pixels.astype(dtype, copy=False), encoding), encoding)


def _layout(encoding: str) -> tuple[int, np.dtype[Any]]:
    """(channels, type of one) of an encoding."""
    single = _SINGLE.fullmatch(encoding)
    if encoding in _COLOURS:
        return _COLOURS[encoding][0], np.dtype(np.uint8)
    if encoding in _YUV:
        return 2, np.dtype(np.uint8)
    if encoding in _BAYER or encoding == "mono8":
        return 1, np.dtype(np.uint8)
    if encoding == "mono16":
        return 1, np.dtype(np.uint16)
    if single is not None and (single[2] == "F") == (int(single[1]) >= 32):
        return 1, np.dtype(f"{'f' if single[2] == 'F' else single[2].lower().replace('s', 'i')}{int(single[1]) // 8}")
    if encoding == "32SC1":
        return 1, np.dtype(np.int32)
    raise InputError(
        f"images of encoding {encoding!r} are not known, only depth, mono, rgb, bgr, yuv422 and 8-bit bayer"
    )


def _as_recorded(pixels: np.ndarray, encoding: str) -> np.ndarray:
    """Colour as (h, w, 3) red first, a single channel as it is."""
    if encoding in _COLOURS:
        return np.ascontiguousarray(pixels[..., _COLOURS[encoding][1]])
    if encoding in _YUV or encoding in _BAYER:
        import cv2

        name = f"COLOR_YUV2RGB_{_YUV[encoding]}" if encoding in _YUV else f"COLOR_{_BAYER[encoding]}2RGB"
        try:
            return np.asarray(cv2.cvtColor(pixels, getattr(cv2, name)))
        except cv2.error as error:
            raise InputError(f"{encoding!r} of shape {pixels.shape} cannot be converted ({error.err})") from None
    return pixels


def compressed_image_of(message: Any) -> RawImage:
    """The pixels of a sensor_msgs/CompressedImage: JPEG, PNG, or compressedDepth.

    Raises:
        InputError: if it is damaged or of another kind.
    """
    data, said = bytes(message.data), str(message.format)
    if "compresseddepth" in said.lower():
        return RawImage(_compressed_depth(data, said), said)
    if data.startswith(_PNG) or data.startswith(b"\xff\xd8"):
        return RawImage(as_rgb(decode(data)), said)
    raise InputError(f"a compressed image of format {said!r} that is neither JPEG nor PNG ({len(data)} bytes)")


def _compressed_depth(data: bytes, said: str) -> np.ndarray:
    """Depth behind the 12 bytes of compressed_depth_image_transport: 16 bits, or 32 bits as quantised inverse depth."""
    if len(data) <= _DEPTH_HEADER.size:
        raise InputError(f"compressedDepth of {len(data)} bytes is cut")
    _, a, b = _DEPTH_HEADER.unpack_from(data)
    body = data[_DEPTH_HEADER.size :]
    raw = decode_rvl(body) if "rvl" in said.lower() else decode(body)
    if raw.ndim != 2 or raw.dtype != np.uint16:
        raise InputError(f"compressedDepth holds {raw.dtype}{raw.shape}, not one channel of 16 bits")
    if "32FC1" not in said:
        return raw
    with np.errstate(all="ignore"):
        depth = np.float32(a) / (raw.astype(np.float32) - np.float32(b))
    depth[raw == 0] = np.nan
    return np.asarray(depth, dtype=np.float32)


def decode(data: bytes) -> np.ndarray:
    """The pixels of a PNG or JPEG, blue first where it has colours.

    Raises:
        InputError: if it is damaged or claims a size that no camera has.
    """
    import cv2

    width, height = encoded_size(data, "image")
    if width * height > MAX_PIXELS:
        raise InputError(f"an image of {width} x {height} pixels")
    try:
        image = cv2.imdecode(np.frombuffer(data, dtype=np.uint8), cv2.IMREAD_UNCHANGED)
    except cv2.error as error:
        raise InputError(f"an image cannot be decoded ({error.err})") from None
    if image is None:
        raise InputError(f"an image of {len(data)} bytes cannot be decoded")
    return np.asarray(image)


def as_rgb(image: np.ndarray) -> np.ndarray:
    """OpenCV's blue-first or grey pixels of 8 bits as (h, w, 3), red first; 16 bits and more are left as they are."""
    if image.ndim == 3 and image.dtype == np.uint8:
        return np.ascontiguousarray(image[..., 2::-1])
    return image
