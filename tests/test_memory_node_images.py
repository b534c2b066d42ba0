"""The memory node finds views by a picture, and the planner goes to where it was taken."""

from __future__ import annotations

import math
import shutil
import threading
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from box_room import observe_room, walk
from planner_world import OWN
from robot_on_bus import START, Robot, place
from test_planner_with_memory import EYE, STEP, Base

from embmem.encoders import LayoutEncoder
from embmem.errors import InputError
from embmem.geometry import backproject, camera_pose, heading, transform_points
from embmem.map_hash import map_hash
from embmem.observation import Observation
from embmem.ros.nodes.memory.looks import MAX_IMAGE
from embmem.ros.nodes.planner.node import ACTION, PlannerNode
from embmem.ros.ports import SUCCEEDED

WAVES = np.random.default_rng(4).uniform(-3.0, 3.0, (3, 3))  # [rad/m]


def painted(frame: Observation) -> Observation:
    """The box room with walls that look different everywhere."""
    assert frame.depth is not None
    points = backproject(frame.depth, frame.intrinsics).reshape(-1, 3).astype(np.float64)
    waves = np.sin(transform_points(frame.T_map_camera, points) @ WAVES)
    return replace(frame, rgb=(127.0 + 120.0 * waves).astype(np.uint8).reshape(*frame.depth.shape, 3))


def picture(x: float, y: float, yaw: float, suffix: str = ".png") -> dict[str, Any]:
    """A CompressedImage of what a camera there sees."""
    rgb = painted(observe_room(camera_pose(np.array([x, y, EYE]), yaw, -0.3), 0.0)).rgb
    assert rgb is not None
    is_written, data = cv2.imencode(suffix, np.ascontiguousarray(rgb[..., ::-1]))
    assert is_written
    return {"format": suffix.strip("."), "data": data.tobytes()}


def looked_around(folder: Path, n: int = 12, **values: Any) -> Robot:
    robot = Robot(folder, color=True, **{"image_encoder": "layout"} | values).start()
    robot.walk(map(painted, walk(n)), color=True)
    return robot


def best_view(robot: Robot, x: float, y: float, yaw: float, **more: Any) -> Any:
    robot.memory.flush()
    answer = robot.ask("query", "QueryMemory", image=picture(x, y, yaw), **more)
    assert answer.success, answer.message
    return answer.found.items[0]


@pytest.fixture(scope="module")
def asked(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Robot]:
    """A robot that has looked around and is only asked."""
    robot = looked_around(tmp_path_factory.mktemp("asked"))
    yield robot
    robot.stop()


def test_a_picture_finds_the_view_from_where_it_was_taken(asked: Robot) -> None:
    for i, suffix in ((2, ".png"), (9, ".jpg"), (17, ".png")):
        angle = 2 * math.pi * i / 24 + 0.1
        x, y, yaw = 2.5 + 0.7 * math.cos(angle), 2.0 + 0.7 * math.sin(angle), angle - math.pi / 2 + 0.1
        answer = asked.ask("query", "QueryMemory", image=picture(x, y, yaw, suffix), k=3)
        assert answer.success, answer.message
        assert [item.kind for item in answer.found.items] == ["view"] * 3
        best = answer.found.items[0]
        assert math.hypot(best.pose.position.x - x, best.pose.position.y - y) < 0.5
        T = asked.memory.acknowledged.get([best.id])[0].T_map_obs
        assert T is not None
        assert abs(math.remainder(heading(T)[0] - yaw, 2 * math.pi)) < 0.6
        assert "cosine" in best.why
        scores = [item.score for item in answer.found.items]
        assert scores == sorted(scores, reverse=True)
    far = asked.ask("query", "QueryMemory", image=picture(2.5, 2.0, 0.0), near=place(100.0, 0.0, 0.0), radius=1.0)
    assert far.success
    assert "nothing was found" in far.message
    bare = asked.ask("query", "QueryMemory", kind="view", k=3)
    assert bare.success  # without a picture as ever


def test_the_planner_goes_to_where_a_picture_was_taken_and_looks_the_same_way(tmp_path: Path) -> None:
    class Painter(Base):
        def look(self, stamp: float) -> None:
            frame = observe_room(camera_pose(np.array([self.x, self.y, EYE]), self.yaw, -0.3), stamp - START)
            self.robot.see(painted(frame), stamp=stamp, color=True)

    robot = looked_around(tmp_path)
    robot.tick(2)
    x, y, yaw = 1.95, 2.1, math.pi / 2 + 0.1  # near where the camera looked along the map's y
    view = best_view(robot, x, y, yaw)
    bus, base = robot.bus, Painter(robot)
    planner = PlannerNode(bus.ports("planner", PlannerNode, values=OWN | {"blind": 1.2, "radius": 0.2}))
    planner.configure()
    planner.activate()
    bus.advance(0.5)
    results: list[tuple[int, Any]] = []
    client = bus.ports("client").action_client(ACTION, "planner/go_to")
    client.send(
        {"image": picture(x, y, yaw)},
        on_accepted=lambda is_accepted: None,
        on_feedback=lambda feedback: None,
        on_result=lambda status, result: results.append((status, result)),
    )
    bus.spin_until(lambda: bool(results), timeout=60.0, advance=STEP)
    status, result = results[0]
    assert status == SUCCEEDED, result.message
    assert (result.item.kind, result.item.id) == ("view", view.id)
    assert math.hypot(base.x - view.pose.position.x, base.y - view.pose.position.y) < 0.25
    assert math.hypot(base.x - x, base.y - y) < 0.6
    assert abs(math.remainder(base.yaw - yaw, 2 * math.pi)) < 0.6
    planner.cleanup()
    robot.stop()


def test_what_a_killed_node_leaves_still_finds_views_by_pictures(tmp_path: Path) -> None:
    robot = looked_around(tmp_path / "killed")
    before = best_view(robot, 3.0, 2.2, 0.4)
    (tmp_path / "left").mkdir()
    for file in (tmp_path / "killed").glob("memory.embmem*"):  # as they are while the node runs
        if not file.name.endswith(".lock"):
            shutil.copy(file, tmp_path / "left" / file.name)
    again = Robot(tmp_path / "left", color=True, image_encoder="layout").start()
    assert best_view(again, 3.0, 2.2, 0.4).id == before.id
    assert map_hash(again.memory) == map_hash(robot.memory)
    robot.stop()
    again.stop()


def test_a_memory_of_another_encoder_is_not_taken_up_nor_loaded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    robot = looked_around(tmp_path, n=3)
    assert robot.ask("save", "SaveMemory", path="mine").success
    robot.stop()
    right = LayoutEncoder.encode_images
    monkeypatch.setattr(LayoutEncoder, "encode_images", lambda self, images: -right(self, images))
    other = Robot(tmp_path, color=True, image_encoder="layout")
    with pytest.raises(InputError, match="another encoder"):
        other.node.configure()
    other.node.cleanup()
    fresh = Robot(tmp_path, name="fresh", color=True, image_encoder="layout").start()
    answer = fresh.ask("load", "LoadMemory", path="mine")
    assert not answer.success
    assert "another encoder" in answer.message
    fresh.stop()


def test_pictures_that_cannot_be_answered_are_refused_with_a_reason(asked: Robot) -> None:
    good = picture(2.5, 2.0, 0.0)
    depth = cv2.imencode(".png", np.full((48, 64), 900, np.uint16))[1].tobytes()
    for question, why in (
        ({"image": {"format": "png", "data": b"123"}}, "neither JPEG nor PNG"),
        ({"image": {**good, "data": good["data"][:-40]}}, "trunc|damaged|cut"),
        ({"image": {**picture(2.5, 2.0, 0.0, ".jpg"), "data": picture(2.5, 2.0, 0.0, ".jpg")["data"][:300]}}, "JPEG"),
        ({"image": {"format": "png", "data": depth}}, "8 bits"),
        ({"image": {"format": "jpeg", "data": b"\xff\xd8" + bytes(MAX_IMAGE)}}, "at most"),
        ({"image": good, "kind": "note"}, "leave kind empty"),
        ({"image": good, "text": "mug"}, "not with both"),
    ):  # fmt: skip
        answer = asked.ask("query", "QueryMemory", **question)
        assert not answer.success
        assert any(word in answer.message for word in why.split("|")), answer.message
    grey = cv2.imencode(".png", np.arange(64 * 48, dtype=np.uint8).reshape(48, 64))[1].tobytes()
    assert asked.ask("query", "QueryMemory", image={"format": "png", "data": grey}).success
    assert asked.bus.failures == []


def test_without_an_encoder_the_refusal_names_the_parameter(tmp_path: Path) -> None:
    robot = Robot(tmp_path).start()
    robot.walk(walk(2))
    answer = robot.ask("query", "QueryMemory", image=picture(2.5, 2.0, 0.0))
    assert not answer.success
    assert "image_encoder" in answer.message
    assert "color" in str(robot.node.refuse({"image_encoder": "layout"}))
    assert robot.node.refuse({"image_encoder": "layout", "color": True}) is None
    robot.stop()
    for values, why in (
        ({"image_encoder": "layout"}, "color"), ({"image_encoder": str(tmp_path / "no"), "color": True}, "no folder"),
    ):  # fmt: skip
        wrong = Robot(tmp_path / "wrong", **values)
        with pytest.raises(InputError, match=why):
            wrong.node.configure()
        wrong.node.cleanup()
        assert wrong.bus.services == []


def test_nothing_is_encoded_in_a_callback_and_a_failure_costs_the_embedding_only(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    threads, right = set[str](), LayoutEncoder.encode_images
    is_broken = False

    def encode(self: LayoutEncoder, images: Sequence[np.ndarray]) -> np.ndarray:
        threads.add(threading.current_thread().name)
        if is_broken:
            raise RuntimeError("out of memory")
        return right(self, images)

    monkeypatch.setattr(LayoutEncoder, "encode_images", encode)
    robot = looked_around(tmp_path, n=3)
    best_view(robot, 2.5, 2.0, 0.0)
    assert threads == {"embmem mapping", "embmem answers"}
    is_broken = True
    mapped = robot.counts()["mapped"]
    frame = replace(painted(observe_room(camera_pose(np.array([4.2, 3.2, EYE]), 2.0, -0.3), 0.0)), stamp=20.0)
    robot.walk([frame], color=True)
    assert (robot.counts()["mapped"], robot.counts()["encoder_failures"]) == (mapped + 1, 1)
    answer = robot.ask("query", "QueryMemory", image=picture(2.5, 2.0, 0.0))
    assert not answer.success
    assert "out of memory" in answer.message
    robot.stop()
