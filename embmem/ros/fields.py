"""Plain mappings as messages: every value is checked against its field, so that nothing half-right goes out."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import cache
from typing import Any

import numpy as np

from embmem.errors import InputError

Convert = Callable[[Any, str], Any]  # (value, where it is) -> as rosbags' class wants it

_DTYPES = {"bool": "?", "byte": "u1", "octet": "u1", "char": "u1", "float32": "f4", "float64": "f8"} | {
    f"{sign}int{bits}": f"{sign or 'i'}{bits // 8}" for sign in ("", "u") for bits in (8, 16, 32, 64)
}
_SIGNED = ("byte", "octet")  # whose bits rosbags writes as those of an int8 where there is one alone
# Of the messages that we send the only default that is not zero (geometry_msgs/Quaternion.msg).
_DEFAULTS = {("geometry_msgs/msg/Quaternion", "w"): 1.0}
_BYTES = (bytes, bytearray, memoryview)


@cache
def converter(store: Any, type: str) -> Convert:
    """What makes a message of that type of a mapping; made once a type."""
    from rosbags.typesys.base import normalize_fieldname

    made = store.types[type]
    fields = []
    for name, description in store.fielddefs[type][1]:
        convert, default = _field(store, description)
        if (type, name) in _DEFAULTS:
            default = _constant(_DEFAULTS[type, name])
        fields.append((name, normalize_fieldname(name), convert, default))
    names = {name for name, *_ in fields}

    def message(value: Any, where: str) -> Any:
        if isinstance(value, made):
            return value
        if not isinstance(value, Mapping):
            raise InputError(f"{where} is a {type}, not {_short(value)}")
        if not names >= value.keys():
            unknown = sorted(map(str, set(value) - names))
            raise InputError(f"{where}: no field {', '.join(unknown)} in {type}, only {', '.join(sorted(names))}")
        return made(
            **{
                attribute: convert(value[name], f"{where}.{name}") if name in value else default()
                for name, attribute, convert, default in fields
            }
        )

    return message


def _constant(value: Any) -> Callable[[], Any]:
    return lambda: value


def _field(store: Any, description: Any) -> tuple[Convert, Callable[[], Any]]:
    """(what converts a value of the field, what makes its default)."""
    from rosbags.interfaces import Nodetype

    node, rest = description
    if node == Nodetype.NAME:
        return _nested(store, rest)
    if node == Nodetype.BASE:
        return _scalar(*rest)
    (inner_node, inner), size = rest
    is_fixed = node == Nodetype.ARRAY
    if inner_node == Nodetype.BASE and inner[0] != "string":
        dtype = np.dtype(_DTYPES[inner[0]])
        return _array(dtype, size, is_fixed), lambda: np.zeros(size if is_fixed else 0, dtype=dtype)
    convert, default = _field(store, (inner_node, inner))
    return _sequence(convert, size, is_fixed), lambda: [default() for _ in range(size if is_fixed else 0)]


def _nested(store: Any, type: str) -> tuple[Convert, Callable[[], Any]]:
    convert = converter(store, type)
    return convert, lambda: convert({}, type)


def _scalar(name: str, limit: int) -> tuple[Convert, Callable[[], Any]]:
    if name == "string":

        def text(value: Any, where: str) -> str:
            if not isinstance(value, str) or "\0" in value or (limit and len(value) > limit):
                raise InputError(f"{where} is a text{f' of at most {limit}' if limit else ''}, not {_short(value)}")
            return value

        return text, str
    dtype = np.dtype(_DTYPES[name])
    if dtype.kind == "b":
        return _boolean, bool
    if dtype.kind == "f":
        return _real, float
    low, high = int(np.iinfo(dtype).min), int(np.iinfo(dtype).max)

    def whole(value: Any, where: str) -> int:
        if isinstance(value, (bool, np.bool_)) or not isinstance(value, (int, np.integer)) or not low <= value <= high:
            raise InputError(f"{where} is a whole number from {low} to {high}, not {_short(value)}")
        return int(value) - 256 if name in _SIGNED and value > 127 else int(value)

    return whole, int


def _boolean(value: Any, where: str) -> bool:
    if not isinstance(value, (bool, np.bool_)):
        raise InputError(f"{where} is true or false, not {_short(value)}")
    return bool(value)


def _real(value: Any, where: str) -> float:
    if isinstance(value, (bool, np.bool_)) or not isinstance(value, (int, float, np.integer, np.floating)):
        raise InputError(f"{where} is a number, not {_short(value)}")
    return float(value)


def _array(dtype: np.dtype[Any], size: int, is_fixed: bool) -> Convert:
    """Numbers of any shape as one row of the field's type; numbers that it cannot hold are refused."""

    def array(value: Any, where: str) -> np.ndarray:
        if isinstance(value, _BYTES):
            if dtype.itemsize != 1:
                raise InputError(f"{where} holds {dtype.name}, and {len(value)} bytes are not that")
            given = np.frombuffer(value, dtype=dtype)
        else:
            given = _cast(value, dtype, where)
        _check_length(len(given), size, is_fixed, where)
        return given

    return array


def _cast(value: Any, dtype: np.dtype[Any], where: str) -> np.ndarray:
    try:
        given = np.asarray(value)
    except ValueError:  # rows of different lengths
        raise InputError(f"{where} is an array of {dtype.name}, not {_short(value)}") from None
    if given.size == 0:
        return np.zeros(0, dtype=dtype)
    if given.dtype != dtype:
        widens = {"b": "b", "f": "fiu"}.get(dtype.kind, "iu")
        if given.dtype.kind not in widens:
            raise InputError(f"{where} is an array of {dtype.name}, not of {given.dtype}")
        if dtype.kind in "iu" and not np.iinfo(dtype).min <= given.min() <= given.max() <= np.iinfo(dtype).max:
            raise InputError(f"{where}: {given.min()} to {given.max()} do not fit {dtype.name}")
        given = given.astype(dtype)
    return np.ascontiguousarray(given).reshape(-1)


def _sequence(convert: Convert, size: int, is_fixed: bool) -> Convert:
    def sequence(value: Any, where: str) -> list[Any]:
        if isinstance(value, (str, *_BYTES)) or not isinstance(value, (Sequence, np.ndarray)):
            raise InputError(f"{where} is a list, not {_short(value)}")
        _check_length(len(value), size, is_fixed, where)
        return [convert(item, f"{where}[{i}]") for i, item in enumerate(value)]

    return sequence


def _check_length(length: int, size: int, is_fixed: bool, where: str) -> None:
    if (is_fixed and length != size) or (not is_fixed and size and length > size):
        raise InputError(f"{where} holds {'' if is_fixed else 'at most '}{size} values, not {length}")


def _short(value: Any) -> str:
    text = f"{type(value).__name__} {value!r}"
    return text if len(text) <= 80 else f"{text[:77]}..."
