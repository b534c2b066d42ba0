"""Driving by Nav2: one NavigateToPose goal, watched until it has ended or its server is lost."""

from __future__ import annotations

import math
from typing import Any

from embmem.ros.nodes.planner.driving import ARRIVED, CANCELED, FAILED, Progress
from embmem.ros.nodes.planner.settings import Settings
from embmem.ros.ports import ABORTED, SUCCEEDED, ActionClient, ClientGoal, Fields
from embmem.ros.ports import CANCELED as GOAL_CANCELED

TYPE = "nav2_msgs/action/NavigateToPose"
_LOST = 2.0  # [s] for which no server may be seen before it counts as lost: discovery can hiccup
_MAX_MESSAGE = 300  # characters of what Nav2 says


class Nav2Drive:
    """One goal of Nav2. Whatever happens to it or to its server, it ends with a message.

    Args:
        client: of the action.
        goal: a geometry_msgs/PoseStamped.
        settings: of the node.
    """

    def __init__(self, client: ActionClient, goal: Fields, settings: Settings) -> None:
        self._client, self._settings = client, settings
        self._goal = {"pose": goal, "behavior_tree": settings.behavior_tree}
        self._sent: ClientGoal | None = None
        self._is_accepted = self._is_canceling = False
        self._waited = self._silent = self._unseen = 0.0  # [s] for the server; without feedback; without a server
        self._has_feedback = False
        self._cancel_sent = False
        self._now = Progress()

    def tick(self, dt: float) -> Progress:
        """Look after the goal."""
        if self._now.end:
            return self._now
        self._waited += dt
        self._silent += dt
        self._unseen = 0.0 if self._client.is_ready() else self._unseen + dt
        if self._is_canceling:
            return self._tick_canceling()
        if self._sent is None:
            return self._tick_waiting()
        if self._unseen > _LOST:
            return self._fail("nav2_lost", "the NavigateToPose server went away while the goal was under way")
        if not self._is_accepted and self._waited > self._settings.server_timeout:
            return self._fail("nav2_timeout", f"Nav2 did not answer the goal in {self._settings.server_timeout:g} s")
        limit = self._settings.feedback_timeout
        if self._has_feedback and limit and self._silent > limit:
            return self._fail("nav2_lost", f"no feedback of Nav2 for {limit:g} s; is it still running?")
        return self._now

    def cancel(self) -> None:
        """Ask Nav2 to stop, at once or as soon as it has accepted the goal."""
        if self._is_canceling or self._now.end:
            return
        self._is_canceling, self._waited = True, 0.0
        if self._sent is None:
            self._now = Progress(CANCELED, message="canceled before Nav2 was sent anywhere")
        elif self._is_accepted:
            self._send_cancel()

    def abandon(self) -> None:
        """Ask Nav2 to stop without waiting for its answer."""
        if self._sent is not None and not self._now.end:
            self._send_cancel()
        if not self._now.end:
            self._now = Progress(CANCELED, message="abandoned")

    def _tick_waiting(self) -> Progress:
        if self._client.is_ready():
            self._waited = 0.0
            self._sent = self._client.send(
                self._goal,
                on_accepted=self._on_accepted,
                on_feedback=self._on_feedback,
                on_result=self._on_result,
            )
        elif self._waited > self._settings.server_timeout:
            return self._fail(
                "nav2_missing", f"no NavigateToPose server in {self._settings.server_timeout:g} s; is Nav2 active?"
            )
        return self._now

    def _tick_canceling(self) -> Progress:
        if self._unseen > _LOST:
            self._now = Progress(CANCELED, message="canceled; the NavigateToPose server is gone")
        elif self._waited > self._settings.cancel_timeout:
            limit = self._settings.cancel_timeout
            self._now = Progress(CANCELED, message=f"canceled, but Nav2 did not say in {limit:g} s that it stopped")
        return self._now

    def _send_cancel(self) -> None:
        if self._sent is not None and not self._cancel_sent:
            self._cancel_sent = True
            self._sent.cancel(lambda is_taken: None)  # the result says what came of it

    def _on_accepted(self, is_accepted: bool) -> None:
        if not is_accepted:
            if self._is_canceling and not self._now.end:
                self._now = Progress(CANCELED, message="canceled before Nav2 took the goal")
            self._fail("nav2_rejected", "Nav2 rejected the goal")
            return
        self._is_accepted, self._silent = True, 0.0
        if self._is_canceling or self._now.end:  # canceled, or given up, before it was accepted: it must not drive on
            self._send_cancel()

    def _on_feedback(self, feedback: Any) -> None:
        self._has_feedback, self._silent = True, 0.0
        if not self._now.end:
            remaining = float(feedback.distance_remaining)
            self._now = Progress(remaining=remaining if math.isfinite(remaining) and remaining >= 0 else math.nan)

    def _on_result(self, status: int, result: Any) -> None:
        if self._now.end:
            return
        if status == SUCCEEDED:
            self._now = Progress(ARRIVED, 0.0, "Nav2 has arrived")
        elif status == GOAL_CANCELED and self._is_canceling:
            self._now = Progress(CANCELED, message="canceled")
        elif status == GOAL_CANCELED:
            self._fail("nav2_canceled", "somebody else canceled the goal of Nav2")
        elif self._is_canceling:
            self._now = Progress(CANCELED, message="canceled; Nav2 ended with an error")
        else:
            said = " ".join(str(getattr(result, "error_msg", "")).split())[:_MAX_MESSAGE]
            code = int(getattr(result, "error_code", 0))
            how = "gave up" if status == ABORTED else f"ended with status {status}"
            reason = said or (f"error {code}" if code else "it does not say why")
            self._fail("nav2_aborted", f"Nav2 {how}: {reason}")

    def _fail(self, fault: str, message: str) -> Progress:
        if not self._now.end:
            if self._sent is not None and fault in ("nav2_lost", "nav2_timeout"):
                self._send_cancel()  # should it come back, it must not drive on
            self._now = Progress(FAILED, message=message, fault=fault)
        return self._now
