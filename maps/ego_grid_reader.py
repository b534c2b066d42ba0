"""A network that reads the egocentric grid memory map for an instruction; extra `learn`.

Nothing on the common path imports this module: it brings torch.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from embmem.errors import import_extra

import_extra("torch", "learn")

import torch  # noqa: E402
from jaxtyping import Bool, Float, Int  # noqa: E402
from torch import Tensor, nn  # noqa: E402

from embmem.maps.ego_grid import (  # noqa: E402
    EXTENT_SHARE,
    LEAST_HALF_WIDTH,
    SIDE,
    EgoGrid,
    quarter_exact,
)

MAX_DISTANCE = 30.0  # [m] that distances are told in
_SNAP = 1e9  # parts of a cell: a patch this near to a border lies on it
_FAR = -1e30  # relevance of what is not there, finite so that gradients stay so


@dataclass(frozen=True, eq=False)
class GridMap:
    """The cells around b robots; rows go along the heading, from behind to ahead, columns to the left."""

    cells: Float[Tensor, "b c h"]  # zero where empty
    is_filled: Bool[Tensor, "b c"]  # False for the cells that attention must leave out
    index: Int[Tensor, "b n"]  # cell of each patch, -1 = none
    weight: Float[Tensor, "b n"]  # of each patch in its cell, 0 where it is in none
    half_width: Float[Tensor, " b"]  # [m]


class EgoGridReader(nn.Module):
    """Cells of a grid around the robot, each the sum of its patches weighted by their relevance to the instruction.

    With patches g_j and words w_l: r_j = max_l g_j . W w_l; cell = sum_j softmax(r)_j W_g g_j + LN(Linear([sin and
    cos of the cell's bearing, sin and cos of its elevation 0, distance / 30 m])), the softmax over the patches of one
    cell (Wang et al., GridMM, ICCV 2023, sec. 3.2). Differentiable in patches, words and weights; not in places.
    """

    def __init__(self, patch_dim: int, word_dim: int, hidden: int, *, side: int = SIDE, seed: int = 0) -> None:
        """Random weights from `seed`; sizes of a patch, a word, a cell."""
        super().__init__()
        if min(patch_dim, word_dim, hidden, side) < 1:
            raise ValueError(f"need sizes >= 1, got {patch_dim}, {word_dim}, {hidden}, {side}")
        generator = torch.Generator().manual_seed(seed)
        self.side = side
        self.relevance = nn.Parameter(
            torch.randn(patch_dim, word_dim, generator=generator) / math.sqrt(patch_dim * word_dim)
        )
        self.value = nn.Parameter(torch.randn(hidden, patch_dim, generator=generator) / math.sqrt(patch_dim))
        self.place = nn.Parameter(torch.randn(hidden, 5, generator=generator) / math.sqrt(5.0))
        self.place_bias = nn.Parameter(torch.zeros(hidden))
        self.norm = nn.LayerNorm(hidden)

    def forward(
        self,
        patches: Float[Tensor, "b n d"],
        places: Float[Tensor, "b n 2"],
        poses: Float[Tensor, "b 3"],
        words: Float[Tensor, "b l w"],
        is_patch: Bool[Tensor, "b n"] | None = None,
        is_word: Bool[Tensor, "b l"] | None = None,
    ) -> GridMap:
        """The maps of b robots.

        Args:
            patches: features.
            places: (x, y) [m] of the patches in the map; double precision keeps cells exact.
            poses: (x, y [m], heading [rad]) of the robots.
            words: of the instructions.
            is_patch: False where a row is padding.
            is_word: False where a word is padding; an instruction without words weighs all patches of a cell alike.
        """
        index, half = grid_cells(places, poses, is_patch, self.side)
        scores = torch.einsum("bnd,dw,blw->bnl", patches, self.relevance, words)
        if is_word is not None:
            scores = scores.masked_fill(~is_word[:, None], _FAR)
        n_cells = self.side**2
        weight = softmax_by_cell(scores.amax(-1), index, n_cells)
        values = torch.einsum("bnd,hd->bnh", patches, self.value) * weight[..., None]
        slots = torch.where(index >= 0, index, n_cells)
        empty = values.new_zeros(len(values), n_cells + 1, values.shape[-1])
        cells = empty.scatter_add(1, slots[..., None].expand_as(values), values)[:, :-1]
        counts = torch.zeros(len(values), n_cells + 1, device=index.device)
        is_filled = counts.scatter_add(1, slots, torch.ones_like(slots, dtype=counts.dtype))[:, :-1] > 0
        codes = cell_codes(half, self.side).to(cells.dtype)
        cells = cells + self.norm(codes @ self.place.T + self.place_bias)
        return GridMap(cells * is_filled[..., None], is_filled, index, weight, half)

    def read(self, grid: EgoGrid, pose: Float[Tensor, "3"], words: Float[Tensor, "l w"]) -> GridMap:
        """The map of one robot at `pose` (x, y [m], heading [rad]) from its memory, as a batch of one."""
        device, dtype = self.value.device, self.value.dtype
        patches = torch.from_numpy(grid.features.astype("float32")).to(device, dtype)
        places = torch.from_numpy(grid.points[:, :2].copy()).to(device)
        return self(patches[None], places[None], pose[None].to(device, torch.float64), words[None].to(device, dtype))


def grid_cells(
    places: Float[Tensor, "b n 2"],
    poses: Float[Tensor, "b 3"],
    is_patch: Bool[Tensor, "b n"] | None = None,
    side: int = SIDE,
) -> tuple[Int[Tensor, "b n"], Float[Tensor, " b"]]:
    """(cell of each place, -1 = outside or padding; half-width [m]) of the grids, as `ego_grid.ego_cells` lays them."""
    places, poses = places.detach().double(), poses.detach().double()
    turns = torch.tensor([quarter_exact(angle) for angle in poses[:, 2].tolist()], dtype=torch.float64)
    cosine, sine = turns.to(places.device).reshape(-1, 2).T[..., None]
    offset = places - poses[:, None, :2]
    ahead = cosine * offset[..., 0] + sine * offset[..., 1]
    left = cosine * offset[..., 1] - sine * offset[..., 0]
    valid = torch.ones_like(ahead, dtype=torch.bool) if is_patch is None else is_patch
    extent = torch.maximum(_extent(ahead, valid), _extent(left, valid))
    half = torch.clamp(EXTENT_SHARE * extent, min=LEAST_HALF_WIDTH)
    scale = side / (2.0 * half)
    rows, columns = (_cell_of((u + half[:, None]) * scale[:, None]) for u in (ahead, left))
    is_in = valid & (rows >= 0) & (rows < side) & (columns >= 0) & (columns < side)
    return torch.where(is_in, rows * side + columns, -1.0).long(), half


def softmax_by_cell(scores: Float[Tensor, "b n"], index: Int[Tensor, "b n"], n_cells: int) -> Float[Tensor, "b n"]:
    """Softmax of the scores among those with the same index; 0 where the index is -1."""
    slots = torch.where(index >= 0, index, n_cells)
    highest = scores.detach().new_full((len(scores), n_cells + 1), -math.inf)
    highest = highest.scatter_reduce(1, slots, scores.detach(), "amax")
    powers = torch.exp(scores - highest.gather(1, slots)) * (index >= 0)
    sums = powers.new_zeros(len(scores), n_cells + 1).scatter_add(1, slots, powers)
    return powers / sums.gather(1, slots).clamp(min=torch.finfo(powers.dtype).tiny)


def cell_codes(half: Float[Tensor, " b"], side: int = SIDE) -> Float[Tensor, "b c 5"]:
    """(sin, cos of the bearing from the heading, sin, cos of the elevation, distance / 30 m) of the cells' middles."""
    middles = (torch.arange(side, device=half.device, dtype=half.dtype) + 0.5) * (2.0 / side) - 1.0
    ahead, left = torch.meshgrid(middles, middles, indexing="ij")
    ahead, left = (half[:, None] * u.reshape(1, -1) for u in (ahead, left))
    distance = torch.hypot(ahead, left)
    near = distance.clamp(min=1e-9)
    level = torch.zeros_like(distance)
    return torch.stack([left / near, ahead / near, level, level + 1.0, distance / MAX_DISTANCE], dim=-1)


def _cell_of(u: Tensor) -> Tensor:
    return torch.floor(torch.round(u * _SNAP) / _SNAP)


def _extent(values: Tensor, valid: Tensor) -> Tensor:
    """(b,) highest less lowest valid value, 0 without any."""
    if values.shape[1] == 0:
        return values.new_zeros(len(values))
    high = values.masked_fill(~valid, -math.inf).amax(1)
    low = values.masked_fill(~valid, math.inf).amin(1)
    return torch.where(valid.any(1), high - low, torch.zeros_like(high))
