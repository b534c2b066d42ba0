"""DDS types of ROS messages, whose samples stay the CDR bytes that they are on the wire.

A topic of `nav_msgs/msg/Path` has the DDS type `nav_msgs::msg::dds_::Path_`; requests and replies of services carry a
header of two numbers in front (rmw_cyclonedds, cdds_request_header_t). Cyclone checks what comes in against the fields,
so that a cut or twisted sample does not reach us.
"""

from __future__ import annotations

import re
from functools import cache
from typing import Any

from embmem.errors import import_extra
from embmem.ros.definitions import known, typestore

HEADER = (("guid", "uint64"), ("sequence_number", "int64"))  # of requests and replies
_BOUND = 65535  # of sequences and texts, the greatest that Cyclone's Python takes: beyond it they have none


class Raw:
    """A sample as it came: CDR with its encapsulation header."""

    __slots__ = ("data", "sample_info")

    def __init__(self, data: bytes) -> None:
        self.data = data
        self.sample_info: Any = None  # cyclonedds sets it


def dds_name(type: str) -> str:
    """The name that a type has in DDS."""
    package, kind, name = type.split("/")
    return f"{package}::{kind}::dds_::{name}_"


def ros_name(type: str) -> str | None:
    """The type of a name in DDS; None where it is none of ROS."""
    match = re.fullmatch(r"(\w+)::(msg|srv|action)::dds_::(\w+)_", type)
    return f"{match[1]}/{match[2]}/{match[3]}" if match else None


def topic_type(type: str, *, with_header: bool = False) -> Any:
    """The class that cyclonedds makes a topic of; the same one every time."""
    return _topic_type(type, with_header)


@cache
def _topic_type(type: str, with_header: bool) -> Any:
    import_extra("cyclonedds.idl", "dds")
    fields = _fields(known(type))
    header = {name: _base(base, 0) for name, base in HEADER} if with_header else {}
    made = _struct(dds_name(type), {**header, **fields})
    made.deserialize = classmethod(lambda _, data, **__: Raw(data))
    made.deserialize_key = made.deserialize
    return made


def _struct(name: str, fields: dict[str, Any]) -> Any:
    from cyclonedds.idl import make_idl_struct

    return make_idl_struct(name.rsplit("::", maxsplit=1)[1], name, fields, dataclassify=False)


@cache
def _nested(type: str) -> Any:
    return _struct(dds_name(type), _fields(type))


def _fields(type: str) -> dict[str, Any]:
    from rosbags.typesys.base import normalize_fieldname

    fields = typestore().fielddefs[type][1]
    return {normalize_fieldname(name): _field(description) for name, description in fields}


def _field(description: Any) -> Any:
    from rosbags.interfaces import Nodetype

    types: Any = import_extra("cyclonedds.idl.types", "dds")

    node, rest = description
    if node == Nodetype.NAME:
        return _nested(rest)
    if node == Nodetype.BASE:
        return _base(*rest)
    inner, size = _field(rest[0]), rest[1]
    if node == Nodetype.ARRAY:
        return types.array[inner, size]
    return types.sequence[inner, size] if 0 < size <= _BOUND else types.sequence[inner]


def _base(name: str, limit: int) -> Any:
    types: Any = import_extra("cyclonedds.idl.types", "dds")

    if name == "string":
        return types.bounded_str[limit] if 0 < limit <= _BOUND else str
    if name == "bool":
        return bool
    return getattr(types, {"octet": "byte", "byte": "byte", "char": "uint8"}.get(name, name))
