"""RVL, lossless compression of 16-bit depth (Wilson, Fast lossless depth image compression, ISS 2017)."""

from __future__ import annotations

import struct

import numpy as np

from embmem.errors import InputError

MAX_PIXELS = 1 << 26  # what a header may claim; no camera has more
_HEADER = struct.Struct("<II")  # columns, rows


def decode_rvl(data: bytes) -> np.ndarray:
    """(h, w) uint16 of columns, rows and the code, as compressed_depth_image_transport writes them.

    Raises:
        InputError: if the code is cut, or codes other than columns x rows pixels.
    """
    if len(data) < _HEADER.size:
        raise InputError(f"RVL of {len(data)} bytes is cut")
    columns, rows = _HEADER.unpack_from(data)
    if not 0 < columns * rows <= MAX_PIXELS:
        raise InputError(f"RVL of {columns} x {rows} pixels")
    nibbles = np.frombuffer(data[_HEADER.size : len(data) - len(data) % 4], dtype="<u4")
    shifts = np.arange(28, -4, -4, dtype=np.uint32)
    stream = ((nibbles[:, None] >> shifts) & 15).ravel()
    return _pixels(_values(stream), columns * rows).reshape(rows, columns)


def _values(stream: np.ndarray) -> np.ndarray:
    """The variable-length numbers of a stream of nibbles: three bits each, the fourth says that more follow."""
    ends = np.flatnonzero((stream & 8) == 0)
    if len(ends) == 0:
        return np.empty(0, dtype=np.int64)
    starts = np.concatenate([[0], ends[:-1] + 1])
    place = np.arange(ends[-1] + 1) - np.repeat(starts, ends - starts + 1)
    # beyond 16 nibbles a number is damage; it then fits nothing, whatever its bits
    parts = (stream[: len(place)].astype(np.int64) & 7) << np.minimum(3 * place, 48)
    return np.asarray(np.add.reduceat(parts, starts))


def _pixels(values: np.ndarray, n_pixels: int) -> np.ndarray:
    """Runs of zeros and of differences become pixels; one step of Python a run, none a pixel."""
    out = np.zeros(n_pixels, dtype=np.uint16)
    at, i, previous = 0, 0, 0
    while at < n_pixels:
        if i + 1 >= len(values):
            raise InputError(f"RVL ends after {at} of {n_pixels} pixels")
        n_zeros, n_values = int(values[i]), int(values[i + 1])
        if n_zeros + n_values == 0 or at + n_zeros + n_values > n_pixels or i + 2 + n_values > len(values):
            raise InputError(f"RVL is damaged at pixel {at} of {n_pixels}")
        zigzag = values[i + 2 : i + 2 + n_values]
        run = previous + np.cumsum((zigzag >> 1) ^ -(zigzag & 1))
        if n_values:
            if run.min() < 0 or run.max() > 65535:
                raise InputError(f"RVL is damaged at pixel {at} of {n_pixels}: a depth does not fit 16 bits")
            out[at + n_zeros : at + n_zeros + n_values] = run
            previous = int(run[-1])
        at, i = at + n_zeros + n_values, i + 2 + n_values
    return out
