"""The memory node maps what an offline build maps, tells what it knows, and answers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from box_room import MUG, walk
from bus import Bus, of_bytes, to_bytes
from hydra.utils import instantiate
from robot_on_bus import SMALL, START, Robot, later, place

from embmem.cli.main import compose_config
from embmem.errors import InputError
from embmem.map_hash import map_hash
from embmem.maps import open_memory
from embmem.memory import Memory
from embmem.recordings.opening import read_recording
from embmem.ros.definitions import typestore
from embmem.ros.messages import cloud_of
from embmem.ros.nodes.memory import MemoryNode
from embmem.ros.outgoing import graphs, maps
from embmem.ros.outgoing.parts import transform
from embmem.ros.ports import Node
from embmem.ros.shown import GraphShown
from embmem.store import RecordStore

GRID, UPDATE = "nav_msgs/msg/OccupancyGrid", "map_msgs/msg/OccupancyGridUpdate"
REMAPS = {
    "depth/image": "/camera/depth/image_raw/compressedDepth",
    "depth/camera_info": "/camera/depth/camera_info",
    "color/image": "/camera/color/image_raw/compressed",
    "color/camera_info": "/camera/color/camera_info",
}


def play(bus: Bus, bag: Path, n: int) -> None:
    """The first messages of a bag, each when the clock shows its time."""
    from rosbags.highlevel import AnyReader

    with AnyReader([bag], default_typestore=typestore()) as reader:
        for i, (connection, stamp, data) in enumerate(reader.messages()):
            if i == n:
                return
            bus.advance((stamp - bus.now_ns) / 1e9)
            for subscription in list(bus.subscriptions):
                if subscription.topic == connection.topic:
                    subscription.deliver(bytes(data))
            bus.spin()


@pytest.mark.parametrize(("kind", "is_coloured"), [("spatial", False), ("robot", True)])
def test_a_real_bag_gives_the_map_of_the_offline_build(
    tmp_path: Path, data_dir: Path, kind: str, is_coloured: bool
) -> None:
    bag = data_dir / "ros2" / "rgbd_7scenes_mcap"
    bus = Bus(now=1_700_000_000.0)
    values: dict[str, Any] = {
        "use_sim_time": True, "mode": "all", "folder": str(tmp_path), "memory": kind, "color": is_coloured,
        "depth_transport": "compressed", "color_transport": "compressed", "memory_settings": ["resolution=0.1"],
    }  # fmt: skip
    node = MemoryNode(bus.ports("memory", MemoryNode, values=values, remaps=REMAPS))
    node.configure()
    node.activate()
    play(bus, bag, 140)
    bus.advance(1.0)
    assert bus.ask("/memory/save", "embmem_msgs/srv/SaveMemory", {"path": "saved"}, timeout=120.0).success
    n_frames = node.counters["mapped"]
    node.deactivate()
    node.cleanup()
    assert n_frames >= 20
    live = open_memory(tmp_path / "saved" / "memory.embmem")
    assert map_hash(live) == map_hash(built_from(bag, kind, n_frames, is_coloured=is_coloured))


def built_from(bag: Path, kind: str, n: int, *, is_coloured: bool) -> Memory:
    """What `embmem build` makes of the first frames of a bag."""
    settings = ["recording=x", "out=y", f"memory={kind}", "resolution=0.1"]
    memory: Memory = instantiate(compose_config("build", settings).memory)
    reading = read_recording(bag, frame="identity", rgb=is_coloured)
    for _, observation in zip(range(n), reading, strict=False):
        memory.observe(observation)
    memory.derive()
    return memory


def test_it_is_a_node_and_goes_through_its_life_twice(tmp_path: Path) -> None:
    robot = Robot(tmp_path)
    assert isinstance(robot.node, Node)
    robot.node.cleanup()  # never configured
    for _ in range(2):
        robot.start()
        robot.stop()
    assert robot.bus.services == []
    assert not any(timer.callback.__qualname__.startswith("MemoryNode") for timer in robot.bus.timers)


def test_a_configuration_that_cannot_be_is_told_and_leaves_nothing_behind(tmp_path: Path) -> None:
    wrong: list[tuple[dict[str, Any], str]] = [
        ({"memory": "no_such"}, "no_such"),
        ({"memory_settings": ["resolution=wide"]}, "resolution"),
        ({"memory_settings": ["colour_of_walls=3"]}, "colour_of_walls"),
    ]
    for values, what in wrong:
        robot = Robot(tmp_path, **values)
        with pytest.raises(InputError, match=what):
            robot.node.configure()
        robot.node.cleanup()
        assert robot.bus.services == []


def test_maps_are_sent_when_they_have_changed_and_only_then(tmp_path: Path) -> None:
    robot = Robot(tmp_path, whole_period=3600.0, memory="robot", memory_settings=["resolution=0.1"]).start()
    grids, updates, clouds = (
        robot.sent("grid", GRID),
        robot.sent("grid_updates", UPDATE),
        robot.sent("cloud", "sensor_msgs/msg/PointCloud2"),
    )
    trees = robot.sent("voxels", "octomap_msgs/msg/Octomap")
    frames = list(walk(12))
    robot.walk(frames[:4])
    robot.tick(2)
    n = len(grids), len(clouds), len(trees)
    robot.tick(2)
    assert (len(grids), len(clouds), len(trees)) == n
    robot.walk(frames[4:])
    robot.tick(2)
    voxels = robot.voxels
    np.testing.assert_allclose(cloud_of(clouds[-1]).points, voxels.occupied(), atol=1e-5)
    assert trees[-1].data.size > 100
    now = robot.node.sending.grid
    assert now is not None
    held = _held(grids, updates)
    np.testing.assert_array_equal(held, now.cells)
    late = robot.sent("grid", GRID)
    robot.tick()
    np.testing.assert_array_equal(late[-1].data.reshape(now.cells.shape), now.cells)
    robot.stop()


def _held(grids: list[Any], updates: list[Any]) -> np.ndarray:
    """What a listener of both topics holds in the end."""
    last = grids[-1]
    cells = last.data.reshape(last.info.height, last.info.width).copy()
    since = (last.header.stamp.sec, last.header.stamp.nanosec)
    for update in updates:
        if (update.header.stamp.sec, update.header.stamp.nanosec) > since:
            rows, columns = slice(update.y, update.y + update.height), slice(update.x, update.x + update.width)
            cells[rows, columns] = update.data.reshape(update.height, update.width)
    return cells


def test_listeners_of_graphs_hold_the_graphs_and_things_have_boxes(tmp_path: Path) -> None:
    robot = Robot(
        tmp_path, memory="robot", detections="2d", color=True, derive_period=1.0, memory_settings=["resolution=0.1"]
    ).start()
    heard = {name: robot.sent(name, f"embmem_msgs/msg/{kind}") for name, kind in (
        ("landmarks", "LandmarkGraph"), ("scene_graph", "SceneGraph"))}  # fmt: skip
    objects = robot.sent("objects", "vision_msgs/msg/Detection3DArray")
    for turn in range(2):
        for frame in later(walk(10), 2.0 * turn):
            robot.bus.advance(max(0.0, START + frame.stamp - robot.bus.now_ns / 1e9))
            robot.detect(frame, "mug", stamp=START + frame.stamp)
            robot.see(frame, color=True)
        robot.settle()
        robot.memory.derive()
        robot.tick(2)
    (mug,) = objects[-1].detections
    assert mug.results[0].hypothesis.class_id == "mug"
    center = mug.bbox.center.position
    np.testing.assert_allclose([center.x, center.y, center.z], MUG, atol=0.3)
    shown = robot.node.sending.shown
    for name, messages in heard.items():
        held = GraphShown()
        revision = 0
        for message in messages:
            if message.is_full or message.base_revision == revision:
                held, revision = graphs.applied(held, message), message.revision
        now = getattr(shown, "scene" if name == "scene_graph" else name)(robot.memory.layers)
        assert held.nodes.keys() == now.nodes.keys()
        assert held.edges.keys() == now.edges.keys()
        assert len(held.nodes) > 0
    robot.stop()


def test_questions_find_things_records_and_space(tmp_path: Path) -> None:
    robot = Robot(tmp_path, detections="2d").start()
    for frame in later(walk(24), 0.0):
        robot.bus.advance(max(0.0, START + frame.stamp - robot.bus.now_ns / 1e9))
        robot.detect(frame, "mug", stamp=START + frame.stamp)
        robot.see(frame)
    robot.settle()
    for question in ({"entity": "mug"}, {"text": "mug"}):
        answer = robot.ask("query", "QueryMemory", **question)
        assert answer.success
        first = answer.found.items[0]
        assert (first.layer, first.label, answer.found.header.frame_id) == ("objects", "mug", "map")
        np.testing.assert_allclose([first.pose.position.x, first.pose.position.y, first.pose.position.z], MUG, atol=0.3)
    near = robot.ask("query", "QueryMemory", near=place(2.5, 2.0, 1.5), radius=1.0, k=3)
    assert {item.layer for item in near.found.items} >= {"records"}
    assert len(near.found.items) <= 3
    nothing = robot.ask("query", "QueryMemory", entity="unicorn")
    assert (nothing.success, len(nothing.found.items)) == (True, 0)
    assert "nothing was found" in nothing.message
    for wrong in (
        {"k": 5000}, {"radius": float("nan")}, {"min_confidence": 2.0}, {"near": place(0, 0, 0, "elsewhere")},
        {"near": place(float("inf"), 0, 0)}, {"image": {"format": "png", "data": b"123"}},
    ):  # fmt: skip
        refused = robot.ask("query", "QueryMemory", **wrong)
        assert not refused.success
        assert refused.message
    assert robot.bus.failures == []
    robot.stop()


def test_a_keyframe_brings_its_images_where_it_was_taken(tmp_path: Path) -> None:
    robot = Robot(tmp_path, color=True).start()
    frames = list(walk(3))
    robot.walk(frames, color=True)
    ids = [i.id for i in robot.ask("query", "QueryMemory", kind="view", k=9).found.items if i.layer == "records"]
    answer = robot.ask("keyframe", "GetKeyframe", id=ids[-1])
    assert answer.success
    position = answer.pose.pose.position
    distances = [np.linalg.norm(f.T_map_camera[:3, 3] - [position.x, position.y, position.z]) for f in frames]
    assert min(distances) < 1e-6
    from embmem.ros.images import compressed_image_of

    depth = compressed_image_of(answer.depth).pixels
    seen = frames[int(np.argmin(distances))]
    assert seen.depth is not None
    assert np.abs(depth / 1000.0 - seen.depth).max() < 6e-4
    assert compressed_image_of(answer.color).pixels.shape == (48, 64, 3)
    assert answer.camera_info.width == 64
    assert "no record 999" in robot.ask("keyframe", "GetKeyframe", id=999).message
    robot.stop()


def test_notes_are_added_corrected_withdrawn_restored_and_forgotten(tmp_path: Path) -> None:
    robot = Robot(tmp_path).start()
    robot.walk(walk(3))
    added = robot.ask("correct", "CorrectMemory", action=5, text="the charger", place="hall", position=place(1, 1, 0))
    assert added.success, added.message
    (note,) = added.written

    def texts() -> list[str]:
        items = robot.ask("query", "QueryMemory", kind="note").found.items
        return [item.text for item in items if item.layer == "records"]

    assert texts() == ["the charger"]
    new = robot.ask("correct", "CorrectMemory", action=1, ids=[note], text="the red charger", reason="looked again")
    assert new.success, new.message
    assert texts() == ["the red charger"]
    assert robot.ask("correct", "CorrectMemory", action=2, ids=list(new.written)).success
    assert texts() == ["the charger"]
    assert robot.ask("correct", "CorrectMemory", action=4, ids=[note]).success
    assert texts() == []
    for wrong in ({"action": 9}, {"action": 1, "ids": [1]}, {"action": 2}, {"action": 5},
                  {"action": 2, "ids": [1], "layer": "objects"}, {"action": 1, "ids": [777], "text": "x"}):  # fmt: skip
        assert not robot.ask("correct", "CorrectMemory", **wrong).success
    robot.stop()


def test_a_frame_that_is_withdrawn_leaves_the_map(tmp_path: Path) -> None:
    robot = Robot(tmp_path).start()
    frames = list(walk(6))
    robot.walk(frames)
    robot.memory.flush()
    items = robot.ask("query", "QueryMemory", kind="frame", k=20).found.items
    last = max(item.id for item in items)
    answer = robot.ask("correct", "CorrectMemory", action=2, ids=[last])
    assert "made anew" in answer.message
    other = Robot(tmp_path / "other").start()
    other.walk(frames[:5])
    assert map_hash(robot.memory) == map_hash(other.memory)
    robot.stop()
    other.stop()


def test_memories_are_saved_cleared_and_loaded(tmp_path: Path) -> None:
    robot = Robot(tmp_path).start()
    robot.walk(walk(6))
    before = map_hash(robot.memory)
    saved = robot.ask("save", "SaveMemory", path="yesterday", formats=["memory", "map_server"])
    assert sorted(Path(file).name for file in saved.files) == ["map.pgm", "map.yaml", "memory.embmem"]
    assert not robot.ask("save", "SaveMemory", path="yesterday").success  # it is there
    assert robot.ask("save", "SaveMemory", path="yesterday", overwrite=True).success
    for path in ("/etc", "../up", "a/../../b"):
        assert "below" in robot.ask("save", "SaveMemory", path=path).message
    assert "no format" in robot.ask("save", "SaveMemory", path="x", formats=["pickle"]).message
    assert "called" in robot.ask("clear", "ClearMemory", name="another").message
    cleared = robot.ask("clear", "ClearMemory", name="memory")
    assert map_hash(open_memory(cleared.kept_as)) == before
    assert robot.voxels.stats()["bytes"] < 1e6
    robot.walk(later(walk(3), 10.0))  # the frame of a new memory is that of the poses
    assert robot.counts()["mapped"] == 9
    assert not robot.ask("load", "LoadMemory", path="no_such").success
    with RecordStore(tmp_path / "memory.embmem", read_only=True) as reader, reader.reading() as db:
        db.execute("BEGIN")
        db.execute("SELECT count(*) FROM records").fetchone()
        held = robot.ask("load", "LoadMemory", path="yesterday")
    assert held.success or "read by somebody else" in held.message
    loaded = robot.ask("load", "LoadMemory", path="yesterday")
    assert (loaded.success, loaded.is_localised) == (True, False)
    assert map_hash(robot.memory) == before
    robot.walk(later(walk(3), 20.0))
    assert robot.counts()["unlocalised"] == 3
    assert map_hash(robot.memory) == before
    robot.stop()


def test_parameters_are_vetoed_alone_and_together(tmp_path: Path) -> None:
    robot = Robot(tmp_path).start()
    change = robot.ports.change
    assert change(robot.node, publish_rate=5.0) is None
    assert "at most" in str(change(robot.node, publish_rate=1e6))
    assert "one of newest, all" in str(change(robot.node, mode="fastest"))
    assert "cannot be changed" in str(change(robot.node, memory="maps"))
    assert "no parameter" in str(change(robot.node, colour=True))
    veto = robot.node.refuse
    assert "z_min" in str(veto({"z_min": 2.0}))
    assert "map_frame" in str(veto({"map_frame": ""}))
    assert "points" in str(veto({"input": "points", "color": True}))
    assert "'much'" in str(veto({"depth_invalid": ["0", "much"]}))
    assert "_target_" in str(veto({"memory_settings": ["gate._target_=os.system"]}))
    assert "configs/memory" in str(veto({"memory": "../build"}))
    assert "world_frame" in str(veto({"publish_map_to_world": True}))
    assert veto({"publish_map_to_world": True, "world_frame": "odom"}) is None
    robot.stop()


def test_two_robots_on_one_bus_do_not_hear_each_other(tmp_path: Path) -> None:
    bus = Bus(now=START)
    robots = [Robot(tmp_path / str(i), bus, namespace=f"/robot_{i}").start() for i in (1, 2)]
    robots[0].walk(walk(4))
    robots[1].walk(walk(2))
    assert [robot.counts()["mapped"] for robot in robots] == [4, 2]
    assert robots[1].status("mapping").name == "robot_2/memory: mapping"
    for robot in robots:
        robot.stop()


def test_frames_of_several_robots_have_prefixes_and_a_slash_keeps_the_map_common(tmp_path: Path) -> None:
    robot = Robot(
        tmp_path, frame_prefix="robot_1/", map_frame="/map", world_frame="odom", publish_map_to_world=True
    ).start()
    robot.world = "robot_1/odom"
    sent = robot.bus.heard("/tf", "tf2_msgs/msg/TFMessage")
    robot.walk(walk(3))
    assert robot.counts()["mapped"] == 3
    where = {(t.header.frame_id, t.child_frame_id) for message in sent for t in message.transforms}
    assert ("map", "robot_1/odom") in where
    robot.stop()


def test_odometry_with_the_cameras_place_on_the_robot_will_do(tmp_path: Path) -> None:
    frames = list(walk(5))
    base = np.eye(4)
    base[:3, 3] = (0.1, 0.0, 0.3)
    robot, other = Robot(tmp_path / "a", pose_source="odometry").start(), Robot(tmp_path / "b").start()
    robot.bus.send("/tf_static", "tf2_msgs/msg/TFMessage", {"transforms": [transform(base, "base", "optical", 0)]})
    for frame in frames:
        ns = round((START + frame.stamp) * 1e9)
        moved = transform(frame.T_map_camera @ np.linalg.inv(base), "odom", "base", ns)["transform"]
        inside = {"position": moved["translation"], "orientation": moved["rotation"]}
        head = {"stamp": {"sec": ns // 10**9, "nanosec": ns % 10**9}, "frame_id": "odom"}
        fields = {"header": head, "child_frame_id": "base", "pose": {"pose": inside}}
        robot.send("odom", "nav_msgs/msg/Odometry", fields)
        robot.see(frame, tf=False)
    robot.settle()
    other.walk(frames)
    assert robot.counts()["mapped"] == 5
    a, b = (r.voxels.occupied() for r in (robot, other))
    assert len(set(map(tuple, np.round(a, 3))) ^ set(map(tuple, np.round(b, 3)))) <= 0.02 * len(b)
    robot.stop()
    other.stop()


def test_point_clouds_are_mapped(tmp_path: Path) -> None:
    robot = Robot(tmp_path, input="points").start()
    from embmem.geometry import backproject

    for frame in walk(6):
        ns = round((START + frame.stamp) * 1e9)
        assert frame.depth is not None
        points = backproject(frame.depth, frame.intrinsics).reshape(-1, 3)
        tf = {"transforms": [transform(frame.T_map_camera, "map", "lidar", ns)]}
        robot.bus.send("/tf", "tf2_msgs/msg/TFMessage", tf)
        robot.send("points", "sensor_msgs/msg/PointCloud2", maps.cloud(points.astype(np.float64), ns, "lidar"))
    robot.settle()
    assert robot.counts()["mapped"] == 6
    occupied = robot.voxels.occupied()
    walls = np.minimum(np.abs(occupied), np.abs(occupied - [5.0, 4.0, 2.5])).min(axis=1)
    assert (walls < 0.11).mean() > 0.95
    robot.stop()


def test_every_parameter_of_the_small_memory_is_declared() -> None:
    assert set(SMALL) <= {parameter.name for parameter in MemoryNode.PARAMETERS}
    request = of_bytes("embmem_msgs/srv/QueryMemory_Request", to_bytes("embmem_msgs/srv/QueryMemory_Request", {}))
    assert (request.k, request.text) == (0, "")
