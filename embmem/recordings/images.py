"""Image files of recordings: cheap integrity checks without decoding, and reading that never returns half an image."""

from __future__ import annotations

import struct
import zlib
from pathlib import Path

import numpy as np

from embmem.errors import InputError

_PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"
# Start-of-frame markers of JPEG (ITU-T T.81, table B.1): all of C0..CF but DHT (C4), JPG (C8) and DAC (CC).
_JPEG_FRAMES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}


def image_size(path: Path, *, is_u16: bool = False) -> tuple[int, int]:
    """(width, height) of a PNG or JPEG file that is whole; with `is_u16`, of a 16-bit greyscale PNG.

    A PNG is walked chunk by chunk with its checksums (W3C PNG specification, section 5); a JPEG must have its frame
    header and its end marker. Decoding would take ten times longer, and its C libraries write to stderr.

    Raises:
        InputError: if the file is missing, truncated, damaged or neither PNG nor JPEG.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise InputError(f"{path}: {error.strerror}") from None
    return encoded_size(data, str(path), is_u16=is_u16)


def encoded_size(data: bytes, name: str, *, is_u16: bool = False) -> tuple[int, int]:
    """`image_size` of the bytes of a file, called `name` in errors.

    Raises:
        InputError: if they are truncated, damaged or neither PNG nor JPEG.
    """
    if data.startswith(_PNG_SIGNATURE):
        return _png_size(data, name, is_u16=is_u16)
    if data.startswith(b"\xff\xd8") and not is_u16:
        return _jpeg_size(data, name)
    raise InputError(f"{name}: not {'a 16-bit PNG' if is_u16 else 'a PNG or JPEG'} ({len(data)} bytes)")


def _png_size(data: bytes, name: str, *, is_u16: bool) -> tuple[int, int]:
    at, size = len(_PNG_SIGNATURE), None
    while at + 12 <= len(data):
        length, kind = struct.unpack_from(">I4s", data, at)
        end = at + 12 + length
        if end > len(data):
            break
        (checksum,) = struct.unpack_from(">I", data, end - 4)
        if zlib.crc32(data[at + 4 : end - 4]) != checksum:
            raise InputError(f"{name}: damaged PNG (checksum of chunk {kind.decode('latin-1')!r} is wrong)")
        if kind == b"IHDR" and length == 13:
            width, height, bits, colour_type = struct.unpack_from(">IIBB", data, at + 8)
            size = int(width), int(height)
            if is_u16 and (bits, colour_type) != (16, 0):
                raise InputError(f"{name}: expected 16-bit greyscale, got {bits} bits of PNG colour type {colour_type}")
        if kind == b"IEND" and size is not None:
            return size
        at = end
    raise InputError(f"{name}: truncated PNG ({len(data)} bytes)")


def _jpeg_size(data: bytes, name: str) -> tuple[int, int]:
    at = 2
    # Some encoders pad with zeros after the end marker.
    is_whole = data.rstrip(b"\x00").endswith(b"\xff\xd9")
    while is_whole and at + 9 <= len(data) and data[at] == 0xFF:
        if data[at + 1] in _JPEG_FRAMES:
            height, width = struct.unpack_from(">HH", data, at + 5)
            return int(width), int(height)
        at += 2 + struct.unpack_from(">H", data, at + 2)[0]
    raise InputError(f"{name}: truncated or damaged JPEG ({len(data)} bytes)")


def read_rgb(path: Path) -> np.ndarray:
    """(h, w, 3) uint8, red first."""
    import cv2

    return np.asarray(cv2.cvtColor(_decode(path, cv2.IMREAD_COLOR), cv2.COLOR_BGR2RGB))


def read_u16(path: Path) -> np.ndarray:
    """(h, w) uint16 of a single-channel 16-bit PNG."""
    import cv2

    image = _decode(path, cv2.IMREAD_UNCHANGED)
    if image.dtype != np.uint16 or image.ndim != 2:
        raise InputError(f"{path}: expected one 16-bit channel, got {image.dtype}{image.shape}")
    return image


def read_ids(path: Path) -> np.ndarray:
    """(h, w) uint8 or uint16 of a single-channel image of ids."""
    import cv2

    image = _decode(path, cv2.IMREAD_UNCHANGED)
    if image.dtype not in (np.uint8, np.uint16) or image.ndim != 2:
        raise InputError(f"{path}: expected one channel of ids, got {image.dtype}{image.shape}")
    return image


def write_image(path: Path, image: np.ndarray) -> None:
    """Write (h, w) uint16 or (h, w, 3) uint8 (red first) in the format of the path's suffix.

    Raises:
        InputError: if the file cannot be written.
    """
    import cv2

    pixels = cv2.cvtColor(image, cv2.COLOR_RGB2BGR) if image.ndim == 3 else np.ascontiguousarray(image)
    # Fast compression: recordings are written at frame rate. Other formats complain about the setting.
    settings = [cv2.IMWRITE_PNG_COMPRESSION, 1] if path.suffix == ".png" else []
    is_written = cv2.imwrite(str(path), pixels, settings)
    if not is_written:
        raise InputError(f"{path}: cannot be written")


def encode_image(image: np.ndarray, kind: str) -> bytes:
    """The bytes that `write_image` would write to a file *.png or *.jpg."""
    import cv2

    pixels = cv2.cvtColor(image, cv2.COLOR_RGB2BGR) if image.ndim == 3 else np.ascontiguousarray(image)
    settings = [cv2.IMWRITE_PNG_COMPRESSION, 1] if kind == "png" else []
    is_encoded, data = cv2.imencode(f".{kind}", pixels, settings)
    if not is_encoded:
        raise InputError(f"an image {image.dtype}{image.shape} cannot be encoded as {kind}")
    return bytes(data)


def _decode(path: Path, flags: int) -> np.ndarray:
    import cv2

    try:
        image = cv2.imread(str(path), flags)
    except cv2.error as error:
        raise InputError(f"{path}: cannot be decoded ({error.err})") from None
    if image is None:
        raise InputError(f"{path}: cannot be decoded")
    return np.asarray(image)
