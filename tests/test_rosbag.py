"""Bags of ROS 2: what we read against what was written, topics chosen, transforms, and the real ones."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from box_room import CAMERA, observe_room
from ros_messages import NS, Messages, write_bag
from scipy.spatial import cKDTree
from scipy.spatial.transform import Rotation

from embmem.errors import InputError
from embmem.geometry import backproject, camera_pose, transform_points
from embmem.observation import Observation
from embmem.recordings.opening import open_recording, read_recording
from embmem.recordings.poses import NoPosesError
from embmem.recordings.raw import RawDetections, RawImage

M = Messages()
START = 1_700_000_000 * NS
BODY = np.array([[0.0, 0, 1, 0], [-1, 0, 0, 0], [0, -1, 0, 0], [0, 0, 0, 1]])  # T_link_optical
N = 5


def pose(T: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    return T[:3, 3], Rotation.from_matrix(T[:3, :3]).as_quat()


def seen(i: int) -> Observation:
    T = camera_pose(np.array([2.0 + 0.1 * i, 2.0, 1.4]), 0.05 * i, -0.2)
    return observe_room(T, (START + i * NS // 10) / NS)


def topics(*, depth: str = "16UC1", poses: str = "tf", optical: str = "optical") -> list[tuple[str, int, Any]]:
    """A robot that drives through the room of boxes: its camera 0.3 m ahead of and 1 m above its base."""
    T_base_link = np.eye(4)
    T_base_link[:3, 3] = [0.3, 0.0, 1.0]
    made: list[tuple[str, int, Any]] = [
        ("/tf_static", START, M.tf(M.transform("base_link", "camera_link", *pose(T_base_link)),
                                   M.transform("camera_link", optical, *pose(BODY))))]  # fmt: skip
    for i in range(N):
        stamp, observation = START + i * NS // 10, seen(i)
        T_map_base = observation.T_map_camera @ np.linalg.inv(T_base_link @ BODY)
        if poses == "tf":
            made.append(("/tf", stamp, M.tf(M.transform("odom", "base_link", *pose(T_map_base), stamp),
                                            M.transform("map", "odom", (0, 0, 0), (0, 0, 0, 1), stamp))))  # fmt: skip
        elif poses == "odometry":
            made.append(("/odom", stamp, M.odometry("odom", "base_link", *pose(T_map_base), stamp)))
        elif poses == "pose":
            made.append(("/camera_pose", stamp, M.pose("map", *pose(observation.T_map_camera), stamp)))
        assert observation.depth is not None
        assert observation.rgb is not None
        pixels = observation.depth if depth == "32FC1" else np.rint(observation.depth * 1000).astype(np.uint16)
        made.append(("/camera/depth/image_raw", stamp + 5, M.image(pixels, depth, stamp, optical)))
        made.append(("/camera/color/image_raw", stamp + 3, M.image(observation.rgb, "rgb8", stamp + 1000, optical)))
        for name in ("depth", "color"):
            made.append(
                (f"/camera/{name}/camera_info", stamp + 4, M.camera_info(CAMERA.width, CAMERA.height, CAMERA.fx))
            )
        made.append(("/chatter", stamp, M.of("std_msgs/msg/String", data="hello")))
    return made


@pytest.mark.parametrize("storage", ["MCAP", "SQLITE3"])
@pytest.mark.parametrize("depth", ["16UC1", "32FC1"])
@pytest.mark.parametrize("poses", ["tf", "odometry", "pose"])
def test_a_bag_is_read_without_being_told_anything(tmp_path: Path, storage: str, depth: str, poses: str) -> None:
    write_bag(tmp_path / "bag", topics(depth=depth, poses=poses), storage=storage)
    reading = read_recording(tmp_path / "bag")
    found = list(reading)
    assert len(found) == len(reading) == N
    np.testing.assert_array_equal(reading.T_map_world, np.eye(4))
    for i, observation in enumerate(found):
        expected = seen(i)
        assert observation.stamp == expected.stamp
        np.testing.assert_allclose(observation.T_map_camera, expected.T_map_camera, atol=2e-9)
        assert observation.depth is not None
        assert expected.depth is not None
        np.testing.assert_allclose(observation.depth, expected.depth, atol=0.000501 if depth == "16UC1" else 0)
        np.testing.assert_array_equal(observation.rgb, expected.rgb)
        assert observation.intrinsics.fx == CAMERA.fx
    (file,) = [f for f in (tmp_path / "bag").iterdir() if f.suffix in (".mcap", ".db3")]
    alone = next(iter(read_recording(file)))
    np.testing.assert_array_equal(alone.T_map_camera, found[0].T_map_camera)


def test_every_sample_is_where_it_was_and_names_its_message(tmp_path: Path) -> None:
    write_bag(tmp_path / "bag", topics())
    recording = open_recording(tmp_path / "bag")
    samples = list(recording.samples(("depth",)))
    assert [s.nanoseconds for s in samples] == [START + i * NS // 10 for i in range(N)]
    assert {round((s.received - s.stamp) * NS) for s in samples} <= {0, 5, 238}  # as float64 tells
    assert samples[3].source.endswith("/camera/depth/image_raw message 3")
    assert samples[0].frame_id == "optical"
    image = samples[0].read()
    assert isinstance(image, RawImage)
    assert (image.encoding, image.pixels.dtype.str) == ("16UC1", "<u2")
    kinds = {stream.name: stream.kind for stream in recording.streams}
    assert kinds["/tf"] == "tf"
    assert kinds["/tf_static"] == "tf_static"
    assert kinds["/chatter"] == "other"
    assert kinds["/camera/depth/camera_info"] == "camera"


def test_topics_and_frames_that_nobody_can_guess_are_named_by_settings(tmp_path: Path) -> None:
    strange = {"/camera/depth/image_raw": "/a", "/camera/color/image_raw": "/b", "/camera/depth/camera_info": "/c"}
    write_bag(tmp_path / "bag", [(strange.get(t, t), s, m) for t, s, m in topics(optical="lens")])
    settings = {"depth": "/a", "color": "/b", "camera": "/c", "map_frame": "odom", "camera_frame": "lens"}
    reading = read_recording(tmp_path / "bag", settings, frame="identity")
    assert (reading.choice.main.name, reading.choice.camera) == ("/a", "/c")
    np.testing.assert_allclose(next(iter(reading)).T_map_camera, seen(0).T_map_camera, atol=2e-9)
    assert next(iter(read_recording(tmp_path / "bag", settings | {"color": "none"}))).rgb is None
    with pytest.raises(InputError, match=r"no stream '/nothing' for read\.depth, only /tf_static"):
        read_recording(tmp_path / "bag", {"depth": "/nothing"})


def test_what_is_missing_is_said_with_the_setting_that_mends_it(tmp_path: Path) -> None:
    def without(*names: str) -> list[tuple[str, int, Any]]:
        return [row for row in topics() if row[0] not in names]

    write_bag(tmp_path / "no_tf", without("/tf", "/tf_static"))
    with pytest.raises(NoPosesError, match="nothing says where the camera was"):
        read_recording(tmp_path / "no_tf")
    write_bag(tmp_path / "no_link", [row for row in topics(poses="odometry") if row[0] != "/tf_static"])
    with pytest.raises(NoPosesError, match=r"/odom moves another frame than 'optical'.*read\.camera_frame"):
        read_recording(tmp_path / "no_link")
    write_bag(tmp_path / "no_camera", without("/camera/depth/camera_info", "/camera/color/camera_info"))
    with pytest.raises(InputError, match=r"read\.intrinsics"):
        read_recording(tmp_path / "no_camera")
    given = {"intrinsics": [CAMERA.fx, CAMERA.fy, CAMERA.cx, CAMERA.cy]}
    assert next(iter(read_recording(tmp_path / "no_camera", given))).intrinsics == CAMERA
    write_bag(tmp_path / "no_images", [row for row in topics() if "image_raw" not in row[0]])
    with pytest.raises(InputError, match=r"no depth, no points and no images.*/chatter"):
        read_recording(tmp_path / "no_images")


def test_a_frame_without_a_transform_is_a_fault_that_may_be_skipped(tmp_path: Path) -> None:
    write_bag(tmp_path / "bag", [row for row in topics() if not (row[0] == "/tf" and row[1] >= START + 4 * NS // 10)])
    with pytest.raises(InputError, match=r"/camera/depth/image_raw message 4: .* after the last transform"):
        list(read_recording(tmp_path / "bag"))
    reading = read_recording(tmp_path / "bag", on_fault="skip")
    assert len(list(reading)) == N - 1
    assert [fault.kind for fault in reading.faults] == ["extrapolation"]


def test_a_gap_in_the_transforms_is_not_bridged_unless_told(tmp_path: Path) -> None:
    gone = [START + i * NS // 10 for i in (1, 2, 3)]
    write_bag(tmp_path / "bag", [row for row in topics() if not (row[0] == "/tf" and row[1] in gone)])
    reading = read_recording(tmp_path / "bag", {"max_gap": 0.3}, on_fault="skip")
    assert len(list(reading)) == 2
    assert {fault.kind for fault in reading.faults} == {"tf_gap"}
    assert len(list(read_recording(tmp_path / "bag", {"max_gap": 0.5}))) == N


def test_a_damaged_message_is_a_fault_of_that_message(tmp_path: Path) -> None:
    broken = topics()
    for i, (topic, stamp, message) in enumerate(broken):
        if topic == "/camera/depth/image_raw" and stamp == START + 2 * NS // 10 + 5:
            message.data = message.data[:100]
            broken[i] = (topic, stamp, message)
    write_bag(tmp_path / "bag", broken)
    with pytest.raises(InputError, match=r"image_raw message 2.*100 bytes"):
        list(read_recording(tmp_path / "bag"))
    assert len(list(read_recording(tmp_path / "bag", on_fault="skip"))) == N - 1


def test_a_bag_whose_metadata_hide_its_messages_is_read_from_its_files(tmp_path: Path) -> None:
    """rosbags gives no message of a topic whose QoS in metadata.yaml is not that of the storage."""
    write_bag(tmp_path / "bag", topics())
    file = tmp_path / "bag" / "metadata.yaml"
    qos = "offered_qos_profiles:\n      - {history: keep_last, depth: 7, reliability: reliable, durability: volatile, deadline: {sec: 1, nsec: 0}, lifespan: {sec: 1, nsec: 0}, liveliness: automatic, liveliness_lease_duration: {sec: 1, nsec: 0}, avoid_ros_namespace_conventions: false}"  # noqa: E501
    file.write_text(file.read_text().replace("offered_qos_profiles: []", qos))
    recording = open_recording(tmp_path / "bag")
    assert any("metadata.yaml" in note for note in recording.notes)
    assert len(list(read_recording(tmp_path / "bag"))) == N
    file.unlink()
    assert len(list(read_recording(tmp_path / "bag"))) == N


def test_points_of_a_lidar_become_depth_images_that_hold_them(tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    rows: list[tuple[str, int, Any]] = []
    points = np.zeros(500, np.dtype([("x", "<f4"), ("y", "<f4"), ("z", "<f4")]))
    for name in "xyz":
        points[name] = rng.uniform(-4, 4, 500)
    rows.append(("/tf", START, M.tf(M.transform("map", "lidar", (1, 2, 3), (0, 0, 0, 1), START))))
    rows.append(("/points", START, M.cloud(points, START)))
    write_bag(tmp_path / "bag", rows)
    found = []
    for observation in read_recording(tmp_path / "bag", frame="identity"):
        assert observation.depth is not None
        camera_points = backproject(observation.depth, observation.intrinsics)[np.isfinite(observation.depth)]
        found.append(transform_points(observation.T_map_camera, camera_points.astype(np.float64)))
    expected = np.stack([points[a] for a in "xyz"], axis=1) + np.array([1, 2, 3])
    distance, _ = cKDTree(np.concatenate(found)).query(expected)
    assert np.percentile(distance, 99) < 0.02  # half a pixel; a few hide behind others
    assert sum(map(len, found)) > 490


def test_colour_of_another_camera_is_seen_from_the_depth_camera(tmp_path: Path) -> None:
    made = [row for row in topics() if "color" not in row[0]]
    big = np.zeros((96, 128, 3), np.uint8)
    big[:, :64] = [200, 10, 30]  # the left half
    for i in range(N):
        stamp = START + i * NS // 10
        made.append(("/camera/color/image_raw", stamp, M.image(big, "rgb8", stamp)))
        made.append(("/camera/color/camera_info", stamp, M.camera_info(128, 96, CAMERA.fx * 2)))
    write_bag(tmp_path / "bag", sorted(made, key=lambda row: row[1]))
    rgb = next(iter(read_recording(tmp_path / "bag"))).rgb
    assert rgb is not None
    assert rgb.shape == (48, 64, 3)
    assert (rgb[:, :31] == [200, 10, 30]).all()
    assert (rgb[:, 33:] == 0).all()


def detections(stamp: int) -> Any:
    def hypothesis(label: str, score: float) -> Any:
        named = M.of("vision_msgs/msg/ObjectHypothesis", class_id=label, score=score)
        pose = M.odometry("", "", (0, 0, 0), (0, 0, 0, 1)).pose
        return M.of("vision_msgs/msg/ObjectHypothesisWithPose", hypothesis=named, pose=pose)

    middle = M.of("vision_msgs/msg/Pose2D", position=M.of("vision_msgs/msg/Point2D", x=20.0, y=10.0), theta=0.0)
    box = M.of("vision_msgs/msg/BoundingBox2D", center=middle, size_x=8.0, size_y=4.0)
    found = M.of("vision_msgs/msg/Detection2D", header=M.header(stamp, "optical"), bbox=box, id="7",
                 results=[hypothesis("cup", 0.3), hypothesis("mug", 0.6)])  # fmt: skip
    return M.of("vision_msgs/msg/Detection2DArray", header=M.header(stamp, "optical"), detections=[found])


def test_recorded_detections_come_with_their_frame(tmp_path: Path) -> None:
    rows = topics() + [("/detections", START + i * NS // 10, detections(START + i * NS // 10)) for i in range(N)]
    write_bag(tmp_path / "bag", sorted(rows, key=lambda row: row[1]))
    for frame in read_recording(tmp_path / "bag").frames():
        found = frame.parts["detections"].read()
        assert isinstance(found, RawDetections)
        (item,) = found.items
        assert (item.label, item.score, item.id, item.box) == ("mug", 0.6, "7", (16.0, 8.0, 24.0, 12.0))


def real(data_dir: Path, name: str) -> Path:
    path = data_dir / "ros2" / name
    if not path.exists():
        pytest.skip(f"no {path}")
    return path


def test_the_real_bag_holds_the_frames_of_the_folder(data_dir: Path) -> None:
    path = real(data_dir, "rgbd_7scenes_mcap")
    reading = read_recording(path, every=20, frame="identity")
    stems = [data_dir / "rgbd" / "seven_scenes" / f"frame-{n:06d}" for n in (0, 200)]
    for observation, stem in zip(list(reading)[:2], stems, strict=True):
        raw = cv2.imread(f"{stem}.depth.png", cv2.IMREAD_UNCHANGED)
        assert raw is not None
        expected = np.where((raw == 0) | (raw == 65535), np.nan, raw.astype(np.float32) / np.float32(1000))
        np.testing.assert_array_equal(observation.depth, expected)


@pytest.mark.parametrize(("name", "counts"), [
    ("nav2_turtlebot.mcap", {"/odom": 2639, "/tf": 5422, "/tf_static": 1, "/amcl_pose": 135}),
    ("tf_example", {"/tf": 517, "/tf_static": 1}),
])  # fmt: skip
def test_real_bags_without_images_are_opened_and_told(data_dir: Path, name: str, counts: dict[str, int]) -> None:
    recording = open_recording(real(data_dir, name))
    assert {stream.name: stream.n_samples for stream in recording.streams} == counts
    assert len(list(recording.samples(("tf_static",)))) == 1
    with pytest.raises(InputError, match="no images to build from; there is /"):
        read_recording(recording.path)


def test_the_same_frames_as_a_folder_give_the_same_observations(data_dir: Path, tmp_path: Path) -> None:
    """Images bit for bit out of the bag by rosbags, poses as text by scipy: ours is only the reading of folders."""
    folder = tmp_path / "folder"
    write_folder_from_bag(real(data_dir, "rgbd_7scenes_mcap"), folder, n=6)
    from_bag, from_folder = (
        iter(read_recording(data_dir / "ros2" / "rgbd_7scenes_mcap", frame="identity")),
        read_recording(folder, frame="identity"),
    )
    for a, b in zip(from_folder, from_bag, strict=False):
        assert a.stamp == b.stamp
        assert a.intrinsics == b.intrinsics
        np.testing.assert_array_equal(a.T_map_camera, b.T_map_camera)
        np.testing.assert_array_equal(a.depth, b.depth)
        np.testing.assert_array_equal(a.rgb, b.rgb)


def write_folder_from_bag(bag: Path, folder: Path, n: int) -> None:
    """The first `n` frames as a folder, without our reader."""
    folder.mkdir()
    optical = Rotation.from_quat([-0.5, 0.5, -0.5, 0.5]).as_matrix()
    stamps: list[str] = []
    for topic, message in messages_of(bag):
        number = len(stamps)
        if topic == "/tf" and number < n:
            t = message.transforms[1].transform
            T = np.eye(4)
            q = t.rotation
            T[:3, :3] = Rotation.from_quat([q.x, q.y, q.z, q.w]).as_matrix() @ optical
            T[:3, 3] = t.translation.x, t.translation.y, t.translation.z
            np.savetxt(folder / f"frame-{number:06d}.pose.txt", T)
            stamp = message.transforms[1].header.stamp
            stamps.append(f"{stamp.sec}.{stamp.nanosec:09d}")
    counts = {"color": 0, "depth": 0}
    for topic, message in messages_of(bag):
        for kind, suffix, skip in (("color", "jpg", 0), ("depth", "png", 12)):
            if topic.startswith(f"/camera/{kind}/image") and counts[kind] < n:
                file = folder / f"frame-{counts[kind]:06d}.{kind}.{suffix}"
                file.write_bytes(message.data.tobytes()[skip:])
                counts[kind] += 1
        if topic == "/camera/depth/camera_info":
            np.savetxt(folder / "camera-intrinsics.txt", message.k.reshape(3, 3))
    (folder / "timestamps.txt").write_text("\n".join(stamps))


def messages_of(bag: Path) -> Iterator[tuple[str, Any]]:
    from rosbags.highlevel import AnyReader

    with AnyReader([bag]) as reader:
        for connection, _, data in reader.messages():
            yield connection.topic, reader.deserialize(data, connection.msgtype)
