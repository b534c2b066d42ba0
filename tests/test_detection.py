"""Boxes around things become segments: told from the background by depth, in the image and in space, from bags."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from house_frames import house_frames
from hypothesis import given
from hypothesis import strategies as st
from ros_messages import NS, Messages, write_bag
from scipy.spatial.transform import Rotation

from embmem.detection.foreground import foreground
from embmem.detection.segments import Box, Segment, SpaceBox, painted, segments_of, space_segments_of
from embmem.errors import InputError
from embmem.geometry import backproject, camera_pose
from embmem.maps import ObjectMemory
from embmem.observation import Intrinsics, Observation
from embmem.recordings.opening import read_recording

CAMERA = Intrinsics.from_fov(80, 60, 70.0)
M = Messages()
START = 1_700_000_000 * NS
BALL, RADIUS = np.array([3.0, 0.2, 1.0]), 0.25  # [m] in the map
WALL = 4.5  # [m] x of the wall behind it
LARGE = ("wall", "floor", "ceiling", "door", "door frame")


def ball_room(T_map_camera: np.ndarray, camera: Intrinsics = CAMERA) -> tuple[np.ndarray, np.ndarray]:
    """(depth, which pixels show the ball) of a ball before a wall, by the equation of each ray."""
    rays = backproject(np.ones((camera.height, camera.width), np.float32), camera).astype(np.float64)
    directions = rays @ T_map_camera[:3, :3].T
    origin = T_map_camera[:3, 3]
    a, b = (directions**2).sum(axis=2), 2 * directions @ (origin - BALL)
    c = ((origin - BALL) ** 2).sum() - RADIUS**2
    with np.errstate(divide="ignore", invalid="ignore"):
        near = (-b - np.sqrt(b**2 - 4 * a * c)) / (2 * a)
        wall = (WALL - origin[0]) / directions[..., 0]
    is_ball = np.isfinite(near) & (near > 0) & (near < wall)
    return np.where(is_ball, near, np.where((wall > 0) & (wall < 20), wall, np.nan)).astype(np.float32), is_ball


def box_of(mask: np.ndarray, label: str = "ball", *, wider: float = 0.0, score: float = 0.9) -> Box:
    rows, columns = np.nonzero(mask)
    x, y = wider * np.ptp(columns), wider * np.ptp(rows)
    edges = columns.min() - x, rows.min() - y, columns.max() + x, rows.max() + y
    return Box(label, score, *map(float, edges))


def frame(x: float = 1.0, y: float = 0.0, yaw: float = 0.0) -> tuple[Observation, np.ndarray]:
    T = camera_pose(np.array([x, y, 1.1]), yaw)
    depth, is_ball = ball_room(T)
    return Observation(0.0, T, CAMERA, depth), is_ball


@given(st.floats(0.5, 2.2), st.floats(-0.4, 0.6), st.floats(-0.2, 0.2), st.floats(0.0, 0.3))
def test_a_ball_before_a_wall_is_all_of_the_ball_and_nothing_of_the_wall(
    x: float, y: float, yaw: float, wider: float
) -> None:
    observation, is_ball = frame(x, y, yaw)
    (segment,) = segments_of([box_of(is_ball, wider=wider)], observation)
    assert not (segment.mask & ~is_ball).any()
    assert (segment.mask & is_ball).sum() >= 0.85 * is_ball.sum()  # its grazing edge may be lost


def test_a_post_before_a_thing_is_not_the_thing_and_does_not_cut_it() -> None:
    observation, is_ball = frame(1.8)
    assert observation.depth is not None
    depth = observation.depth.copy()
    columns = np.flatnonzero(is_ball.any(axis=0))
    post = int(columns.mean()) + 2
    depth[:, post : post + 2] = 0.5
    (segment,) = segments_of([box_of(is_ball)], replace(observation, depth=depth))
    assert not segment.mask[:, post : post + 2].any()
    assert segment.mask[:, columns.min() : post].any()
    assert segment.mask[:, post + 2 :].any()


@pytest.mark.parametrize("depth", [np.full((9, 9), np.nan, np.float32), np.zeros((9, 9), np.float32)])
def test_where_nothing_was_measured_there_is_no_thing(depth: np.ndarray) -> None:
    assert not foreground(depth, 100.0).any()


def test_a_large_box_is_segmented_like_a_small_one() -> None:
    camera = Intrinsics.from_fov(800, 600, 70.0)
    depth, is_ball = ball_room(camera_pose(np.array([1.8, 0.0, 1.1]), 0.0), camera)
    (segment,) = segments_of([box_of(is_ball, wider=0.1)], Observation(0.0, np.eye(4), camera, depth))
    assert (segment.mask & is_ball).sum() / (segment.mask | is_ball).sum() > 0.95


def test_in_a_furnished_house_it_beats_the_whole_box() -> None:
    ours: list[float] = []
    whole: list[float] = []
    for seen in house_frames(16):
        assert seen.instance is not None
        assert seen.semantic is not None
        assert seen.depth is not None
        is_measured = np.isfinite(seen.depth)
        masks = {}
        for i in np.unique(seen.instance[seen.instance > 0]):
            mask = (seen.instance == i) & is_measured
            if mask.sum() >= 40 and seen.labels[int(seen.semantic[mask][0])] not in LARGE:
                masks[str(i)] = mask
        boxes = [box_of(mask, name, wider=0.15) for name, mask in masks.items()]
        found = {s.label: s.mask for s in segments_of(boxes, seen)}
        for box in boxes:
            rows, columns = np.indices(is_measured.shape)
            inside = (rows >= box.top) & (rows <= box.bottom) & (columns >= box.left) & (columns <= box.right)
            ours.append(overlap(found.get(box.label, np.zeros_like(inside)), masks[box.label]))
            whole.append(overlap(inside & is_measured, masks[box.label]))
    assert len(ours) > 30
    assert np.mean(ours) > np.mean(whole) + 0.03


def overlap(a: np.ndarray, b: np.ndarray) -> float:
    return float((a & b).sum() / (a | b).sum())


def test_of_boxes_on_each_other_the_surest_is_taken() -> None:
    observation, is_ball = frame()
    boxes = [
        box_of(is_ball, "apple", score=0.4),
        box_of(is_ball, "ball", score=0.8),
        box_of(is_ball, "orange", score=0.3),
    ]
    assert [s.label for s in segments_of(boxes, observation)] == ["ball"]
    nothing = [Box("ghost", 0.9, 900.0, 900.0, 950.0, 950.0), Box("dot", 0.9, 3.2, 3.2, 3.4, 3.4)]
    assert segments_of(nothing, observation) == []
    assert segments_of(boxes, replace(observation, depth=None)) == []


def test_a_smaller_segment_is_painted_over_a_larger_one_and_labels_are_plain_data() -> None:
    table: np.ndarray = np.zeros((60, 80), dtype=bool)
    table[20:50, 10:70] = True
    mug: np.ndarray = np.zeros_like(table)
    mug[25:35, 30:40] = True
    segments = [Segment("mug", 0.5, mug), Segment("table", 0.9, table), Segment("  ", np.nan, mug[::-1])]
    seen = painted(Observation(0.0, np.eye(4), CAMERA), segments)
    assert seen.labels == ("unlabelled", "mug", "table", "thing")
    assert seen.semantic is not None
    assert seen.instance is not None
    assert (seen.semantic[mug & ~mug[::-1]] == 1).all()
    assert (seen.instance[mug & ~mug[::-1]] == 1).all()
    assert (seen.semantic[table & ~mug & ~mug[::-1]] == 2).all()
    assert (seen.semantic[~(table | mug | mug[::-1])] == 0).all()
    long = painted(Observation(0.0, np.eye(4), CAMERA), [Segment("<b>\n" + "x" * 900, 1.0, mug)])
    assert long.labels[1] == "<b> " + "x" * 96
    assert painted(Observation(0.0, np.eye(4), CAMERA), []).labels == ("unlabelled",)


@given(st.floats(-3, 3), st.floats(0.1, 0.6))
def test_a_box_in_space_holds_the_points_inside_of_it(angle: float, edge: float) -> None:
    camera = Intrinsics.from_fov(30, 24, 30.0)
    T_map_camera = camera_pose(np.array([1.0, 0.2, 1.0]), 0.0)
    observation = Observation(0.0, T_map_camera, camera, ball_room(T_map_camera, camera)[0])
    assert observation.depth is not None
    T = np.eye(4)
    T[:3, :3] = Rotation.from_rotvec([0.3, angle, -0.2]).as_matrix()
    T[:3, 3] = np.linalg.inv(observation.T_map_camera)[:3] @ [*BALL, 1.0]
    box = SpaceBox("ball", 1.0, T, np.array([edge, 0.4, 0.5]))
    points = backproject(observation.depth, camera).reshape(-1, 3).astype(np.float64)
    inside = np.array([(np.abs(T[:3, :3].T @ (p - T[:3, 3])) <= box.size / 2 + 0.02).all() for p in points])
    found = space_segments_of([box], observation)
    np.testing.assert_array_equal(found[0].mask.ravel() if found else np.zeros_like(inside), inside * bool(found))
    assert bool(found) == (inside.sum() >= 12)


def hypotheses(*named: tuple[str, float]) -> list[Any]:
    pose = M.odometry("", "", (0, 0, 0), (0, 0, 0, 1)).pose
    kinds = [M.of("vision_msgs/msg/ObjectHypothesis", class_id=label, score=score) for label, score in named]
    return [M.of("vision_msgs/msg/ObjectHypothesisWithPose", hypothesis=kind, pose=pose) for kind in kinds]


def detections_2d(stamp: int, frame_id: str, *boxes: Box) -> Any:
    found = []
    for box in boxes:
        position = M.of("vision_msgs/msg/Point2D", x=(box.left + box.right) / 2, y=(box.top + box.bottom) / 2)
        middle = M.of("vision_msgs/msg/Pose2D", position=position, theta=0.0)
        size = {"size_x": box.right - box.left, "size_y": box.bottom - box.top}
        bbox = M.of("vision_msgs/msg/BoundingBox2D", center=middle, **size)
        results = hypotheses((box.label, box.score))
        found.append(
            M.of("vision_msgs/msg/Detection2D", header=M.header(stamp, frame_id), bbox=bbox, id="", results=results)
        )
    return M.of("vision_msgs/msg/Detection2DArray", header=M.header(stamp, frame_id), detections=found)


def detections_3d(stamp: int, frame_id: str, label: str, position: np.ndarray, size: float) -> Any:
    pose = M.pose("", position, (0, 0, 0, 1)).pose
    extent = M.of("geometry_msgs/msg/Vector3", x=size, y=size, z=size)
    bbox = M.of("vision_msgs/msg/BoundingBox3D", center=pose, size=extent)
    header = M.header(stamp, frame_id)
    found = M.of("vision_msgs/msg/Detection3D", header=header, bbox=bbox, id="", results=hypotheses((label, 0.8)))
    return M.of("vision_msgs/msg/Detection3DArray", header=header, detections=[found])


def bag(path: Path, detections: Any, *, n: int = 4, color_scale: int = 0) -> Path:
    """A bag of a camera that walks past the ball; `detections(stamp, which pixels show the ball)` makes a message."""
    rows: list[tuple[str, int, Any]] = []
    for i in range(n):
        stamp = START + i * NS // 10
        T = camera_pose(np.array([1.0, -0.3 + 0.1 * i, 1.1]), 0.0)
        depth, is_ball = ball_room(T)
        quat = Rotation.from_matrix(T[:3, :3]).as_quat()
        rows.append(("/tf", stamp, M.tf(M.transform("map", "optical", T[:3, 3], quat, stamp))))
        rows.append(("/depth/image_raw", stamp, M.image(np.nan_to_num(depth), "32FC1", stamp, "optical")))
        rows.append(("/depth/camera_info", stamp, M.camera_info(CAMERA.width, CAMERA.height, CAMERA.fx)))
        if color_scale:
            w, h = color_scale * CAMERA.width, color_scale * CAMERA.height
            rows.append(("/color/image_raw", stamp, M.image(np.zeros((h, w, 3), np.uint8), "rgb8", stamp, "lens")))
            info = M.camera_info(w, h, CAMERA.fx * color_scale)
            info.header = M.header(stamp, "lens")
            rows.append(("/color/camera_info", stamp, info))
        if (found := detections(stamp, is_ball)) is not None:
            rows.append(("/detections", stamp, found))
    if color_scale:
        rows.insert(0, ("/tf_static", START, M.tf(M.transform("optical", "lens", (0, 0, 0), (0, 0, 0, 1)))))
    write_bag(path, rows)
    return path


def things(path: Path, **settings: Any) -> list[tuple[str, np.ndarray]]:
    """What the object map of a recording believes to be where."""
    objects = ObjectMemory()
    for observation in read_recording(path, settings, frame="identity"):
        objects.observe(observation)
    return [(objects.categories[row["category"]], row["position"]) for row in objects.things()]


def test_boxes_of_a_bag_make_the_object_map(tmp_path: Path) -> None:
    def found(stamp: int, is_ball: np.ndarray) -> Any:
        return detections_2d(stamp, "optical", box_of(is_ball, wider=0.2), Box("wall", 0.2, 0.0, 0.0, 79.0, 59.0))

    path = bag(tmp_path / "bag", found)
    ((name, position),) = things(path)
    assert name == "ball"
    assert np.linalg.norm(position - (BALL - [RADIUS / 2, 0, 0])) < 0.15  # its face was seen
    assert things(path, least_score=0.95) == []
    assert things(path, detections="none") == []
    assert Counter(o.labels for o in read_recording(path, {"least_score": 0.5}, frame="identity")) == {
        ("unlabelled", "ball"): 4
    }


def test_boxes_in_the_colour_image_are_found_in_the_depth_image(tmp_path: Path) -> None:
    def found(stamp: int, is_ball: np.ndarray) -> Any:
        b = box_of(is_ball)
        # 80 pixels become 160: centres and edges as `Messages.camera_info` has them
        u, v = ((80 * 2 - 1) / 2, (60 * 2 - 1) / 2)
        left, right = (2 * (x - 39.5) + u for x in (b.left, b.right))
        top, bottom = (2 * (y - 29.5) + v for y in (b.top, b.bottom))
        return detections_2d(stamp, "lens", Box("ball", 0.9, left, top, right, bottom))

    path = bag(tmp_path / "bag", found, color_scale=2)
    ((name, position),) = things(path)
    assert name == "ball"
    assert np.linalg.norm(position - BALL) < 0.3
    ((_, without_colour),) = things(path, color="none")
    np.testing.assert_array_equal(without_colour, position)


@pytest.mark.parametrize("frame_id", ["map", "optical"])
def test_boxes_in_space_are_found_in_any_frame_that_tf_knows(tmp_path: Path, frame_id: str) -> None:
    def found(stamp: int, is_ball: np.ndarray) -> Any:
        i = (stamp - START) * 10 // NS
        T = camera_pose(np.array([1.0, -0.3 + 0.1 * i, 1.1]), 0.0)
        at = BALL if frame_id == "map" else np.linalg.inv(T)[:3] @ [*BALL, 1.0]
        return detections_3d(stamp, frame_id, "ball", at, 2 * RADIUS)

    ((name, position),) = things(bag(tmp_path / "bag", found))
    assert name == "ball"
    assert np.linalg.norm(position - BALL) < 0.3


def test_boxes_in_a_frame_that_nobody_knows_label_nothing(tmp_path: Path) -> None:
    path = bag(tmp_path / "bag", lambda stamp, is_ball: detections_3d(stamp, "moon", "ball", BALL, 0.5))
    assert things(path) == []


def test_a_frame_without_detections_is_as_it_was(tmp_path: Path) -> None:
    def found(stamp: int, is_ball: np.ndarray) -> Any:
        return detections_2d(stamp, "optical", box_of(is_ball)) if stamp > START else None

    first, *others = read_recording(bag(tmp_path / "bag", found), frame="identity")
    assert first.semantic is None
    assert all(o.semantic is not None and (o.semantic > 0).sum() > 20 for o in others)


def test_a_box_that_is_none_names_its_message(tmp_path: Path) -> None:
    broken = Box("ball", 0.9, np.nan, 0.0, 5.0, 5.0)
    path = bag(tmp_path / "bag", lambda stamp, is_ball: detections_2d(stamp, "optical", broken))
    with pytest.raises(InputError, match=r"/detections message 0: a detection with the box \(nan"):
        list(read_recording(path, frame="identity"))
    big = bag(tmp_path / "big", lambda stamp, is_ball: detections_3d(stamp, "optical", "ball", BALL, 1e9))
    with pytest.raises(InputError, match="a detection with a box of size"):
        list(read_recording(big, frame="identity"))
