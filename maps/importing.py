"""Maps of other programs as memories that can be asked, viewed and exported again."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from embmem.errors import InputError
from embmem.imports.map_server import read_map_server
from embmem.maps.scene_graph.dsg import read_dsg
from embmem.maps.scene_graph.importing import layers_of_graph
from embmem.maps.scene_graph.json_files import FORMAT, read_json, read_node_link
from embmem.maps.spatial_memory import spatial_memory
from embmem.maps.voxels.formats.grid_voxels import HEIGHT, voxels_of_grid
from embmem.maps.voxels.formats.octomap_files import MAX_VOXELS, read_octomap
from embmem.memory import Memory
from embmem.recordings.opening import read_recording
from embmem.recordings.rtabmap import is_rtabmap

MAX_JSON = 1 << 28  # bytes
_MAX_MESSAGE = 400  # characters
T = TypeVar("T")
KNOWN = (
    "map.yaml of map_server or Nav2, .bt and .ot of OctoMap, .json of Spark-DSG or of our own scene graphs, "
    ".db of RTAB-Map"
)


@dataclass(frozen=True, eq=False)
class ImportedMap:
    """A memory, and in words what it was made of."""

    memory: Memory
    source: str


def import_map(
    path: str | Path,
    *,
    height: float = HEIGHT,
    floor: bool = True,
    stamp: float = 0.0,
    max_voxels: int = MAX_VOXELS,
    resolution: float = 0.05,
    max_range: float = 5.0,
) -> ImportedMap:
    """The map in a file of another program.

    Args:
        path: the file; its kind is told by its name and by what is in it.
        height: [m] of the walls of a floor plan.
        floor: whether the floor of a floor plan is solid.
        stamp: [s] of the voxels of formats that keep no times.
        max_voxels: that may become of a file.
        resolution: [m] of the voxels of a database of RTAB-Map; the others bring theirs.
        max_range: [m] of its depth images that is used.

    Raises:
        InputError: if the file is missing, of no known kind, damaged, or claims too much.
    """
    path = Path(path)
    if not path.is_file():
        raise InputError(f"{path} is not a file; what can be imported is {KNOWN}")
    suffix = path.suffix.casefold()
    if suffix in (".yaml", ".yml"):
        grid = read_map_server(path)
        voxels = voxels_of_grid(grid, height=height, floor=floor, stamp=stamp, max_voxels=max_voxels)
        rows, columns = grid.cells.shape
        return ImportedMap(Memory([voxels]), f"map_server grid, {grid.mode}, {columns} x {rows} cells")
    if suffix in (".bt", ".ot"):
        return ImportedMap(Memory([read_octomap(path, stamp=stamp, max_voxels=max_voxels)]), "OctoMap tree")
    if suffix == ".json":
        return _scene_graph(path)
    if is_rtabmap(path):
        return _rtabmap(path, resolution, max_range)
    raise InputError(f"{path} cannot be imported; what can be is {KNOWN} (recordings: embmem build)")


def _scene_graph(path: Path) -> ImportedMap:
    if path.stat().st_size > MAX_JSON:
        raise InputError(f"{path}: {path.stat().st_size:,} bytes are more than {MAX_JSON:,}; leave meshes out of it")
    head = read_json(path).get("graph")
    is_ours = isinstance(head, dict) and head.get("format") == FORMAT
    what = "scene graph as node-link JSON" if is_ours else "Spark-DSG scene graph"
    graph = _named(path, lambda: (read_node_link if is_ours else read_dsg)(path))
    return ImportedMap(Memory(_named(path, lambda: layers_of_graph(graph))), f"{what}, {len(graph):,} nodes")


def _named(path: Path, read: Callable[[], T]) -> T:
    """What `read` gives; its errors name the file and are one line of bearable length."""
    try:
        return read()
    except InputError as error:
        text = " ".join(str(error).split())[:_MAX_MESSAGE]
        raise InputError(text if text.startswith(str(path)) else f"{path}: {text}") from None


def _rtabmap(path: Path, resolution: float, max_range: float) -> ImportedMap:
    """What its frames show, integrated at its poses; damaged ones are left out."""
    reading = read_recording(path, on_fault="skip")
    memory = spatial_memory(resolution, max_range)
    n = 0
    for observation in reading:
        memory.observe(observation)
        n += 1
    if n == 0:
        raise InputError(f"{path}: none of its frames can be used; {[fault.detail for fault in reading.faults[:1]]}")
    return ImportedMap(memory, f"{reading.recording.format}, {n:,} frames, {len(reading.faults):,} left out")
