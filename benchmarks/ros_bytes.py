"""A time and bytes, as Cyclone DDS's own Python API has them. No `annotations` from the future: it resolves types."""

from dataclasses import dataclass

from cyclonedds.idl import IdlStruct
from cyclonedds.idl.types import sequence, uint8, uint64


@dataclass
class Bytes(IdlStruct, typename="Bytes"):
    """What is sent."""

    stamp: uint64
    data: sequence[uint8]  # type: ignore[type-arg] # what a sequence is of is told at run time
