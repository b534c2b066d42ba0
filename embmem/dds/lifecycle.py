"""The lifecycle of a node and its services (https://design.ros2.org/articles/node_lifecycle.html, lifecycle_msgs)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from embmem.ros.ports import Fields, Node, Ports, QoS

UNCONFIGURED, INACTIVE, ACTIVE, FINALIZED = "unconfigured", "inactive", "active", "finalized"
# lifecycle_msgs/State, lifecycle_msgs/Transition
STATES = {
    "unknown": 0, UNCONFIGURED: 1, INACTIVE: 2, ACTIVE: 3, FINALIZED: 4, "configuring": 10, "cleaningup": 11,
    "shuttingdown": 12, "activating": 13, "deactivating": 14, "errorprocessing": 15,
}  # fmt: skip


@dataclass(frozen=True)
class Transition:
    """One that a client may ask for."""

    id: int
    label: str
    start: str
    goal: str


TRANSITIONS = (
    Transition(1, "configure", UNCONFIGURED, INACTIVE),
    Transition(2, "cleanup", INACTIVE, UNCONFIGURED),
    Transition(3, "activate", INACTIVE, ACTIVE),
    Transition(4, "deactivate", ACTIVE, INACTIVE),
    Transition(5, "shutdown", UNCONFIGURED, FINALIZED),
    Transition(6, "shutdown", INACTIVE, FINALIZED),
    Transition(7, "shutdown", ACTIVE, FINALIZED),
)


class Lifecycle:
    """Leads a node through its states, all on the thread of the callbacks.

    Args:
        ports: of the node.
        node: what is led.
        on_error: hears why a transition failed.
    """

    def __init__(self, ports: Ports, node: Node, on_error: Callable[[str], None]) -> None:
        self._ports, self._node, self._on_error = ports, node, on_error
        self.state = UNCONFIGURED
        self._events = ports.publisher("lifecycle_msgs/msg/TransitionEvent", "~/transition_event", QoS(depth=10))
        ports.service("lifecycle_msgs/srv/ChangeState", "~/change_state", self._on_change)
        ports.service("lifecycle_msgs/srv/GetState", "~/get_state", lambda _: {"current_state": _state(self.state)})
        states = {"available_states": [_state(label) for label in STATES]}
        ports.service("lifecycle_msgs/srv/GetAvailableStates", "~/get_available_states", lambda _: states)
        kind = "lifecycle_msgs/srv/GetAvailableTransitions"
        ports.service(kind, "~/get_available_transitions", lambda _: _descriptions(self._available()))
        ports.service(kind, "~/get_transition_graph", lambda _: _descriptions(TRANSITIONS))

    def change(self, label: str) -> bool:
        """Make a transition; False if the state does not allow it or the node fails."""
        found = next((t for t in self._available() if t.label == label), None)
        if found is None:
            self._on_error(f"{label} is not possible while the node is {self.state}")
            return False
        is_done = self._made(found)
        goal = found.goal if is_done else UNCONFIGURED if found.label != "shutdown" else FINALIZED
        start, self.state = self.state, goal
        self._tell(found, start, goal)
        return is_done

    def shut_down(self) -> None:
        """To the end, from wherever it is."""
        if self.state != FINALIZED:
            self.change("shutdown")

    def _available(self) -> list[Transition]:
        return [t for t in TRANSITIONS if t.start == self.state]

    def _made(self, transition: Transition) -> bool:
        steps: dict[str, Callable[[], None]] = {
            "configure": self._node.configure,
            "activate": self._node.activate,
            "deactivate": self._node.deactivate,
            "cleanup": self._node.cleanup,
        }
        names = [transition.label]
        if transition.label == "shutdown":
            names = {ACTIVE: ["deactivate", "cleanup"], INACTIVE: ["cleanup"]}.get(self.state, [])
        failed = [name for name in names if not self._done(name, steps[name])]
        if failed and "cleanup" not in names:
            self._done("cleanup", steps["cleanup"])
        return not failed

    def _done(self, name: str, step: Callable[[], None]) -> bool:
        try:
            step()
        except Exception as error:  # the node is cleaned up and can be configured again
            self._on_error(f"{name} failed: {error!r}")
            return False
        return True

    def _on_change(self, request: Any) -> Fields:
        """By label where there is one, else by number, as rclcpp does it."""
        asked = request.transition
        found = [t for t in self._available() if (t.label == asked.label if asked.label else t.id == int(asked.id))]
        if not found:
            wanted = asked.label or int(asked.id)
            self._on_error(f"transition {wanted!r} is not possible while the node is {self.state}")
            return {"success": False}
        return {"success": self.change(found[0].label)}

    def _tell(self, transition: Transition, start: str, goal: str) -> None:
        self._events.publish({
            "timestamp": max(0, self._ports.now_ns()),
            "transition": {"id": transition.id, "label": transition.label},
            "start_state": _state(start),
            "goal_state": _state(goal),
        })  # fmt: skip


def _state(label: str) -> Fields:
    return {"id": STATES[label], "label": label}


def _descriptions(transitions: Any) -> Fields:
    return {
        "available_transitions": [
            {"transition": {"id": t.id, "label": t.label}, "start_state": _state(t.start), "goal_state": _state(t.goal)}
            for t in transitions
        ]
    }
