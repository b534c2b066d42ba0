"""Occupied space to look at: a floor plan and a cloud of voxels, no larger than a page or a viewer takes."""

from __future__ import annotations

from math import ceil, log

import numpy as np
from jaxtyping import Float, UInt8

from embmem.exports.ply import height_colours
from embmem.maps.grid import OccupancyGrid
from embmem.maps.semantic_map import SemanticMap
from embmem.maps.voxels import DecayLayers, VoxelMap
from embmem.maps.voxels.levels import ROOT_LEVEL, level
from embmem.memory import Memory
from embmem.viewing.scene import UNSEEN, Plan, VoxelCloud

COLOURS = ("auto", "height", "colour", "label")
_MAX_CELLS = 1 << 28  # of a plan before it is made coarser
_CEILING = 2.0  # [m]
_GOLDEN = 0.618034  # of the hue circle, so that neighbours in a list look different


def voxel_maps(memory: Memory) -> list[VoxelMap]:
    """The voxel maps among the layers, the one that the plan is made of first."""
    maps = [layer for layer in memory.layers if isinstance(layer, VoxelMap)]
    for layer in memory.layers:
        if isinstance(layer, DecayLayers):
            maps += [layer.static, layer.dynamic]
    return maps or [layer.voxels for layer in memory.layers if isinstance(layer, SemanticMap)]


def cloud_of(maps: list[VoxelMap], most: int, colour: str) -> tuple[VoxelCloud, str]:
    """(cubes that hold all occupied voxels, each of one voxel or of 8, 64, ... of them, what was left out).

    Args:
        maps: one at least; those of another resolution than the first are left out.
        most: cubes, as far as the largest there are allow it.
        colour: "height", "colour" or "label" (both of the payload), "auto" for the first of the last two that is kept.
    """
    alike = [voxels for voxels in maps if voxels.resolution == maps[0].resolution]
    n = n_cubes = sum(int(voxels.stats()["occupied"]) for voxels in alike)
    parts, edge, depth = [voxels.occupied() for voxels in alike if n <= most], maps[0].resolution, 0
    while n_cubes > most and depth < ROOT_LEVEL:
        depth = min(depth + max(1, ceil(log(n_cubes / most, 4))), ROOT_LEVEL)  # surfaces: four times fewer a level
        levels = [level(voxels, depth) for voxels in alike]
        parts, edge = [each.centres[each.n_occupied > 0] for each in levels], levels[0].edge
        n_cubes = sum(map(len, parts))
    colours = [colours_of(voxels, part, colour) for voxels, part in zip(alike, parts, strict=True)]
    cloud = VoxelCloud(np.concatenate(parts), float(edge), np.concatenate(colours), n)
    told = f"{n_cubes:,} cubes of {edge:g} m stand for {n:,} occupied voxels." if n_cubes < n else ""
    if len(alike) < len(maps):
        told = f"{told} {len(maps) - len(alike)} voxel maps of another resolution are not shown.".lstrip()
    return cloud, told


def plan_of(voxels: VoxelMap, cloud: VoxelCloud, *, z_min: float, z_max: float, most: int) -> tuple[Plan | None, str]:
    """(the floor plan, what was left out): obstacles between two heights [m], joined to `most` cells a side at most."""
    box = voxels.bounds()
    if box is None:
        return None, ""
    width, depth = (box[1] - box[0])[:2] / voxels.resolution
    if width * depth > _MAX_CELLS:
        return None, f"There is no floor plan: the map reaches over {width:,.0f} x {depth:,.0f} cells."
    grid = OccupancyGrid.from_voxels(voxels, z_min, z_max)
    rows, columns = np.nonzero(grid.cells != UNSEEN)
    if not len(rows):
        return None, f"There is no floor plan: nothing is known between {z_min:g} and {z_max:g} m of height."
    first, last = np.array([rows.min(), columns.min()]), np.array([rows.max(), columns.max()]) + 1
    cells = grid.cells[first[0] : last[0], first[1] : last[1]]
    origin = grid.origin + first[::-1] * grid.resolution
    factor = max(1, ceil(max(cells.shape) / most))
    if factor > 1:
        cells = _coarser(cells, factor)
    resolution = grid.resolution * factor
    plan = Plan(
        np.asarray(origin, dtype=np.float64), resolution, cells, _heights(cells.shape, origin, resolution, cloud)
    )
    return plan, f"A cell of the floor plan stands for {factor} x {factor} cells of the map." if factor > 1 else ""


def _coarser(cells: np.ndarray, factor: int) -> np.ndarray:
    """Blocks of factor x factor cells: occupied where any is, else free where any is."""
    rows, columns = (-(-n // factor) * factor for n in cells.shape)
    padded = np.full((rows, columns), UNSEEN, dtype=np.int8)
    padded[: cells.shape[0], : cells.shape[1]] = cells
    return padded.reshape(rows // factor, factor, columns // factor, factor).max(axis=(1, 3))


def _heights(
    shape: tuple[int, ...], origin: np.ndarray, resolution: float, cloud: VoxelCloud
) -> Float[np.ndarray, "h w"]:
    """Top [m] of the highest cube over every cell whose middle is lower than a ceiling; NaN where there is none."""
    height = np.full(shape, np.nan)
    edge = max(cloud.edge, resolution)  # a cube may cover many cells
    far = np.array(shape[::-1]) * resolution + edge
    is_here = ((cloud.centres[:, :2] > origin - edge) & (cloud.centres[:, :2] < origin + far)).all(axis=1)
    below = cloud.centres[is_here & (cloud.centres[:, 2] < _CEILING)]
    if not len(below):
        return height
    cubes = np.floor(below[:, 1::-1] / edge).astype(np.int64)
    first, last = cubes.min(axis=0), cubes.max(axis=0)
    tops = np.full(last - first + 1, -np.inf)
    np.maximum.at(tops, tuple((cubes - first).T), below[:, 2] + cloud.edge / 2)
    middles = (origin[::-1][axis] + (np.arange(shape[axis]) + 0.5) * resolution for axis in range(2))
    at = [np.floor(middle / edge).astype(np.int64) for middle in middles]
    is_in = [(at[axis] >= first[axis]) & (at[axis] <= last[axis]) for axis in range(2)]
    found = tops[np.ix_(*(at[axis][is_in[axis]] - first[axis] for axis in range(2)))]
    height[np.ix_(*is_in)] = np.where(np.isfinite(found), found, np.nan)
    return height


def colours_of(voxels: VoxelMap, centres: Float[np.ndarray, "n 3"], colour: str) -> UInt8[np.ndarray, "n 3"]:
    """What to paint the voxels with these centres [m]; `colour` as in `cloud_of`.

    Raises:
        ValueError: if the map keeps nothing of that kind.
    """
    if colour not in COLOURS:
        raise ValueError(f"colour must be one of {', '.join(COLOURS)}, got {colour!r}")
    kept = () if voxels.payload is None else voxels.payload.channels
    wanted = [name for name in ("colour", "labels") if colour == "auto" or name.startswith(colour)]
    if colour != "auto" and wanted and wanted[0] not in kept:
        raise ValueError(f"this map keeps no {wanted[0]!r} to colour voxels by, only {list(kept)}")
    if not len(centres):
        return np.zeros((0, 3), dtype=np.uint8)
    colours = height_colours(centres[:, 2])[:, :3].copy()
    name = next((name for name in wanted if name in kept), None)
    if name == "colour":
        mean = voxels.read(centres).colour()
        is_known = np.isfinite(mean).all(axis=1)
        colours[is_known] = np.clip(mean[is_known], 0, 255).astype(np.uint8)
    elif name == "labels":
        labels = voxels.read(centres).top_label()
        colours[labels >= 0] = label_colours(labels[labels >= 0])
    return colours


def label_colours(numbers: np.ndarray) -> UInt8[np.ndarray, "n 3"]:
    """A colour for each number, the same whenever it is asked."""
    import cv2

    hue = np.mod(np.asarray(numbers, dtype=np.float64) * _GOLDEN, 1.0)
    hsv = np.stack([hue * 180, np.full(hue.shape, 150), np.full(hue.shape, 215)], axis=-1).astype(np.uint8)
    return cv2.cvtColor(hsv.reshape(-1, 1, 3), cv2.COLOR_HSV2RGB).reshape(-1, 3)
