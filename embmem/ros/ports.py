"""What a node may do: the small part of a ROS 2 client library that our nodes are written against.

Two shells implement it: `embmem.dds` on the wire without ROS, and the lifecycle nodes of the colcon package
`embmem_ros` on rclpy. Types are named as ROS names them (`nav_msgs/msg/OccupancyGrid`). Messages that come in are
objects of the shell's library, read by attribute; messages that go out are plain mappings of field names to values
(nested mappings, sequences, numpy arrays, `bytes`), in which a field that is left out has its default. So no node knows
a message class.

All callbacks of a node run one after another on one thread, the shell's; none may block. A node's own threads come back
to it with `post`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

from embmem.ros.parameters import Value
from embmem.ros.tf_buffer import TfBuffer

Fields = Mapping[str, Any]  # a message that goes out


@dataclass(frozen=True)
class QoS:
    """Quality of service, the part of it that ROS users set."""

    depth: int = 10  # messages kept; the newest are
    is_reliable: bool = True
    is_latched: bool = False  # transient local: who comes late gets the last `depth`


SENSOR_DATA = QoS(depth=5, is_reliable=False)
LATCHED = QoS(depth=1, is_latched=True)  # maps, graphs


@runtime_checkable
class Closable(Protocol):
    """A subscription, a timer or a service: it lasts until it is closed."""

    def close(self) -> None:
        """End it; no callback comes afterwards."""


@runtime_checkable
class Publisher(Closable, Protocol):
    """Sends messages of one type to one topic."""

    @property
    def n_subscriptions(self) -> int:
        """How many listen; what nobody listens to need not be made, unless it is latched."""

    def publish(self, fields: Fields) -> None:
        """Send one.

        Raises:
            InputError: if the type has no such field, or a value does not fit it.
        """


@runtime_checkable
class Client(Closable, Protocol):
    """Calls one service."""

    def is_ready(self) -> bool:
        """Whether a server is there."""

    def call(self, request: Fields, on_response: Callable[[Any | None], None], *, timeout: float) -> None:
        """Ask; `on_response` gets the response, or None when none came in `timeout` seconds."""


@runtime_checkable
class ServerGoal(Protocol):
    """A goal that an action server has accepted; exactly one of the last three ends it."""

    id: bytes  # 16
    request: Any

    @property
    def is_cancel_requested(self) -> bool:
        """Whether the client wants it no more; `canceled` then ends it."""

    def feedback(self, fields: Fields) -> None:
        """Tell the client how far it is."""

    def succeed(self, result: Fields) -> None:
        """End it: done."""

    def abort(self, result: Fields) -> None:
        """End it: cannot be done."""

    def canceled(self, result: Fields) -> None:
        """End it: the client wanted that."""


@runtime_checkable
class ClientGoal(Protocol):
    """A goal that was sent to an action server."""

    def cancel(self, on_response: Callable[[bool], None]) -> None:
        """Ask the server to stop; `on_response` learns whether it will."""


# action_msgs/GoalStatus
SUCCEEDED, CANCELED, ABORTED = 4, 5, 6


@runtime_checkable
class ActionClient(Closable, Protocol):
    """Sends goals to one action."""

    def is_ready(self) -> bool:
        """Whether a server is there: its services and its topics."""

    def send(
        self,
        goal: Fields,
        *,
        on_accepted: Callable[[bool], None],
        on_feedback: Callable[[Any], None],
        on_result: Callable[[int, Any], None],
    ) -> ClientGoal:
        """Send a goal. `on_accepted` learns whether the server takes it; if so, `on_result` gets its status and result.

        A server that is lost answers nothing more: whoever waits looks at `is_ready` now and then.
        """


@runtime_checkable
class Ports(Protocol):
    """All that a node has of the world. Names of topics and services are relative to its namespace, and remappable."""

    name: str  # of the node
    namespace: str  # "/" or "/robot_1"
    tf: TfBuffer  # filled by the shell from /tf and /tf_static

    def publisher(self, type: str, topic: str, qos: QoS = QoS()) -> Publisher:
        """A new publisher."""

    def subscription(
        self,
        type: str,
        topic: str,
        callback: Callable[[Any], None],
        qos: QoS = QoS(),
        *,
        raw: bool = False,
    ) -> Closable:
        """Call back with every message; with `raw` with its CDR bytes as they came, which a recorder writes down."""

    def service(self, type: str, name: str, handler: Callable[[Any], Fields | Future[Fields]]) -> Closable:
        """Answer requests: at once, or later by a future that another thread sets.

        A handler that raises is logged, and its client gets a response of defaults, of which `success` is false.
        """

    def client(self, type: str, name: str) -> Client:
        """A new client of a service."""

    def action_server(
        self,
        type: str,
        name: str,
        *,
        refuse: Callable[[Any], str | None],
        on_goal: Callable[[ServerGoal], None],
        on_cancel: Callable[[ServerGoal], bool],
    ) -> Closable:
        """Serve an action: `refuse` says why a goal is not taken (None: it is), `on_goal` begins it, `on_cancel` says
        whether a cancellation is taken."""

    def action_client(self, type: str, name: str) -> ActionClient:
        """A new client of an action."""

    def timer(self, period: float, callback: Callable[[], None], *, is_steady: bool = False) -> Closable:
        """Call back every `period` seconds of the node's clock: with `use_sim_time` that of /clock.

        With `is_steady` of a clock that nobody sets or stops: for what goes on when a bag has ended.
        """

    def on_jump(self, callback: Callable[[int, int], None]) -> None:
        """Call back with (before, after) [ns] when /clock goes back, or forward by more than ten seconds at once.

        On the way back the shell has dropped the moving transforms of `tf` already, as tf2 does.
        """

    def now_ns(self) -> int:
        """[ns] of the node's clock; 0 where `use_sim_time` is set and no /clock has come yet."""

    def parameter(self, name: str) -> Value:
        """The value of a declared parameter as it is now."""

    def post(self, callback: Callable[[], None]) -> None:
        """Run something on the thread of the callbacks; may be called by any thread."""

    def log(self, level: str, text: str, *, throttle: float = 0.0) -> None:
        """Say something: `debug`, `info`, `warning` or `error`; the same place at most once every `throttle` seconds.

        May be called by any thread.
        """


@runtime_checkable
class Node(Protocol):
    """A node as the shells run it: made with its ports, then led through ROS's lifecycle.

    https://design.ros2.org/articles/node_lifecycle.html: unconfigured, inactive, active, finalized.
    """

    def configure(self) -> None:
        """Open what is needed; an exception leaves the node unconfigured."""

    def activate(self) -> None:
        """Begin to take messages."""

    def deactivate(self) -> None:
        """Stop to take messages; what is in hand is finished."""

    def cleanup(self) -> None:
        """Give back all that `configure` opened; safe to call after it failed half-way."""

    def changed(self, values: Mapping[str, Value]) -> None:
        """Parameters have new values, which `refuse` had nothing against."""
