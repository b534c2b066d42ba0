"""Cut and mutated recordings: an error of ours, or frames; no hang, and no more memory than a few times the file.

Thousands of mutations a reader, most of them where they are cheap: of one message, one line, one image.
"""

from __future__ import annotations

import json
import shutil
import struct
import tracemalloc
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from box_room import CAMERA, observe_room, walk
from ros_messages import Messages, write_bag

from embmem.errors import InputError
from embmem.observation import Intrinsics
from embmem.recordings import rosbag
from embmem.recordings.images import encoded_size
from embmem.recordings.layout import open3d_camera, read_json, read_matrix
from embmem.recordings.octomap_graph import open_octomap_graph
from embmem.recordings.opening import open_recording, read_recording
from embmem.recordings.replica import open_replica
from embmem.recordings.rgbd_files import read_pose
from embmem.recordings.trajectories import read_log, read_matrices, read_tum
from embmem.recordings.tum import open_tum
from embmem.recordings.writing import write_recording
from embmem.ros.images import decode

M = Messages()
SMALL = Intrinsics.from_fov(8, 6, 75.0)
_TOKENS = (
    b"nan",
    b"inf",
    b"-",
    b"1e999",
    b"\n",
    b" ",
    b"\x00",
    b"\xff\xfe",
    b"{",
    b"]",
    b"999999999999",
    b"../x",
    b"#",
)


def mutations(whole: bytes, n: int, seed: int = 0) -> Iterator[bytes]:
    """`n` damaged copies: cut, bytes changed, parts doubled, tokens that mean something put in."""
    rng = np.random.default_rng(seed)
    for kind in rng.integers(0, 4, n).tolist():
        data = bytearray(whole)
        at, length = rng.integers(0, len(data), 2).tolist()
        if kind == 0:
            del data[at:]
        elif kind == 1:
            for place in rng.integers(0, len(data), 1 + length % 3).tolist():
                data[place] = int(rng.integers(256))
        elif kind == 2:
            data[at:at] = data[at : at + length % 40]
        else:
            data[at : at + length % 4] = _TOKENS[length % len(_TOKENS)]
        yield bytes(data)


def survives(read: Callable[..., object], *arguments: object) -> bool:
    """Whether something was read; any other error than ours fails the test."""
    message = ""
    try:
        read(*arguments)
    except InputError as error:
        message = str(error) or "silence"
    assert "\n" not in message
    assert message != "silence"
    return not message


TEXTS: dict[str, tuple[str, Callable[[Path], object]]] = {
    "tum": ("# a\n1.5 0 0 1 0 0 0 1\n1.6 0.1 0 1 0 0 0 1\n", read_tum),
    "kitti": ("1 0 0 0.1 0 1 0 0.2 0 0 1 0.3\n" * 2, read_matrices),
    "log": ("0 0 1\n1 0 0 0\n0 1 0 0\n0 0 1 0\n0 0 0 1\n", read_log),
    "pose": ("1 0 0 0\n0 1 0 0\n0 0 1 0\n0 0 0 1\n", read_pose),
    "matrix": ("5.0 0 2\n0 5.0 3\n0 0 1\n", read_matrix),
    "json": ('{"width": 8, "height": 6, "intrinsic_matrix": [5, 0, 0, 0, 5, 0, 4, 3, 1]}', open3d_camera),
    "nested": ('{"a": {"b": [1, 2.5, "c", null, true]}}', read_json),
}


@pytest.mark.parametrize("name", TEXTS)
def test_damaged_texts(name: str, tmp_path: Path) -> None:
    text, read = TEXTS[name]
    path = tmp_path / "damaged.txt"
    assert survives(lambda: (path.write_text(text), read(path)))
    n_read = 0
    for data in mutations(text.encode(), 400):
        path.write_bytes(data)
        n_read += survives(read, path)
    assert 0 < n_read < 400


def test_damaged_images() -> None:
    pixels = np.random.default_rng(0).integers(0, 5000, (6, 8)).astype(np.uint16)
    for suffix, image in ((".png", pixels), (".jpg", pixels.astype(np.uint8))):
        whole = cv2.imencode(suffix, image)[1].tobytes()
        assert encoded_size(whole, "image") == (8, 6)
        for data in mutations(whole, 1_500):
            survives(decode, data)


def messages() -> dict[str, tuple[str, bytes]]:
    observation = observe_room(next(walk(1)).T_map_camera, 0.0, SMALL)
    assert observation.depth is not None
    raw = np.rint(observation.depth * 1000).astype(np.uint16)
    points = np.zeros(4, np.dtype([("x", "<f4"), ("y", "<f4"), ("z", "<f4"), ("ring", "<u2")]))
    made = {
        "image": M.image(raw, "16UC1"),
        "colour": M.image(np.zeros((6, 8, 3), np.uint8), "bgr8"),
        "compressed": M.compressed(bytes(12) + cv2.imencode(".png", raw)[1].tobytes(), "16UC1; compressedDepth png"),
        "camera": M.camera_info(8, 6, 5.0),
        "cloud": M.cloud(points),
        "odometry": M.odometry("odom", "base", (1, 2, 3), (0, 0, 0, 1)),
        "pose": M.pose("map", (1, 2, 3), (0, 0, 0, 1)),
        "tf": M.tf(
            M.transform("map", "odom", (1, 2, 3), (0, 0, 0, 1)), M.transform("odom", "base", (1, 2, 3), (0, 0, 0, 1))
        ),
    }
    return {k: (m.__msgtype__, bytes(M.store.serialize_cdr(m, m.__msgtype__))) for k, m in made.items()}


@pytest.mark.parametrize("name", ["image", "colour", "compressed", "camera", "cloud", "odometry", "pose", "tf"])
def test_damaged_messages(name: str) -> None:
    msgtype, whole = messages()[name]

    def read(data: bytes) -> object:
        if name == "tf":
            return rosbag._decode_tf(data, False, "a bag")
        return rosbag._decode(data, msgtype, "a bag")

    assert survives(read, whole)
    for data in mutations(whole, 600):
        survives(read, data)


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three frames of 8 x 6 pixels in each of our layouts."""
    path = tmp_path_factory.mktemp("small")
    made = [observe_room(o.T_map_camera, o.stamp, SMALL) for o in walk(3)]
    for name, layout in (("a.mcap", "mcap"), ("lerobot", "lerobot"), ("rgbd", "rgbd")):
        write_recording(made, path / name, layout=layout)
    return path


def read_all(path: Path) -> None:
    for sample in open_recording(path).samples():
        survives(sample.read)
    list(read_recording(path, on_fault="skip"))


def test_damaged_mcap_files(small: Path, tmp_path: Path) -> None:
    path, whole = tmp_path / "a.mcap", (small / "a.mcap").read_bytes()
    for data in mutations(whole, 60):
        path.write_bytes(data)
        survives(read_all, path)


def test_damaged_sqlite_files(tmp_path: Path) -> None:
    write_bag(tmp_path / "bag", [("/odom", i, M.odometry("odom", "base", (1, 2, 3), (0, 0, 0, 1))) for i in range(20)],
              storage="SQLITE3")  # fmt: skip
    (file,) = (tmp_path / "bag").glob("*.db3")
    whole = file.read_bytes()
    for data in mutations(whole, 80):
        file.write_bytes(data)
        survives(lambda: [survives(s.read) for s in open_recording(tmp_path / "bag").samples()])
    file.write_bytes(whole)
    meta = tmp_path / "bag" / "metadata.yaml"
    for data in mutations(meta.read_bytes(), 40):
        meta.write_bytes(data)
        survives(lambda: open_recording(tmp_path / "bag"))


def test_damaged_graphs(tmp_path: Path) -> None:
    scan = struct.pack("<I", 3) + struct.pack("<I3d", 3, 1, 2, 3) * 3
    whole = struct.pack("<I", 2) + (scan + struct.pack("<I3dI4dI", 3, 1, 2, 3, 4, 1, 0, 0, 0, 0)) * 2
    path = tmp_path / "a.graph"
    for data in mutations(whole, 800):
        path.write_bytes(data)
        survives(lambda: [s.read() for s in open_octomap_graph(path).samples()])


@pytest.mark.parametrize(("file", "n"), [("meta/info.json", 200), ("data/chunk-000/file-000.parquet", 150)])
def test_damaged_tables(small: Path, tmp_path: Path, file: str, n: int) -> None:
    path = tmp_path / "lerobot"
    shutil.copytree(small / "lerobot", path)
    for data in mutations((path / file).read_bytes(), n):
        (path / file).write_bytes(data)
        survives(lambda: [survives(s.read) for s in open_recording(path).samples()])


def test_damaged_lists_of_files(tmp_path: Path) -> None:
    (tmp_path / "depth").mkdir()
    for name in ("1.0.png", "2.0.png"):
        cv2.imwrite(str(tmp_path / "depth" / name), np.full((6, 8), 900, np.uint16))
    whole = b"# stamp file\n1.0 depth/1.0.png\n2.0 depth/2.0.png\n"
    (tmp_path / "groundtruth.txt").write_text("0 0 0 1 0 0 0 1\n3 0 0 1 0 0 0 1\n")
    np.savetxt(tmp_path / "camera-intrinsics.txt", SMALL.matrix())
    for data in mutations(whole, 300):
        (tmp_path / "depth.txt").write_bytes(data)
        survives(lambda: [survives(s.read) for s in open_tum(tmp_path).samples()])
    (tmp_path / "depth.txt").write_text("1.0 ../../etc/passwd\n")
    with pytest.raises(InputError, match="outside of its folder"):
        open_tum(tmp_path)


def test_damaged_parameters_of_replica(tmp_path: Path) -> None:
    (tmp_path / "results").mkdir()
    cv2.imwrite(str(tmp_path / "results" / "depth000000.png"), np.full((6, 8), 900, np.uint16))
    (tmp_path / "traj.txt").write_text(" ".join(map(str, np.eye(4).ravel())))
    values = {"w": 8, "h": 6, "fx": 5.0, "fy": 5.0, "cx": 3.5, "cy": 2.5, "scale": 6553.5}
    for data in mutations(json.dumps({"camera": values}).encode(), 300):
        (tmp_path / "cam_params.json").write_bytes(data)
        survives(lambda: [survives(s.read) for s in open_replica(tmp_path).samples()])


def test_what_a_file_claims_costs_no_memory(tmp_path: Path) -> None:
    claims: list[tuple[str, Callable[[], object]]] = []
    image = M.image(np.zeros((2, 2), np.uint16), "16UC1", height=1 << 30, width=1 << 30, step=1 << 31)
    data = bytes(M.store.serialize_cdr(image, image.__msgtype__))
    claims.append(("image", lambda: rosbag._decode(data, image.__msgtype__, "a bag")))
    cloud = M.cloud(np.zeros(2, np.dtype([("x", "<f4"), ("y", "<f4"), ("z", "<f4")])), width=1 << 31, row_step=1 << 31)
    points = bytes(M.store.serialize_cdr(cloud, cloud.__msgtype__))
    claims.append(("cloud", lambda: rosbag._decode(points, cloud.__msgtype__, "a bag")))
    path = tmp_path / "a.graph"
    path.write_bytes(struct.pack("<II", 1, 1 << 31))
    claims.append(("graph", lambda: open_octomap_graph(path)))
    png = bytearray(cv2.imencode(".png", np.zeros((2, 2), np.uint16))[1].tobytes())
    png[16:24] = struct.pack(">II", 1 << 20, 1 << 20)
    png[29:33] = struct.pack(">I", zlib.crc32(bytes(png[12:29])))
    claims.append(("png", lambda: decode(bytes(png))))
    for _, read in claims:
        tracemalloc.start()
        try:
            with pytest.raises(InputError):
                read()
            assert tracemalloc.get_traced_memory()[1] < 4 << 20
        finally:
            tracemalloc.stop()


def test_cut_recordings_are_refused_or_read_up_to_the_cut(small: Path, tmp_path: Path) -> None:
    whole = (small / "a.mcap").read_bytes()
    path = tmp_path / "cut.mcap"
    for share in (0.0, 0.1, 0.5, 0.9, 0.999):
        path.write_bytes(whole[: int(share * len(whole))])
        with pytest.raises(InputError, match=r"cut\.mcap"):
            read_recording(path)
    assert CAMERA.width > SMALL.width


def test_a_stamp_of_any_kind_is_an_error_of_ours(small: Path, tmp_path: Path) -> None:
    path = tmp_path / "rgbd"
    shutil.copytree(small / "rgbd", path)
    for stamp in ("nan", "inf", "-1e300", "1e300"):
        (path / "timestamps.txt").write_text(f"0\n{stamp}\n1\n")
        any_: Any = survives(lambda: list(read_recording(path)))
        assert any_ in (True, False)
