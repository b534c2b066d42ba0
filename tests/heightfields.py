"""Free floor of a triangle soup by a plain height field, after Recast's rules and without our code.

Surfaces are sampled finer than a cell; a cell is floor where the lowest layer holds something that faces up, and free
where nothing is between the floor and the body's height, nothing unfree within the radius, and the connected part is
not small: the inside of a wardrobe has a floor, too (Mononen, Recast).
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pygltflib

_TYPES = {5121: np.uint8, 5123: np.uint16, 5125: np.uint32, 5126: np.float32}
_WIDTHS = {"SCALAR": 1, "VEC3": 3, "VEC4": 4}


def read_glb(path: str) -> list[tuple[np.ndarray, np.ndarray]]:
    """(corners (t, 3, 3), colours (t, 3, 4) as stored) of every mesh, with pygltflib; nodes must not move anything."""
    tree = pygltflib.GLTF2().load(path)
    blob = tree.binary_blob()

    def values(index: int) -> np.ndarray:
        accessor = tree.accessors[index]
        view = tree.bufferViews[accessor.bufferView]
        assert view.byteStride is None
        width = _WIDTHS[accessor.type]
        start = (view.byteOffset or 0) + (accessor.byteOffset or 0)
        flat = np.frombuffer(blob, _TYPES[accessor.componentType], accessor.count * width, start)
        return flat.reshape(-1, width)

    assert tree.scene == 0  # without a scene of that name Habitat takes the first mesh only
    for node in tree.nodes:
        identity = node.matrix is None or np.array_equal(node.matrix, np.eye(4).ravel())
        assert identity
        assert node.translation is None
        assert node.rotation is None
    found = []
    for mesh in tree.meshes:
        for primitive in mesh.primitives:
            assert tree.accessors[primitive.attributes.COLOR_0].normalized
            corners = values(primitive.indices).ravel()
            found.append(
                (values(primitive.attributes.POSITION)[corners].reshape(-1, 3, 3),
                 values(primitive.attributes.COLOR_0)[corners].reshape(-1, 3, 4))
            )  # fmt: skip
    return found


def in_habitat(corners: np.ndarray, stage: dict[str, Any]) -> np.ndarray:
    """The corners where Habitat puts them: `up` becomes +y, `front` becomes -z (CoordinateFrame)."""
    up, front = np.array(stage["up"], dtype=float), np.array(stage["front"], dtype=float)
    R = np.stack([np.cross(front, up), up, -front])  # rows: what becomes x, y, z
    assert np.linalg.det(R) > 0.999
    return corners @ R.T + np.array(stage["origin"], dtype=float)


def free_floor(corners: np.ndarray, settings: dict[str, float]) -> tuple[np.ndarray, np.ndarray]:
    """(free (nx, nz) bool, centres (nx, nz, 2) x and z [m]) of y-up triangles."""
    from scipy import ndimage

    cell, layer = settings["cellSize"], settings["cellHeight"]
    low = corners.reshape(-1, 3).min(axis=0)
    normal = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    size = np.linalg.norm(normal, axis=1)
    faces_up = normal[:, 1] > np.cos(np.radians(settings["agentMaxSlope"])) * size
    n = np.ceil((corners.reshape(-1, 3).max(axis=0) - low)[[0, 2]] / cell).astype(int) + 1
    floor, blocked = np.zeros(n, dtype=bool), np.zeros(n, dtype=bool)
    top = 1 + int(np.ceil(settings["agentHeight"] / layer))
    for triangle, up in zip(corners, faces_up, strict=True):
        edge = max(np.linalg.norm(triangle - np.roll(triangle, 1, axis=0), axis=1).max(), 1e-9)
        k = int(np.ceil(edge / (0.5 * cell)))
        i, j = (a.ravel() for a in np.meshgrid(np.arange(k + 1), np.arange(k + 1)))
        u, v = i[i + j <= k] / k, j[i + j <= k] / k
        samples = triangle[0] + u[:, None] * (triangle[1] - triangle[0]) + v[:, None] * (triangle[2] - triangle[0])
        x, y, z = np.floor((samples - low) / np.array([cell, layer, cell]) + 1e-9).astype(int).T
        if up:
            floor[x[y == 0], z[y == 0]] = True
        within = (y >= 1) & (y < top)
        blocked[x[within], z[within]] = True
    walkable = floor & ~blocked
    radius = int(np.ceil(settings["agentRadius"] / cell))
    away = ndimage.distance_transform_edt(np.pad(walkable, 1))[1:-1, 1:-1]
    centres = np.stack(np.meshgrid(*(np.arange(m) + 0.5 for m in n), indexing="ij"), axis=-1) * cell + low[[0, 2]]
    free = away > radius + 0.5
    regions, n_regions = ndimage.label(free)
    sizes = ndimage.sum_labels(free, regions, np.arange(n_regions + 1))
    return (sizes >= settings["regionMinSize"] ** 2)[regions] & free, centres
