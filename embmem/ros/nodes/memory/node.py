"""The memory node: ports on one side, a memory with its thread on the other."""

from __future__ import annotations

from collections.abc import Mapping as Values
from functools import partial
from typing import Any

from hydra.utils import instantiate

from embmem.errors import EmbmemError
from embmem.ros.nodes.memory.clock import Watch
from embmem.ros.nodes.memory.counters import Counters
from embmem.ros.nodes.memory.diagnosing import Diagnosing, Now
from embmem.ros.nodes.memory.intake import CAMERAS, LABELS, Intake, PosedFrame
from embmem.ros.nodes.memory.keeper import Keeper
from embmem.ros.nodes.memory.mapping import Mapping
from embmem.ros.nodes.memory.parameters import PARAMETERS, refusal_together
from embmem.ros.nodes.memory.poses import PoseSource
from embmem.ros.nodes.memory.sending import Message, Sending
from embmem.ros.nodes.memory.services import Services
from embmem.ros.nodes.memory.settings import Settings
from embmem.ros.nodes.memory.warming import warm_up
from embmem.ros.nodes.memory.worker import Worker
from embmem.ros.outgoing.diagnostics import diagnostics
from embmem.ros.outgoing.parts import transform
from embmem.ros.parameters import Value
from embmem.ros.ports import LATCHED, Closable, Ports, Publisher, QoS

TICK = 0.02  # [s] between two looks at frames that wait for their poses
TF_PERIOD = 0.1  # [s] between two transforms from the map to the world frame
THROTTLE = 5.0  # [s] between two lines of the log about the same
IMAGE, COMPRESSED = "sensor_msgs/msg/Image", "sensor_msgs/msg/CompressedImage"
CAMERA_INFO, CLOUD, ODOMETRY = "sensor_msgs/msg/CameraInfo", "sensor_msgs/msg/PointCloud2", "nav_msgs/msg/Odometry"
_WHEN_SENT = ("publish_rate", "diagnostics_period")  # parameters of timers


class MemoryNode:
    """Maps what the sensors see while it is active, answers questions from when it is configured.

    Its policies under stress are in docs/memory_node.md, each with its counter in /diagnostics.
    """

    PARAMETERS = PARAMETERS

    def __init__(self, ports: Ports) -> None:
        self._ports = ports
        self._inputs: list[Closable] = []
        self._outputs: list[Closable] = []
        self._timers: list[Closable] = []
        self.worker: Worker[PosedFrame] | None = None
        self.keeper: Keeper | None = None
        self._services: Services | None = None
        self._is_active = self._is_paused = self.is_sending = False
        ports.on_jump(self._on_jump)

    def refuse(self, changes: Values[str, Value]) -> str | None:
        """Why these parameters cannot be set beside the others; None if they can."""
        return refusal_together(self._ports.parameter, changes)

    def configure(self) -> None:
        """Open the memory, begin to answer.

        Raises:
            EmbmemError: if the memory cannot be opened, or a parameter makes no sense.
        """
        ports = self._ports
        self.counters = counters = Counters()
        self._settings = settings = Settings.of(ports)
        self.keeper = Keeper(
            settings,
            counters,
            reserve=partial(self._number, "disk_reserve"),
            retry=partial(self._number, "retry_period"),
        )
        log = partial(ports.log, throttle=THROTTLE)
        self.mapping = Mapping(self.keeper, counters, log=log, on_found=lambda: ports.post(self._tell_where))
        self._poses = PoseSource(ports.tf, settings.frames, settings.conventions, is_odometry=settings.is_odometry)
        self._intake = Intake(
            settings.inputs,
            settings.conventions,
            self._poses,
            tf=ports.tf,
            counters=counters,
            offer=self._offer,
            now_ns=ports.now_ns,
        )
        self._intake.wait = self._number("tf_wait")
        shown = partial(
            instantiate(self.keeper.config.shown),
            z_min=self._number("z_min"),
            z_max=self._number("z_max"),
            min_confidence=self._number("least_confidence"),
        )
        self.sending = Sending(shown(), settings.frames.map)
        if ports.parameter("warm_up"):
            warm_up(self.keeper.empty(), shown())
        self.worker = Worker(self.mapping.handle, name="embmem mapping")
        self._diagnosing = Diagnosing(counters, self.mapping)
        self._open_outputs()
        self.mapping.take_up(is_trusted=bool(ports.parameter("trust_map_frame")))
        self._services = Services(
            ports,
            self.mapping,
            self.worker,
            counters=counters,
            frames=settings.frames,
            poses=self._poses,
            exchanged=self.sending.forget,
        )
        self._watch = Watch(ports.now_ns, lambda: self._number("jump"))
        self._start_timers()

    def _open_outputs(self) -> None:
        ports = self._ports
        self.sending.open(ports)
        self._diagnostics = ports.publisher("diagnostic_msgs/msg/DiagnosticArray", "/diagnostics")
        self._where = ports.publisher("embmem_msgs/msg/Localisation", "~/localisation", LATCHED)
        self._outputs = [self.sending, self._diagnostics, self._where]
        self._tf: Publisher | None = None
        if ports.parameter("publish_map_to_world"):
            self._tf = ports.publisher("tf2_msgs/msg/TFMessage", "/tf")
            self._outputs.append(self._tf)

    def _start_timers(self) -> None:
        for timer in self._timers:
            timer.close()
        ports = self._ports
        self._timers = [
            ports.timer(TICK, self._on_tick, is_steady=True),
            ports.timer(1.0 / self._number("publish_rate"), self._on_send, is_steady=True),
            ports.timer(self._number("diagnostics_period"), self._on_diagnose, is_steady=True),
        ]
        if self._tf is not None:
            self._timers.append(ports.timer(TF_PERIOD, self._send_tf))

    def activate(self) -> None:
        """Take messages."""
        ports, depth = self._ports, int(self._number("input_depth"))
        qos = QoS(depth=depth, is_reliable=bool(ports.parameter("reliable_inputs")))
        choice = self._intake.choice
        names = [(choice.main.kind, choice.main.name), *choice.others.items()]
        for kind, topic in names:
            type = self._type_of(kind)
            take = partial(self._intake.take, type=type, topic=topic, kind=kind)
            self._inputs.append(ports.subscription(type, topic, take, qos))
        for image in CAMERAS if choice.main.kind == "depth" else ():
            if image in (choice.main.name, choice.others.get("color")):
                topic = CAMERAS[image]
                take = partial(self._intake.take_camera, type=CAMERA_INFO, topic=topic)
                self._inputs.append(ports.subscription(CAMERA_INFO, topic, take, qos))
        if "semantic" in choice.others:
            self._inputs.append(ports.subscription("std_msgs/msg/String", LABELS, self._intake.take_labels, LATCHED))
        if self._settings.is_odometry:
            more = QoS(depth=max(depth, 100), is_reliable=qos.is_reliable)
            self._inputs.append(ports.subscription(ODOMETRY, "odom", self._on_odometry, more))
        self._is_active, self._is_paused = True, False

    def _type_of(self, kind: str) -> str:
        if kind == "cloud":
            return CLOUD
        if kind == "detections":
            return f"vision_msgs/msg/Detection{str(self._ports.parameter('detections')).upper()}Array"
        transport = self._ports.parameter(f"{kind if kind in ('depth', 'color') else 'segments'}_transport")
        return COMPRESSED if transport == "compressed" else IMAGE

    def deactivate(self) -> None:
        """Take no more messages; frames that are complete are mapped."""
        self._is_active = False
        for subscription in self._inputs:
            subscription.close()
        self._inputs.clear()
        self._intake.flush()
        self._intake.forget("dropped_stopped")

    def cleanup(self) -> None:
        """Finish what is in hand, tell who waits that the node stops, write the memory down and close it."""
        for closable in (*self._inputs, *self._timers):
            closable.close()
        self._inputs, self._timers, self._is_active = [], [], False
        if self.worker is not None:
            self.counters.add("dropped_stopped", self.worker.stop())
        if self._services is not None:
            self._services.close()
        if self.keeper is not None:
            self.keeper.close()
        for closable in self._outputs:
            closable.close()
        self._outputs = []
        self.worker = self._services = self.keeper = None

    def changed(self, values: Values[str, Value]) -> None:
        """Parameters have new values."""
        if self.worker is None:
            return
        self._intake.wait = self._number("tf_wait")
        if any(name in values for name in _WHEN_SENT):
            self._start_timers()
        if values.get("trust_map_frame") and not self.mapping.localiser.now.is_known:
            self.worker.submit(partial(self.mapping.take_up, is_trusted=True))

    def _number(self, name: str) -> float:
        value = self._ports.parameter(name)
        if isinstance(value, (str, list)):
            raise TypeError(f"{name} is {value!r}")
        return float(value)

    def _offer(self, posed: PosedFrame) -> None:
        if self.worker is None:
            return
        is_all = self._ports.parameter("mode") == "all"
        room = int(self._number("replay_queue" if is_all else "queue_size"))
        n_dropped = self.worker.offer(posed, room=room, drop_oldest=not is_all)
        if n_dropped:
            self.counters.add("dropped_queue", n_dropped)

    def _on_odometry(self, message: Any) -> None:
        try:
            self._poses.add_odometry(message)
        except (EmbmemError, ValueError, AttributeError) as error:
            self.counters.add("bad_message")
            self._ports.log("warning", f"odometry dropped: {error}", throttle=THROTTLE)
        self._intake.look()

    def _on_tick(self) -> None:
        if not self._ports.parameter("use_sim_time"):
            jump = self._watch.look()
            if jump is not None:
                self._on_jump(*jump)
        n_before, why = self._n_dropped(), self._intake.why
        self._intake.tick()
        if self._n_dropped() > n_before or self._intake.why is not why:
            self._ports.log("warning", f"frame dropped: {self._intake.why}", throttle=THROTTLE)
        if self._is_active:
            self._look_for_pause()

    def _n_dropped(self) -> int:
        return sum(self.counters[name] for name in ("tf_late", "tf_missing", "tf_gap", "camera_missing"))

    def _look_for_pause(self) -> None:
        last = self._intake.last_message_ns
        is_paused = last is not None and self._ports.now_ns() - last > self._number("sensor_timeout") * 1e9
        if is_paused and not self._is_paused:
            self.counters.add("sensor_pauses")
            self._ports.log("warning", f"no message on {self._intake.choice.main.name}", throttle=THROTTLE)
        self._is_paused = is_paused

    def _on_jump(self, before: int, after: int) -> None:
        """The clock went back, or far forward at once."""
        if self.worker is None or before == 0:  # there was no /clock yet
            return
        self._watch.rest()
        if after >= before:
            self.counters.add("clock_forward")
            self._intake.postpone()
            return
        self.counters.add("clock_backward")
        self._intake.forget("tf_late")
        self._poses.forget()
        trust = bool(self._ports.parameter("trust_map_frame"))
        self.worker.submit(partial(self.mapping.new_session, is_trusted=trust))

    def _on_send(self) -> None:
        """Let the worker make what has changed; what it makes is sent when it comes back."""
        if self.worker is None or self.is_sending:
            return
        self.is_sending = True
        is_all = self._ports.parameter("mode") == "all"
        period = None if is_all and self.worker.n_waiting else self._number("derive_period")
        wanted = self.sending.wanted(self._ports.now_ns(), self._number("whole_period"))

        def make() -> None:
            messages: list[Message] = []
            try:
                self.mapping.recover()
                messages = self.mapping.messages(self.sending, wanted, period)
            except EmbmemError as error:
                self._ports.log("error", f"the maps cannot be sent: {error}", throttle=THROTTLE)
            finally:
                self._ports.post(partial(self._send, messages))

        self.worker.submit(make, urgent=True)

    def _send(self, messages: list[Message]) -> None:
        self.is_sending = False
        self.sending.send(messages)

    def _on_diagnose(self) -> None:
        if self.worker is None:
            return
        now = Now(
            is_active=self._is_active,
            is_paused=self._is_paused,
            is_replaying=self._ports.parameter("mode") == "all",
            n_waiting=self.worker.n_waiting,
            why=self._intake.why,
        )
        name = f"{self._ports.namespace.rstrip('/')}/{self._ports.name}".removeprefix("/")
        self._diagnostics.publish(diagnostics(name, self._diagnosing.statuses(now), self._ports.now_ns()))

    def _tell_where(self) -> None:
        if self.worker is not None:
            where, frames = self.mapping.localiser.now, self._settings.frames
            self._where.publish(where.fields(self._ports.now_ns(), frames.map, self._poses.world or frames.world))

    def _send_tf(self) -> None:
        where, frames = self.mapping.localiser.now, self._settings.frames
        world = self._poses.world
        if self._tf is not None and where.is_known and world and world != frames.map:
            stamped = transform(where.T_map_world, frames.map, world, self._ports.now_ns())
            self._tf.publish({"transforms": [stamped]})
