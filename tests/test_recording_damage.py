"""Cut and mutated recordings: an error of ours, or frames; no hang, and no more memory than a few times the file.

Thousands of mutations a reader, most of them where they are cheap: of one message, one line, one image.
"""

from __future__ import annotations

import os
import shutil
import struct
import subprocess
import sys
import tracemalloc
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from box_room import observe_room, walk
from fuzz_recordings import mutations
from ros_messages import Messages

from embmem.errors import InputError
from embmem.observation import Intrinsics
from embmem.recordings import rosbag
from embmem.recordings.octomap_graph import open_octomap_graph
from embmem.recordings.opening import open_recording, read_recording
from embmem.recordings.tum import open_tum
from embmem.recordings.view import write_view
from embmem.recordings.writing import write_recording
from embmem.ros.images import decode

M = Messages()
SMALL = Intrinsics.from_fov(8, 6, 75.0)


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


def test_damaged_lines_images_and_messages_are_refused_in_one_line() -> None:
    """10,000 of each kind; `make fuzz` tries 100,000."""
    done = run_script("fuzz_recordings.py", 10_000)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count(" of 10,000 could be read") == 17


def test_damaged_files_of_every_format_are_refused_in_one_line() -> None:
    """10,000 for each reader, in bounded time and memory, and nothing is written; `make fuzz` tries 100,000."""
    done = run_script("fuzz_storage.py", 10_000)
    assert done.returncode == 0, done.stderr
    tried = [int(line.split(" could be opened")[0].split()[-1].replace(",", "")) for line in done.stdout.splitlines()]
    assert len(tried) == 27
    assert sum(tried) >= 110_000  # eleven readers


def run_script(name: str, n: int) -> subprocess.CompletedProcess[str]:
    here = Path(__file__).parent
    path = os.pathsep.join([str(here), str(here.parent), os.environ.get("PYTHONPATH", "")])
    command = [sys.executable, str(here / name), str(n)]
    return subprocess.run(command, capture_output=True, text=True, env={**os.environ, "PYTHONPATH": path}, check=False)


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
    for data in mutations(whole, 40, 0):
        path.write_bytes(data)
        survives(read_all, path)


def test_files_outside_of_the_folder_of_a_list_are_not_read(tmp_path: Path) -> None:
    (tmp_path / "depth.txt").write_text("1.0 ../../etc/passwd\n")
    with pytest.raises(InputError, match="outside of its folder"):
        open_tum(tmp_path)


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


def test_a_stamp_of_any_kind_is_an_error_of_ours(small: Path, tmp_path: Path) -> None:
    path = tmp_path / "rgbd"
    shutil.copytree(small / "rgbd", path)
    for stamp in ("nan", "inf", "-1e300", "1e300"):
        (path / "timestamps.txt").write_text(f"0\n{stamp}\n1\n")
        any_: Any = survives(lambda: list(read_recording(path)))
        assert any_ in (True, False)


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("recording: [", "no YAML"),
        ("- a", "no view of a recording"),
        ("recording: rgbd\nfile: x", "no view of a recording"),
        ("recording: away\nread: {}", "no such folder"),
        ("recording: rgbd\nread: {depth_unit: -1}", "depth_unit must be"),
        ("recording: rgbd\nread: {depth_units: 1}", "no setting 'depth_units'"),
        ("recording: view.yaml\nread: {}", "a view itself"),
        ("a: &a [1, 1]\nb: &b [*a, *a]\nrecording: rgbd\nread: {depth_unit: *b}", "no view of a recording"),
        ("recording: rgbd\nread:\n  depth: &a [[1]]\n  depth_unit: [*a, *a]", "words, numbers"),
    ],
)
def test_a_view_that_is_none_says_why(small: Path, text: str, what: str) -> None:
    view = small / "view.yaml"
    view.write_text(text)
    with pytest.raises(InputError, match=what) as error:
        open_recording(view)
    assert "\n" not in str(error.value)


def test_a_view_is_read_by_its_settings_and_the_user_overrules_them(small: Path) -> None:
    write_view(small / "half.yaml", small / "rgbd", {"depth_unit": 0.0005, "depth_invalid": [0.0, 9.0]})
    whole, half, again = (
        np.asarray(next(iter(read_recording(small / name, settings, frame="identity"))).depth)
        for name, settings in (("rgbd", {}), ("half.yaml", {}), ("half.yaml", {"depth_unit": 0.001}))
    )
    np.testing.assert_allclose(half, whole / 2)
    np.testing.assert_array_equal(again, whole)
