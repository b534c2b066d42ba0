"""ScanNet as its SensReader exports it (Dai et al., CVPR 2017): color/N.jpg, depth/N.png, pose/N.txt, intrinsic/*.txt.

Depth is 16 bit in millimetres, 0 is invalid; a pose of -inf is a frame that was lost; colour has a camera of its own.
label-filt/N.png and instance-filt/N.png, where they are, hold ids in the pixels of the colour image; what they mean is
in scannetv2-labels.combined.tsv, in the folder or up to two above.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path

from embmem.errors import InputError
from embmem.recordings.conventions import Conventions
from embmem.recordings.files import FRAME_RATE, Folder, FrameFiles
from embmem.recordings.layout import camera_from_matrix, numbered, read_matrix, size_of_first
from embmem.recordings.raw import RawCamera
from embmem.recordings.recording import Recording
from embmem.recordings.rgbd_files import read_pose
from embmem.recordings.trajectories import read_lines

_LABELS = "scannetv2-labels.combined.tsv"
_MAX_ID = 1 << 16  # of 16-bit images


def is_scannet(path: Path) -> bool:
    """Whether the folder has ScanNet's three folders."""
    return all((path / name).is_dir() for name in ("depth", "pose", "intrinsic"))


def open_scannet(path: Path) -> Recording:
    """The recording in an exported scene of ScanNet.

    Raises:
        InputError: if it holds no depth image.
    """
    depth, color = numbered(path / "depth"), numbered(path / "color")
    if not depth:
        raise InputError(f"{path}: no N.png in depth/")
    tsv = next((p / _LABELS for p in (path, path.parent, path.parent.parent) if (p / _LABELS).is_file()), None)
    semantic = _first(path, "label-filt", "label")
    is_unnamed = tsv is None and bool(semantic)
    semantic = {} if is_unnamed else semantic
    instance = _first(path, "instance-filt", "instance")
    frames = []
    for number in sorted(depth):
        files = {"depth": depth[number]} | ({"color": color.get(number, path / f"color/{number}.jpg")} if color else {})
        files |= {kind: ids[number] for kind, ids in (("semantic", semantic), ("instance", instance)) if number in ids}
        pose = path / "pose" / f"{number}.txt"
        frames.append(FrameFiles(number, number / FRAME_RATE, files, partial(read_pose, pose), str(pose)))
    return Folder(
        path=path,
        format="RGB-D folder (ScanNet)",
        frames=frames,
        camera=_camera(path, "depth", partial(size_of_first, depth, is_u16=True)),
        color_camera=_camera(path, "color", partial(size_of_first, color, is_u16=False)) if color else None,
        conventions=Conventions(depth_invalid=(0.0,)),
        labels=read_categories(tsv) if tsv is not None and semantic else (),
        notes=(f"labels are left out, since {_LABELS} is missing",) if is_unnamed else (),
    ).recording()


def read_categories(path: Path) -> tuple[str, ...]:
    """Names of the categories, their ids the places; empty where an id has none.

    Raises:
        InputError: if the table has no columns id and raw_category, or an id makes no sense.
    """
    (_, head), *rows = read_lines(path) or [(0, "")]
    columns = head.split("\t")
    if not {"id", "raw_category"} <= set(columns):
        raise InputError(f"{path}: no columns id and raw_category, only {columns[:5]}")
    names = {0: "unlabelled"}
    for n, line in rows:
        row = dict(zip(columns, line.split("\t"), strict=False))
        if not row.get("id", "").isdecimal() or int(row["id"]) >= _MAX_ID:
            raise InputError(f"{path}: line {n}: {row.get('id')!r} is no id below {_MAX_ID}")
        names.setdefault(int(row["id"]), row.get("raw_category", ""))
    return tuple(names.get(i, "") for i in range(max(names) + 1))


def _first(path: Path, *names: str) -> dict[int, Path]:
    """The images of the first of these folders that has any."""
    return next((found for name in names if (found := numbered(path / name))), {})


def _camera(path: Path, kind: str, size: Callable[[], tuple[int, int]]) -> Callable[[], RawCamera]:
    file = path / "intrinsic" / f"intrinsic_{kind}.txt"
    return lambda: camera_from_matrix(read_matrix(file), size(), file)
