"""An action server: three services and two topics (https://design.ros2.org/articles/actions.html)."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future
from threading import RLock
from typing import Any

import numpy as np

from embmem.ros.definitions import known
from embmem.ros.ports import ABORTED, CANCELED, LATCHED, SUCCEEDED, Fields, Ports, QoS, ServerGoal

ACCEPTED, EXECUTING, CANCELING = 1, 2, 3  # action_msgs/GoalStatus
_TAKEN, _REJECTED, _UNKNOWN_GOAL, _TERMINATED = 0, 1, 2, 3  # action_msgs/CancelGoal
_MAX_GOALS = 256  # that a client may hold open at once
_KEPT_RESULTS = 64  # of goals that have ended, for who asks late
_NOBODY = bytes(16)


class DdsGoal:
    """`embmem.ros.ports.ServerGoal`; its methods may be called by any thread."""

    def __init__(self, server: DdsActionServer, id: bytes, request: Any, stamp_ns: int) -> None:
        self.id, self.request, self.stamp_ns = id, request, stamp_ns
        self.status, self.result = ACCEPTED, Future[Fields]()
        self._server = server

    @property
    def is_cancel_requested(self) -> bool:
        """Whether the client wants it no more."""
        return self.status == CANCELING

    @property
    def is_active(self) -> bool:
        """Whether it has not ended."""
        return self.status in (ACCEPTED, EXECUTING, CANCELING)

    def feedback(self, fields: Fields) -> None:
        """Tell the client how far it is."""
        self._server.tell(self, fields)

    def succeed(self, result: Fields) -> None:
        """End it: done."""
        self._server.end(self, SUCCEEDED, result)

    def abort(self, result: Fields) -> None:
        """End it: cannot be done."""
        self._server.end(self, ABORTED, result)

    def canceled(self, result: Fields) -> None:
        """End it: the client wanted that."""
        self._server.end(self, CANCELED, result)


class DdsActionServer:
    """Serves an action, see `Ports.action_server`.

    Args:
        ports: of the node.
        type: of the action.
        name: full name.
        refuse: why a goal is not taken.
        on_goal: begins a goal.
        on_cancel: whether a cancellation is taken.
    """

    def __init__(
        self,
        ports: Ports,
        type: str,
        name: str,
        *,
        refuse: Callable[[Any], str | None],
        on_goal: Callable[[ServerGoal], None],
        on_cancel: Callable[[ServerGoal], bool],
    ) -> None:
        self._ports, self._name, self._type = ports, name, known(type)
        self._refuse, self._on_goal, self._on_cancel = refuse, on_goal, on_cancel
        self._goals: dict[bytes, DdsGoal] = {}
        self._lock = RLock()
        below = f"{name}/_action"
        self._feedback = ports.publisher(f"{type}_FeedbackMessage", f"{below}/feedback", QoS(depth=10))
        self._status = ports.publisher("action_msgs/msg/GoalStatusArray", f"{below}/status", LATCHED)
        self._services = [
            ports.service(f"{type}_SendGoal", f"{below}/send_goal", self._on_send),
            ports.service("action_msgs/srv/CancelGoal", f"{below}/cancel_goal", self._on_cancel_request),
            ports.service(f"{type}_GetResult", f"{below}/get_result", self._on_get_result),
        ]

    def close(self) -> None:
        """Serve no more; goals that have not ended are aborted."""
        for goal in list(self._goals.values()):
            if goal.is_active:
                self.end(goal, ABORTED, {})
        for part in (*self._services, self._feedback, self._status):
            part.close()

    def tell(self, goal: DdsGoal, fields: Fields) -> None:
        """Feedback of a goal."""
        if goal.is_active:
            self._feedback.publish({"goal_id": {"uuid": goal.id}, "feedback": fields})

    def end(self, goal: DdsGoal, status: int, result: Fields) -> None:
        """The end of a goal, by any thread; the first end counts."""
        with self._lock:
            if not goal.is_active:
                return
            goal.status = status
            ended = [id for id, other in self._goals.items() if not other.is_active]
            for id in ended[:-_KEPT_RESULTS]:
                del self._goals[id]
        goal.result.set_result({"status": status, "result": result})
        self._publish_status()

    def _on_send(self, request: Any) -> Fields:
        id, now = np.asarray(request.goal_id.uuid, dtype=np.uint8).tobytes(), self._ports.now_ns()
        sec, nanosec = divmod(now, 1_000_000_000)
        reason = "its id is taken" if id in self._goals else self._refuse(request.goal)
        if sum(goal.is_active for goal in self._goals.values()) >= _MAX_GOALS:
            reason = f"{_MAX_GOALS} goals are open already"
        if reason is not None:
            self._ports.log("info", f"{self._name} refuses a goal: {reason}")
            return {"accepted": False}
        goal = DdsGoal(self, id, request.goal, now)
        with self._lock:
            self._goals[id] = goal
        self._ports.post(lambda: self._begin(goal))
        return {"accepted": True, "stamp": {"sec": sec, "nanosec": nanosec}}

    def _begin(self, goal: DdsGoal) -> None:
        with self._lock:
            if goal.status == ACCEPTED:
                goal.status = EXECUTING
        if not goal.is_active:
            return
        self._publish_status()
        try:
            self._on_goal(goal)
        except Exception as error:  # the client learns of it, the node goes on
            self._ports.log("error", f"{self._name}: a goal failed: {error!r}")
            self.end(goal, ABORTED, {})

    def _on_get_result(self, request: Any) -> Fields | Future[Fields]:
        goal = self._goals.get(np.asarray(request.goal_id.uuid, dtype=np.uint8).tobytes())
        return {} if goal is None else goal.result

    def _on_cancel_request(self, request: Any) -> Fields:
        """One goal, all, or all up to a time (action_msgs/CancelGoal)."""
        info = request.goal_info
        id = np.asarray(info.goal_id.uuid, dtype=np.uint8).tobytes()
        until = int(info.stamp.sec) * 1_000_000_000 + int(info.stamp.nanosec)
        if id != _NOBODY and id not in self._goals:
            return {"return_code": _UNKNOWN_GOAL}
        if id != _NOBODY and not until and not self._goals[id].is_active:
            return {"return_code": _TERMINATED}
        is_all = id == _NOBODY and not until
        meant = [g for g in self._goals.values() if g.is_active and (is_all or g.id == id or g.stamp_ns <= until)]
        taken = [goal for goal in meant if self._cancels(goal)]
        if taken:
            self._publish_status()
        code = _TAKEN if taken or not meant else _REJECTED
        return {"return_code": code, "goals_canceling": [_info(goal) for goal in taken]}

    def _cancels(self, goal: DdsGoal) -> bool:
        """The status changes first: a worker that looks at `is_cancel_requested` may end the goal at once."""
        with self._lock:
            if not goal.is_active or goal.status == CANCELING:
                return goal.status == CANCELING
            before, goal.status = goal.status, CANCELING
        is_taken = self._on_cancel(goal)
        with self._lock:
            if not is_taken and goal.status == CANCELING:
                goal.status = before
        return is_taken

    def _publish_status(self) -> None:
        with self._lock:
            statuses = [{"goal_info": _info(goal), "status": goal.status} for goal in self._goals.values()]
        self._status.publish({"status_list": statuses})


def _info(goal: DdsGoal) -> Fields:
    sec, nanosec = divmod(goal.stamp_ns, 1_000_000_000)
    return {"goal_id": {"uuid": goal.id}, "stamp": {"sec": sec, "nanosec": nanosec}}
