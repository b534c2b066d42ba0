"""Images from one process to another: as ROS messages by our shell, and the same bytes through Cyclone DDS alone."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from typing import Any

import numpy as np

SHAPE = (480, 640, 3)
HZ = 30.0


def one_way(domain: int, n: int, *, is_plain: bool) -> tuple[float, float]:
    """(median, 99th percentile) [s] from before the sender makes the message until the listener has the pixels."""
    kind = "plain" if is_plain else "ours"
    listener = subprocess.Popen(
        [sys.executable, __file__, kind, str(domain), str(n)], stdout=subprocess.PIPE, text=True
    )
    pixels = np.random.default_rng(0).integers(0, 256, SHAPE, dtype=np.uint8)
    (_send_plain if is_plain else _send)(domain, pixels, listener)
    took = json.loads(listener.communicate()[0])
    return float(np.quantile(took, 0.5)), float(np.quantile(took, 0.99))


def _pace(listener: subprocess.Popen[str], send: Any) -> None:
    """Until the listener has enough."""
    due = time.monotonic()
    while listener.poll() is None:
        send()
        due += 1.0 / HZ
        time.sleep(max(0.0, due - time.monotonic()))


def _send(domain: int, pixels: np.ndarray, listener: subprocess.Popen[str]) -> None:
    from embmem.dds.names import Names
    from embmem.dds.ports import DdsPorts
    from embmem.ros.ports import SENSOR_DATA

    ports = DdsPorts(Names("sender"), domain)
    publisher = ports.publisher("sensor_msgs/msg/Image", "/image", SENSOR_DATA)
    while not publisher.n_subscriptions:
        time.sleep(0.01)

    def send() -> None:
        sec, nanosec = divmod(time.time_ns(), 1_000_000_000)
        publisher.publish({
            "header": {"stamp": {"sec": sec, "nanosec": nanosec}, "frame_id": "camera"}, "encoding": "rgb8",
            "height": SHAPE[0], "width": SHAPE[1], "step": 3 * SHAPE[1], "data": pixels.reshape(-1),
        })  # fmt: skip

    _pace(listener, send)
    ports.close()


def _listen(domain: int, n: int) -> list[float]:
    from embmem.dds.names import Names
    from embmem.dds.ports import DdsPorts
    from embmem.ros.images import image_of
    from embmem.ros.messages import stamp_ns
    from embmem.ros.ports import SENSOR_DATA

    took: list[float] = []

    def on_image(message: Any) -> None:
        image_of(message)
        took.append((time.time_ns() - stamp_ns(message.header.stamp)) / 1e9)

    ports = DdsPorts(Names("listener"), domain)
    ports.subscription("sensor_msgs/msg/Image", "/image", on_image, SENSOR_DATA)
    ports.executor.start()
    while len(took) < n:
        time.sleep(0.05)
    ports.close()
    return took


def _plain(domain: int) -> tuple[Any, Any]:
    from cyclonedds.core import Policy, Qos
    from cyclonedds.domain import DomainParticipant
    from cyclonedds.topic import Topic
    from ros_bytes import Bytes

    qos = Qos(Policy.Reliability.BestEffort, Policy.History.KeepLast(5))
    return Topic(DomainParticipant(domain), "bytes", Bytes, qos=qos), Bytes


def _send_plain(domain: int, pixels: np.ndarray, listener: subprocess.Popen[str]) -> None:
    from cyclonedds.pub import DataWriter

    topic, kind = _plain(domain)
    writer = DataWriter(topic.participant, topic)
    while not writer.get_publication_matched_status().current_count:  # type: ignore[no-untyped-call]
        time.sleep(0.01)
    _pace(listener, lambda: writer.write(kind(stamp=time.time_ns(), data=pixels.tobytes())))


def _listen_plain(domain: int, n: int) -> list[float]:
    from cyclonedds.core import ReadCondition, SampleState, WaitSet
    from cyclonedds.sub import DataReader

    topic, _ = _plain(domain)
    reader = DataReader(topic.participant, topic)
    waitset = WaitSet(topic.participant)
    waitset.attach(ReadCondition(reader, SampleState.Any))
    took: list[float] = []
    while len(took) < n:
        waitset.wait(1_000_000_000)
        took += [(time.time_ns() - sample.stamp) / 1e9 for sample in reader.take(10)]
    return took


if __name__ == "__main__":
    listen = {"ours": _listen, "plain": _listen_plain}[sys.argv[1]]
    print(json.dumps(listen(int(sys.argv[2]), int(sys.argv[3]))))
