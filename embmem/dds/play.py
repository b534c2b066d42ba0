"""Plays a ROS 2 bag on the wire, byte for byte as it was recorded, with /clock."""

from __future__ import annotations

import heapq
import math
import threading
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from embmem.dds.ports import DdsPorts
from embmem.dds.topics import DdsPublisher
from embmem.errors import InputError
from embmem.recordings.rosbag import open_raw
from embmem.ros.definitions import typestore
from embmem.ros.ports import QoS

NANOSECONDS = 1_000_000_000
_MAX_LATCHED = 1000  # messages that late listeners of a latched topic get
_LOOK = 0.01  # [s] between two looks who listens
_FLUSH = 5.0  # [s] for reliable listeners to take in the last messages


@dataclass
class Player:
    """Plays one bag.

    Args:
        path: folder or file.
        rate: how many times as fast as it was; inf: as fast as it goes.
        is_looping: from the begin again at the end; the time of /clock jumps back then.
        clock: [Hz] of /clock, 0 = none.
        topics: that are played, empty = all.
        start: [s] of the bag that are left out, but for what was latched.
        duration: [s] of it that are played.
        wait_for: topics that must be listened to before it begins.
    """

    path: Path
    rate: float = 1.0
    is_looping: bool = False
    clock: float = 100.0
    topics: Sequence[str] = ()
    start: float = 0.0
    duration: float = math.inf
    wait_for: Sequence[str] = ()
    stop: threading.Event = field(default_factory=threading.Event)
    played: Counter[str] = field(default_factory=Counter)  # messages by topic

    def __post_init__(self) -> None:
        if not self.rate > 0 or self.start < 0 or not self.duration > 0 or not 0 <= self.clock <= 10_000:
            raise InputError(
                f"need rate > 0, start >= 0, duration > 0 and 0 <= clock <= 10000; there are rate {self.rate}, "
                f"start {self.start}, duration {self.duration}, clock {self.clock}"
            )

    def play(self, ports: DdsPorts) -> None:
        """Play it through, or until `stop` is set, then wait until reliable listeners have it all.

        Raises:
            InputError: if the bag cannot be read, or none of its topics can be played.
        """
        with open_raw(self.path) as readers:
            chosen = [[c for c in reader.connections if self._is_chosen(c, ports)] for reader in readers]
            publishers = _publishers([c for some in chosen for c in some], ports)
            if not publishers:
                raise InputError(f"{self.path}: there is no topic to be played")
            clock = ports.publisher("rosgraph_msgs/msg/Clock", "/clock") if self.clock else None
            everything = list(publishers.values())
            try:
                self._wait(publishers)
                while not self.stop.is_set():
                    self._once(zip(readers, chosen, strict=True), publishers, clock)
                    if not self.is_looping:
                        break
                for publisher in everything:
                    publisher.flush(_FLUSH)
            finally:
                for publisher in [*everything, *([clock] if clock else [])]:
                    publisher.close()

    def _is_chosen(self, connection: Any, ports: DdsPorts) -> bool:
        if self.topics and connection.topic not in self.topics:
            return False
        if connection.topic == "/clock" and self.clock:
            return False  # there is one clock
        if connection.msgtype not in typestore().fielddefs:
            ports.log("warning", f"{connection.topic} is left out: its type {connection.msgtype!r} is not known")
            return False
        return True

    def _wait(self, publishers: dict[str, DdsPublisher]) -> None:
        missing = [topic for topic in self.wait_for if topic not in publishers]
        if missing:
            raise InputError(f"{self.path}: nothing of {', '.join(missing)} is played that could be waited for")
        while any(not publishers[topic].n_subscriptions for topic in self.wait_for) and not self.stop.wait(_LOOK):
            pass

    def _once(self, sources: Any, publishers: dict[str, DdsPublisher], clock: DdsPublisher | None) -> None:
        streams = [_messages(reader, chosen) for reader, chosen in sources if chosen]
        pace: _Pace | None = None
        with closing(heapq.merge(*streams, key=lambda message: message[0])) as messages:
            for stamp, topic, data in messages:
                pace = pace or _Pace(stamp + round(self.start * NANOSECONDS), self.rate)
                if stamp < pace.begin_ns:
                    if publishers[topic].is_latched:  # said once before: who listens from here on needs it, too
                        self._send(publishers[topic], topic, data)
                    continue
                if stamp - pace.begin_ns > self.duration * NANOSECONDS or self.stop.is_set():
                    return
                self._pass_time(pace, stamp, clock)
                self._send(publishers[topic], topic, data)

    def _send(self, publisher: DdsPublisher, topic: str, data: bytes) -> None:
        publisher.publish_cdr(data)
        self.played[topic] += 1

    def _pass_time(self, pace: _Pace, stamp_ns: int, clock: DdsPublisher | None) -> None:
        """Until a message is due; the clock ticks meanwhile and stands at its stamp at the end."""
        while (left := pace.left(stamp_ns)) > 0:
            if clock is not None:
                _tick(clock, pace.now_ns(stamp_ns))
                left = min(left, 1.0 / self.clock)
            if self.stop.wait(left):
                return
        if clock is not None:
            _tick(clock, stamp_ns)


class _Pace:
    """Where in the bag the time stands."""

    def __init__(self, begin_ns: int, rate: float) -> None:
        self.begin_ns, self._rate, self._start = begin_ns, rate, time.monotonic()

    def left(self, stamp_ns: int) -> float:
        """[s] until it is due."""
        return (stamp_ns - self.begin_ns) / NANOSECONDS / self._rate - (time.monotonic() - self._start)

    def now_ns(self, stamp_ns: int) -> int:
        """The time of the bag, which does not pass what comes next."""
        return min(stamp_ns, self.begin_ns + int((time.monotonic() - self._start) * self._rate * NANOSECONDS))


def _messages(reader: Any, connections: list[Any]) -> Iterator[tuple[int, str, bytes]]:
    for connection, stamp, data in reader.messages(connections=connections):
        yield stamp, connection.topic, data


def _tick(clock: DdsPublisher, now_ns: int) -> None:
    sec, nanosec = divmod(now_ns, NANOSECONDS)
    clock.publish({"clock": {"sec": sec, "nanosec": nanosec}})


def _publishers(connections: list[Any], ports: DdsPorts) -> dict[str, DdsPublisher]:
    counts: Counter[str] = Counter()
    for connection in connections:
        counts[connection.topic] += int(connection.msgcount)
    publishers: dict[str, DdsPublisher] = {}
    for connection in connections:
        if connection.topic not in publishers:
            qos = _qos(connection, counts[connection.topic])
            publishers[connection.topic] = ports.publisher(connection.msgtype, connection.topic, qos, patience=_FLUSH)
    return publishers


def _qos(connection: Any, n_messages: int) -> QoS:
    """As it was recorded: late listeners of a latched topic get all of it."""
    offered = connection.ext.offered_qos_profiles
    is_latched = connection.topic == "/tf_static" or any(qos.durability.name == "TRANSIENT_LOCAL" for qos in offered)
    is_reliable = not offered or all(qos.reliability.name != "BEST_EFFORT" for qos in offered)
    depth = max((int(qos.depth) for qos in offered), default=10)
    if is_latched:
        return QoS(depth=max(1, min(n_messages, _MAX_LATCHED)), is_reliable=is_reliable, is_latched=True)
    return QoS(depth=max(10, min(depth, _MAX_LATCHED)), is_reliable=is_reliable)
