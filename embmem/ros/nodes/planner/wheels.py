"""What the base is told."""

from __future__ import annotations

from embmem.ros.outgoing.parts import header
from embmem.ros.ports import Ports, QoS


class Wheels:
    """Publishes geometry_msgs/Twist, or TwistStamped, on `cmd_vel`; nothing while nobody drives."""

    def __init__(self, ports: Ports, *, is_stamped: bool, frame: str) -> None:
        self._ports, self._is_stamped, self._frame = ports, is_stamped, frame
        kind = "geometry_msgs/msg/TwistStamped" if is_stamped else "geometry_msgs/msg/Twist"
        self._publisher = ports.publisher(kind, "cmd_vel", QoS(depth=1))

    def drive(self, speed: float, turn: float) -> None:
        """[m/s] ahead, [rad/s] to the left."""
        twist = {"linear": {"x": speed}, "angular": {"z": turn}}
        if self._is_stamped:
            self._publisher.publish({"header": header(self._ports.now_ns(), self._frame), "twist": twist})
        else:
            self._publisher.publish(twist)

    def stop(self) -> None:
        """Stand still."""
        self.drive(0.0, 0.0)

    def close(self) -> None:
        """No more commands."""
        self._publisher.close()
