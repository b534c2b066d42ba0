"""Ports in one process, for tests of nodes: topics, services, actions and TF through CDR, with a clock moved by hand.

Everything that goes out becomes a message of rosbags, its bytes, and a message again, as on a wire. Nothing happens
between the calls of a test: `spin` runs what is waiting, `advance` moves the clock and with it the timers.
"""

from __future__ import annotations

import threading
import time
import uuid
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Any

from embmem.errors import InputError
from embmem.ros.definitions import message_of, typestore
from embmem.ros.messages import transforms_of
from embmem.ros.parameters import Parameter, Value, refusal
from embmem.ros.ports import ABORTED, CANCELED, SUCCEEDED, Fields, Node, QoS
from embmem.ros.tf_buffer import TfBuffer, TransformError

NS = 1_000_000_000
TF = "tf2_msgs/msg/TFMessage"


def to_bytes(type: str, fields: Fields) -> bytes:
    return bytes(typestore().serialize_cdr(message_of(type, fields), type))


def of_bytes(type: str, data: bytes) -> Any:
    return typestore().deserialize_cdr(data, type)


def over_the_wire(type: str, fields: Fields) -> Any:
    """The message as another process gets it."""
    return of_bytes(type, to_bytes(type, fields))


def resolved(name: str, *, namespace: str, node: str, remaps: Mapping[str, str]) -> str:
    """The full name of a topic or service (https://design.ros2.org/articles/topic_and_service_names.html)."""

    def full(given: str) -> str:
        own = namespace.rstrip("/")
        if given.startswith("~"):
            return f"{own}/{node}{given[1:]}"
        return given if given.startswith("/") else f"{own}/{given}"

    return full(remaps.get(name, remaps.get(full(name), name)))


@dataclass(eq=False)
class BusPublisher:
    bus: Bus
    type: str
    topic: str
    qos: QoS
    kept: deque[bytes] = field(default_factory=deque)

    @property
    def n_subscriptions(self) -> int:
        return sum(s.topic == self.topic and s.type == self.type for s in self.bus.subscriptions)

    def publish(self, fields: Fields) -> None:
        data = to_bytes(self.type, fields)
        if self.qos.is_latched:
            self.kept.append(data)
            while len(self.kept) > self.qos.depth:
                self.kept.popleft()
        for subscription in list(self.bus.subscriptions):
            if subscription.topic == self.topic and subscription.type == self.type:
                subscription.deliver(data)

    def close(self) -> None:
        self.bus.publishers.remove(self)


@dataclass(eq=False)
class BusSubscription:
    bus: Bus
    type: str
    topic: str
    callback: Callable[[Any], None]
    is_raw: bool

    def deliver(self, data: bytes) -> None:
        def run() -> None:
            if self in self.bus.subscriptions:
                self.callback(data if self.is_raw else of_bytes(self.type, data))

        self.bus.post(run)

    def close(self) -> None:
        self.bus.subscriptions.remove(self)


@dataclass(eq=False)
class BusService:
    bus: Bus
    type: str
    name: str
    handler: Callable[[Any], Fields | Future[Fields]]

    def call(self, request: bytes, on_response: Callable[[bytes], None]) -> None:
        def finish(fields: Fields) -> None:
            if self in self.bus.services:
                on_response(to_bytes(f"{self.type}_Response", fields))

        def of_future(future: Future[Fields]) -> None:
            error = None if future.cancelled() else future.exception()
            fields = {} if future.cancelled() or error else future.result()
            if error is not None:
                self.bus.failures.append(error)
            self.bus.post(lambda: finish(fields))

        try:
            answer = self.handler(of_bytes(f"{self.type}_Request", request))
        except Exception as error:  # as the seam says
            self.bus.failures.append(error)
            answer = {}
        if isinstance(answer, Future):
            answer.add_done_callback(of_future)
        else:
            finish(answer)

    def close(self) -> None:
        self.bus.services.remove(self)


@dataclass(eq=False)
class BusClient:
    bus: Bus
    type: str
    name: str

    def is_ready(self) -> bool:
        return self._server() is not None

    def _server(self) -> BusService | None:
        return next((s for s in self.bus.services if (s.name, s.type) == (self.name, self.type)), None)

    def call(self, request: Fields, on_response: Callable[[Any | None], None], *, timeout: float) -> None:
        data, is_open = to_bytes(f"{self.type}_Request", request), [True]

        def answer(response: Any | None) -> None:
            if is_open.pop() if is_open else False:
                timer.close()
                on_response(response)

        timer = self.bus.timer(timeout, lambda: answer(None))
        server = self._server()
        if server is not None:
            self.bus.post(
                lambda: (
                    server.call(data, lambda reply: answer(of_bytes(f"{self.type}_Response", reply)))
                    if server in self.bus.services
                    else None
                )
            )

    def close(self) -> None:
        """A client keeps nothing."""


@dataclass(eq=False)
class BusTimer:
    bus: Bus
    period_ns: int
    callback: Callable[[], None]
    due_ns: int

    def close(self) -> None:
        if self in self.bus.timers:
            self.bus.timers.remove(self)


@dataclass(eq=False)
class BusGoal:
    """Of both sides: what the server sees, and what the client hears of it."""

    bus: Bus
    type: str
    id: bytes
    request: Any
    client: Mapping[str, Callable[..., None]]
    server: BusActionServer
    is_cancel_requested: bool = False
    is_done: bool = False

    def feedback(self, fields: Fields) -> None:
        message = over_the_wire(f"{self.type}_Feedback", fields)
        self.bus.post(lambda: self.client["on_feedback"](message))

    def succeed(self, result: Fields) -> None:
        self._end(SUCCEEDED, result)

    def abort(self, result: Fields) -> None:
        self._end(ABORTED, result)

    def canceled(self, result: Fields) -> None:
        self._end(CANCELED, result)

    def _end(self, status: int, result: Fields) -> None:
        if self.is_done:
            raise ValueError("a goal ends once")
        self.is_done = True
        message = over_the_wire(f"{self.type}_Result", result)
        self.bus.post(lambda: self.client["on_result"](status, message))

    def cancel(self, on_response: Callable[[bool], None]) -> None:
        def run() -> None:
            if self.server not in self.bus.action_servers:
                return
            is_taken = not self.is_done and self.server.on_cancel(self)
            self.is_cancel_requested = self.is_cancel_requested or is_taken
            self.bus.post(lambda: on_response(is_taken))

        self.bus.post(run)


@dataclass(eq=False)
class BusActionServer:
    bus: Bus
    type: str
    name: str
    refuse: Callable[[Any], str | None]
    on_goal: Callable[[BusGoal], None]
    on_cancel: Callable[[BusGoal], bool]

    def close(self) -> None:
        self.bus.action_servers.remove(self)


@dataclass(eq=False)
class BusActionClient:
    bus: Bus
    type: str
    name: str

    def _server(self) -> BusActionServer | None:
        return next((s for s in self.bus.action_servers if (s.name, s.type) == (self.name, self.type)), None)

    def is_ready(self) -> bool:
        return self._server() is not None

    def send(
        self,
        goal: Fields,
        *,
        on_accepted: Callable[[bool], None],
        on_feedback: Callable[[Any], None],
        on_result: Callable[[int, Any], None],
    ) -> BusGoal:
        server = self._server()
        if server is None:
            raise InputError(f"no server for the action {self.name}")
        request = over_the_wire(f"{self.type}_Goal", goal)
        told: dict[str, Callable[..., None]] = {"on_feedback": on_feedback, "on_result": on_result}
        handle = BusGoal(self.bus, self.type, uuid.uuid4().bytes, request, told, server)

        def run() -> None:
            if server not in self.bus.action_servers:
                return
            reason = server.refuse(request)
            self.bus.post(lambda: on_accepted(reason is None))
            if reason is None:
                server.on_goal(handle)

        self.bus.post(run)
        return handle

    def close(self) -> None:
        """A client keeps nothing."""


class Bus:
    """All nodes of a test, their topics and services, and the clock."""

    def __init__(self, *, now: float = 1000.0) -> None:
        self.now_ns = round(now * NS)
        self.publishers: list[BusPublisher] = []
        self.subscriptions: list[BusSubscription] = []
        self.services: list[BusService] = []
        self.action_servers: list[BusActionServer] = []
        self.timers: list[BusTimer] = []
        self.jump_callbacks: list[Callable[[int, int], None]] = []
        self.failures: list[BaseException] = []  # of handlers of services
        self.logs: list[tuple[str, str, str]] = []  # (node, level, text)
        self._waiting: deque[Callable[[], None]] = deque()
        self._wake = threading.Condition()

    def post(self, callback: Callable[[], None]) -> None:
        with self._wake:
            self._waiting.append(callback)
            self._wake.notify_all()

    def spin(self) -> None:
        """Run all callbacks that wait, and those that they cause."""
        while self._waiting:
            self._waiting.popleft()()

    def spin_until(self, is_so: Callable[[], bool], *, timeout: float = 30.0, advance: float = 0.0) -> None:
        """Run callbacks as they come, other threads' too, until it is so; `advance` moves the clock [s] meanwhile.

        Raises:
            TimeoutError: if it is not so after `timeout` real seconds.
        """
        end = time.monotonic() + timeout
        while True:
            self.spin()
            if is_so():
                return
            if time.monotonic() > end:
                raise TimeoutError(f"not so after {timeout} s; the log: {self.logs[-5:]}")
            if advance:
                self.advance(advance)
            with self._wake:
                if not self._waiting:
                    self._wake.wait(0.01)

    def advance(self, seconds: float) -> None:
        """Move the clock forward and run what is due on the way, in its order."""
        end = self.now_ns + round(seconds * NS)
        self.spin()
        while due := [t for t in self.timers if t.due_ns <= end]:
            timer = min(due, key=lambda t: t.due_ns)
            self.now_ns = max(self.now_ns, timer.due_ns)
            timer.due_ns += timer.period_ns
            timer.callback()
            self.spin()
        self.now_ns = end

    def jump(self, seconds: float) -> None:
        """Set the clock to another time at once, as a bag that begins anew does; timers run on from there."""
        before = self.now_ns
        self.now_ns += round(seconds * NS)
        for timer in self.timers:
            timer.due_ns = self.now_ns + timer.period_ns
        for callback in self.jump_callbacks if not 0 <= seconds <= 10 else ():
            self.post(lambda callback=callback: callback(before, self.now_ns))  # type: ignore[misc]
        self.advance(0.0)

    def timer(self, period: float, callback: Callable[[], None]) -> BusTimer:
        timer = BusTimer(self, max(round(period * NS), 1), callback, 0)
        timer.due_ns = self.now_ns + timer.period_ns
        self.timers.append(timer)
        return timer

    def ports(self, name: str, node: type[Any] | None = None, **options: Any) -> BusPorts:
        """The ports of a new node, with the parameters of its class; see `BusPorts`."""
        return BusPorts(self, name, tuple(getattr(node, "PARAMETERS", ())), **options)

    def send(self, topic: str, type: str, fields: Fields) -> None:
        """Publish one message, as somebody else on the bus."""
        publisher = BusPublisher(self, type, topic, QoS())
        publisher.publish(fields)

    def heard(self, topic: str, type: str) -> list[Any]:
        """A list to which all messages of a topic will be added, the latched ones first."""
        messages: list[Any] = []
        self.ports("listener").subscription(type, topic, messages.append, QoS(is_latched=True))
        return messages

    def ask(self, name: str, type: str, fields: Fields, *, timeout: float = 30.0) -> Any:
        """The response of a service, None if it does not come in `timeout` real seconds."""
        responses: list[Any] = []
        self.ports("asker").client(type, name).call(fields, responses.append, timeout=1e6)
        self.spin_until(lambda: bool(responses), timeout=timeout)
        return responses[0]


class BusPorts:
    """What one node has of the bus.

    Args:
        bus: it.
        name: of the node.
        parameters: that it declares.
        namespace: "/" or "/robot_1".
        values: of parameters, instead of their defaults.
        remaps: other names for topics and services.
    """

    def __init__(
        self,
        bus: Bus,
        name: str,
        parameters: Sequence[Parameter] = (),
        *,
        namespace: str = "/",
        values: Mapping[str, Value] | None = None,
        remaps: Mapping[str, str] | None = None,
    ) -> None:
        self.bus, self.name, self.namespace = bus, name, namespace
        self.tf = TfBuffer(keep=10.0)
        self.declared = tuple(parameters)
        self.values: dict[str, Value] = {p.name: p.default for p in parameters}
        if (reason := refusal(parameters, dict(values or {}), is_running=False)) is not None:
            raise ValueError(reason)
        self.values |= dict(values or {})
        self._remaps = dict(remaps or {})
        self.on_jump(lambda before, after: self.tf.forget_moving() if after < before else None)
        for topic in ("/tf", "/tf_static"):
            self.subscription(TF, topic, self._hear_static if topic.endswith("static") else self._hear_moving)

    def _hear_moving(self, message: Any) -> None:
        self._hear(message, is_static=False)

    def _hear_static(self, message: Any) -> None:
        self._hear(message, is_static=True)

    def _hear(self, message: Any, *, is_static: bool) -> None:
        transforms = transforms_of(message, is_static=is_static)
        for stamp, pose in zip(transforms.stamps_ns, transforms.poses, strict=True):
            if pose.position is None or pose.quaternion is None:
                continue
            try:
                self.tf.add(
                    pose.parent, pose.child, pose.position, pose.quaternion, stamp_ns=stamp, is_static=is_static
                )
            except TransformError as error:
                self.log("warning", str(error))

    def full(self, name: str) -> str:
        return resolved(name, namespace=self.namespace, node=self.name, remaps=self._remaps)

    def publisher(self, type: str, topic: str, qos: QoS = QoS()) -> BusPublisher:  # noqa: B008 - frozen
        publisher = BusPublisher(self.bus, type, self.full(topic), qos)
        self.bus.publishers.append(publisher)
        return publisher

    def subscription(
        self,
        type: str,
        topic: str,
        callback: Callable[[Any], None],
        qos: QoS = QoS(),  # noqa: B008 - frozen
        *,
        raw: bool = False,
    ) -> BusSubscription:
        subscription = BusSubscription(self.bus, type, self.full(topic), callback, raw)
        self.bus.subscriptions.append(subscription)
        for publisher in self.bus.publishers if qos.is_latched else ():
            if publisher.topic == subscription.topic and publisher.type == type:
                for data in publisher.kept:
                    subscription.deliver(data)
        return subscription

    def service(self, type: str, name: str, handler: Callable[[Any], Fields | Future[Fields]]) -> BusService:
        service = BusService(self.bus, type, self.full(name), handler)
        self.bus.services.append(service)
        return service

    def client(self, type: str, name: str) -> BusClient:
        return BusClient(self.bus, type, self.full(name))

    def action_server(
        self,
        type: str,
        name: str,
        *,
        refuse: Callable[[Any], str | None],
        on_goal: Callable[[Any], None],
        on_cancel: Callable[[Any], bool],
    ) -> BusActionServer:
        server = BusActionServer(self.bus, type, self.full(name), refuse, on_goal, on_cancel)
        self.bus.action_servers.append(server)
        return server

    def on_jump(self, callback: Callable[[int, int], None]) -> None:
        self.bus.jump_callbacks.append(callback)

    def action_client(self, type: str, name: str) -> BusActionClient:
        return BusActionClient(self.bus, type, self.full(name))

    def timer(self, period: float, callback: Callable[[], None], *, is_steady: bool = False) -> BusTimer:
        return self.bus.timer(period, callback)

    def now_ns(self) -> int:
        return self.bus.now_ns

    def parameter(self, name: str) -> Value:
        return self.values[name]

    def change(self, node: Node, **changes: Value) -> str | None:
        """Set parameters as `ros2 param set` does; why not, or None when they are set."""
        reason = refusal(self.declared, changes)
        veto = getattr(node, "refuse", None)
        if reason is None and veto is not None:
            reason = veto(changes)
        if reason is None:
            self.values |= changes
            node.changed(changes)
        return reason

    def post(self, callback: Callable[[], None]) -> None:
        self.bus.post(callback)

    def log(self, level: str, text: str, *, throttle: float = 0.0) -> None:
        self.bus.logs.append((self.name, level, text))
