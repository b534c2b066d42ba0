"""Detections of others are sorted out and passed on; a detector of ours looks at the newest image on its own thread."""

from __future__ import annotations

import math
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from bus import Bus

from embmem.detection.segments import Box
from embmem.errors import InputError
from embmem.recordings.raw import RawDetections
from embmem.ros.nodes.perception import FLAT, SOLID, PerceptionNode
from embmem.ros.outgoing.images import image
from embmem.ros.outgoing.parts import header
from embmem.ros.ports import Node
from embmem.ros.vision import detections_of

NOW = 1_000_000_000_000


class RedBoxes:
    """Finds what is red, one box around all of it. `gate` holds it up; dark images make it fail."""

    gate: threading.Event | None = None
    seen: list[int] = []  # noqa: RUF012 - of the test that runs

    def __init__(self, labels: Sequence[str], threshold: float, device: str) -> None:
        self.label, self.threshold, self.device = labels[0], threshold, device

    def detect(self, images: Sequence[np.ndarray]) -> list[list[Box]]:
        found = []
        for rgb in images:
            if self.gate is not None:
                self.gate.wait(30.0)
            if not rgb.any():
                raise RuntimeError("too dark")
            self.seen.append(int(rgb[0, 0, 2]))
            rows, columns = np.nonzero(rgb[..., 0] > 200)
            box = Box(self.label, 0.9, float(columns.min()), float(rows.min()), float(columns.max()), float(rows.max()))
            found.append([box, Box("ghost", 0.1, 0.0, 0.0, 1.0, 1.0)])
        return found


SETUP = """
detectors:
  red:
    _target_: test_perception_node.RedBoxes
    labels: ${node.labels}
    threshold: ${node.threshold}
    device: ${node.device}
  none:
    _target_: pathlib.Path
"""


def node_on(bus: Bus, **values: Any) -> tuple[PerceptionNode, Any]:
    ports = bus.ports("perception", PerceptionNode, values=values)
    node = PerceptionNode(ports)
    node.configure()
    node.activate()
    return node, ports


def counts(bus: Bus) -> dict[str, int]:
    heard = bus.heard("/diagnostics", "diagnostic_msgs/msg/DiagnosticArray")
    bus.advance(1.1)
    return {v.key: int(v.value) for v in heard[-1].status[0].values} | {"level": heard[-1].status[0].level}


def flat(label: str, score: float, x: float = 10.0, *, size: float = 4.0) -> dict[str, Any]:
    box = {"center": {"position": {"x": x, "y": 5.0}}, "size_x": size, "size_y": 2.0}
    low = {"hypothesis": {"class_id": "other", "score": -1.0}}
    return {"results": [low, {"hypothesis": {"class_id": label, "score": score}}], "bbox": box, "id": "t1"}


def test_flat_detections_are_named_sorted_and_sifted() -> None:
    bus = Bus()
    out = bus.heard("/detections", FLAT)
    node, ports = node_on(bus, names=["17=cat  flap"], min_score=0.3, max_detections=3)
    found = [flat("17", 0.5), flat("dog", 0.9), flat("dog", 0.1), flat("x", math.nan), flat("y", 0.4), flat("z", 0.35)]
    found += [flat("bad", 0.9, math.inf), flat("bad", 0.9, size=-1.0), {**flat("bad", 0.9), "results": []}]
    bus.send("/raw_detections", FLAT, {"header": header(NOW, "camera"), "detections": found})
    bus.spin()
    read: RawDetections = detections_of(out[0])
    assert [item.label for item in read.items] == ["dog", "cat flap", "y"]
    assert read.items[1].box == (8.0, 4.0, 12.0, 6.0)
    assert (out[0].header.frame_id, out[0].header.stamp.sec) == ("camera", 1000)
    assert all(d.header == out[0].header for d in out[0].detections)
    assert counts(bus)["senseless detections"] == 3
    assert ports.change(node, only=["dog"]) is None
    bus.send("/raw_detections", FLAT, {"header": header(NOW, "camera"), "detections": found})
    bus.spin()
    assert [item.label for item in detections_of(out[1]).items] == ["dog"]
    assert "17=chair" in str(ports.change(node, names=["17"]))
    node.deactivate()
    bus.send("/raw_detections", FLAT, {"detections": found})
    bus.spin()
    assert len(out) == 2
    assert isinstance(node, Node)


def test_detections_in_space_pass_with_their_pose() -> None:
    bus = Bus()
    out = bus.heard("/detections", SOLID)
    node_on(bus, source="bridge_3d")
    half = math.sqrt(0.5)
    centre = {"position": {"x": 1.0, "y": 2.0, "z": 3.0}, "orientation": {"z": half, "w": half}}
    good = {
        "results": [{"hypothesis": {"class_id": "mug", "score": 0.8}}],
        "bbox": {"center": centre, "size": {"x": 0.1, "y": 0.2, "z": 0.3}},
    }
    bad = {**good, "bbox": {"center": {**centre, "orientation": {"w": 0.2}}, "size": {"x": 0.1}}}
    bus.send("/raw_detections", SOLID, {"header": header(NOW, "base"), "detections": [bad, good]})
    bus.spin()
    (item,) = detections_of(out[0]).items
    assert (item.label, item.score) == ("mug", 0.8)
    assert item.pose is not None
    assert item.pose.quaternion is not None
    assert item.size is not None
    np.testing.assert_allclose(item.pose.quaternion, [0, 0, half, half])
    np.testing.assert_allclose(item.size, [0.1, 0.2, 0.3])


@pytest.fixture
def setup(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setattr(RedBoxes, "seen", [])
    (tmp_path / "setup.yaml").write_text(SETUP)
    return str(tmp_path / "setup.yaml")


def picture(number: int) -> np.ndarray:
    rgb = np.zeros((20, 30, 3), dtype=np.uint8)
    rgb[5:9, 10:20, 0] = 255
    rgb[0, 0, 2] = number
    return rgb


def test_a_detector_sees_the_newest_image_and_the_others_are_dropped(
    setup: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    bus, gate = Bus(), threading.Event()
    monkeypatch.setattr(RedBoxes, "gate", gate)
    out = bus.heard("/detections", FLAT)
    values = {"source": "detector", "detector": "red", "setup": setup, "labels": ["fox"], "min_score": 0.2}
    node, _ = node_on(bus, **values, device="cpu")
    for number in range(1, 9):
        stamp = NOW + number
        bus.send("/color/image", "sensor_msgs/msg/Image", image(picture(number), "rgb8", stamp, "camera"))
        bus.spin()
    gate.set()
    bus.spin_until(lambda: bool(RedBoxes.seen) and RedBoxes.seen[-1] == 8 and len(out) == len(RedBoxes.seen))
    assert len(RedBoxes.seen) <= 2
    (item,) = detections_of(out[-1]).items
    assert (item.label, item.box) == ("fox", (10.0, 5.0, 19.0, 8.0))
    assert out[-1].header.stamp.nanosec == 8
    count = counts(bus)
    assert count["dropped images"] + count["images"] == 8
    node.cleanup()


def test_images_that_are_none_and_failures_of_the_detector_are_counted(setup: str) -> None:
    bus = Bus()
    out = bus.heard("/detections", FLAT)
    node, _ = node_on(bus, source="detector", detector="red", setup=setup, labels=["fox"])
    images = [
        {**image(picture(1), "rgb8", NOW, "camera"), "encoding": "rgb99"},
        image(np.zeros((4, 4), np.uint8), "mono8", NOW, "camera"),
        image(np.zeros((4, 4, 3), np.uint8), "rgb8", NOW, "camera"),
        image(picture(2), "rgb8", NOW, "camera"),
    ]
    names = ("bad images", "bad images", "failures", "images")
    for i, (fields, name) in enumerate(zip(images, names, strict=True)):
        bus.send("/color/image", "sensor_msgs/msg/Image", fields)
        wanted = names[: i + 1].count(name)
        bus.spin_until(lambda name=name, wanted=wanted: node._counters[name] == wanted)  # type: ignore[misc]
    bus.spin_until(lambda: len(out) == 1)
    node.cleanup()


def test_a_detector_that_cannot_be_had_is_told_and_ends_nothing(setup: str, tmp_path: Path) -> None:
    for values in ({"detector": "no"}, {"detector": "none"}):
        bus = Bus()
        node, _ = node_on(bus, source="detector", setup=setup, **values)
        bus.spin_until(lambda bus=bus: any("no detector" in text for _, _, text in bus.logs))  # type: ignore[misc]
        assert counts(bus)["level"] in (2, b"\x02")
        node.cleanup()
    with pytest.raises(InputError, match="no folder"):
        node_on(Bus(), source="detector", model=str(tmp_path / "nowhere"))
