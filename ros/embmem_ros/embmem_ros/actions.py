"""Action servers and clients on rclpy; goals end when the node says so, not when a function returns."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from rclpy.action import ActionClient, ActionServer, CancelResponse, GoalResponse
from rclpy.lifecycle import LifecycleNode
from rclpy.task import Future

from embmem.ros.ports import Fields
from embmem_ros.wire import message_for

if TYPE_CHECKING:
    from embmem_ros.ports import RosPorts


class RosServerGoal:
    """A goal that an action server has accepted."""

    def __init__(self, ports: RosPorts, handle: Any, kind: Any, type: str) -> None:
        self.id, self.request = bytes(handle.goal_id.uuid), handle.request
        self.ended = Future()
        self._ports, self._handle, self._kind, self._type = ports, handle, kind, type
        self._is_over = False

    @property
    def is_cancel_requested(self) -> bool:
        """Whether the client wants it no more."""
        return bool(self._handle.is_cancel_requested)

    def feedback(self, fields: Fields) -> None:
        """Tell the client how far it is."""
        self._handle.publish_feedback(message_for(self._kind.Feedback, f"{self._type}_Feedback", fields))

    def succeed(self, result: Fields) -> None:
        """End it: done."""
        self._end(self._handle.succeed, result)

    def abort(self, result: Fields) -> None:
        """End it: cannot be done."""
        self._end(self._handle.abort, result)

    def canceled(self, result: Fields) -> None:
        """End it: the client wanted that."""
        self._end(self._handle.canceled, result)

    def _end(self, transition: Callable[[], None], result: Fields) -> None:
        if self._is_over:  # the first end counts
            return
        message = message_for(self._kind.Result, f"{self._type}_Result", result)
        self._is_over = True

        def end() -> None:  # later, as a cancellation counts only once its callback has returned
            try:
                transition()
            finally:  # rclpy aborts a goal whose state is still open
                self.ended.set_result(message)

        self._ports.post(end)


def serve(ports: RosPorts, node: LifecycleNode, what: tuple[Any, str, str], callbacks: tuple[Any, ...]) -> ActionServer:
    """A server of the action `what` (class, type, name) with the callbacks refuse, on_goal, on_cancel of `Ports`."""
    kind, type, name = what
    refuse, on_goal, on_cancel = callbacks
    goals: dict[bytes, RosServerGoal] = {}

    def is_taken(request: Any) -> GoalResponse:
        reason = refuse(request)
        if reason is not None:
            ports.log("info", f"goal of {name} refused: {reason}")
        return GoalResponse.ACCEPT if reason is None else GoalResponse.REJECT

    def begin(handle: Any) -> None:
        goal = RosServerGoal(ports, handle, kind, type)
        goals[goal.id] = goal
        handle.execute()
        on_goal(goal)

    async def run(handle: Any) -> Any:
        goal = goals[bytes(handle.goal_id.uuid)]
        result = await goal.ended
        del goals[goal.id]
        return result

    def is_cancelled(handle: Any) -> CancelResponse:
        goal = goals.get(bytes(handle.goal_id.uuid))
        return CancelResponse.ACCEPT if goal is not None and on_cancel(goal) else CancelResponse.REJECT

    return ActionServer(
        node, kind, name, run, callback_group=ports.group,
        goal_callback=is_taken, handle_accepted_callback=begin, cancel_callback=is_cancelled,
    )  # fmt: skip


class RosClientGoal:
    """A goal that was sent to an action server."""

    def __init__(self, ports: RosPorts) -> None:
        self.handle: Any | None = None  # once it is accepted
        self._ports = ports
        self._wishes: list[Callable[[bool], None]] = []  # to cancel it, before that

    def cancel(self, on_response: Callable[[bool], None]) -> None:
        """Ask the server to stop."""
        if self.handle is None:
            self._wishes.append(on_response)
            return
        tell = self._ports.guarded("cancellation", lambda done: on_response(bool(done.result().goals_canceling)))
        self.handle.cancel_goal_async().add_done_callback(tell)

    def answered(self, handle: Any) -> None:
        """The server has accepted it or not; what was wished meanwhile is done."""
        self.handle = handle if handle.accepted else None
        wishes, self._wishes = self._wishes, []
        for on_response in wishes:
            self.cancel(on_response) if handle.accepted else on_response(False)


class RosActionClient:
    """Sends goals to one action."""

    def __init__(self, ports: RosPorts, node: LifecycleNode, kind: Any, type: str, name: str) -> None:
        self._made = ActionClient(node, kind, name, callback_group=ports.group)
        self._ports, self._kind, self._type = ports, kind, type

    def close(self) -> None:
        """End it."""
        self._made.destroy()

    def is_ready(self) -> bool:
        """Whether a server is there."""
        return bool(self._made.server_is_ready())

    def send(
        self,
        goal: Fields,
        *,
        on_accepted: Callable[[bool], None],
        on_feedback: Callable[[Any], None],
        on_result: Callable[[int, Any], None],
    ) -> RosClientGoal:
        """Send a goal."""
        sent = RosClientGoal(self._ports)

        def answered(done: Any) -> None:
            handle = done.result()
            on_accepted(bool(handle.accepted))
            sent.answered(handle)
            if handle.accepted:
                handle.get_result_async().add_done_callback(self._ports.guarded("result", ended))

        def ended(done: Any) -> None:
            on_result(int(done.result().status), done.result().result)

        tell = self._ports.guarded("feedback", lambda message: on_feedback(message.feedback))
        message = message_for(self._kind.Goal, f"{self._type}_Goal", goal)
        future = self._made.send_goal_async(message, feedback_callback=tell)
        future.add_done_callback(self._ports.guarded("goal", answered))
        return sent
