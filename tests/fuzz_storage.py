"""Whole recordings damaged by the thousand: bags, databases, tables, videos, calibrations, lists of files.

`python tests/fuzz_storage.py 10000` tries so many for each reader, shared out among the kinds of file that it reads,
and prints how many could be opened. What ends it: an error that is not an `InputError` of one line, an input that takes
longer than `DEADLINE`, more memory than `MAX_BYTES`, or a file that was not there before.
"""

from __future__ import annotations

import faulthandler
import io
import json
import os
import resource
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from types import FrameType

import cv2
import numpy as np
from box_room import observe_room, walk
from fuzz_recordings import mutations, survives
from mcap.writer import CompressionType, Writer
from ros_messages import Messages, write_bag

from embmem.observation import Intrinsics
from embmem.recordings.opening import open_recording
from embmem.recordings.writing import write_recording
from embmem.ros.rvl import decode_rvl

DEADLINE = 5.0  # [s] for one input
MAX_BYTES = 1 << 30  # by which the process may grow; what a file claims must not be taken for what it holds
SMALL = Intrinsics.from_fov(4, 3, 75.0)
M = Messages()
_NUMBERS = (0, 1, 2, 0x7F, 0xFF, 0x7FFF, 0xFFFF, 0x7FFFFFFF, 0xFFFFFFFF, 0x7FFFFFFFFFFFFFFF, 0xFFFFFFFFFFFFFFFF)
Case = tuple[Path, bytes, Callable[[], object]]  # the file that is damaged, whole, and how the recording is read


def lengths(whole: bytes, n: int, seed: int) -> Iterator[bytes]:
    """Damaged copies in which a number of 1, 2, 4 or 8 bytes is another: an end, a sign, one more, one less."""
    rng = np.random.default_rng(seed)
    for at, size, kind in zip(rng.integers(0, len(whole), n).tolist(), rng.integers(0, 4, n).tolist(),
                              rng.integers(0, len(_NUMBERS) + 2, n).tolist(), strict=True):  # fmt: skip
        width = 1 << size
        old = int.from_bytes(whole[at : at + width], "little")
        new = _NUMBERS[kind] if kind < len(_NUMBERS) else old + (1 if kind == len(_NUMBERS) else -1)
        yield whole[:at] + (new % (1 << 8 * width)).to_bytes(width, "little") + whole[at + width :]


def damaged(whole: bytes, n: int) -> Iterator[bytes]:
    """Half of them of each sort."""
    yield from mutations(whole, n - n // 2, 1)
    yield from lengths(whole, n // 2, 2)


def everything(path: Path) -> Callable[[], object]:
    """Open the recording and read all that is in it."""
    return lambda: [survives(sample.read) for sample in open_recording(path).samples()]


def mcap_bytes(compression: CompressionType | None) -> bytes:
    """Odometry and an image; without compression outside of chunks."""
    buffer = io.BytesIO()
    writer = Writer(buffer, compression=compression or CompressionType.NONE, use_chunking=compression is not None)
    writer.start(profile="ros2", library="fuzz")
    made = [("/odom", M.odometry("odom", "base", (1, 2, 3), (0, 0, 0, 1))),
            ("/depth", M.image(np.full((3, 4), 900, np.uint16), "16UC1"))]  # fmt: skip
    for topic, message in made:
        schema = writer.register_schema(message.__msgtype__, "ros2msg", b"")
        channel = writer.register_channel(topic, "cdr", schema)
        for stamp in range(2):
            writer.add_message(channel, stamp, bytes(M.store.serialize_cdr(message, message.__msgtype__)), stamp)
    writer.finish()  # type: ignore[no-untyped-call]
    return buffer.getvalue()


def bags(folder: Path) -> dict[str, Case]:
    """MCAP in every form, sqlite3 with and without its log, and the description beside them."""
    cases: dict[str, Case] = {}
    for name, compression in (("chunks", CompressionType.NONE), ("zstd", CompressionType.ZSTD),
                              ("lz4", CompressionType.LZ4), ("flat", None)):  # fmt: skip
        file = folder / f"{name}.mcap"
        file.write_bytes(mcap_bytes(compression))
        cases[f"mcap {name}"] = file, file.read_bytes(), everything(file)
    odometry = [("/odom", i, M.odometry("odom", "base", (1, 2, 3), (0, 0, 0, 1))) for i in range(3)]
    for storage in ("MCAP", "SQLITE3"):
        write_bag(folder / storage.lower(), odometry, storage=storage)
    file = folder / "mcap" / "metadata.yaml"
    cases["metadata.yaml"] = file, file.read_bytes(), everything(file.parent)
    database = folder / "alone.db3"
    database.write_bytes((folder / "sqlite3" / "sqlite3.db3").read_bytes())
    cases["db3"] = database, database.read_bytes(), everything(database)
    return cases


def tables(folder: Path) -> dict[str, Case]:
    """LeRobot's description, tables and videos."""
    data = folder / "lerobot"
    write_recording([observe_room(o.T_map_camera, o.stamp, SMALL) for o in walk(2)], data, layout="lerobot")
    files = {"info.json": data / "meta" / "info.json", "parquet": next((data / "data").rglob("*.parquet"))}
    cases = {name: (file, file.read_bytes(), everything(data)) for name, file in files.items()}
    video = folder / "video.mp4"
    write_video(video)
    cases["video"] = video, video.read_bytes(), lambda: frames_of(video)
    return cases


def write_video(path: Path) -> None:
    """Five grey frames."""
    import av

    with av.open(str(path), "w") as container:
        stream = container.add_stream("mpeg4", rate=10)
        stream.width, stream.height, stream.pix_fmt = 32, 32, "yuv420p"
        for value in range(5):
            frame = av.VideoFrame.from_ndarray(np.full((32, 32, 3), value * 40, np.uint8), format="rgb24")
            container.mux(stream.encode(frame))
        container.mux(stream.encode())


def frames_of(path: Path) -> None:
    """Some frames of a video, as the reader of LeRobot asks for them."""
    from embmem.recordings.video import VideoCursor

    cursor = VideoCursor()
    try:
        for time_ in (0.0, 0.2):
            cursor.at(path, time_, tolerance=0.06)
    finally:
        cursor.close()


def folders(folder: Path) -> dict[str, Case]:
    """Lists, trajectories and intrinsics of folders of images, one damaged at a time."""
    depth = cv2.imencode(".png", np.full((3, 4), 900, np.uint16))[1].tobytes()
    K = b"5 0 1.5\n0 5 1\n0 0 1\n"
    pose = b"1 0 0 0\n0 1 0 0\n0 0 1 0\n0 0 0 1\n"
    tum = b"1.0 0 0 0 0 0 0 1\n2.0 0 0 1 0 0 0 1\n"
    camera = json.dumps({"camera": {"w": 4, "h": 3, "fx": 5.0, "fy": 5.0, "cx": 1.5, "cy": 1.0, "scale": 6553.5}})
    layouts: dict[str, dict[str, bytes]] = {
        "tum": {"depth.txt": b"1.0 depth/1.png\n2.0 depth/2.png\n", "groundtruth.txt": tum, "depth/1.png": depth,
                "depth/2.png": depth, "camera-intrinsics.txt": K},
        "associated": {"associations.txt": b"1.0 depth/1.png 1.0 rgb/1.png\n", "depth/1.png": depth,
                       "groundtruth.txt": tum, "camera-intrinsics.txt": K},
        "rgbd": {"frame-000000.depth.png": depth, "frame-000000.pose.txt": pose, "camera-intrinsics.txt": K,
                 "timestamps.txt": b"1.5\n"},
        "replica": {"results/depth000000.png": depth, "traj.txt": pose.replace(b"\n", b" ")[:-1] + b"\n",
                    "cam_params.json": camera.encode()},
        "redwood": {"depth_00000.png": depth, "trajectory.log": b"0 0 1\n" + pose, "K.txt": K},
        "kitti": {"image_2/000000.png": cv2.imencode(".png", np.zeros((3, 4, 3), np.uint8))[1].tobytes(),
                  "poses.txt": b"1 0 0 0 0 1 0 0 0 0 1 0\n", "times.txt": b"0.5\n",
                  "calib.txt": b"P0: 5 0 1 0 0 5 1 0 0 0 1 0\nP2: 5 0 1 0 0 5 1 0 0 0 1 0\n"},
        "scannet": {"depth/0.png": depth, "pose/0.txt": pose, "intrinsic/intrinsic_depth.txt": K,
                    "color/0.jpg": cv2.imencode(".jpg", np.zeros((3, 4, 3), np.uint8))[1].tobytes()},
    }  # fmt: skip
    same = {"depth/1.png", "depth/2.png", "depth/0.png", "results/depth000000.png", "image_2/000000.png", "K.txt",
            "depth_00000.png", "associated/groundtruth.txt", "associated/camera-intrinsics.txt"}  # fmt: skip
    cases: dict[str, Case] = {}
    for layout, files in layouts.items():
        for name, data in files.items():
            file = folder / layout / name
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(data)
            if not {name, f"{layout}/{name}"} & same:  # as what another layout has
                cases[f"{layout} {name}"] = file, data, everything(folder / layout)
    return cases


def blobs(folder: Path) -> dict[str, Case]:
    """Depth in RVL, which has no checksum at all."""
    file = folder / "depth.rvl"
    whole = bytes.fromhex("0400000003000000a1c389122eb398341b21b2fa0000b28c")  # of 4 x 3 pixels
    return {"rvl": (file, whole, lambda: decode_rvl(file.read_bytes()))}


def all_cases(folder: Path) -> dict[str, Case]:
    """Every kind, its whole recording written into the folder."""
    return {**bags(folder), **tables(folder), **folders(folder), **blobs(folder)}


def run(case: Case, n: int) -> int:
    """How many of the damaged recordings could be opened; the file is whole again then."""
    file, whole, read = case
    try:
        return sum(_in_time(read, file, data) for data in damaged(whole, n))
    finally:
        file.write_bytes(whole)


def _in_time(read: Callable[[], object], file: Path, data: bytes) -> bool:
    signal.setitimer(signal.ITIMER_REAL, DEADLINE)
    faulthandler.dump_traceback_later(4 * DEADLINE, exit=True, file=sys.stderr)  # where no signal gets through
    try:
        return survives(read, file, data)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0.0)
        faulthandler.cancel_dump_traceback_later()


def _too_long(_: int, __: FrameType | None) -> None:
    raise TimeoutError(f"an input took more than {DEADLINE} s")


OF_READER = {"metadata.yaml": "mcap", "info.json": "lerobot", "parquet": "lerobot", "video": "lerobot"}


def shares(kinds: Iterable[str], n: int) -> dict[str, int]:
    """How many of each kind so that each reader gets `n`; a kind begins with its reader or stands in `OF_READER`."""
    readers = {kind: OF_READER.get(kind, kind.split()[0]) for kind in kinds}
    n_kinds = Counter(readers.values())
    return {kind: -(-n // n_kinds[reader]) for kind, reader in readers.items()}


def main(n: int, names: list[str]) -> None:
    """Try `n` damaged recordings for each reader, or those of the kinds that are named."""
    signal.signal(signal.SIGALRM, _too_long)
    sys.stderr = os.fdopen(os.dup(2), "w", buffering=1)
    os.dup2(os.open(os.devnull, os.O_WRONLY), 2)  # what libpng and libjpeg have to say
    in_ram = Path("/dev/shm")
    with tempfile.TemporaryDirectory(dir=in_ram if in_ram.is_dir() else None) as name:
        folder = Path(name)
        cases = all_cases(folder)
        for case in cases.values():
            case[0].write_bytes(case[1])
            case[2]()  # whatever is imported late, is now
        there = sorted(folder.rglob("*"))
        size = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
        resource.setrlimit(resource.RLIMIT_AS, (size + MAX_BYTES, size + MAX_BYTES))
        tries = shares(cases, n)
        for kind in names or cases:
            started = time.process_time()
            read = run(cases[kind], tries[kind])
            took = time.process_time() - started
            told = f"{read:,} of {tries[kind]:,} could be opened, {1e3 * took / tries[kind]:.2f} ms each"
            sys.stdout.write(f"{kind}: {told}\n")
        if sorted(folder.rglob("*")) != there:
            raise FileExistsError(f"left behind: {sorted(set(folder.rglob('*')) - set(there))}")


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2:])
