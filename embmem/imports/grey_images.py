"""Pictures of floor plans as grey levels: PGM, and PNG or BMP through OpenCV; sizes are checked first."""

from __future__ import annotations

import re
import struct
from pathlib import Path

import numpy as np
from jaxtyping import UInt8

from embmem.errors import InputError
from embmem.recordings.images import encoded_size

MAX_PIXELS = 1 << 28
MAX_BYTES = 1 << 30
_PGM = re.compile(rb"P([25])(?:\s|#[^\n]*\n)+(\d{1,7})(?:\s|#[^\n]*\n)+(\d{1,7})(?:\s|#[^\n]*\n)+(\d{1,5})\s")
_HEAD = 1 << 16  # bytes that the head of a PGM may have

Grey = UInt8[np.ndarray, "rows columns"]


def read_grey(path: Path) -> tuple[Grey, Grey | None]:
    """(grey levels, opacity or None), row 0 at the top.

    Raises:
        InputError: if the file is missing, damaged, too large, or of another format.
    """
    try:
        if not path.is_file():
            raise InputError(f"{path}: no such file")
        if path.stat().st_size > MAX_BYTES:
            raise InputError(f"{path}: a picture of {path.stat().st_size:,} bytes is too large")
        data = path.read_bytes()
    except OSError as error:
        raise InputError(f"{path}: {error.strerror or error}") from None
    if data[:2] in (b"P2", b"P5"):
        return _pgm(data, path), None
    if data.startswith(b"\x89PNG"):
        _check_size(*encoded_size(data, str(path)), path)
    elif data.startswith(b"BM") and len(data) >= 26:
        width, height = struct.unpack_from("<ii", data, 18)
        _check_size(abs(width), abs(height), path)
        if abs(width) * abs(height) > 8 * len(data):
            raise InputError(f"{path}: {len(data):,} bytes hold no picture of {abs(width)} x {abs(height)} pixels")
    else:
        raise InputError(f"{path}: neither PGM, PNG nor BMP (it begins with {data[:8]!r})")
    return _decoded(data, path)


def _pgm(data: bytes, path: Path) -> Grey:
    """Binary (P5) or plain (P2) PGM of at most 8 bits (netpbm, pgm(5))."""
    head = _PGM.match(data[:_HEAD])
    if head is None:
        raise InputError(f"{path}: damaged PGM, its head is not P5, width, height, highest level")
    kind, columns, rows, highest = (int(part) for part in head.groups())
    _check_size(columns, rows, path)
    if not 0 < highest <= 255:
        raise InputError(f"{path}: a PGM with levels up to {highest}; up to 255 can be read")
    body, n = data[head.end() :], rows * columns
    if kind == 2:
        words = body.split()
        if len(words) < n or any(len(word) > 3 or not word.isdigit() for word in words[:n]):
            raise InputError(f"{path}: a plain PGM of {columns} x {rows} needs {n:,} numbers")
        levels = np.array(words[:n], dtype=np.uint16)
    elif len(body) < n:
        raise InputError(f"{path} is cut: {len(body):,} of {n:,} pixels are there")
    else:
        levels = np.frombuffer(body, dtype=np.uint8, count=n).astype(np.uint16)
    if levels.max() > highest:
        raise InputError(f"{path}: a pixel of {int(levels.max())} in a PGM with levels up to {highest}")
    if highest != 255:
        levels = np.rint(levels * (255.0 / highest))
    return levels.astype(np.uint8).reshape(rows, columns)


def _check_size(width: int, height: int, path: Path) -> None:
    if width < 1 or height < 1 or width * height > MAX_PIXELS:
        raise InputError(f"{path}: a picture of {width} x {height} pixels; 1 to {MAX_PIXELS:,} can be read")


def _decoded(data: bytes, path: Path) -> tuple[Grey, Grey | None]:
    import cv2

    try:
        image = cv2.imdecode(np.frombuffer(data, dtype=np.uint8), cv2.IMREAD_UNCHANGED)
    except cv2.error as error:
        raise InputError(f"{path}: cannot be decoded ({error.err})") from None
    if image is None:
        raise InputError(f"{path}: cannot be decoded")
    pixels = np.asarray(image)
    if pixels.dtype == np.uint16:
        pixels = (pixels // 256).astype(np.uint8)
    if pixels.dtype != np.uint8 or pixels.ndim not in (2, 3) or (pixels.ndim == 3 and pixels.shape[2] not in (3, 4)):
        raise InputError(f"{path}: pixels of {pixels.dtype}{pixels.shape[2:]} are no grey levels")
    if pixels.ndim == 2:
        return np.ascontiguousarray(pixels), None
    colour = np.ascontiguousarray(pixels[..., :3])
    is_grey = bool((colour == colour[..., :1]).all())  # as they are: a weighted sum might round
    grey = colour[..., 0] if is_grey else cv2.cvtColor(colour, cv2.COLOR_BGR2GRAY)
    alpha = np.ascontiguousarray(pixels[..., 3]) if pixels.shape[2] == 4 else None
    return np.ascontiguousarray(grey), alpha
