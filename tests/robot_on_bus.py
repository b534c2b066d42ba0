"""A robot that sends what its camera sees to a memory node on the bus of the tests."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from bus import NS, Bus, BusPorts

from embmem.live import LiveMemory
from embmem.maps import VoxelMap
from embmem.observation import Observation
from embmem.ros.nodes.memory import MemoryNode
from embmem.ros.outgoing import images
from embmem.ros.outgoing.parts import header, pose, transform
from embmem.ros.parameters import Value

IMAGE, INFO, TF = "sensor_msgs/msg/Image", "sensor_msgs/msg/CameraInfo", "tf2_msgs/msg/TFMessage"
START = 1000.0  # [s] of the bus's clock, and of the first frame
SMALL: dict[str, Value] = {  # a memory that opens fast
    "use_sim_time": True, "memory": "spatial", "memory_settings": ["resolution=0.1"], "mode": "all",
    "warm_up": False,
}  # fmt: skip


class Robot:
    """A memory node in a folder, and somebody who sends to it.

    Args:
        folder: of the memory.
        bus: that it is on; a new one if not given.
        name: of the node.
        namespace: its own.
        values: parameters besides those of SMALL.
    """

    def __init__(
        self, folder: Path, bus: Bus | None = None, *, name: str = "memory", namespace: str = "/", **values: Value
    ) -> None:
        self.bus = Bus(now=START) if bus is None else bus
        self.ports: BusPorts = self.bus.ports(
            name, MemoryNode, namespace=namespace, values={**SMALL, "folder": str(folder), **values}
        )
        self.node = MemoryNode(self.ports)
        self.world = "map"

    @property
    def memory(self) -> LiveMemory:
        """What the node keeps now."""
        assert self.node.keeper is not None
        return self.node.keeper.memory

    @property
    def voxels(self) -> VoxelMap:
        return self.memory.layer(VoxelMap)

    def start(self) -> Robot:
        self.node.configure()
        self.node.activate()
        self.bus.spin()
        return self

    def stop(self) -> None:
        self.node.deactivate()
        self.node.cleanup()
        self.bus.spin()

    def see(
        self,
        observation: Observation,
        *,
        stamp: float | None = None,
        tf: bool = True,
        info: bool = True,
        depth: np.ndarray | None = None,
        encoding: str = "32FC1",
        color: bool = False,
    ) -> None:
        """Send one frame at its stamp, START later."""
        ns = round(((START + observation.stamp) if stamp is None else stamp) * NS)
        optical = f"{self.ports.namespace.strip('/')}_optical".removeprefix("_")
        if tf:
            self.bus.send("/tf", TF, {"transforms": [transform(observation.T_map_camera, self.world, optical, ns)]})
        if info:
            self.send("depth/camera_info", INFO, images.camera_info(observation.intrinsics, ns, optical))
        pixels = np.asarray(observation.depth if depth is None else depth)
        if encoding == "16UC1":
            pixels = np.rint(pixels * 1000).astype(np.uint16)
        if color and observation.rgb is not None:
            self.send("color/camera_info", INFO, images.camera_info(observation.intrinsics, ns, optical))
            self.send("color/image", IMAGE, images.image(observation.rgb, "rgb8", ns, optical))
        self.send("depth/image", IMAGE, images.image(pixels, encoding, ns, optical))

    def send(self, topic: str, type: str, fields: dict[str, Any]) -> None:
        self.bus.send(self.ports.full(topic), type, fields)
        self.bus.spin()

    def detect(self, observation: Observation, label: str, *, stamp: float) -> None:
        """Say where in the image something of that label is."""
        assert observation.semantic is not None
        rows, columns = np.nonzero(observation.semantic == observation.labels.index(label))
        if not len(rows):
            return
        head = header(round(stamp * NS), "optical")
        middle = {"x": float(columns.min() + columns.max()) / 2, "y": float(rows.min() + rows.max()) / 2}
        box = {
            "center": {"position": middle}, "size_x": float(np.ptp(columns)) + 1.0, "size_y": float(np.ptp(rows)) + 1.0,
        }  # fmt: skip
        found = {"header": head, "results": [{"hypothesis": {"class_id": label, "score": 0.9}}], "bbox": box}
        self.send("detections", "vision_msgs/msg/Detection2DArray", {"header": head, "detections": [found]})

    def settle(self) -> None:
        """Return when everything that was sent is mapped or dropped."""
        self.bus.advance(1.0)
        self.ask("save", "SaveMemory", path="../nowhere")  # refused, but behind the frames

    def walk(self, observations: Iterable[Observation], **how: Any) -> None:
        """Send frames, the clock going along, and wait until they are mapped."""
        for observation in observations:
            ahead = round((START + observation.stamp) * NS) - self.bus.now_ns
            self.bus.advance(max(0.0, ahead / NS))
            self.see(observation, **how)
        self.settle()

    def ask(self, service: str, type: str, **fields: Any) -> Any:
        return self.bus.ask(self.ports.full(f"~/{service}"), f"embmem_msgs/srv/{type}", fields)

    def counts(self) -> dict[str, int]:
        return self.node.counters.all()

    def status(self, part: str) -> Any:
        """The status of that part in fresh diagnostics."""
        heard = self.bus.heard("/diagnostics", "diagnostic_msgs/msg/DiagnosticArray")
        self.bus.advance(float(self.ports.values["diagnostics_period"]))  # type: ignore[arg-type]
        self.bus.spin_until(lambda: bool(heard))
        mine = f"{self.ports.namespace.strip('/')}/{self.ports.name}".removeprefix("/")
        return next(s for message in heard[::-1] for s in message.status if s.name == f"{mine}: {part}")

    def sent(self, topic: str, type: str) -> list[Any]:
        """The messages on one of its topics from now on; `tick` lets more come."""
        return self.bus.heard(self.ports.full(f"~/{topic}"), type)

    def tick(self, n: int = 1) -> None:
        """Let the node send what has changed."""
        for _ in range(n):
            self.bus.advance(1.0 / float(self.ports.values["publish_rate"]))  # type: ignore[arg-type]
            self.bus.spin_until(lambda: not self.node.is_sending)


def later(observations: Iterable[Observation], seconds: float) -> list[Observation]:
    """The same frames at a later time."""
    return [replace(o, stamp=o.stamp + seconds) for o in observations]


def place(x: float, y: float, z: float, frame: str = "map") -> dict[str, Any]:
    """A geometry_msgs/PointStamped."""
    return {"header": {"frame_id": frame}, "point": {"x": x, "y": y, "z": z}}


def stamped(T: np.ndarray, frame: str, stamp: float) -> dict[str, Any]:
    """A geometry_msgs/PoseStamped."""
    return {"header": header(round(stamp * NS), frame), "pose": pose(T)}
