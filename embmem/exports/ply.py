"""Occupied voxels as a coloured point cloud in PLY, which every 3D viewer opens."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from jaxtyping import Float, UInt8


def write_ply(path: Path, centres: Float[np.ndarray, "n 3"]) -> None:
    """Write voxel centres [m], coloured by height, as a binary little-endian PLY of vertices.

    Raises:
        ValueError: if there is no point: viewers refuse an empty cloud.
    """
    import trimesh

    if not len(centres):
        raise ValueError(f"the map has no occupied voxel to write to {path.name}")
    colours = height_colours(centres[:, 2])
    cloud = trimesh.PointCloud(centres.astype(np.float32), colors=colours)  # type: ignore[no-untyped-call]
    path.write_bytes(cloud.export(file_type="ply"))  # type: ignore[no-untyped-call]


def height_colours(height: Float[np.ndarray, " n"]) -> UInt8[np.ndarray, "n 4"]:
    """RGBA of heights [m], dark at the 1st and bright at the 99th percentile."""
    import cv2

    low, high = np.percentile(height, [1, 99])
    level = np.clip((height - low) / max(high - low, 1e-9), 0.0, 1.0) * 255
    bgr = cv2.applyColorMap(level.astype(np.uint8).reshape(-1, 1), cv2.COLORMAP_VIRIDIS)[:, 0]
    return np.concatenate([bgr[:, ::-1], np.full((len(height), 1), 255, np.uint8)], axis=1)
