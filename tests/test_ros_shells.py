"""What every shell does: TF from messages, lines that speak once in a while."""

from __future__ import annotations

from typing import Any

import numpy as np
from bus import Bus

from embmem.ros.parameters import Parameter
from embmem.ros.ports import Closable
from embmem.ros.shells import Throttle, listen_to_tf
from embmem.ros.tf_buffer import TfBuffer


def test_a_line_speaks_once_in_a_while_and_another_line_for_itself() -> None:
    now = [100.0]
    throttle = Throttle(lambda: now[0])
    said: list[str] = []

    def log(text: str, seconds: float) -> None:
        if throttle.lets_speak(seconds):
            said.append(text)

    def speak() -> None:
        log("a", 5.0)
        log("b", 5.0)
        log("c", 0.0)

    speak()
    speak()
    assert said == ["a", "b", "c", "c"]
    now[0] += 5.0
    speak()
    assert said == ["a", "b", "c", "c", "a", "b", "c"]


def test_a_whole_number_becomes_a_real_one_and_a_list_a_list() -> None:
    assert type(Parameter("rate", 1.0, "").taken(3)) is float
    assert type(Parameter("depth", 1, "").taken(3)) is int
    assert Parameter("topics", [], "").taken(("a",)) == ["a"]
    assert Parameter("topics", [], "").taken("a") == "a"
    assert Parameter("is_on", True, "").taken(1) == 1


def transform(parent: str, child: str, x: float, w: float = 1.0) -> dict[str, Any]:
    inside = {"translation": {"x": x}, "rotation": {"w": w}}
    return {"header": {"frame_id": parent, "stamp": {"sec": 1000}}, "child_frame_id": child, "transform": inside}


def test_transforms_come_in_and_bad_ones_do_not() -> None:
    bus = Bus()
    ports = bus.ports("node")
    ports.tf = TfBuffer()  # the bus fills another
    assert all(isinstance(entity, Closable) for entity in listen_to_tf(ports))
    kind = "tf2_msgs/msg/TFMessage"
    bus.send("/tf", kind, {"transforms": [transform("odom", "odom", 1.0), transform("odom", "base", 2.0)]})
    bus.send("/tf_static", kind, {"transforms": [transform("base", "camera", 0.5), transform("base", "arm", 1.0, 0.3)]})
    bus.spin()
    assert ports.tf.frames == ["base", "camera", "odom"]
    assert ports.tf.is_static("camera")
    assert np.array_equal(ports.tf.lookup("odom", "camera", 1000 * 10**9)[:3, 3], [2.5, 0, 0])
    assert sum(text.startswith("transform dropped") for _, _, text in bus.logs) == 2
