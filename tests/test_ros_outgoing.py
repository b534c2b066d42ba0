"""What goes out comes back: every message through its bytes, read by the conversions that read other people's."""

from __future__ import annotations

import math
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from box_room import walk
from bus import over_the_wire
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays
from scipy.spatial.transform import Rotation

from embmem.errors import InputError
from embmem.maps import ObjectMemory, VoxelMap
from embmem.maps.shown import LayersShown
from embmem.maps.voxels.formats.octomap_files import read_octomap, write_octomap
from embmem.observation import Intrinsics
from embmem.ros.images import compressed_image_of, image_of
from embmem.ros.messages import camera_of, cloud_of, pose_inside, stamp_ns
from embmem.ros.outgoing import graphs, images, maps, things
from embmem.ros.outgoing.diagnostics import ERROR, Status, diagnostics
from embmem.ros.outgoing.parts import header, pose, quaternion, time_of, time_of_seconds
from embmem.ros.shown import GraphShown, GridShown, ThingsShown, VoxelsShown
from embmem.ros.vision import detections_of

IMAGE, COMPRESSED = "sensor_msgs/msg/Image", "sensor_msgs/msg/CompressedImage"
shapes = array_shapes(min_dims=2, max_dims=2, min_side=1, max_side=9)
finite = st.floats(-1e3, 1e3)


@given(data=st.data(), encoding=st.sampled_from([*images.COLOURS, *images.SINGLE]))
def test_every_encoding_that_is_written_is_read_bit_for_bit(data: st.DataObject, encoding: str) -> None:
    shape = data.draw(shapes)
    dtype = np.dtype(np.uint8 if encoding in images.COLOURS else images.SINGLE[encoding])
    pixels = data.draw(arrays(dtype, (*shape, 3) if encoding in images.COLOURS else shape))
    message = over_the_wire(IMAGE, images.image(pixels, encoding, 7, "optical"))
    assert (message.header.frame_id, stamp_ns(message.header.stamp), message.encoding) == ("optical", 7, encoding)
    back = image_of(message).pixels
    assert back.dtype == pixels.dtype
    np.testing.assert_array_equal(back, pixels)


@pytest.mark.parametrize("encoding", ["bayer_rggb8", "yuv422_yuy2", "jpeg2000", ""])
def test_other_encodings_are_refused_by_name(encoding: str) -> None:
    with pytest.raises(InputError, match=repr(encoding)):
        images.image(np.zeros((2, 2, 3), np.uint8), encoding, 0, "c")


@pytest.mark.parametrize(
    ("pixels", "encoding"),
    [
        (np.zeros((2, 2), np.uint8), "rgb8"),
        (np.zeros((2, 2, 3), np.float32), "bgr8"),
        (np.zeros((2, 2), np.float32), "16UC1"),
        (np.zeros((2, 2, 3), np.uint8), "mono8"),
    ],
)
def test_pixels_of_another_kind_are_refused(pixels: np.ndarray, encoding: str) -> None:
    with pytest.raises(InputError, match=encoding):
        images.image(pixels, encoding, 0, "c")


@given(depth=arrays(np.uint16, shapes), rgb=arrays(np.uint8, st.tuples(st.just(4), st.just(5), st.just(3))))
def test_compressed_images_come_back(depth: np.ndarray, rgb: np.ndarray) -> None:
    for make in (images.png, images.compressed_depth):
        np.testing.assert_array_equal(compressed_image_of(over_the_wire(COMPRESSED, make(depth, 1, "c"))).pixels, depth)
    np.testing.assert_array_equal(compressed_image_of(over_the_wire(COMPRESSED, images.png(rgb, 1, "c"))).pixels, rgb)
    assert compressed_image_of(over_the_wire(COMPRESSED, images.jpeg(rgb, 1, "c"))).pixels.shape == rgb.shape


@pytest.mark.parametrize("distortion", [(), (0.1, -0.2, 0.0, 0.01, 0.3), (1e-3,) * 8])
def test_a_camera_comes_back(distortion: tuple[float, ...]) -> None:
    k = Intrinsics(64, 48, 50.0, 51.0, 31.5, 23.5, distortion)
    camera = camera_of(over_the_wire("sensor_msgs/msg/CameraInfo", images.camera_info(k, 5, "c")))
    assert (camera.width, camera.height, camera.fx, camera.fy, camera.cx, camera.cy) == (64, 48, 50.0, 51.0, 31.5, 23.5)
    assert camera.distortion == (distortion or (0.0,) * 5)
    assert camera.model == ("rational_polynomial" if len(distortion) == 8 else "plumb_bob")


@given(points=arrays(np.float32, st.tuples(st.integers(0, 9), st.just(3)), elements=st.floats(-9, 9, width=32)),
       is_coloured=st.booleans())  # fmt: skip
def test_a_cloud_comes_back(points: np.ndarray, is_coloured: bool) -> None:
    colours = np.arange(3 * len(points), dtype=np.uint8).reshape(-1, 3) if is_coloured else None
    message = over_the_wire("sensor_msgs/msg/PointCloud2", maps.cloud(points.astype(np.float64), 3, "map", colours))
    cloud = cloud_of(message)
    np.testing.assert_array_equal(cloud.points, points)
    if colours is not None:
        packed = cloud.fields["rgb"].view(np.uint32)
        np.testing.assert_array_equal(np.stack([packed >> 16, packed >> 8 & 255, packed & 255], axis=1), colours)


def test_a_tree_of_the_wire_is_the_tree_of_a_file(tmp_path: Path) -> None:
    voxels = VoxelMap(0.1)
    for observation in walk(6):
        voxels.observe(observation)
    shown = LayersShown().voxels([voxels])
    assert shown is not None
    message = over_the_wire("octomap_msgs/msg/Octomap", maps.octomap(shown, 0, "map"))
    write_octomap(tmp_path / "ours.bt", voxels)
    head, _, data = (tmp_path / "ours.bt").read_bytes().partition(b"\ndata\n")
    assert (message.id, message.binary, message.resolution) == ("OcTree", True, 0.1)
    assert message.data.tobytes() == data
    (tmp_path / "wire.bt").write_bytes(head + b"\ndata\n" + message.data.tobytes())
    np.testing.assert_array_equal(
        read_octomap(tmp_path / "wire.bt").occupied(), read_octomap(tmp_path / "ours.bt").occupied()
    )
    nothing = LayersShown().voxels([VoxelMap(0.1)])
    assert nothing is not None
    assert over_the_wire("octomap_msgs/msg/Octomap", maps.octomap(nothing, 0, "map")).data.size == 0


cells = st.sampled_from([-1, 0, 100])


@given(data=st.data(), shape=shapes)
def test_a_grid_with_its_updates_is_the_grid_of_then(data: st.DataObject, shape: tuple[int, int]) -> None:
    before, now = (data.draw(arrays(np.int8, shape, elements=cells)) for _ in range(2))
    grid = GridShown(np.array([-1.5, 2.0]), 0.05, before)
    message = over_the_wire("nav_msgs/msg/OccupancyGrid", maps.occupancy_grid(grid, 9, "map"))
    assert (message.info.width, message.info.height) == shape[::-1]
    assert (message.info.origin.position.x, message.info.origin.position.y) == (-1.5, 2.0)
    assert message.info.resolution == pytest.approx(0.05)  # a float32 on the wire
    held = message.data.reshape(message.info.height, message.info.width).copy()
    np.testing.assert_array_equal(held, before)
    part = maps.changed_part(before, now)
    assert (part is None) == bool((before == now).all())
    if part is not None:
        update = over_the_wire("map_msgs/msg/OccupancyGridUpdate", maps.grid_update(*part, 9, "map"))
        rows, columns = slice(update.y, update.y + update.height), slice(update.x, update.x + update.width)
        assert (held[rows, columns] != update.data.reshape(update.height, update.width)).any()
        held[rows, columns] = update.data.reshape(update.height, update.width)
    np.testing.assert_array_equal(held, now)


def a_node(key: int, x: float) -> dict[str, Any]:
    return {"id": key, "position": {"x": x}, "n_views": 1}


def an_edge(ends: tuple[int, int], length: float) -> dict[str, Any]:
    return {"source": ends[0], "target": ends[1], "length": length, "seconds": math.nan}


@st.composite
def graph_of_places(draw: st.DrawFn) -> GraphShown:
    keys = sorted(draw(st.sets(st.integers(0, 6))))
    nodes = {key: a_node(key, draw(st.sampled_from([0.0, 1.0]))) for key in keys}
    pairs = draw(st.sets(st.tuples(st.sampled_from(keys), st.sampled_from(keys)))) if keys else set()
    return GraphShown(nodes, {ends: an_edge(ends, draw(st.sampled_from([1.0, 2.0]))) for ends in sorted(pairs)})


@given(states=st.lists(graph_of_places(), min_size=1, max_size=4))
def test_whoever_applies_the_changes_of_a_graph_holds_the_graph(states: list[GraphShown]) -> None:
    kind = "embmem_msgs/msg/LandmarkGraph"
    held = graphs.applied(GraphShown(), over_the_wire(kind, graphs.whole(states[0], 1, 0, "map")))
    for revision, (before, now) in enumerate(pairwise(states), 2):
        fields = graphs.change(before, now, (revision - 1, revision), 0, "map")
        assert (fields is None) == (before.nodes == now.nodes and before.edges == now.edges)
        if fields is not None:
            message = over_the_wire(kind, fields)
            assert (message.base_revision, message.revision, message.is_full) == (revision - 1, revision, False)
            held = graphs.applied(held, message)
    whole = over_the_wire(kind, graphs.whole(states[-1], 9, 0, "map"))
    assert {k: n.position.x for k, n in held.nodes.items()} == {n.id: n.position.x for n in whole.nodes}
    assert {k: e.length for k, e in held.edges.items()} == {(e.source, e.target): e.length for e in whole.edges}


def test_things_are_detections_that_our_own_reader_takes_and_boxes_in_rviz() -> None:
    box = np.array([[[0.0, 0, 0], [1, 2, 3]], [[4.0, 4, 4], [4, 4, 4]]])
    shown = ThingsShown(
        np.array([3, 8]), ("mug", "red chair"), box.mean(axis=1), box, np.array([0.9, 0.5]), np.array([1.0, 2.0])
    )
    message = over_the_wire("vision_msgs/msg/Detection3DArray", things.detections(shown, 5, "map"))
    first, second = detections_of(message).items
    assert (first.label, first.score, first.id, second.label, second.id) == ("mug", 0.9, "3", "red chair", "8")
    assert first.size is not None
    np.testing.assert_array_equal(first.size, [1.0, 2.0, 3.0])
    drawn = over_the_wire("visualization_msgs/msg/MarkerArray", things.markers(shown, 5, "map")).markers
    assert [marker.action for marker in drawn] == [3, 0, 0, 0, 0]  # all away first
    assert {(marker.ns, marker.id) for marker in drawn[1:]} == {(n, i) for n in ("things", "names") for i in (3, 8)}
    assert min(marker.scale.z for marker in drawn[1:]) > 0


def test_objects_of_a_memory_are_shown_above_a_confidence() -> None:
    objects = ObjectMemory()
    for observation in walk(12):
        objects.observe(observation)
    every, sure = (LayersShown(min_confidence=c).things([objects]) for c in (0.0, 1.0))
    assert every is not None
    assert sure is not None
    assert every.labels == ("mug",) * len(every.ids)
    assert len(sure.ids) == 0
    assert LayersShown().landmarks([objects]) is None
    assert LayersShown().grid([objects]) is None


@given(seconds=st.floats(0, 4e9), position=arrays(np.float64, 3, elements=finite), angle=st.floats(-3, 3))
def test_times_and_poses_come_back(seconds: float, position: np.ndarray, angle: float) -> None:
    stamp = round(min(seconds, 2**31 - 1) * 1e9)
    stamp = min(stamp, (2**31 - 1) * 10**9)
    assert stamp_ns(over_the_wire("builtin_interfaces/msg/Time", time_of(stamp))) == stamp
    T = np.eye(4)
    T[:3, :3] = [[np.cos(angle), -np.sin(angle), 0], [np.sin(angle), np.cos(angle), 0], [0, 0, 1]]
    T[:3, 3] = position
    back = pose_inside(over_the_wire("geometry_msgs/msg/Pose", pose(T)))
    assert back.position is not None
    assert back.quaternion is not None
    np.testing.assert_array_equal(back.position, position)
    np.testing.assert_allclose(back.quaternion, [0, 0, np.sin(angle / 2), np.cos(angle / 2)], atol=1e-12)


@pytest.mark.parametrize("stamp", [math.nan, math.inf, -1.0, 1e300])
def test_times_that_no_message_holds_are_its_ends(stamp: float) -> None:
    time = over_the_wire("builtin_interfaces/msg/Time", time_of_seconds(stamp))
    assert time.sec in (0, 2**31 - 1)
    assert over_the_wire("std_msgs/msg/Header", header(-5, "map")).stamp.sec == 0


def test_diagnostics_name_the_node_and_tell_numbers() -> None:
    fields = diagnostics("robot_1/memory", [Status("storage", ERROR, "full", {"lost": 3, "p99 [s]": 0.25})], 10**9)
    (status,) = over_the_wire("diagnostic_msgs/msg/DiagnosticArray", fields).status
    assert (status.level, status.name, status.message) == (2, "robot_1/memory: storage", "full")
    assert {value.key: value.value for value in status.values} == {"lost": "3", "p99 [s]": "0.25"}


def test_shown_voxels_hold_their_bytes() -> None:
    shown = VoxelsShown(0.1, np.zeros((0, 3)), b"")
    assert over_the_wire("octomap_msgs/msg/Octomap", maps.octomap(shown, 0, "map")).resolution == 0.1


@given(
    arrays(np.float64, 3, elements=st.floats(-1, 1)),
    st.one_of(st.floats(0, np.pi), st.sampled_from([0.0, 1e-12, 1e-7, np.pi - 1e-7, np.pi])),
)
def test_a_rotation_becomes_scipys_quaternion(axis: np.ndarray, angle: float) -> None:
    length = float(np.linalg.norm(axis))
    R = Rotation.from_rotvec(axis / length * angle if length > 1e-6 else np.zeros(3)).as_matrix()
    told = np.array(list(quaternion(R).values()))
    assert told[3] >= 0
    np.testing.assert_allclose(np.linalg.norm(told), 1.0, atol=1e-12)
    np.testing.assert_allclose(Rotation.from_quat(told).as_matrix(), R, atol=1e-12)
