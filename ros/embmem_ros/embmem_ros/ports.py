"""`embmem.ros.ports.Ports` on rclpy.

Everything of a node is in one reentrant callback group on a single-threaded executor: callbacks run one after another
on one thread, and a service that waits for its answer holds up nobody.
"""

from __future__ import annotations

import traceback
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any

from rclpy.callback_groups import ReentrantCallbackGroup
from rclpy.clock import Clock, ClockType, JumpHandle, JumpThreshold, TimeJump
from rclpy.duration import Duration
from rclpy.exceptions import InvalidHandle
from rclpy.lifecycle import LifecycleNode
from rclpy.task import Future as RosFuture
from rosidl_runtime_py.utilities import get_action, get_message, get_service

from embmem.ros.parameters import Value
from embmem.ros.ports import ActionClient, Fields, QoS, ServerGoal
from embmem.ros.shells import JUMP_NS, TF_HISTORY, Throttle
from embmem.ros.tf_buffer import TfBuffer
from embmem_ros.actions import RosActionClient, serve
from embmem_ros.wire import cdr_of, message_for, profile

PLAIN = QoS()


class Entity:
    """Something of a node that lasts until it is closed."""

    def __init__(self, destroy: Callable[[], object]) -> None:
        self._destroy: Callable[[], object] | None = destroy

    def close(self) -> None:
        """End it."""
        if self._destroy is not None:
            destroy, self._destroy = self._destroy, None
            destroy()


class RosPublisher(Entity):
    """Sends messages of one type to one topic."""

    def __init__(self, node: LifecycleNode, type: str, topic: str, qos: QoS) -> None:
        self._made = node.create_publisher(get_message(type), topic, profile(qos))
        self._node, self._type = node, type
        super().__init__(lambda: node.destroy_publisher(self._made))

    @property
    def n_subscriptions(self) -> int:
        """How many listen."""
        return int(self._made.get_subscription_count())

    def publish(self, fields: Fields) -> None:
        """Send one; nothing is sent any more once ROS shuts down."""
        data = cdr_of(self._type, fields)
        if self._node.context.ok():
            self._made.publish(data)


class RosClient(Entity):
    """Calls one service."""

    def __init__(self, ports: RosPorts, node: LifecycleNode, type: str, name: str) -> None:
        self._kind = get_service(type)
        self._made = node.create_client(self._kind, name, callback_group=ports.group)
        self._ports, self._node, self._type = ports, node, type
        super().__init__(lambda: node.destroy_client(self._made))

    def is_ready(self) -> bool:
        """Whether a server is there."""
        return bool(self._made.service_is_ready())

    def call(self, request: Fields, on_response: Callable[[Any | None], None], *, timeout: float) -> None:
        """Ask; the time runs on a steady clock, also where that of the node stands still."""
        future = self._made.call_async(message_for(self._kind.Request, f"{self._type}_Request", request))
        tell = self._ports.guarded(f"response of {self._type}", on_response)
        waits = [True]

        def end(response: Any | None) -> None:
            if waits.pop() if waits else False:
                self._node.destroy_timer(timer)
                self._made.remove_pending_request(future)
                tell(response)

        steady = Clock(clock_type=ClockType.STEADY_TIME)
        timer = self._node.create_timer(timeout, lambda: end(None), callback_group=self._ports.group, clock=steady)
        future.add_done_callback(lambda done: end(done.result()))


class RosPorts:
    """What a node has of the world; `values` gives its parameters."""

    def __init__(self, node: LifecycleNode, values: Callable[[str], Value]) -> None:
        self.name, self.namespace = node.get_name(), node.get_namespace()
        self.tf = TfBuffer(keep=TF_HISTORY)
        self.group = ReentrantCallbackGroup()
        self._node, self._values = node, values
        self._posted: deque[Callable[[], None]] = deque()
        self._throttle = Throttle()
        self._guard = node.create_guard_condition(self._run_posted, callback_group=self.group)
        self._jumps: list[JumpHandle] = []
        self.on_jump(lambda before, after: self.tf.forget_moving() if after < before else None)

    def publisher(self, type: str, topic: str, qos: QoS = PLAIN) -> RosPublisher:
        """A new publisher."""
        return RosPublisher(self._node, type, topic, qos)

    def subscription(
        self, type: str, topic: str, callback: Callable[[Any], None], qos: QoS = PLAIN, *, raw: bool = False
    ) -> Entity:
        """Call back with every message, or with its bytes."""
        guarded = self.guarded(f"message of {topic}", callback)
        made = self._node.create_subscription(
            get_message(type), topic, guarded, profile(qos), callback_group=self.group, raw=raw
        )
        return Entity(lambda: self._node.destroy_subscription(made))

    def service(self, type: str, name: str, handler: Callable[[Any], Fields | Future[Fields]]) -> Entity:
        """Answer requests at once or later; the default response where the handler raises."""
        kind = get_service(type)

        async def answer(request: Any, response: Any) -> Any:
            try:
                fields = handler(request)
                if isinstance(fields, Future):
                    await self._done(fields)
                    fields = fields.result()
                return message_for(kind.Response, f"{type}_Response", fields)
            except Exception as error:
                self.log("error", f"request of {name}: {traceback.format_exc()}")
                if hasattr(response, "message"):
                    response.message = f"it failed: {error}"
                return response

        made = self._node.create_service(kind, name, answer, callback_group=self.group)
        return Entity(lambda: self._node.destroy_service(made))

    def client(self, type: str, name: str) -> RosClient:
        """A new client of a service."""
        return RosClient(self, self._node, type, name)

    def action_server(
        self,
        type: str,
        name: str,
        *,
        refuse: Callable[[Any], str | None],
        on_goal: Callable[[ServerGoal], None],
        on_cancel: Callable[[ServerGoal], bool],
    ) -> Entity:
        """Serve an action."""
        server = serve(self, self._node, (get_action(type), type, name), (refuse, on_goal, on_cancel))
        return Entity(server.destroy)

    def action_client(self, type: str, name: str) -> ActionClient:
        """A new client of an action."""
        return RosActionClient(self, self._node, get_action(type), type, name)

    def timer(self, period: float, callback: Callable[[], None], *, is_steady: bool = False) -> Entity:
        """Call back every `period` seconds of the node's clock, or of a steady one."""
        clock = Clock(clock_type=ClockType.STEADY_TIME) if is_steady else None
        made = self._node.create_timer(period, self.guarded("timer", callback), callback_group=self.group, clock=clock)
        return Entity(lambda: self._node.destroy_timer(made))

    def on_jump(self, callback: Callable[[int, int], None]) -> None:
        """Call back with (before, after) [ns] when the simulated time jumps."""

        def jumped(jump: TimeJump) -> None:
            after = self.now_ns()
            before = after - int(jump.delta.nanoseconds)
            if before > 0:  # else it is the first that is heard of the time
                callback(before, after)

        ends = Duration(nanoseconds=JUMP_NS), Duration(nanoseconds=-1)
        threshold = JumpThreshold(min_forward=ends[0], min_backward=ends[1], on_clock_change=False)
        clock = self._node.get_clock()
        self._jumps.append(clock.create_jump_callback(threshold, post_callback=self.guarded("jump of time", jumped)))

    def now_ns(self) -> int:
        """[ns] of the node's clock."""
        return int(self._node.get_clock().now().nanoseconds)

    def parameter(self, name: str) -> Value:
        """The value of a declared parameter as it is now."""
        return self._values(name)

    def post(self, callback: Callable[[], None]) -> None:
        """Run something on the thread of the callbacks; by any thread, and in vain once the node is gone."""
        self._posted.append(callback)
        try:
            self._guard.trigger()
        except InvalidHandle:
            self._posted.clear()

    def log(self, level: str, text: str, *, throttle: float = 0.0) -> None:
        """Say something, by any thread; throttled by the line that says it."""
        if not self._throttle.lets_speak(throttle):
            return
        logger = self._node.get_logger()
        if level == "debug":  # a line each: rclpy allows a line one severity only
            logger.debug(text)
        elif level == "info":
            logger.info(text)
        elif level == "warning":
            logger.warning(text)
        else:
            logger.error(text)

    def guarded(self, what: str, callback: Callable[..., None]) -> Callable[..., None]:
        """The callback, of which an exception is logged: it would end rclpy's executor."""

        def run(*args: Any) -> None:
            try:
                callback(*args)
            except Exception:
                self.log("error", f"{what}: {traceback.format_exc()}", throttle=1.0)

        return run

    def _run_posted(self) -> None:
        for _ in range(len(self._posted)):  # what is posted meanwhile has triggered again
            self.guarded("posted", self._posted.popleft())()

    def _done(self, future: Future[Fields]) -> RosFuture:
        """What a coroutine of rclpy awaits until the future of another thread is done."""
        waiting = RosFuture()
        future.add_done_callback(lambda _: self.post(lambda: waiting.set_result(None)))
        return waiting
