"""A client of an action: three services and two topics (https://design.ros2.org/articles/actions.html)."""

from __future__ import annotations

import math
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from embmem.ros.definitions import known
from embmem.ros.ports import ABORTED, Fields, Ports, QoS

_PATIENCE = 10.0  # [s] for the answer whether a goal or its cancellation is taken


@dataclass(eq=False)
class DdsClientGoal:
    """`embmem.ros.ports.ClientGoal`."""

    _client: DdsActionClient
    id: bytes
    on_accepted: Callable[[bool], None]
    on_feedback: Callable[[Any], None]
    on_result: Callable[[int, Any], None]

    def cancel(self, on_response: Callable[[bool], None]) -> None:
        """Ask the server to stop; `on_response` learns whether it will."""
        self._client.cancel(self, on_response)


class DdsActionClient:
    """Sends goals to one action; on the thread of the callbacks.

    Args:
        ports: of the node.
        type: of the action.
        name: full name.
    """

    def __init__(self, ports: Ports, type: str, name: str) -> None:
        self._ports, self._name, self._type = ports, name, known(type)
        self._goals: dict[bytes, DdsClientGoal] = {}
        below = f"{name}/_action"
        self._send = ports.client(f"{type}_SendGoal", f"{below}/send_goal")
        self._cancel = ports.client("action_msgs/srv/CancelGoal", f"{below}/cancel_goal")
        self._get_result = ports.client(f"{type}_GetResult", f"{below}/get_result")
        self._feedback = ports.subscription(
            f"{type}_FeedbackMessage", f"{below}/feedback", self._on_feedback, QoS(depth=10)
        )

    def is_ready(self) -> bool:
        """Whether a server is there: its services."""
        return all(client.is_ready() for client in (self._send, self._cancel, self._get_result))

    def send(
        self,
        goal: Fields,
        *,
        on_accepted: Callable[[bool], None],
        on_feedback: Callable[[Any], None],
        on_result: Callable[[int, Any], None],
    ) -> DdsClientGoal:
        """Send a goal, see `ActionClient.send`; a server that does not answer in ten seconds has not taken it."""
        sent = DdsClientGoal(self, uuid.uuid4().bytes, on_accepted, on_feedback, on_result)
        request = {"goal_id": {"uuid": sent.id}, "goal": goal}
        self._goals[sent.id] = sent
        self._send.call(request, lambda response: self._on_accepted(sent, response), timeout=_PATIENCE)
        return sent

    def cancel(self, goal: DdsClientGoal, on_response: Callable[[bool], None]) -> None:
        """Ask the server to stop a goal."""

        def answered(response: Any | None) -> None:
            on_response(response is not None and any(_id(info) == goal.id for info in response.goals_canceling))

        self._cancel.call({"goal_info": {"goal_id": {"uuid": goal.id}}}, answered, timeout=_PATIENCE)

    def close(self) -> None:
        """End it; nothing is heard of its goals any more."""
        self._goals.clear()
        for part in (self._send, self._cancel, self._get_result, self._feedback):
            part.close()

    def _on_accepted(self, goal: DdsClientGoal, response: Any | None) -> None:
        if goal.id not in self._goals:
            return
        is_accepted = response is not None and bool(response.accepted)
        if is_accepted:
            request = {"goal_id": {"uuid": goal.id}}
            self._get_result.call(request, lambda answer: self._on_result(goal, answer), timeout=math.inf)
        else:
            del self._goals[goal.id]
        goal.on_accepted(is_accepted)

    def _on_result(self, goal: DdsClientGoal, answer: Any | None) -> None:
        if self._goals.pop(goal.id, None) is None or answer is None:
            return
        status = int(answer.status)
        goal.on_result(status if status else ABORTED, answer.result)  # 0: the server does not know it any more

    def _on_feedback(self, message: Any) -> None:
        goal = self._goals.get(_id(message))
        if goal is not None:
            goal.on_feedback(message.feedback)


def _id(message: Any) -> bytes:
    return np.asarray(message.goal_id.uuid, dtype=np.uint8).tobytes()
