"""A time and bytes, as Cyclone DDS's own Python API has them. No `annotations` from the future: it resolves types."""

from dataclasses import dataclass

from cyclonedds.idl import IdlStruct
from cyclonedds.idl.types import sequence, uint8, uint64


@dataclass
class Bytes(IdlStruct, typename="Bytes"):  # type: ignore[misc, call-arg] # cyclonedds is not typed
    """What is sent."""

    stamp: uint64
    data: sequence[uint8]
