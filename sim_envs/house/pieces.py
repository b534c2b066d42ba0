"""Builds the pieces of a group of furniture and moves them to where they stand."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from jaxtyping import Float

from embmem.sim_envs.house.furniture import FURNITURE
from embmem.sim_envs.house.groups import Group
from embmem.sim_envs.house.house import Furniture

_BOX, _SURFACE = [0, 1, 3, 4], [0, 1, 2, 3]  # columns of x0 y0 x1 y1


def build_group(group: Group, room: int, first_id: int) -> list[Furniture]:
    """The pieces in the group's own frame: against a wall at y = 0, from x = 0 on."""
    pieces = []
    for i, piece in enumerate(group.pieces):
        kind = FURNITURE[piece.category]
        parts, tops = kind.build(piece.width, piece.depth, kind.height)
        boxes = np.array(parts, dtype=np.float64).reshape(-1, 6)
        surfaces = np.array(tops, dtype=np.float64).reshape(-1, 5)
        upright = Furniture(first_id + i, piece.category, room, 0.0, 0.0, piece.width, piece.depth, boxes, surfaces)
        pieces.append(moved(upright, (piece.width, piece.depth), piece.facing, (piece.x, piece.y)))
    return pieces


def moved(f: Furniture, frame: tuple[float, float], facing: int, to: tuple[float, float]) -> Furniture:
    """The piece after its frame (width, depth) was turned from +y to `facing` and its corner was put on `to` [m]."""
    footprint = np.array([[f.x0, f.y0, f.x1, f.y1]])
    flat = np.concatenate([footprint, f.boxes[:, _BOX], f.surfaces[:, _SURFACE]])
    flat = np.round(_turned(flat, frame, facing) + np.tile(to, 2), 4)
    boxes, surfaces, n = f.boxes.copy(), f.surfaces.copy(), 1 + len(f.boxes)
    boxes[:, _BOX], surfaces[:, _SURFACE] = flat[1:n], flat[n:]
    x0, y0, x1, y1 = flat[0].tolist()
    turned = (facing + f.facing - 1) % 4
    return replace(f, x0=x0, y0=y0, x1=x1, y1=y1, boxes=boxes, surfaces=surfaces, facing=turned)


def _turned(rects: Float[np.ndarray, "n 4"], frame: tuple[float, float], facing: int) -> Float[np.ndarray, "n 4"]:
    width, depth = frame
    x0, y0, x1, y1 = rects.T
    sides = (
        (y0, width - x1, y1, width - x0),
        (x0, y0, x1, y1),
        (depth - y1, x0, depth - y0, x1),
        (width - x1, depth - y1, width - x0, depth - y0),
    )
    return np.stack(sides[facing], axis=1)
