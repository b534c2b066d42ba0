"""Maps and graphs on their way out: made on the worker when they have changed, sent by the thread of the callbacks."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field

from embmem.live import LiveMemory
from embmem.ros.outgoing import graphs, maps, things
from embmem.ros.ports import LATCHED, Fields, Ports, Publisher, QoS
from embmem.ros.shown import GraphShown, GridShown, Shows

TOPICS = {  # name -> (type, topic)
    "octomap": ("octomap_msgs/msg/Octomap", "~/voxels"),
    "cloud": ("sensor_msgs/msg/PointCloud2", "~/cloud"),
    "grid": ("nav_msgs/msg/OccupancyGrid", "~/grid"),
    "grid_updates": ("map_msgs/msg/OccupancyGridUpdate", "~/grid_updates"),
    "objects": ("vision_msgs/msg/Detection3DArray", "~/objects"),
    "markers": ("visualization_msgs/msg/MarkerArray", "~/object_markers"),
    "landmarks": ("embmem_msgs/msg/LandmarkGraph", "~/landmarks"),
    "scene_graph": ("embmem_msgs/msg/SceneGraph", "~/scene_graph"),
}
_UPDATES = QoS(depth=10)
Message = tuple[str, Fields]


@dataclass(eq=False)
class _Graph:
    """What the listeners of a graph hold."""

    shown: GraphShown = field(default_factory=GraphShown)
    revision: int = 0
    whole_at: float = -1e9  # [s] of a steady clock


@dataclass(frozen=True)
class Wanted:
    """Who listens: read on the thread of the callbacks, for the worker."""

    listeners: dict[str, int]  # by name of TOPICS
    stamp_ns: int
    whole_period: float  # [s]


class Sending:
    """The publishers of the maps, and what was sent last. Nothing is sent twice.

    Args:
        shown: reads layers.
        frame: of all that goes out.
    """

    def __init__(self, shown: Shows, frame: str) -> None:
        self.shown, self._frame = shown, frame
        self._publishers: dict[str, Publisher] = {}
        self.forget()

    def open(self, ports: Ports) -> None:
        """Make the publishers."""
        for name, (type, topic) in TOPICS.items():
            qos = _UPDATES if name == "grid_updates" else LATCHED
            self._publishers[name] = ports.publisher(type, topic, qos)

    def close(self) -> None:
        """End the publishers."""
        for publisher in self._publishers.values():
            publisher.close()
        self._publishers.clear()

    def forget(self) -> None:
        """Everything is to be sent anew: the memory is another one."""
        self._sent = dict.fromkeys(TOPICS, -1)  # the revision of the memory, by name
        self._heard = dict.fromkeys(TOPICS, 0)  # how many listened then
        self.grid: GridShown | None = None
        self._grid_at = -1e9
        self._graphs = {"landmarks": _Graph(), "scene_graph": _Graph()}

    def wanted(self, now_ns: int, whole_period: float) -> Wanted:
        """Who listens now."""
        listeners = {name: publisher.n_subscriptions for name, publisher in self._publishers.items()}
        return Wanted(listeners, now_ns, whole_period)

    def send(self, messages: list[Message]) -> None:
        """Send what `messages` made."""
        for name, fields in messages:
            if name in self._publishers:
                self._publishers[name].publish(fields)

    def messages(self, memory: LiveMemory, revision: int, wanted: Wanted) -> list[Message]:
        """What has changed since the last time; what is costly only where somebody listens."""
        made: list[Message] = []
        for name, make in self._makers().items():
            n = wanted.listeners.get(name, 0)
            is_new_listener = n > self._heard[name]
            if self._sent[name] == revision and not is_new_listener:
                continue
            if n == 0 and name in ("octomap", "cloud") and self._sent[name] >= 0:
                continue  # the first one is kept for who comes late; others wait until somebody has come
            messages = make(memory, revision, wanted, is_new_listener)
            if messages is not None:
                self._sent[name], self._heard[name] = revision, n
                made += messages
        return made

    def _makers(self) -> dict[str, Callable[[LiveMemory, int, Wanted, bool], list[Message] | None]]:
        return {
            "octomap": self._voxels,
            "cloud": self._cloud,
            "grid": self._grids,
            "objects": self._things,
            "landmarks": self._landmarks,
            "scene_graph": self._scene,
        }

    def _voxels(self, memory: LiveMemory, revision: int, wanted: Wanted, is_new: bool) -> list[Message] | None:
        shown = self.shown.voxels(memory.layers)
        return None if shown is None else [("octomap", maps.octomap(shown, wanted.stamp_ns, self._frame))]

    def _cloud(self, memory: LiveMemory, revision: int, wanted: Wanted, is_new: bool) -> list[Message] | None:
        shown = self.shown.voxels(memory.layers)
        return None if shown is None else [("cloud", maps.cloud(shown.centres, wanted.stamp_ns, self._frame))]

    def _grids(self, memory: LiveMemory, revision: int, wanted: Wanted, is_new: bool) -> list[Message] | None:
        """The whole grid where it has another shape, or for newcomers, or after a while; else what has changed."""
        now, before = self.shown.grid(memory.layers), self.grid
        if now is None:
            return None
        self.grid = now
        is_same_place = before is not None and before.cells.shape == now.cells.shape
        is_same_place = is_same_place and before is not None and bool((before.origin == now.origin).all())
        is_old = time.monotonic() - self._grid_at >= wanted.whole_period
        part = maps.changed_part(before.cells, now.cells) if is_same_place and before is not None else None
        if is_same_place and part is None and not is_new:  # one cell as it was: who drives sees that the grid is kept
            part = (0, 0, now.cells[:1, :1])
            return [("grid_updates", maps.grid_update(*part, wanted.stamp_ns, self._frame))] if now.cells.size else []
        if not is_same_place or is_new or is_old:
            self._grid_at = time.monotonic()
            whole = ("grid", maps.occupancy_grid(now, wanted.stamp_ns, self._frame))
            if part is None:
                return [whole]
            return [whole, ("grid_updates", maps.grid_update(*part, wanted.stamp_ns, self._frame))]
        return [("grid_updates", maps.grid_update(*part, wanted.stamp_ns, self._frame))] if part is not None else []

    def _things(self, memory: LiveMemory, revision: int, wanted: Wanted, is_new: bool) -> list[Message] | None:
        shown = self.shown.things(memory.layers)
        if shown is None:
            return None
        return [
            ("objects", things.detections(shown, wanted.stamp_ns, self._frame)),
            ("markers", things.markers(shown, wanted.stamp_ns, self._frame)),
        ]

    def _landmarks(self, memory: LiveMemory, revision: int, wanted: Wanted, is_new: bool) -> list[Message] | None:
        return self._graph("landmarks", self.shown.landmarks(memory.layers), revision, wanted, is_whole=is_new)

    def _scene(self, memory: LiveMemory, revision: int, wanted: Wanted, is_new: bool) -> list[Message] | None:
        return self._graph("scene_graph", self.shown.scene(memory.layers), revision, wanted, is_whole=is_new)

    def _graph(
        self, name: str, now: GraphShown | None, revision: int, wanted: Wanted, *, is_whole: bool
    ) -> list[Message] | None:
        if now is None:
            return None
        held = self._graphs[name]
        revisions = (held.revision, revision)
        change = graphs.change(held.shown, now, revisions, wanted.stamp_ns, self._frame)
        is_whole = is_whole or held.revision == 0
        if change is None and not is_whole:
            return []
        if time.monotonic() - held.whole_at >= wanted.whole_period:
            is_whole = True
        held.shown, held.revision = now, revision
        if not is_whole and change is not None:
            return [(name, change)]
        held.whole_at = time.monotonic()
        return [(name, graphs.whole(now, revision, wanted.stamp_ns, self._frame))]
