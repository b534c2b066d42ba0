"""Points and surfaces as binary glTF 2.0 (.glb).

glTF is y-up and in metres: map (x, y, z) becomes (x, z, -y), so +Y is up and the map's +x stays +X. Colours of vertices
are linear light there (glTF 2.0, 3.7.2.1), those of a map are sRGB.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float, UInt8

from embmem.exports.colours import height_colours, rgba_of, to_linear
from embmem.exports.surface import Surface

# Takes points of the map to points of the file.
T_GLTF_MAP = np.array([[1.0, 0, 0, 0], [0, 0, 1, 0], [0, -1, 0, 0], [0, 0, 0, 1]])


def write_glb_mesh(path: Path, surface: Surface) -> None:
    """Write a surface as one mesh of coloured vertices."""
    import trimesh

    mesh = trimesh.Trimesh(
        vertices=_y_up(surface.vertices),
        faces=surface.triangles,
        vertex_colors=_linear(rgba_of(surface.colours)),
        process=False,
    )
    _write(path, mesh, "surface")


def write_glb_points(
    path: Path, centres: Float[np.ndarray, "n 3"], colours: UInt8[np.ndarray, "n c"] | None = None
) -> None:
    """Write voxel centres [m] as coloured points, by height without `colours`.

    Raises:
        ValueError: if there is no point.
    """
    import trimesh

    if not len(centres):
        raise ValueError(f"the map has no occupied voxel to write to {path.name}")
    rgba = height_colours(centres[:, 2]) if colours is None else rgba_of(colours)
    _write(path, trimesh.PointCloud(_y_up(centres), colors=_linear(rgba)), "voxels")  # type: ignore[no-untyped-call]


def _y_up(points: Float[np.ndarray, "n 3"]) -> Float[np.ndarray, "n 3"]:
    return points @ T_GLTF_MAP[:3, :3].T


def _linear(rgba: UInt8[np.ndarray, "n 4"]) -> UInt8[np.ndarray, "n 4"]:
    linear = rgba.copy()
    linear[:, :3] = np.rint(to_linear(rgba[:, :3] / 255.0) * 255.0).astype(np.uint8)
    return linear


def _write(path: Path, geometry: Any, name: str) -> None:
    import trimesh

    scene = trimesh.Scene()
    scene.add_geometry(geometry, node_name=name, geom_name=name)
    export: Any = trimesh.exchange.gltf.export_glb
    path.write_bytes(export(scene, include_normals=False, tree_postprocessor=make_matt))


def make_matt(tree: dict[str, Any]) -> None:
    """One rough material for all: without one, viewers must draw polished metal (glTF 2.0, 3.9.2)."""
    matt = {"name": "matt", "pbrMetallicRoughness": {"metallicFactor": 0.0, "roughnessFactor": 1.0}}
    tree["materials"] = [matt]
    for mesh in tree["meshes"]:
        for primitive in mesh["primitives"]:
            primitive["material"] = 0
