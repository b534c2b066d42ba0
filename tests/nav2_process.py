"""A NavigateToPose server in a process of its own: `python nav2_process.py DOMAIN`. Where it is sent says what it does.

Beyond x = 100 it rejects, below -100 it aborts, at y > 100 it drives for ever, else it is there at once.
"""

from __future__ import annotations

import sys
from typing import Any

from wire_nodes import GO, Plain

from embmem.ros.ports import ServerGoal


class Nav2(Plain):
    """Drives nothing, but says what a server says."""

    def configure(self) -> None:
        super().configure()
        server = self.ports.action_server(
            GO, "navigate_to_pose", refuse=self._refuse, on_goal=self._go, on_cancel=lambda goal: True
        )
        self.opened.append(server)

    def _refuse(self, goal: Any) -> str | None:
        return "too far" if goal.pose.pose.position.x > 100 else None

    def _go(self, goal: ServerGoal) -> None:
        position = goal.request.pose.pose.position
        n = [0]

        def step() -> None:
            n[0] += 1
            goal.feedback({"distance_remaining": 10.0 / n[0]})
            if goal.is_cancel_requested:
                goal.canceled({})
            elif position.x < -100:
                goal.abort({"error_code": 9003, "error_msg": "no such place"})
            elif position.y < 100 and n[0] > 3:
                goal.succeed({})
            else:
                return
            timer.close()

        timer = self.ports.timer(0.02, step)


if __name__ == "__main__":
    from embmem.cli.node import stopped_by_signals
    from embmem.dds.node import run_node

    with stopped_by_signals() as stop, run_node(Nav2, "bt_navigator", domain=int(sys.argv[1])):
        stop.wait()
