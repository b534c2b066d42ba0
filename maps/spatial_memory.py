"""The memory that embmem brings: voxels and objects in one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from embmem.durable import DurableMemory
from embmem.errors import InputError
from embmem.ingress import IngressGate
from embmem.maps.ego_grid import EgoGrid
from embmem.maps.landmarks import LandmarkGraph
from embmem.maps.objects import ObjectMemory
from embmem.maps.pose_graph import PoseGraph
from embmem.maps.scene_graph import SceneGraph
from embmem.maps.semantic_map import SemanticMap
from embmem.maps.voxels import DecayLayers, VoxelMap
from embmem.maps.voxels.formats.files import open_voxels
from embmem.maps.voxels.formats.octomap_files import read_octomap
from embmem.memory import Memory
from embmem.protocols import Layer, Store
from embmem.store.schema import is_older

LAYERS: tuple[type[Layer], ...] = (
    PoseGraph,
    VoxelMap,
    DecayLayers,
    ObjectMemory,
    LandmarkGraph,
    SceneGraph,
    SemanticMap,
    EgoGrid,
)


def spatial_memory(
    resolution: float = 0.05,
    max_range: float = 5.0,
    *,
    integrator: str = "projective",
    view_distance: float = 0.5,
    view_angle: float = 0.5,
    voxels: VoxelMap | None = None,
    objects: ObjectMemory | None = None,
    more: Mapping[str, Layer] | Sequence[Layer] = (),
    store: Store | None = None,
    gate: IngressGate | None = None,
) -> Memory:
    """An empty memory with a voxel map, an object memory and whatever layers are added.

    Args:
        resolution: edge of a voxel [m].
        max_range: [m] of depth that is used.
        integrator: of depth images, see `VoxelMap`.
        view_distance: a view is recorded when the camera has moved this far [m] ...
        view_angle: ... or turned this much [rad].
        voxels: instead of one made from these three.
        objects: instead of one made from `max_range`.
        more: further layers, in their order; names that they have in a configuration mean nothing.
        store: where records go; in RAM if not given.
        gate: what checks observations.
    """
    if voxels is None:
        voxels = VoxelMap(resolution=resolution, max_range=max_range, integrator=integrator)
    if objects is None:
        objects = ObjectMemory(max_range=max_range)
    further = more.values() if isinstance(more, Mapping) else more
    return Memory(
        [voxels, objects, *further], store=store, gate=gate, view_distance=view_distance, view_angle=view_angle
    )


def durable_memory(
    path: str | Path,
    resolution: float = 0.05,
    max_range: float = 5.0,
    *,
    integrator: str = "projective",
    voxels: VoxelMap | None = None,
    objects: ObjectMemory | None = None,
    **options: Any,
) -> DurableMemory:
    """A memory with a voxel map and an object memory that lives in the file `path`, begun there or gone on with.

    Args:
        path: the file; it is created if missing.
        resolution: edge of a voxel [m].
        max_range: [m] of depth that is used.
        integrator: of depth images, see `VoxelMap`.
        voxels: instead of one made from these three; empty.
        objects: instead of one made from `max_range`; empty.
        options: of `DurableMemory`.
    """
    memory = spatial_memory(resolution, max_range, integrator=integrator, voxels=voxels, objects=objects)
    return DurableMemory(path, memory.layers, **options)


def open_durable(path: str | Path, **options: Any) -> DurableMemory:
    """The memory that lives in the file `path`, with the layers and settings that it has there.

    Args:
        path: the file.
        options: of `DurableMemory`.

    Raises:
        InputError: if the file is missing, damaged or holds an unknown layer.
        FileVersionError: if it is not a memory file, or was written by a newer embmem.
    """
    if not Path(path).is_file():
        raise InputError(f"{path} is not a file; begin one with durable_memory")
    return DurableMemory(path, layer_types=LAYERS, **options)


def open_memory(path: str | Path) -> Memory:
    """The memory that was saved to `path`, in RAM, with any of the layers that embmem brings.

    A .safetensors file of voxels or a .bt or .ot file of OctoMap becomes a memory with nothing but a voxel map.

    Raises:
        InputError: if the file is missing, damaged or holds an unknown layer.
        FileVersionError: if it is not a memory file, or was written by a newer embmem.
    """
    if Path(path).suffix in (".bt", ".ot"):
        return Memory([read_octomap(path)])
    if Path(path).suffix == ".safetensors":
        return Memory([open_voxels(path)])
    return Memory.open(path, LAYERS)


def view_memory(path: str | Path) -> Memory:
    """`open_memory` for questions only: the records stay in the file, which somebody may write meanwhile.

    A file of an older version is read to RAM as a whole.

    Raises:
        InputError: if the file is missing, damaged or holds an unknown layer.
        FileVersionError: if it is not a memory file, or was written by a newer embmem.
    """
    path = Path(path)
    if path.suffix in (".bt", ".ot", ".safetensors") or not path.is_file() or is_older(path):
        return open_memory(path)
    return Memory.view(path, LAYERS)
