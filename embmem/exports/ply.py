"""Occupied voxels as a coloured point cloud or mesh in PLY, which every 3D viewer opens."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float, UInt8

from embmem.exports.colours import height_colours, rgba_of
from embmem.exports.surface import Surface

__all__ = ["height_colours", "write_ply", "write_ply_mesh"]


def write_ply(path: Path, centres: Float[np.ndarray, "n 3"], colours: UInt8[np.ndarray, "n c"] | None = None) -> None:
    """Write voxel centres [m] as a binary little-endian PLY of vertices, coloured by height without `colours`.

    Raises:
        ValueError: if there is no point: viewers refuse an empty cloud.
    """
    import trimesh

    if not len(centres):
        raise ValueError(f"the map has no occupied voxel to write to {path.name}")
    rgba = height_colours(centres[:, 2]) if colours is None else rgba_of(colours)
    cloud = trimesh.PointCloud(centres.astype(np.float32), colors=rgba)  # type: ignore[no-untyped-call]
    path.write_bytes(cloud.export(file_type="ply"))  # type: ignore[no-untyped-call]


def write_ply_mesh(path: Path, surface: Surface) -> None:
    """Write a surface as a binary little-endian PLY of coloured vertices and triangles, in the frame of the map."""
    import trimesh

    mesh = trimesh.Trimesh(
        vertices=surface.vertices, faces=surface.triangles, vertex_colors=rgba_of(surface.colours), process=False
    )
    data: Any = mesh.export(file_type="ply")
    path.write_bytes(data)
