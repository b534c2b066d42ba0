"""A house as glTF 2.0, with the semantic mesh and table of HM3D (Yadav et al., CVPR 2023) beside it.

Files are y-up as glTF demands: map (x, y, z) becomes (x, z, -y). `<stem>.glb` has the colours of the world,
`<stem>.semantic.glb` one colour an instance, `<stem>.semantic.txt` says which colour is what.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Int, UInt8

from embmem.errors import OutputExistsError
from embmem.exports.colours import to_linear, to_srgb
from embmem.exports.gltf import make_matt
from embmem.sim_envs.house.categories import LABELS, STRUCTURE
from embmem.sim_envs.house.house import House
from embmem.sim_envs.house.mesh import Mesh, build_mesh

HEADER = "HM3D Semantic Annotations"
_BASE = 64  # colours a channel
_SCRAMBLE = 100_003  # odd, hence a bijection modulo 64^3: neighbouring ids get colours that look different


def id_colours(ids: Int[np.ndarray, " n"]) -> tuple[UInt8[np.ndarray, "n 3"], UInt8[np.ndarray, "n 3"]]:
    """(vertex colours, table colours) of instance ids, both distinct.

    Habitat reads the vertex colours as linear and converts them to sRGB bytes before it looks them up, so the table
    holds the converted ones; every fourth linear level is used, because neighbours may share an sRGB byte.
    """
    scrambled = ids.astype(np.int64) * _SCRAMBLE % _BASE**3
    digits = np.stack([scrambled // _BASE**2, scrambled // _BASE % _BASE, scrambled % _BASE], axis=1)
    linear = (digits * 4 + 2).astype(np.uint8)
    return linear, np.rint(to_srgb(linear / 255.0) * 255.0).astype(np.uint8)


def region_ids(house: House, mesh: Mesh) -> Int[np.ndarray, " t"]:
    """One id per triangle: the instance id, or a new one for the walls, the floor, ... of each room and each door."""
    part = np.repeat(np.arange(len(mesh.part_room)), np.diff(mesh.part_start))
    highest = max([f.id for f in house.furniture] + [o.id for o in house.objects], default=0)
    structure = highest + 1 + part * len(STRUCTURE) + mesh.semantic
    return np.where(mesh.instance > 0, mesh.instance, structure).astype(np.int64)


def semantic_table(house: House, mesh: Mesh) -> str:
    """The text of `<stem>.semantic.txt`: header, then `id,RRGGBB,"category",region`; the region is the room's id."""
    ids, first = np.unique(region_ids(house, mesh), return_index=True)
    part = np.searchsorted(mesh.part_start, first, side="right") - 1
    rooms = np.maximum(mesh.part_room[part], 0)
    _, table = id_colours(ids)
    rows = [
        f'{i},{red:02X}{green:02X}{blue:02X},"{LABELS[label]}",{room}'
        for i, (red, green, blue), label, room in zip(ids, table, mesh.semantic[first], rooms, strict=True)
    ]
    return "\n".join([HEADER, *rows]) + "\n"


def gltf_paths(path: Path) -> tuple[Path, Path, Path]:
    """The files that `write_gltf` writes: mesh, semantic mesh, semantic table.

    Raises:
        ValueError: if `path` does not end in .glb.
    """
    if path.suffix != ".glb":
        raise ValueError(f"a glTF file must end in .glb, got {path}")
    return path, path.with_suffix(".semantic.glb"), path.with_suffix(".semantic.txt")


def write_gltf(house: House, path: Path, *, overwrite: bool = False) -> list[Path]:
    """Write mesh, semantic mesh and table; returns the three paths. A node is a part, called `category_id`.

    Raises:
        OutputExistsError: if one of them exists, unless `overwrite`; nothing is written then.
        ValueError: if `path` does not end in .glb.
    """
    paths = gltf_paths(path)
    taken = [p for p in paths if p.exists()]
    if taken and not overwrite:
        raise OutputExistsError(f"{taken[0]} exists; choose another name or set overwrite=true")
    mesh = build_mesh(house)
    albedo = np.rint(to_linear(mesh.colour / 255.0) * 255.0).astype(np.uint8)
    by_id, _ = id_colours(region_ids(house, mesh))
    contents = (_glb(mesh, albedo), _glb(mesh, by_id), semantic_table(house, mesh).encode())
    for target, content in zip(paths, contents, strict=True):
        part = target.with_suffix(target.suffix + ".part")
        part.write_bytes(content)
        part.replace(target)
    return list(paths)


def _glb(mesh: Mesh, colour: UInt8[np.ndarray, "t 3"]) -> bytes:
    """The binary glTF of the mesh; triangles share no vertices, so that each has its own colour."""
    import trimesh

    corners = mesh.vertices[mesh.triangles].astype(np.float64)
    y_up = np.stack([corners[..., 0], corners[..., 2], -corners[..., 1]], axis=-1)
    rgba = np.concatenate([colour, np.full((len(colour), 1), 255, dtype=np.uint8)], axis=1)
    scene = trimesh.Scene()
    for i, (start, end) in enumerate(zip(mesh.part_start[:-1], mesh.part_start[1:], strict=True)):
        n = int(end - start)
        piece = trimesh.Trimesh(
            vertices=y_up[start:end].reshape(-1, 3),
            faces=np.arange(3 * n).reshape(n, 3),
            vertex_colors=np.repeat(rgba[start:end], 3, axis=0),
            process=False,
        )
        name = _part_name(mesh, i)
        scene.add_geometry(piece, node_name=name, geom_name=name)
    export: Any = trimesh.exchange.gltf.export_glb  # without annotations
    glb: bytes = export(scene, include_normals=False, tree_postprocessor=make_matt)
    return glb


def _part_name(mesh: Mesh, index: int) -> str:
    start = mesh.part_start[index]
    instance, label = int(mesh.instance[start]), LABELS[mesh.semantic[start]]
    if instance:
        return f"{label}_{instance}".replace(" ", "_")
    room = int(mesh.part_room[index])
    return f"room_{room}" if room >= 0 else f"door_{index}"
