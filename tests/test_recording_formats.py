"""Every layout gives the frames that were written; conventions undo what they describe; colour is the nearest."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from box_room import CAMERA, walk
from hypothesis import given
from hypothesis import strategies as st
from recorded_rooms import LAYOUTS, N, frames, png, rgb, write
from scipy.spatial.transform import Rotation

from embmem.errors import InputError
from embmem.geometry import invert_pose
from embmem.observation import Observation
from embmem.recordings.conventions import Conventions
from embmem.recordings.frames import assemble
from embmem.recordings.interpret import AXES
from embmem.recordings.lerobot import open_lerobot
from embmem.recordings.opening import open_recording, read_recording
from embmem.recordings.raw import RawImage, Sample
from embmem.recordings.rgbd_writer import write_rgbd_folder
from embmem.recordings.writing import write_recording


@pytest.mark.parametrize("name", LAYOUTS)
def test_a_folder_is_read_without_being_told_anything(name: str, tmp_path: Path) -> None:
    path = write(name, tmp_path / "room")
    reading = read_recording(path, frame="identity")
    assert reading.recording.format == LAYOUTS[name][1]
    found = list(reading)
    assert len(found) == len(reading) == N
    for observation, expected in zip(found, frames(), strict=True):
        np.testing.assert_allclose(observation.T_map_camera, expected.T_map_camera, atol=2e-9)
        assert observation.depth is not None
        assert expected.depth is not None
        np.testing.assert_allclose(observation.depth, expected.depth, atol=LAYOUTS[name][2] * 1.01)
        assert observation.rgb is not None
        assert expected.rgb is not None
        assert observation.rgb.shape == expected.rgb.shape
        blurred = 0.1 if name == "scannet" else 0.0  # its colour has twice the pixels
        assert np.mean(np.any(np.abs(observation.rgb.astype(int) - expected.rgb) > 3, axis=2)) <= blurred
        k = observation.intrinsics
        np.testing.assert_allclose((k.fx, k.fy, k.cx, k.cy), (CAMERA.fx, CAMERA.fy, CAMERA.cx, CAMERA.cy))
    stamps = [o.stamp for o in found]
    if name in ("tum", "kitti", "tum_beside"):
        np.testing.assert_allclose(stamps, [o.stamp for o in frames()])
    assert sorted(set(stamps)) == stamps


def test_a_missing_colour_image_moves_no_other_one(tmp_path: Path) -> None:
    path = write("kitti", tmp_path / "room")
    (path / "times.txt").unlink()
    sorted((path / "image_2").iterdir())[1].unlink()
    found = [observation.rgb for observation in read_recording(path, frame="identity")]
    assert [rgb is None for rgb in found] == [number == 1 for number in range(N)]
    for image, expected in zip(found, frames(), strict=True):
        assert image is None or (expected.rgb is not None and np.abs(image.astype(int) - expected.rgb).max() <= 3)


@pytest.mark.parametrize("layout", ["rgbd", "mcap", "lerobot"])
def test_our_own_recordings_are_read_back_alike(layout: str, tmp_path: Path) -> None:
    path = tmp_path / ("a.mcap" if layout == "mcap" else "a")
    assert write_recording(walk(N), path, layout=layout) == N
    for a, b in zip(read_recording(path), read_recording(_folder(tmp_path)), strict=True):
        _assert_alike(a, b)


def _folder(tmp_path: Path) -> Path:
    path = tmp_path / "folder"
    write_rgbd_folder(walk(N), path)
    return path


def _assert_alike(a: Observation, b: Observation) -> None:
    assert (a.stamp, a.intrinsics, a.labels) == (b.stamp, b.intrinsics, b.labels)
    for name in ("T_map_camera", "depth", "rgb", "semantic", "instance"):
        np.testing.assert_array_equal(getattr(a, name), getattr(b, name))


def test_mcap_opens_in_the_library_of_the_format(tmp_path: Path) -> None:
    from mcap.reader import make_reader
    from mcap_ros2.decoder import DecoderFactory

    write_recording(walk(3), tmp_path / "a.mcap")
    with (tmp_path / "a.mcap").open("rb") as file:
        decoded = list(make_reader(file, decoder_factories=[DecoderFactory()]).iter_decoded_messages())
    found = {(channel.topic, type(message).__name__) for _, channel, _, message in decoded}
    assert ("/tf", "TFMessage") in found
    assert ("/camera/depth/image_raw/compressedDepth", "CompressedImage") in found
    (labels,) = [m.data for _, channel, _, m in decoded if channel.topic == "/camera/semantic/labels"]
    assert json.loads(labels)[4] == "mug"
    for _, channel, _, message in decoded:
        if channel.topic == "/camera/depth/camera_info":
            np.testing.assert_allclose(np.reshape(message.k, (3, 3)), CAMERA.matrix())


def test_writers_write_whole_or_nothing(tmp_path: Path) -> None:
    def interrupted() -> Any:
        yield from walk(3)
        raise RuntimeError("the battery is empty")

    for layout in ("mcap", "lerobot", "rgbd"):
        with pytest.raises(RuntimeError, match="battery"):
            write_recording(interrupted(), tmp_path / "a", layout=layout)
        with pytest.raises(ValueError, match="nothing to record"):
            write_recording([], tmp_path / "a", layout=layout)
        assert list(tmp_path.iterdir()) == []
    with pytest.raises(ValueError, match="layout"):
        write_recording(walk(1), tmp_path / "a", layout="tape")


def test_tables_are_those_that_pyarrow_reads(tmp_path: Path) -> None:
    import pyarrow.parquet as pq

    write_recording(walk(3), tmp_path / "a", layout="lerobot")
    table = pq.read_table(tmp_path / "a" / "data" / "chunk-000" / "file-000.parquet").to_pydict()
    np.testing.assert_allclose(np.reshape(table["observation.camera_pose"][1], (4, 4)), list(walk(3))[1].T_map_camera)
    info = json.loads((tmp_path / "a" / "meta" / "info.json").read_text())
    assert set(info["features"]) == set(table)
    episodes = pq.read_table(tmp_path / "a" / "meta" / "episodes" / "chunk-000" / "file-000.parquet").to_pydict()
    assert (episodes["length"], episodes["dataset_to_index"]) == ([3], [3])


def write_lerobot_video(path: Path, n: int = 12, fps: int = 10) -> list[np.ndarray]:
    """Two episodes in one video, written with PyAV and pyarrow alone; the grey value of each frame is its number."""
    import av
    import pyarrow as pa
    import pyarrow.parquet as pq

    key, pictures = "observation.images.front", []
    for folder in (f"videos/{key}/chunk-000", "data/chunk-000", "meta/episodes/chunk-000"):
        (path / folder).mkdir(parents=True)
    with av.open(str(path / f"videos/{key}/chunk-000/file-000.mp4"), "w") as container:
        stream: Any = container.add_stream("mpeg4", rate=fps)
        stream.width, stream.height, stream.pix_fmt, stream.bit_rate = 64, 48, "yuv420p", 4_000_000
        for i in range(n):
            pictures.append(np.full((48, 64, 3), 20 * i, np.uint8))
            for packet in stream.encode(av.VideoFrame.from_ndarray(pictures[-1], format="rgb24")):
                container.mux(packet)
        for packet in stream.encode():
            container.mux(packet)
    half = n // 2
    rows = [{"timestamp": (i % half) / fps, "frame_index": i % half, "episode_index": i // half, "index": i,
             "task_index": 0, "observation.state": [float(i)] * 6} for i in range(n)]  # fmt: skip
    pq.write_table(pa.Table.from_pylist(rows), path / "data/chunk-000/file-000.parquet")
    prefix = f"videos/{key}"
    episodes = [{"episode_index": e, f"{prefix}/chunk_index": 0, f"{prefix}/file_index": 0,
                 f"{prefix}/from_timestamp": e * half / fps} for e in range(2)]  # fmt: skip
    pq.write_table(pa.Table.from_pylist(episodes), path / "meta/episodes/chunk-000/file-000.parquet")
    features = {key: {"dtype": "video", "shape": [48, 64, 3], "info": {"video.is_depth_map": False}},
                "observation.state": {"dtype": "float32", "shape": [6]}}  # fmt: skip
    info = {"codebase_version": "v3.0", "fps": fps, "total_frames": n, "features": features}
    (path / "meta" / "info.json").write_text(json.dumps(info))
    return pictures


def test_videos_of_lerobot_give_the_frame_of_each_row(tmp_path: Path) -> None:
    pictures = write_lerobot_video(tmp_path)
    recording = open_lerobot(tmp_path)
    assert {s.name: s.kind for s in recording.streams} == {
        "observation.images.front": "color",
        "observation.state": "other",
    }
    for _ in range(2):  # a second pass begins anew
        samples = list(recording.samples(("color",)))
        assert [s.stamp for s in samples] == [i / 10 for i in range(12)]
        for i in (0, 1, 5, 6, 11, 2):  # forwards, across the episodes, and back
            image = samples[i].read()
            assert isinstance(image, RawImage)
            assert np.abs(image.pixels.astype(int) - pictures[i]).max() < 12
    with pytest.raises(InputError, match="no stream of poses"):
        read_recording(tmp_path)


def test_an_old_lerobot_is_told_how_to_become_a_new_one(tmp_path: Path) -> None:
    (tmp_path / "meta").mkdir()
    (tmp_path / "meta" / "info.json").write_text('{"codebase_version": "v2.1", "fps": 30, "features": {}}')
    with pytest.raises(InputError, match=r"v2\.1; convert it to v3\.0"):
        open_recording(tmp_path)


def _folder_with(tmp_path: Path, T_of: Any, units: float = 1000.0) -> Path:
    path = tmp_path / "strange"
    for i, o in enumerate(frames()):
        png(path / f"frame-{i:06d}.depth.png", o.depth, units)
        rgb(path / f"frame-{i:06d}.color.png", o.rgb)
        (path / f"frame-{i:06d}.pose.txt").write_text(T_of(o.T_map_camera))
    np.savetxt(path / "camera-intrinsics.txt", CAMERA.matrix())
    return path


def _matrix(T: np.ndarray) -> str:
    return "\n".join(" ".join(map(repr, row)) for row in T.tolist())


def _wxyz(T: np.ndarray) -> str:
    x, y, z, w = Rotation.from_matrix(T[:3, :3]).as_quat().tolist()
    return " ".join(map(repr, [*T[:3, 3].tolist(), w, x, y, z]))


def _in_centimetres(T: np.ndarray) -> str:
    T = T.copy()
    T[:3, 3] *= 100
    return _matrix(T)


@pytest.mark.parametrize(
    ("settings", "write_pose", "units"),
    [
        ({"pose_direction": "world_to_camera"}, lambda T: _matrix(invert_pose(T)), 1000.0),
        ({"camera_axes": "opengl"}, lambda T: _matrix(T @ np.diag([1.0, -1, -1, 1])), 1000.0),
        ({"camera_axes": "body"}, lambda T: _matrix(T @ np.linalg.inv(AXES["body"])), 1000.0),
        ({"quaternion": "wxyz"}, _wxyz, 1000.0),
        ({"pose_scale": 0.01}, _in_centimetres, 1000.0),
        ({"depth_unit": 0.0002}, _matrix, 5000.0),
        ({"depth_unit": 0.00037}, _matrix, 1 / 0.00037),
    ],
)
def test_each_convention_undoes_what_it_describes(
    settings: dict[str, Any], write_pose: Any, units: float, tmp_path: Path
) -> None:
    path = _folder_with(tmp_path, write_pose, units)
    for observation, expected in zip(read_recording(path, settings, frame="identity"), frames(), strict=True):
        np.testing.assert_allclose(observation.T_map_camera, expected.T_map_camera, atol=2e-9)
        assert observation.depth is not None
        assert expected.depth is not None
        np.testing.assert_allclose(observation.depth, expected.depth, atol=0.501 / units + 1e-6)


def test_raw_values_that_mean_nothing_are_a_convention(tmp_path: Path) -> None:
    path = _folder_with(tmp_path, _matrix)
    raw = np.full((CAMERA.height, CAMERA.width), 1500, np.uint16)
    raw[0, :3] = 0, 65535, 4000
    png(path / "frame-000000.depth.png", raw, 1.0)
    for invalid, gone in (([0, 65535], [0, 1]), ([4000], [2]), (0, [0])):
        depth = next(iter(read_recording(path, {"depth_invalid": invalid}, frame="identity"))).depth
        assert depth is not None
        assert np.flatnonzero(np.isnan(depth)).tolist() == gone


@pytest.mark.parametrize(
    ("settings", "word"),
    [
        ({"depth_unit": 0}, "depth_unit must be a finite number > 0"),
        ({"depth_unit": "mm"}, "depth_unit must be a number"),
        ({"quaternion": "zyxw"}, "quaternion must be one of xyzw, wxyz"),
        ({"camera_axes": 3}, "camera_axes must be a word"),
        ({"intrinsics": [1, 2, 3]}, "intrinsics must be fx, fy > 0"),
        ({"intrinsics": "wide"}, "intrinsics must be numbers"),
        ({"distortion": [1, 2]}, "distortion must be"),
        ({"depth_offset": 1}, "no setting 'depth_offset'"),
        ({"time_offset": float("nan")}, "time_offset must be finite"),
    ],
)
def test_a_senseless_setting_is_named(settings: dict[str, Any], word: str) -> None:
    with pytest.raises(ValueError, match=word):
        Conventions().but(settings)


@given(
    st.lists(st.integers(0, 400), min_size=1, max_size=12, unique=True),
    st.lists(st.integers(0, 400), max_size=12, unique=True),
    st.integers(1, 40),
)
def test_colour_goes_with_the_depth_nearest_in_time(depth: list[int], color: list[int], gap: int) -> None:
    samples = [Sample("d", "depth", float(t), f"d{t}", _nothing) for t in sorted(depth)]
    samples += [Sample("c", "color", float(t), f"c{t}", _nothing) for t in sorted(color)]
    samples.sort(key=lambda s: s.stamp)
    for frame in assemble(samples, "d", {"color": "c"}, gap=float(gap)):
        near = min(color, key=lambda t: (abs(t - frame.stamp), t), default=None)
        expected = None if near is None or abs(near - frame.stamp) > gap else float(near)
        part = frame.parts.get("color")
        assert (None if part is None else part.stamp) == expected


def _nothing() -> RawImage:
    raise InputError("not read here")


def test_what_is_no_recording_is_told_what_it_is(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "notes.txt").write_text("hello")
    with pytest.raises(InputError, match=r"no recording of a known format.*the folder holds notes\.txt"):
        open_recording(tmp_path / "a")
    with pytest.raises(InputError, match=r"the file begins with b'hello'"):
        open_recording(tmp_path / "a" / "notes.txt")
    with pytest.raises(InputError, match="no such folder or file"):
        open_recording(tmp_path / "b")


@pytest.mark.parametrize("name", ["rgbd/redwood_living_room", "rgbd/3dmatch", "octomap/spherical_scan.graph"])
def test_public_samples_are_read(name: str, data_dir: Path) -> None:
    if not (data_dir / name).exists():
        pytest.skip(f"no {data_dir / name}")
    found = list(read_recording(data_dir / name))
    assert len(found) in (1, 5)
    assert all(o.depth is not None and np.isfinite(o.depth).any() for o in found)
