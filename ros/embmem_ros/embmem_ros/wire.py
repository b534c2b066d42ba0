"""Plain mappings as what rclpy sends: checked and serialised by the library, which is tested without ROS."""

from __future__ import annotations

from typing import Any

from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy
from rclpy.serialization import deserialize_message

from embmem.ros.definitions import message_of, typestore
from embmem.ros.ports import Fields, QoS


def cdr_of(type: str, fields: Fields) -> bytes:
    """The bytes of a message, which a publisher sends as they are.

    Raises:
        InputError: if there is no such type or field, or a value does not fit.
    """
    return bytes(typestore().serialize_cdr(message_of(type, fields), type))


def message_for(kind: Any, type: str, fields: Fields) -> Any:
    """A message of rclpy's class `kind`, where no bytes will do: requests, responses, goals, results, feedback.

    Raises:
        InputError: as `cdr_of`.
    """
    return deserialize_message(cdr_of(type, fields), kind)


def profile(qos: QoS) -> QoSProfile:
    """The same as rclpy's."""
    return QoSProfile(
        depth=qos.depth,
        reliability=ReliabilityPolicy.RELIABLE if qos.is_reliable else ReliabilityPolicy.BEST_EFFORT,
        durability=DurabilityPolicy.TRANSIENT_LOCAL if qos.is_latched else DurabilityPolicy.VOLATILE,
    )
