"""The parameters of the memory node as the values that its parts take."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from embmem.errors import InputError
from embmem.recordings.conventions import Conventions
from embmem.replay.observation_log import Thinning
from embmem.ros.nodes.memory.intake import Inputs
from embmem.ros.nodes.memory.parameters import NEEDS_COLOR
from embmem.ros.nodes.memory.poses import Frames
from embmem.ros.ports import Ports

MIB = 1 << 20


@dataclass(frozen=True)
class Settings:
    """What is decided when the node is configured."""

    inputs: Inputs
    conventions: Conventions
    frames: Frames
    is_odometry: bool
    file: Path  # of the memory
    layers: str  # a name of configs/memory
    layer_settings: tuple[str, ...]
    image_encoder: str  # of views: layout, a folder, or nothing
    keeping: dict[str, Any]  # arguments of the memory

    @classmethod
    def of(cls, ports: Ports) -> Settings:
        """As the parameters are now.

        Raises:
            InputError: if they make no sense together.
        """
        reads = _Reads(ports)
        if reads.text("image_encoder") and not ports.parameter("color"):
            raise InputError(NEEDS_COLOR)
        is_all = reads.text("mode") == "all"
        thin = (reads.number(f"thin_{name}") for name in ("interval", "distance", "angle"))
        unit, step = reads.number("depth_unit"), reads.number("depth_step")
        return cls(
            inputs=Inputs(
                reads.text("input"),
                color=bool(ports.parameter("color")),
                detections=reads.text("detections") != "none",
                segments=reads.text("segments"),
                is_rectified=bool(ports.parameter("is_rectified")),
            ),
            conventions=Conventions(
                depth_unit=unit or None,
                depth_invalid=tuple(map(float, reads.texts("depth_invalid"))),
                camera_axes=reads.text("camera_axes"),
                time_offset=reads.number("time_offset"),
                max_gap=reads.number("tf_gap"),
                color_gap=reads.number("color_gap"),
                least_score=reads.number("least_score"),
            ),
            frames=Frames.of(
                map=reads.text("map_frame"),
                world=reads.text("world_frame"),
                camera=reads.text("camera_frame"),
                prefix=reads.text("frame_prefix"),
            ),
            is_odometry=reads.text("pose_source") == "odometry",
            file=Path(reads.text("folder")) / f"{ports.name}.embmem",
            layers=reads.text("memory"),
            layer_settings=tuple(reads.texts("memory_settings")),
            image_encoder=reads.text("image_encoder"),
            keeping={
                "thinning": Thinning(0.0, 0.0, 0.0) if is_all else Thinning(*thin),
                "depth_step": step or None,
                "snapshot_seconds": reads.number("snapshot_period"),
                "disk_budget": round(reads.number("disk_budget") * MIB),
                "ram_budget": round(reads.number("ram_budget") * MIB),
                "clock_backwards": reads.text("clock_backwards"),
            },
        )


class _Reads:
    """Parameters in their types."""

    def __init__(self, ports: Ports) -> None:
        self._ports = ports

    def number(self, name: str) -> float:
        value = self._ports.parameter(name)
        if isinstance(value, (str, list)):
            raise TypeError(f"{name} is {value!r}")
        return float(value)

    def text(self, name: str) -> str:
        return str(self._ports.parameter(name))

    def texts(self, name: str) -> list[str]:
        value = self._ports.parameter(name)
        return [str(item) for item in value] if isinstance(value, list) else [str(value)]
