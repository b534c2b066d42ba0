"""Writing CDR without Python's lock, which cyclonedds' own `write` holds while Cyclone sends or waits for readers."""

from __future__ import annotations

import ctypes
from functools import cache
from typing import Any

_WORD = 4  # DDS sends whole ones
_HEAD = 4  # bytes that say how the rest is encoded


@cache
def _dds_write() -> Any:
    """Cyclone's dds_write; ctypes gives Python's lock away while it runs."""
    from cyclonedds.internal import DDS, dds_c_t

    function = DDS._dll_handle["dds_write"]
    function.argtypes, function.restype = [dds_c_t.entity, ctypes.c_void_p], dds_c_t.returnv
    return function


def write(writer: Any, data: bytes | bytearray | memoryview) -> None:
    """Send a sample; other threads run meanwhile.

    Args:
        writer: a DataWriter of cyclonedds.
        data: CDR with its encapsulation header.

    Raises:
        DDSException: if it is no sample of the writer's type, or found no room in time.
    """
    from cyclonedds.core import DDSException
    from cyclonedds.internal import dds_c_t

    n = len(data)
    if n < _HEAD:
        raise DDSException(DDSException.DDS_RETCODE_BAD_PARAMETER, f"{n} bytes are no CDR")
    own = data.obj if isinstance(data, memoryview) and isinstance(data.obj, bytearray) else bytes(data)
    if n % _WORD or len(own) != n:
        own = bytes(data).ljust(n + -n % _WORD, b"\0")
    if isinstance(own, bytearray):  # without a copy
        address = ctypes.addressof(ctypes.c_char.from_buffer(own))
    else:
        address = ctypes.cast(ctypes.c_char_p(own), ctypes.c_void_p).value or 0
    done = _dds_write()(writer._ref, ctypes.byref(dds_c_t.sample_buffer(address, len(own))))
    if done < 0:
        raise DDSException(done, f"Occurred while writing sample in {writer!r}")
