"""LeRobotDataset v3 (Cadene et al., LeRobot, 2024): meta/info.json, rows in parquet, images in parquet or video.

Of any data set the images, the state and the stamps are read. Poses, intrinsics and depth are in no standard of theirs:
a feature whose name ends in `pose` holds x y z qx qy qz qw or a 4x4 of the camera, one with `depth` in its name 16-bit
PNGs, and the key `embmem` of info.json the intrinsics and labels, as our own writer leaves them.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from embmem.errors import EmbmemError, InputError, import_extra
from embmem.recordings.layout import number_in, read_json
from embmem.recordings.raw import RawCamera, RawData, RawImage, RawMessage, RawPose, Sample
from embmem.recordings.recording import Recording, Stream
from embmem.recordings.video import VideoCursor
from embmem.ros.images import as_rgb, decode

EXTRA = "lerobot"
STAMP = "observation.stamp"  # [s] float64, a column of ours: `timestamp` is float32 and starts anew with each episode
_BATCH = 64  # rows
_OWN = ("timestamp", "frame_index", "episode_index", "index", "task_index")


@dataclass(frozen=True)
class _Dataset:
    """What meta/info.json says."""

    path: Path
    fps: float
    kinds: dict[str, str]  # feature -> kind of stream
    videos: frozenset[str]
    n_frames: int


def is_lerobot(path: Path) -> bool:
    """Whether the folder has meta/info.json."""
    return (path / "meta" / "info.json").is_file()


def open_lerobot(path: Path) -> Recording:
    """The recording in a data set.

    Raises:
        InputError: if it is of another version, or its description or its first table are damaged.
        MissingExtraError: without pyarrow, or without PyAV where there are videos.
    """
    file = path / "meta" / "info.json"
    info = read_json(file)
    version = str(info.get("codebase_version"))
    if not version.startswith("v3"):
        raise InputError(f"{path}: LeRobotDataset {version}; convert it to v3.0 with lerobot's conversion script")
    features = info.get("features")
    if not isinstance(features, dict) or not all(isinstance(f, dict) for f in features.values()):
        raise InputError(f"{file}: features must be an object of objects")
    if not all(name.isprintable() for name in features):
        raise InputError(f"{file}: the names of features must be printable, got {sorted(features)}")
    n_frames, fps = int(number_in(info, "total_frames", file)), number_in(info, "fps", file)
    if n_frames < 0 or fps <= 0:
        raise InputError(f"{file}: {n_frames} frames at {fps} a second")
    kinds = {name: _kind(name, feature) for name, feature in features.items() if name not in (*_OWN, STAMP)}
    videos = frozenset(name for name in kinds if features[name].get("dtype") == "video")
    if any("/" in name or ".." in name for name in videos):
        raise InputError(f"{file}: a feature {sorted(videos)[0]!r} cannot be a folder")
    dataset = _Dataset(path, fps, kinds, videos, n_frames)
    own = info.get("embmem")
    ours: dict[str, Any] = own if isinstance(own, dict) else {}
    camera = ours.get("camera")
    streams = [
        Stream(n, kind, str(features[n].get("dtype")), n_frames, str(features[n].get("shape")))
        for n, kind in kinds.items()
    ]
    streams += [Stream("camera", "camera", "intrinsics", 1)] if isinstance(camera, dict) else []
    labels = ours.get("labels")
    notes = () if any(kind == "pose" for kind in kinds.values()) else ("no feature is the pose of a camera",)
    return Recording(
        path=path,
        format=f"LeRobotDataset {version}",
        streams=tuple(streams),
        samples_of=partial(_samples, dataset, camera if isinstance(camera, dict) else None),
        is_grouped=True,
        is_z_up=bool(ours),
        labels=tuple(map(str, labels)) if isinstance(labels, list) else (),
        notes=notes,
    )


def _kind(name: str, feature: dict[str, Any]) -> str:
    words, dtype = name.lower(), feature.get("dtype")
    if dtype in ("image", "video"):
        details = feature.get("info")
        is_depth = isinstance(details, dict) and details.get("video.is_depth_map") is True
        kinds = (kind for kind in ("semantic", "instance", "depth") if kind in words)
        return "depth" if is_depth else next(kinds, "color")
    n = int(np.prod([d for d in feature.get("shape", []) if isinstance(d, int)] or [0]))
    return "pose" if words.endswith("pose") and n in (7, 16) else "other"


def _samples(dataset: _Dataset, camera: dict[str, Any] | None, names: frozenset[str]) -> Iterator[Sample]:
    path, info = dataset.path, dataset.path / "meta" / "info.json"
    if camera is not None and "camera" in names:
        yield Sample("camera", "camera", 0.0, f"{info}: camera", partial(_camera, camera, info))
    wanted = [name for name in dataset.kinds if name in names]
    if not wanted:
        return
    cursors = {name: VideoCursor() for name in wanted if name in dataset.videos}
    places = _places(dataset, list(cursors)) if cursors else {}
    in_table = [name for name in wanted if name not in cursors]
    for number, row in enumerate(_rows(path, in_table)):
        index = int(row.get("index") or number)
        stamp = float(row[STAMP]) if row.get(STAMP) is not None else index / dataset.fps
        for name in wanted:
            source = f"{path}: {name} of frame {index}"
            if name in cursors:
                place = places.get((name, int(row.get("episode_index") or 0)))
                read = partial(_frame, cursors[name], place, float(row.get("timestamp") or 0.0), dataset.fps, source)
            else:
                read = partial(_value, row.get(name), dataset.kinds[name], path, source)
            yield Sample(name, dataset.kinds[name], stamp, source, read, group=number)


def _rows(path: Path, columns: list[str]) -> Iterator[dict[str, Any]]:
    """The rows of all tables, some at a time."""
    for file in _tables(path / "data"):
        yield from _table_rows(file, [*_OWN, STAMP, *columns])


def _tables(folder: Path) -> list[Path]:
    files = sorted(folder.glob("chunk-*/*.parquet"))
    if not files:
        raise InputError(f"{folder}: no chunk-NNN/file-NNN.parquet in this folder")
    return files


def _table_rows(file: Path, columns: Sequence[str]) -> Iterator[dict[str, Any]]:
    parquet = import_extra("pyarrow.parquet", EXTRA)
    try:
        with parquet.ParquetFile(file) as table:
            there = set(table.schema_arrow.names)
            for batch in table.iter_batches(batch_size=_BATCH, columns=[c for c in columns if c in there]):
                yield from batch.to_pylist()
    except (EmbmemError, GeneratorExit):
        raise
    except Exception as error:  # pyarrow raises OSError, ValueError and children of its own for damage
        raise InputError(f"{file}: {' '.join(str(error).split())[:300]}") from None


def _places(dataset: _Dataset, names: list[str]) -> dict[tuple[str, int], tuple[Path, float]]:
    """(video feature, episode) -> (file, [s] at which the episode begins in it)."""
    columns = ["episode_index"]
    columns += [f"videos/{name}/{part}" for name in names for part in ("chunk_index", "file_index", "from_timestamp")]
    found = {}
    for file in _tables(dataset.path / "meta" / "episodes"):
        for row in _table_rows(file, columns):
            for name in names:
                chunk, number, start = (row.get(c) for c in columns[1:] if c.startswith(f"videos/{name}/"))
                if isinstance(chunk, int) and isinstance(number, int) and start is not None:
                    video = dataset.path / "videos" / name / f"chunk-{chunk:03d}" / f"file-{number:03d}.mp4"
                    found[name, int(row.get("episode_index") or 0)] = video, float(start)
    return found


def _frame(cursor: VideoCursor, place: tuple[Path, float] | None, time: float, fps: float, source: str) -> RawData:
    if place is None:
        raise InputError(f"{source}: meta/episodes does not say in which video it is")
    file, start = place
    return RawImage(cursor.at(file, start + time, tolerance=0.5 / fps), "video")


def _value(value: Any, kind: str, path: Path, source: str) -> RawData:
    """The value of a cell: an image, a pose, or plain numbers."""
    if value is None:
        raise InputError(f"{source}: empty")
    if kind == "pose":
        numbers = np.array(value, dtype=np.float64).ravel()
        if len(numbers) == 16:
            return RawPose(matrix=numbers.reshape(4, 4))
        if len(numbers) == 7:
            return RawPose(position=numbers[:3], quaternion=numbers[3:])
        raise InputError(f"{source}: a pose of {len(numbers)} numbers")
    if kind == "other":
        return RawMessage(value)
    data = value.get("bytes") if isinstance(value, dict) else None
    if not isinstance(data, bytes):
        raise InputError(f"{source}: an image that is not in the table itself; images by path are not read")
    try:
        image = decode(data)
    except InputError as error:
        raise InputError(f"{source}: {error}") from None
    return RawImage(as_rgb(image), "png" if data.startswith(b"\x89PNG") else "jpeg")


def _camera(values: dict[str, Any], path: Path) -> RawCamera:
    w, h, fx, fy, cx, cy = (number_in(values, name, path) for name in ("width", "height", "fx", "fy", "cx", "cy"))
    distortion = values.get("distortion")
    numbers = {f"distortion {i}": x for i, x in enumerate(distortion)} if isinstance(distortion, list) else {}
    return RawCamera(int(w), int(h), fx, fy, cx, cy, distortion=tuple(number_in(numbers, n, path) for n in numbers))
