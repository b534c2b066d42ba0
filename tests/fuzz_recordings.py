"""Damaged inputs by the thousand, in one process without the type checks of the tests.

`python tests/fuzz_recordings.py 10000` tries so many of each kind (`make fuzz`), and prints how many could be read.
Anything but an `InputError` of one line ends it, and so does memory that grows by more than `MAX_BYTES`.
"""

from __future__ import annotations

import resource
import struct
import sys
import tempfile
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import cv2
import numpy as np
from ros_messages import Messages

from embmem.errors import InputError
from embmem.recordings import rosbag
from embmem.recordings.conventions import Conventions
from embmem.recordings.interpret import matrix_of
from embmem.recordings.layout import open3d_camera, read_matrix
from embmem.recordings.octomap_graph import open_octomap_graph
from embmem.recordings.raw import RawPose
from embmem.recordings.rgbd_files import read_pose
from embmem.recordings.trajectories import read_log, read_matrices, read_tum
from embmem.ros.images import decode

MAX_BYTES = 512 << 20  # by which the process may grow
_TOKENS = (
    b"nan",
    b"inf",
    b"-",
    b"1e999",
    b"1e300",
    b"\n",
    b" ",
    b"\x00",
    b"\xff\xfe",
    b"{",
    b"]",
    b"99999999999",
    b"#",
)


def mutations(whole: bytes, n: int, seed: int) -> Iterator[bytes]:
    """Damaged copies: cut, bytes changed, parts doubled, tokens that mean something put in."""
    rng = np.random.default_rng(seed)
    places = rng.integers(0, len(whole), (n, 4)).tolist()
    for kind, (a, b, c, d) in zip(rng.integers(0, 4, n).tolist(), places, strict=True):
        data = bytearray(whole)
        if kind == 0:
            del data[a:]
        elif kind == 1:
            for place in (a, b, c)[: 1 + d % 3]:
                data[place] = (a * 31 + b * 17 + c + place) % 256
        elif kind == 2:
            data[a:a] = data[a : a + b % 40]
        else:
            data[a : a + b % 4] = _TOKENS[c % len(_TOKENS)]
        yield bytes(data)


def texts(path: Path) -> dict[str, tuple[bytes, Callable[[], object]]]:
    """What is written to the file, and how it is read."""
    camera = '{"width": 8, "height": 6, "intrinsic_matrix": [5, 0, 0, 0, 5, 0, 4, 3, 1]}'
    scan = struct.pack("<I", 3) + struct.pack("<I3d", 3, 1, 2, 3) * 3
    graph = struct.pack("<I", 2) + (scan + struct.pack("<I3dI4dI", 3, 1, 2, 3, 4, 1, 0, 0, 0, 0)) * 2

    def settled(poses: list[RawPose]) -> None:
        for pose in poses:
            matrix_of(pose, Conventions())

    return {
        "tum": (b"# a\n1.5 0 0 1 0 0 0 1\n1.6 0.1 0 1 0 0 0 1\n", lambda: settled([p for _, p in read_tum(path)])),
        "matrices": (b"1 0 0 0.1 0 1 0 0.2 0 0 1 0.3\n" * 2, lambda: settled(read_matrices(path))),
        "log": (b"0 0 1\n1 0 0 0\n0 1 0 0\n0 0 1 0\n0 0 0 1\n", lambda: settled([p for _, p in read_log(path)])),
        "pose": (b"1 0 0 0\n0 1 0 0\n0 0 1 0\n0 0 0 1\n", lambda: settled([read_pose(path)])),
        "intrinsics": (b"5.0 0 2\n0 5.0 3\n0 0 1\n", lambda: read_matrix(path)),
        "camera": (camera.encode(), lambda: open3d_camera(path)),
        "graph": (graph, lambda: [sample.read() for sample in open_octomap_graph(path).samples()]),
    }


def messages() -> dict[str, tuple[str, bytes]]:
    """Type and bytes of one small message of each kind."""
    m, raw = Messages(), np.arange(48, dtype=np.uint16).reshape(6, 8) * 50
    points = np.zeros(4, np.dtype([("x", "<f4"), ("y", "<f4"), ("z", "<f4"), ("ring", "<u2")]))
    still = (1, 2, 3), (0, 0, 0, 1)
    made = {
        "image": m.image(raw, "16UC1"),
        "colour": m.image(np.zeros((6, 8, 3), np.uint8), "bgr8"),
        "compressed": m.compressed(bytes(12) + cv2.imencode(".png", raw)[1].tobytes(), "16UC1; compressedDepth png"),
        "camera_info": m.camera_info(8, 6, 5.0),
        "cloud": m.cloud(points),
        "odometry": m.odometry("odom", "base", *still),
        "pose_stamped": m.pose("map", *still),
        "tf": m.tf(m.transform("map", "odom", *still), m.transform("odom", "base", *still)),
    }
    return {k: (v.__msgtype__, bytes(m.store.serialize_cdr(v, v.__msgtype__))) for k, v in made.items()}


def run(name: str, folder: Path, n: int) -> int:
    """How many of the damaged inputs could be read."""
    path = folder / "damaged.graph"
    if name in (there := texts(path)):
        whole, read = there[name]
        return sum(survives(read, path, data) for data in mutations(whole, n, 1))
    if name in ("png", "jpg"):
        pixels = np.random.default_rng(0).integers(0, 5000, (6, 8)).astype(np.uint16 if name == "png" else np.uint8)
        whole = cv2.imencode(f".{name}", pixels)[1].tobytes()
        return sum(survives(partial(decode, data)) for data in mutations(whole, n, 2))
    msgtype, whole = messages()[name]
    if name == "tf":
        return sum(survives(partial(rosbag._decode_tf, data, False, "bag")) for data in mutations(whole, n, 3))
    return sum(survives(partial(rosbag._decode, data, msgtype, "bag")) for data in mutations(whole, n, 3))


def survives(read: Callable[[], object], path: Path | None = None, data: bytes = b"") -> bool:
    if path is not None:
        path.write_bytes(data)
    try:
        read()
    except InputError as error:
        if "\n" in str(error) or not str(error):
            raise ValueError(f"not one line: {error!r}") from error
        return False
    return True


TEXTS = ("tum", "matrices", "log", "pose", "intrinsics", "camera", "graph")
MESSAGES = ("image", "colour", "compressed", "camera_info", "cloud", "odometry", "pose_stamped", "tf")


def main(n: int) -> None:
    """Try `n` damaged inputs of each kind."""
    np.seterr(over="raise")
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    in_ram = Path("/dev/shm")
    with tempfile.TemporaryDirectory(dir=in_ram if in_ram.is_dir() else None) as folder:
        for name in (*TEXTS, "png", "jpg", *MESSAGES):
            sys.stdout.write(f"{name}: {run(name, Path(folder), n):,} of {n:,} could be read\n")
    grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) * 1024
    if grown > MAX_BYTES:
        raise MemoryError(f"{grown:,} bytes")


if __name__ == "__main__":
    main(int(sys.argv[1]))
