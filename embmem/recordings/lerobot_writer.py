"""Record observations as one episode of a LeRobotDataset v3 that `embmem.recordings.lerobot` reads back bit for bit.

Images lie in the table: colour, depth (16-bit PNG, millimetres, 0 invalid), ids. `observation.camera_pose` is the 4x4
camera to map, row by row; `observation.stamp` keeps the clock, as `timestamp` counts from the first frame in float32.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np

from embmem.errors import import_extra
from embmem.observation import Observation
from embmem.output import new_folder
from embmem.recordings.images import encode_image
from embmem.recordings.lerobot import EXTRA, STAMP
from embmem.recordings.rgbd_writer import ids_16, millimetres

POSE = "observation.camera_pose"
TASK = "walk through a building"
_IMAGE = "observation.images.{}"
_BATCH = 32  # frames in RAM
_DATA = "data/chunk-{chunk_index:03d}/file-{file_index:03d}.parquet"
_VIDEO = "videos/{video_key}/chunk-{chunk_index:03d}/file-{file_index:03d}.mp4"


def write_lerobot(observations: Iterable[Observation], path: Path | str) -> int:
    """Number of frames written; the folder appears whole or not at all.

    Raises:
        OutputExistsError: if `path` exists and is not an empty folder.
        ValueError: if there is no observation, one without depth, or camera, labels or kinds of images change.
        MissingExtraError: without pyarrow.
    """
    import_extra("pyarrow.parquet", EXTRA)
    with new_folder(Path(path)) as folder:
        for name in ("data/chunk-000", "meta/episodes/chunk-000"):
            (folder / name).mkdir(parents=True)
        first, stamps = _write_rows(observations, folder / "data/chunk-000/file-000.parquet")
        _write_meta(folder / "meta", first, np.array(stamps))
    return len(stamps)


def _write_rows(observations: Iterable[Observation], file: Path) -> tuple[Observation, list[float]]:
    parquet = import_extra("pyarrow.parquet", EXTRA)
    stamps: list[float] = []
    rows: list[dict[str, Any]] = []
    first, writer = None, None
    try:
        for observation in observations:
            first = first or observation
            row = _row(observation, len(stamps), observation.stamp - first.stamp)
            if writer is None:
                writer = parquet.ParquetWriter(file, _schema(row))
            _check_alike(observation, first, len(stamps))
            rows.append(row)
            stamps.append(float(observation.stamp))
            if len(rows) == _BATCH:
                _flush(writer, rows)
        if first is None or writer is None:
            raise ValueError("nothing to record: no observation came")
        _flush(writer, rows)
    finally:
        if writer is not None:
            writer.close()
    return first, stamps


def _check_alike(observation: Observation, first: Observation, number: int) -> None:
    if (observation.intrinsics, observation.labels) != (first.intrinsics, first.labels):
        raise ValueError(f"frame {number} has another camera or other labels than the first")
    for kind in ("rgb", "semantic", "instance"):
        if (getattr(observation, kind) is None) != (getattr(first, kind) is None):
            raise ValueError(f"frame {number} and the first do not both have {kind}")


def _row(observation: Observation, number: int, timestamp: float) -> dict[str, Any]:
    if observation.depth is None:
        raise ValueError(f"frame {number} has no depth")
    images = {"color": observation.rgb, "depth": millimetres(observation.depth)}
    for kind, ids in (("semantic", observation.semantic), ("instance", observation.instance)):
        images[kind] = None if ids is None else ids_16(ids, f"{kind} ids of frame {number}")
    row: dict[str, Any] = {
        _IMAGE.format(kind): {"bytes": encode_image(image, "png"), "path": None}
        for kind, image in images.items()
        if image is not None
    }
    T = np.asarray(observation.T_map_camera, dtype=np.float64)
    counters = {"timestamp": timestamp, "frame_index": number, "episode_index": 0, "index": number, "task_index": 0}
    return row | {POSE: T.ravel().tolist(), STAMP: float(observation.stamp), **counters}


def _schema(row: dict[str, Any]) -> Any:
    pa = import_extra("pyarrow", EXTRA)
    image = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
    types = {POSE: pa.list_(pa.float64(), 16), STAMP: pa.float64(), "timestamp": pa.float32()}
    return pa.schema([(n, types.get(n, image if isinstance(v, dict) else pa.int64())) for n, v in row.items()])


def _flush(writer: Any, rows: list[dict[str, Any]]) -> None:
    pa = import_extra("pyarrow", EXTRA)
    if rows:
        writer.write_table(pa.Table.from_pylist(rows, schema=writer.schema))
    rows.clear()


def _write_meta(folder: Path, first: Observation, stamps: np.ndarray) -> None:
    """info.json, stats.json, the table of episodes and that of tasks."""
    n, k = len(stamps), first.intrinsics
    step = float(np.median(np.diff(stamps))) if n > 1 else 0.0
    images = ["depth"] + [
        kind for kind, there in (("color", first.rgb), ("semantic", first.semantic)) if there is not None
    ]
    images += ["instance"] if first.instance is not None else []
    shapes = {kind: [k.height, k.width, 3 if kind == "color" else 1] for kind in images}
    names = ["height", "width", "channels"]
    features: dict[str, Any] = {
        _IMAGE.format(kind): {"dtype": "image", "shape": shapes[kind], "names": names} for kind in images
    }
    features |= {POSE: _feature("float64", 16), STAMP: _feature("float64"), "timestamp": _feature("float32")}
    features |= {name: _feature("int64") for name in ("frame_index", "episode_index", "index", "task_index")}
    camera = {"width": k.width, "height": k.height, "fx": k.fx, "fy": k.fy, "cx": k.cx, "cy": k.cy}
    info = {
        "codebase_version": "v3.0",
        "robot_type": None,
        "total_episodes": 1,
        "total_frames": n,
        "total_tasks": 1,
        "chunks_size": 1000,
        "data_files_size_in_mb": 100,
        "video_files_size_in_mb": 200,
        "fps": max(1, round(1.0 / step)) if step > 0 else 1,
        "splits": {"train": "0:1"},
        "data_path": _DATA,
        "video_path": None,
        "features": features,
        "embmem": {"camera": camera | {"distortion": list(k.distortion)}, "labels": list(first.labels)},
    }
    (folder / "info.json").write_text(json.dumps(info, indent=1), "utf-8")
    stats = {STAMP: _stats(stamps), "timestamp": _stats(stamps - stamps[0]), "frame_index": _stats(np.arange(n))}
    (folder / "stats.json").write_text(json.dumps(stats, indent=1), "utf-8")
    places = ("data/chunk_index", "data/file_index", "meta/episodes/chunk_index", "meta/episodes/file_index")
    episode = {"episode_index": 0, "tasks": [TASK], "length": n, "dataset_from_index": 0, "dataset_to_index": n}
    _write_table(folder / "episodes/chunk-000/file-000.parquet", episode | dict.fromkeys(places, 0))
    _write_table(folder / "tasks.parquet", {"task_index": 0, "task": TASK}, index="task")


def _feature(dtype: str, n: int = 1) -> dict[str, Any]:
    return {"dtype": dtype, "shape": [n], "names": None}


def _stats(values: np.ndarray) -> dict[str, list[float]]:
    numbers = {
        "min": values.min(),
        "max": values.max(),
        "mean": values.mean(),
        "std": values.std(),
        "count": len(values),
    }
    return {name: [float(value)] for name, value in numbers.items()}


def _write_table(file: Path, row: dict[str, Any], *, index: str | None = None) -> None:
    """A table of one row; `index` names the column that pandas takes for its index."""
    pa, parquet = import_extra("pyarrow", EXTRA), import_extra("pyarrow.parquet", EXTRA)
    table = pa.Table.from_pylist([row])
    if index is not None:
        columns = [{"name": n, "field_name": n, "pandas_type": t, "numpy_type": t, "metadata": None}
                   for n, t in (("task_index", "int64"), (index, "unicode"))]  # fmt: skip
        pandas = {"index_columns": [index], "column_indexes": [], "columns": columns, "pandas_version": "2.0.0"}
        table = table.replace_schema_metadata({"pandas": json.dumps(pandas)})
    parquet.write_table(table, file)
