"""What the pose graph of a memory found out while a recording went in."""

from __future__ import annotations

from typing import Any, Protocol, runtime_checkable

import numpy as np

from embmem.building.record import LoopRecord
from embmem.geometry import invert_pose, rotation_angle
from embmem.memory import Memory
from embmem.observation import Observation
from embmem.protocols import Deformation, PoseCorrector


@runtime_checkable
class LoopCloser(PoseCorrector, Protocol):
    """A pose graph that tells what it closed."""

    distance: float  # [m] between keyframes ...
    angle: float  # ... or [rad]
    keyframes: list[Any]
    loops: list[Any]

    def observe(self, observation: Observation) -> None:
        """Make a keyframe if the camera has moved on."""

    def deform(self, deformation: Deformation) -> None:
        """Move the keyframes."""

    def corrections(self, stamps: np.ndarray) -> np.ndarray:
        """How far what was written down at these times [s] has been moved since."""


def loop_closer(memory: Memory) -> LoopCloser | None:
    """The pose graph of the memory, if it has one."""
    return next((layer for layer in memory.layers if isinstance(layer, LoopCloser)), None)


def loop_records(memory: Memory) -> tuple[LoopRecord, ...]:
    """The loops that the pose graph of a memory knows, believed or not; what each says against odometry."""
    graph = loop_closer(memory)
    return () if graph is None else loop_records_of(graph)


def loop_records_of(graph: LoopCloser) -> tuple[LoopRecord, ...]:
    """Likewise, of a pose graph."""
    records = []
    for loop in graph.loops:
        i, j = graph.keyframes[loop.i], graph.keyframes[loop.j]
        off = invert_pose(i.T_odom_camera @ loop.T_i_j) @ j.T_odom_camera
        shift, turn = float(np.linalg.norm(off[:3, 3])), float(rotation_angle(off[:3, :3]))
        records.append(LoopRecord(float(i.stamp), float(j.stamp), bool(loop.is_on), shift, turn))
    return tuple(records)
