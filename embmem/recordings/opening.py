"""Open a recording of any format: find out which it is, or say what was looked for."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from embmem.errors import InputError
from embmem.recordings.beside import is_beside, open_beside
from embmem.recordings.lerobot import is_lerobot, open_lerobot
from embmem.recordings.octomap_graph import is_octomap_graph, open_octomap_graph
from embmem.recordings.reading import Reading
from embmem.recordings.recording import Recording
from embmem.recordings.redwood import is_redwood, open_redwood
from embmem.recordings.replica import is_replica, open_replica
from embmem.recordings.rgbd_folder import is_rgbd_folder, open_rgbd_folder
from embmem.recordings.rosbag import is_rosbag, open_rosbag
from embmem.recordings.rtabmap import is_rtabmap, open_rtabmap
from embmem.recordings.scannet import is_scannet, open_scannet
from embmem.recordings.tum import is_tum, open_tum
from embmem.recordings.view import is_view, open_view

# Whether it is one, how to open it; the first that says yes opens.
_READERS: tuple[tuple[Callable[[Path], bool], Callable[[Path], Recording]], ...] = (
    (is_rgbd_folder, open_rgbd_folder),
    (is_lerobot, open_lerobot),
    (is_scannet, open_scannet),
    (is_replica, open_replica),
    (is_tum, open_tum),
    (is_redwood, open_redwood),
    (is_beside, open_beside),
    (is_rosbag, open_rosbag),
    (is_octomap_graph, open_octomap_graph),
    (is_rtabmap, open_rtabmap),
)
FORMATS = (
    "ROS 2 bags (a folder, *.mcap, *.db3), folders of RGB-D frames (7-Scenes, 3DMatch, TUM, ScanNet, Replica,\n"
    "Redwood), images with a TUM or KITTI trajectory beside them, LeRobotDataset v3, OctoMap's *.graph,\n"
    "databases of RTAB-Map (*.db); views (*.yaml) that the doctor wrote of them"
)


def open_recording(path: Path | str) -> Recording:
    """The recording at `path`, opened by the reader of its format; nothing but names, counts and heads is read.

    Raises:
        InputError: if there is nothing, nothing that a reader knows, or what it knows is damaged.
        MissingExtraError: if the reader needs a library that is not installed.
    """
    path = Path(path)
    if not path.exists():
        raise InputError(f"{path}: no such folder or file")
    try:
        if is_view(path):
            return open_view(path, open_recording)
        for is_one, open_one in _READERS:
            if is_one(path):
                return open_one(path)
    except OSError as error:
        raise InputError(f"{error.filename or path}: {error.strerror or error}") from None
    raise InputError(f"{path}: no recording of a known format ({FORMATS}); {_inside(path)}".replace("\n", " "))


def _inside(path: Path) -> str:
    """What is there instead, in a few words."""
    if path.is_file():
        with path.open("rb") as file:
            return f"the file begins with {file.read(8)!r}"
    names = sorted(file.name for file in path.iterdir())
    return (
        f"the folder holds {', '.join(names[:6])}{' ...' if len(names) > 6 else ''}" if names else "the folder is empty"
    )


def read_recording(path: Path | str, settings: Mapping[str, Any] | None = None, **how: Any) -> Reading:
    """The recording at `path` as posed observations.

    Args:
        path: as `open_recording` takes it.
        settings: what `Conventions` are called, where what the format says is not so; None is not given.
        **how: arguments of `Reading`.

    Raises:
        InputError: as `open_recording` and `Reading` do.
        ValueError: if a setting makes no sense.
    """
    recording = open_recording(path)
    return Reading(recording, recording.conventions.but(settings or {}), **how)
