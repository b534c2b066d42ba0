"""The recorder node: sensor topics, TF and answers of the memory into a rosbag2, byte by byte as they came."""

from __future__ import annotations

import threading
from collections import Counter, deque
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from embmem.errors import EmbmemError, InputError, StoreError
from embmem.recordings.bag_writer import BagWriter, DiskFullError, Topic
from embmem.ros.definitions import typestore
from embmem.ros.outgoing.diagnostics import ERROR, OK, WARN, Status, diagnostics
from embmem.ros.parameters import USE_SIM_TIME, Parameter, Value
from embmem.ros.ports import Closable, Fields, Ports, QoS

_MEGABYTE = 1 << 20
_DIAGNOSTICS = 1.0  # [s]
_IDLE = 0.2  # [s] between two looks at the clock of a writer without messages
TOPICS = [  # name, type and, where who comes late must get them, latched
    "depth/image sensor_msgs/msg/Image",
    "depth/camera_info sensor_msgs/msg/CameraInfo",
    "color/image sensor_msgs/msg/Image",
    "color/camera_info sensor_msgs/msg/CameraInfo",
    "points sensor_msgs/msg/PointCloud2",
    "odom nav_msgs/msg/Odometry",
    "detections vision_msgs/msg/Detection2DArray",
    "/tf tf2_msgs/msg/TFMessage",
    "/tf_static tf2_msgs/msg/TFMessage latched",
    "memory/objects vision_msgs/msg/Detection3DArray latched",
    "memory/localisation embmem_msgs/msg/Localisation latched",
]


class RecorderNode:
    """Records while it is active and was told to; services `~/start`, `~/stop`, `~/split` (std_srvs/Trigger)."""

    PARAMETERS = (
        USE_SIM_TIME,
        Parameter("folder", "recordings", "where bags go, each in a folder of its own", is_read_only=True),
        Parameter("prefix", "", "of their names; empty: the node's name"),
        Parameter("topics", TOPICS, "name, type and perhaps latched, of each", is_read_only=True),
        Parameter("record_on_activate", True, "begin when the node becomes active; else by the service start"),
        Parameter("max_megabytes", 1024, "of a file, after which the next begins; 0: no limit", 0),
        Parameter("max_seconds", 0.0, "that a file spans; 0: no limit", 0),
        Parameter("chunk_seconds", 1.0, "that a kill may cost at most", 0.05, 60),
        Parameter("queue_megabytes", 256, "that wait for the disk at most; what comes then is dropped", 1, 65536),
        Parameter("min_free_megabytes", 1024, "that stay free on the disk", 0),
        Parameter("when_full", "stop", "stop, or delete the oldest file", choices=("stop", "drop_oldest")),
    )

    def __init__(self, ports: Ports) -> None:
        self._ports = ports
        self._open: list[Closable] = []
        self._topics: list[Topic] = []
        self._recording: _Recording | None = None
        self._is_active = False
        self._last_error = ""

    def refuse(self, changes: Mapping[str, Value]) -> str | None:
        """Why changes make no sense."""
        prefix = str(changes.get("prefix", ""))
        if "/" in prefix or prefix.startswith(".") or not prefix.isprintable():
            return f"prefix is part of a name of a folder, not {prefix!r}"
        return None

    def configure(self) -> None:
        """Open topics and services."""
        ports, lines = self._ports, self._ports.parameter("topics")
        if (reason := self.refuse({"prefix": ports.parameter("prefix")})) is not None:
            raise InputError(reason)
        asked = [read_topic(line) for line in lines] if isinstance(lines, list) else []
        self._topics = [full_topic(topic, ports.namespace) for topic in asked]
        names = [topic.name for topic in self._topics]
        if not names or len(set(names)) < len(names):
            raise InputError(f"topics to record are one or more different ones, not {names}")
        unknown = [topic.type for topic in self._topics if topic.type not in typestore().fielddefs]
        if unknown:
            raise InputError(f"no message type {unknown[0]!r} is known")
        self._diagnostics = ports.publisher("diagnostic_msgs/msg/DiagnosticArray", "/diagnostics", QoS())
        self._open += [self._diagnostics, ports.timer(_DIAGNOSTICS, self._tell, is_steady=True)]
        for name, handler in (("start", self._on_start), ("stop", self._on_stop), ("split", self._on_split)):
            self._open.append(ports.service("std_srvs/srv/Trigger", f"~/{name}", handler))
        for given, topic in zip(asked, self._topics, strict=True):
            qos = QoS(depth=100, is_latched=True) if topic.is_latched else QoS(depth=50, is_reliable=topic.is_reliable)
            self._open.append(ports.subscription(topic.type, given.name, self._taker(topic), qos, raw=True))

    def activate(self) -> None:
        """Record, if the parameters say so."""
        self._is_active = True
        if self._ports.parameter("record_on_activate") and (problem := self._start()) is not None:
            self._is_active = False
            raise StoreError(problem)

    def deactivate(self) -> None:
        """Finish the bag."""
        self._is_active = False
        self._end().result()

    def cleanup(self) -> None:
        """Close everything."""
        self.deactivate()
        for thing in reversed(self._open):
            thing.close()
        self._open.clear()

    def changed(self, values: Mapping[str, Value]) -> None:
        """New values hold from the next bag on."""

    def _taker(self, topic: Topic) -> Callable[[bytes], None]:
        def take(data: bytes) -> None:
            recording, now = self._recording, self._ports.now_ns()
            if recording is not None and now > 0:
                recording.take(topic.name, now, bytes(data))

        return take

    def _on_start(self, request: Any) -> Fields:
        if not self._is_active:
            return {"success": False, "message": "the recorder is not active"}
        if self._recording is not None and not self._recording.has_ended:
            return {"success": False, "message": f"recording already, to {self._recording.folder}"}
        problem = self._start()
        folder = "" if self._recording is None else str(self._recording.folder)
        return {"success": problem is None, "message": folder if problem is None else problem}

    def _on_stop(self, request: Any) -> Fields | Future[Fields]:
        recording, answer = self._recording, Future[Fields]()
        if recording is None:
            return {"success": False, "message": "nothing is being recorded"}

        def tell(ended: Future[None]) -> None:
            answer.set_result({"success": not recording.error, "message": recording.error or str(recording.folder)})

        self._end().add_done_callback(tell)
        return answer

    def _on_split(self, request: Any) -> Fields:
        if self._recording is None or self._recording.has_ended:
            return {"success": False, "message": "nothing is being recorded"}
        self._recording.split()
        return {"success": True, "message": str(self._recording.folder)}

    def _start(self) -> str | None:
        """Begin a bag; why not, or None."""
        self._end()
        ports = self._ports
        prefix = str(ports.parameter("prefix")) or ports.name
        parent = Path(str(ports.parameter("folder")))
        stamp = datetime.now(timezone.utc).strftime("%Y_%m_%d-%H_%M_%S")
        names = (f"{prefix}_{stamp}{f'_{i}' if i else ''}" for i in range(1000))
        folder = next(parent / name for name in names if not (parent / name).exists())
        settings: dict[str, Any] = {
            "max_bytes": int(self._number("max_megabytes") * _MEGABYTE),
            "max_seconds": self._number("max_seconds"),
            "chunk_seconds": self._number("chunk_seconds"),
            "min_free": int(self._number("min_free_megabytes") * _MEGABYTE),
        }
        try:
            writer = BagWriter(folder, self._topics, typestore(), **settings)
        except (EmbmemError, OSError) as error:
            self._last_error = str(error)
            ports.log("error", f"cannot record: {error}")
            return str(error)
        self._last_error = ""
        self._recording = _Recording(
            writer,
            most_waiting=int(self._number("queue_megabytes") * _MEGABYTE),
            drops_oldest=ports.parameter("when_full") == "drop_oldest",
            say=ports.log,
        )
        ports.log("info", f"recording to {folder}")
        return None

    def _end(self) -> Future[None]:
        """Take no more messages; the future is done when the bag is."""
        recording, self._recording = self._recording, None
        if recording is None:
            done: Future[None] = Future()
            done.set_result(None)
            return done

        def note(ended: Future[None]) -> None:
            self._last_error = recording.error
            self._ports.log("info", f"recorded {recording.n_messages:,} messages to {recording.folder}")

        ended = recording.stop()
        ended.add_done_callback(note)
        return ended

    def _number(self, name: str) -> float:
        value = self._ports.parameter(name)
        return float(value) if isinstance(value, (int, float)) else 0.0

    def _tell(self) -> None:
        """How it is, for /diagnostics."""
        recording = self._recording
        error = self._last_error if recording is None else recording.error
        level, message = (ERROR, error) if error else (OK, "not recording")
        values: dict[str, float | int | str] = {}
        if recording is not None and not error:
            message = f"recording to {recording.folder}"
            level = WARN if recording.dropped.total() else OK
        if recording is not None:
            values = {
                "messages": recording.n_messages,
                "safe messages": recording.n_safe,
                "bytes": recording.n_bytes,
                "files": recording.n_files,
                "waiting bytes": recording.n_waiting,
                "dropped": recording.dropped.total(),
                **{f"dropped {topic}": n for topic, n in sorted(recording.dropped.items())},
            }
        name = f"{self._ports.namespace.rstrip('/')}/{self._ports.name}"
        status = Status("recording", level, message, values)
        self._diagnostics.publish(diagnostics(name, [status], self._ports.now_ns()))


class _Recording:
    """One bag and the thread that writes it. What the disk cannot take in time is dropped, and counted by topic."""

    def __init__(
        self, writer: BagWriter, *, most_waiting: int, drops_oldest: bool, say: Callable[[str, str], None]
    ) -> None:
        self._writer, self._most, self._drops_oldest, self._say = writer, most_waiting, drops_oldest, say
        self.folder, self.error = writer.folder, ""
        self.dropped: Counter[str] = Counter()
        self.n_waiting = self.n_messages = self.n_safe = self.n_bytes = self.n_files = 0
        self._queue: deque[tuple[str, int, bytes]] = deque()
        self._wake = threading.Condition()
        self._is_stopping = self._is_splitting = self.has_ended = False
        self.ended: Future[None] = Future()
        threading.Thread(target=self._run, name="recorder", daemon=True).start()

    def take(self, topic: str, stamp_ns: int, data: bytes) -> None:
        """Have a message written."""
        with self._wake:
            if self.has_ended or self.n_waiting + len(data) > self._most:
                self.dropped[topic] += 1
                return
            self._queue.append((topic, stamp_ns, data))
            self.n_waiting += len(data)
            self._wake.notify()

    def split(self) -> None:
        """Begin a new file with the next message."""
        with self._wake:
            self._is_splitting = True

    def stop(self) -> Future[None]:
        """Write what waits, and finish the bag; the future is done then."""
        with self._wake:
            self._is_stopping = True
            self._wake.notify()
        return self.ended

    def _run(self) -> None:
        try:
            while self._step():
                pass
            self._writer.close()
        except Exception as error:  # the node goes on; diagnostics say so
            self._fail(error)
        with self._wake:
            self.has_ended = True
            self._count()
        self.ended.set_result(None)

    def _step(self) -> bool:
        """Write what waits; False once all is written that ever will be."""
        with self._wake:
            if not self._queue and not self._is_stopping:
                self._wake.wait(_IDLE)
            batch, self._queue = self._queue, deque()
            is_last = self._is_stopping and not batch
            splits, self._is_splitting = self._is_splitting, False
        if splits:
            self._writer.end_file()
        for i, message in enumerate(batch):
            try:
                self._write(*message)
            except StoreError:
                with self._wake:
                    self.dropped.update(topic for topic, _, _ in [*batch][i:])
                raise
            with self._wake:
                self.n_waiting -= len(message[2])
        self._make_room(self._writer.flush_if_due)
        self._count()
        return not is_last

    def _count(self) -> None:
        writer = self._writer
        self.n_messages, self.n_safe, self.n_bytes = writer.n_messages, writer.n_safe, writer.n_bytes
        self.n_files = len(writer.files)

    def _write(self, topic: str, stamp_ns: int, data: bytes) -> None:
        self._make_room(lambda: self._writer.write(topic, stamp_ns, data))
        self._make_room(self._writer.flush_if_due)

    def _make_room(self, work: Callable[[], None]) -> None:
        """Do it; where the disk is full, after the oldest files are gone, if they may go."""
        while True:
            try:
                work()
            except DiskFullError as error:
                if not self._drops_oldest or not self._writer.drop_oldest():
                    raise
                self._say("warning", f"the oldest file was deleted: {error}")
            else:
                return

    def _fail(self, error: Exception) -> None:
        """The disk is full or broken: keep what there is."""
        with self._wake:
            self.has_ended = True
        self.error = f"stopped: {' '.join(str(error).split())}"
        self._say("error", f"recording {self.error}")
        try:
            if isinstance(error, DiskFullError):
                self._writer.close()
            else:
                self._writer.abandon()
        except (EmbmemError, OSError) as problem:
            self._say("error", f"{self.folder} could not be finished, it can be read all the same: {problem}")
            self._writer.abandon()


def read_topic(line: str) -> Topic:
    """A topic of the parameter `topics`.

    Raises:
        InputError: if it is none.
    """
    words = line.split()
    if not 2 <= len(words) <= 3 or (len(words) == 3 and words[2] not in ("latched", "reliable")):
        raise InputError(f"a topic to record is a name, a type and perhaps latched or reliable, not {line!r}")
    is_tf = words[1] == "tf2_msgs/msg/TFMessage"
    return Topic(
        words[0],
        words[1],
        is_latched=words[2:] == ["latched"],
        is_reliable=is_tf or words[2:] in (["latched"], ["reliable"]),
    )


def full_topic(topic: Topic, namespace: str) -> Topic:
    """The topic with its name as it stands in the bag."""
    own = namespace.rstrip("/")
    name = topic.name if topic.name.startswith("/") else f"{own}/{topic.name}"
    return Topic(name, topic.type, topic.is_latched, topic.is_reliable)
