"""What every shell of the nodes does in the same way."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from types import CodeType

from embmem.ros.messages import transforms_of
from embmem.ros.ports import Closable, Ports, QoS
from embmem.ros.tf_buffer import TransformError

JUMP_NS = 10_000_000_000  # [ns] of time forward at once that is a jump; backward everything is
TF_HISTORY = 30.0  # [s] that a live buffer keeps; tf2 has 10


def listen_to_tf(ports: Ports) -> list[Closable]:
    """Fill `ports.tf` from /tf and /tf_static; a transform that tf2 would not take is dropped and said so."""

    def taker(is_static: bool) -> Callable[[object], None]:
        def take(message: object) -> None:
            transforms = transforms_of(message, is_static=is_static)
            for stamp, pose in zip(transforms.stamps_ns, transforms.poses, strict=True):
                if pose.position is None or pose.quaternion is None:
                    continue
                try:
                    ports.tf.add(
                        pose.parent, pose.child, pose.position, pose.quaternion, stamp_ns=stamp, is_static=is_static
                    )
                except TransformError as error:
                    ports.log("warning", f"transform dropped: {error}", throttle=5.0)

        return take

    kind = "tf2_msgs/msg/TFMessage"
    return [
        ports.subscription(kind, "/tf", taker(False), QoS(depth=100)),
        ports.subscription(kind, "/tf_static", taker(True), QoS(depth=100, is_latched=True)),
    ]


class Throttle:
    """Lets each line of code that calls `log` of a shell speak once in a while."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._quiet_until: dict[tuple[str, int], float] = {}

    def lets_speak(self, seconds: float) -> bool:
        """Whether the line that called the function `log` may say something, which it then may not for so long."""
        if seconds <= 0:
            return True
        place, now = _caller_of_log(), self._clock()
        if now < self._quiet_until.get(place, now):
            return False
        self._quiet_until[place] = now + seconds
        return True


def _caller_of_log() -> tuple[str, int]:
    """Its file and line. What stands between a function and who calls it, such as checks of types, is passed over."""
    frame, is_behind = sys._getframe(1), False
    while frame.f_back is not None and (not is_behind or _is_made(frame.f_code)):
        is_behind = is_behind or frame.f_code.co_name == "log"
        frame = frame.f_back
    return frame.f_code.co_filename, frame.f_lineno


def _is_made(code: CodeType) -> bool:
    return code.co_filename.startswith("<") or code.co_name == "log" or "jaxtyping" in code.co_filename
