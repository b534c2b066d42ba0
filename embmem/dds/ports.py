"""`embmem.ros.ports.Ports` on the wire."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from typing import Any

from embmem.dds.action_client import DdsActionClient
from embmem.dds.action_server import DdsActionServer
from embmem.dds.clock import NodeClock
from embmem.dds.executor import Executor
from embmem.dds.log import NodeLog, check_level
from embmem.dds.names import Names
from embmem.dds.participant import PATIENCE, Participant
from embmem.dds.services import DdsClient, DdsService
from embmem.dds.topics import DdsPublisher, subscribe
from embmem.errors import InputError
from embmem.ros.messages import stamp_ns
from embmem.ros.parameters import USE_SIM_TIME, Value
from embmem.ros.ports import Closable, Fields, QoS, ServerGoal
from embmem.ros.shells import TF_HISTORY, Throttle, listen_to_tf
from embmem.ros.tf_buffer import TfBuffer

_DEFAULT = QoS()
_ROSOUT = QoS(depth=1000, is_latched=True)
_CLOCK = QoS(depth=1, is_reliable=False)
_OFTEN = 5.0  # [s] between two complaints about the same
_LOOK = 0.5  # [s] between two looks at the quality of others
_MAX_MATTERS = 1000  # of complaint that are remembered


class DdsPorts:
    """What a node has of the world; ends with `close`.

    Args:
        names: of the node, with its remaps.
        domain: 0 to 232.
        log_level: least level that is said.
    """

    def __init__(self, names: Names, domain: int, *, log_level: str = "info") -> None:
        self.names, self.name, self.namespace = names, names.node, names.namespace
        self.tf = TfBuffer(keep=TF_HISTORY)
        self.values: Mapping[str, Value] = {USE_SIM_TIME.name: False}
        check_level(log_level)
        self._participant = Participant(domain, names.node, names.namespace)
        self.executor = Executor(self._participant, self._on_error)
        self.clock = NodeClock(self.executor)
        rosout = DdsPublisher(self._participant, "rcl_interfaces/msg/Log", "/rosout", _ROSOUT, lambda *_: None)
        self._log = NodeLog(names.path[1:].replace("/", "."), self.now_ns, rosout.publish, least=log_level)
        self._throttle = Throttle()
        self._complaints: dict[str, float] = {}
        self._clock_topic: Closable | None = None
        self.clock.on_jump(self._on_jump)
        listen_to_tf(self)
        self.executor.later(_LOOK, self._look_at_others)

    def publisher(self, type: str, topic: str, qos: QoS = _DEFAULT, *, patience: float = PATIENCE) -> DdsPublisher:
        """A new publisher; `patience` [s] is for who has nothing else to do than to wait for slow listeners."""
        name = self.names.full(topic)
        return DdsPublisher(self._participant, type, name, qos, self._complain, patience=patience)

    def subscription(
        self, type: str, topic: str, callback: Callable[[Any], None], qos: QoS = _DEFAULT, *, raw: bool = False
    ) -> Closable:
        """Call back with every message; with `raw` with its CDR bytes."""
        return subscribe(
            self.executor,
            self._participant,
            type,
            self.names.full(topic),
            callback,
            qos,
            is_raw=raw,
            log=self._complain,
        )

    def service(self, type: str, name: str, handler: Callable[[Any], Fields | Future[Fields]]) -> DdsService:
        """Answer requests."""
        return DdsService(self.executor, self._participant, type, self.names.full(name), handler, self._complain)

    def client(self, type: str, name: str) -> DdsClient:
        """A new client of a service."""
        return DdsClient(self.executor, self._participant, type, self.names.full(name), self._complain)

    def action_server(
        self,
        type: str,
        name: str,
        *,
        refuse: Callable[[Any], str | None],
        on_goal: Callable[[ServerGoal], None],
        on_cancel: Callable[[ServerGoal], bool],
    ) -> DdsActionServer:
        """Serve an action."""
        return DdsActionServer(self, type, self.names.full(name), refuse=refuse, on_goal=on_goal, on_cancel=on_cancel)

    def action_client(self, type: str, name: str) -> DdsActionClient:
        """A new client of an action."""
        return DdsActionClient(self, type, self.names.full(name))

    def timer(self, period: float, callback: Callable[[], None], *, is_steady: bool = False) -> Closable:
        """Call back every `period` seconds of the node's clock, or of a steady one."""
        return self.clock.timer(period, callback, is_steady=is_steady)

    def on_jump(self, callback: Callable[[int, int], None]) -> None:
        """Call back with (before, after) [ns] when the node's clock jumps."""
        self.clock.on_jump(callback)

    def now_ns(self) -> int:
        """[ns] of the node's clock."""
        return self.clock.now_ns()

    def parameter(self, name: str) -> Value:
        """The value of a declared parameter as it is now."""
        if name not in self.values:
            raise InputError(f"no parameter {name!r}, only {', '.join(self.values)}")
        return self.values[name]

    def post(self, callback: Callable[[], None]) -> None:
        """Run something on the thread of the callbacks."""
        self.executor.post(callback)

    def log(self, level: str, text: str, *, throttle: float = 0.0) -> None:
        """Say something."""
        if self._throttle.lets_speak(throttle):
            self._log(level, text)

    def use_sim_time(self, is_simulated: bool) -> None:
        """Take the time from /clock, or from the system; on the thread of the callbacks."""
        self.clock.simulate(is_simulated)
        if is_simulated and self._clock_topic is None:
            self._clock_topic = self.subscription(
                "rosgraph_msgs/msg/Clock", "/clock", lambda m: self.clock.tick(stamp_ns(m.clock)), _CLOCK
            )
        elif not is_simulated and self._clock_topic is not None:
            self._clock_topic.close()
            self._clock_topic = None

    @property
    def entity(self) -> Any:
        """The participant of cyclonedds."""
        return self._participant.entity

    def close(self) -> None:
        """End the thread of the callbacks and leave the domain."""
        self.executor.stop()
        self._participant.close()

    def _on_jump(self, before_ns: int, after_ns: int) -> None:
        self.log("warning", f"the time jumped by {(after_ns - before_ns) / 1e9:.3f} s")
        if after_ns < before_ns:
            self.tf.forget_moving()

    def _complain(self, level: str, text: str) -> None:
        """About what comes in or does not get out; the same matter every few seconds."""
        matter, now = text.partition(": ")[0], time.monotonic()
        if now - self._complaints.get(matter, -_OFTEN) >= _OFTEN:
            self._complaints.pop(matter, None)
            self._complaints[matter] = now
            if len(self._complaints) > _MAX_MATTERS:
                del self._complaints[next(iter(self._complaints))]
            self._log(level, text)

    def _look_at_others(self) -> None:
        """Now and then: who publishes or listens with another quality would be missed in silence."""
        for topic, policy in self._participant.mismatches():
            text = f"another node is not heard on {topic[2:]}, or does not hear us: its {policy} does not go with ours"
            self._complain("warning", text)
        self.executor.later(_LOOK, self._look_at_others)

    def _on_error(self, error: Exception) -> None:
        where = error.__traceback__
        while where is not None and where.tb_next is not None:
            where = where.tb_next
        place = f" ({where.tb_frame.f_code.co_filename}:{where.tb_lineno})" if where is not None else ""
        self._complain("error", f"a callback failed{place}: {error!r}")
