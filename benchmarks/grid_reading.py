"""Whether a cell of the egocentric grid still tells of a landmark that only few of its patches show.

An instruction of six words names one of 64 kinds of landmarks; sixty patches of one cell, seen from anywhere around,
show one landmark each, and in half of the cases two of the sixty show the one that is named. A bilinear reader of cell
and words says whether it is there. All that differs is how the patches become the cell: by relevance (the memory map),
by their mean, or by their maximum; each is trained anew, on cells of four patches first and of more and more later, or
none of them finds out which word means what. Patches and words are random vectors with noise, of different spaces.
"""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor, nn

from embmem.maps.ego_grid import ego_cells
from embmem.maps.ego_grid_reader import EgoGridReader

KINDS, FILLERS, N_WORDS, N_PATCHES, PLANTED = 64, 30, 6, 60, 2
PATCH_DIM, WORD_DIM, HIDDEN = 64, 48, 64
LEARNING_RATE = 2e-2
NOISE = 0.3  # length of the noise on a unit vector


class Pooled(nn.Module):
    """Is the landmark that a word names in the cell? The cell is pooled by relevance, mean or maximum."""

    def __init__(self, pooling: str, seed: int) -> None:
        super().__init__()
        self.pooling = pooling
        self.reader = EgoGridReader(PATCH_DIM, WORD_DIM, HIDDEN, side=1, seed=seed)
        generator = torch.Generator().manual_seed(seed + 1)
        self.question = nn.Parameter(torch.randn(HIDDEN, WORD_DIM, generator=generator) / math.sqrt(HIDDEN * WORD_DIM))
        self.scale = nn.Parameter(torch.tensor([1.0, 0.0]))

    def forward(self, patches: Tensor, places: Tensor, poses: Tensor, words: Tensor) -> Tensor:
        """(b,) logits."""
        if self.pooling == "relevance":
            cell = self.reader(patches, places, poses, words).cells[:, 0]
        else:
            values = patches @ self.reader.value.T
            cell = values.mean(1) if self.pooling == "mean" else values.amax(1)
        logits: Tensor = torch.einsum("bh,hw,blw->bl", cell, self.question, words).amax(1)
        return self.scale[0] * logits + self.scale[1]


class Cases:
    """A world of landmarks and words that draws cases."""

    def __init__(self, seed: int) -> None:
        rng = np.random.default_rng(seed)
        self.landmarks = _unit(rng.normal(size=(KINDS, PATCH_DIM)))
        self.words = _unit(rng.normal(size=(KINDS + FILLERS, WORD_DIM)))

    def draw(self, n: int, rng: np.random.Generator, n_patches: int = N_PATCHES) -> tuple[tuple[Tensor, ...], Tensor]:
        """((patches, places, poses, words), whether the landmark is there) of n cases."""
        named, is_there = rng.integers(0, KINDS, n), rng.random(n) < 0.5
        kinds = (named[:, None] + rng.integers(1, KINDS, (n, n_patches))) % KINDS  # any but the one named
        kinds[is_there, :PLANTED] = named[is_there, None]
        noise = _unit(rng.normal(size=(n, n_patches, PATCH_DIM))) * NOISE
        spoken = KINDS + rng.integers(0, FILLERS, (n, N_WORDS))
        spoken[np.arange(n), rng.integers(0, N_WORDS, n)] = named
        inputs = (
            self.landmarks[kinds] + noise,
            rng.uniform(-0.5, 0.5, (n, n_patches, 2)),
            np.zeros((n, 3)),
            self.words[spoken],
        )
        return tuple(torch.from_numpy(each.astype(np.float32)) for each in inputs), torch.from_numpy(is_there)


def accuracy(pooling: str, *, steps: int, n_test: int, seed: int = 0) -> float:
    """Share of right answers on cases that were not trained on."""
    cases, rng = Cases(seed), np.random.default_rng(seed + 1)
    model = Pooled(pooling, seed)
    optimiser = torch.optim.Adam(model.parameters(), lr=LEARNING_RATE)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, steps)
    for step in range(steps):
        n_patches = round(2 * PLANTED * (N_PATCHES / (2 * PLANTED)) ** min(step / (0.6 * steps), 1.0))
        inputs, is_there = cases.draw(128, rng, n_patches)
        loss = nn.functional.binary_cross_entropy_with_logits(model(*inputs), is_there.float())
        optimiser.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimiser.step()
        schedule.step()
    with torch.no_grad():
        inputs, is_there = cases.draw(n_test, np.random.default_rng(seed + 2))
        return float(((model(*inputs) > 0) == is_there).float().mean())


def equivariance(n: int) -> tuple[int, float, int]:
    """(cells that differ after right angles and whole shifts, largest change of the map after any, patches in all)."""
    rng, changed, largest, total = np.random.default_rng(0), 0, 0.0, 0
    reader = EgoGridReader(8, 4, 16).double()
    for _ in range(n):
        points = np.round(rng.uniform(-8, 8, (200, 2)) * 1024) / 1024
        pose = np.append(np.round(rng.uniform(-5, 5, 2) * 1024) / 1024, 0.0)
        quarters, shift = int(rng.integers(0, 4)), rng.integers(-50, 50, 2).astype(float)
        exact = np.linalg.matrix_power(np.array([[0.0, -1.0], [1.0, 0.0]]), quarters)
        moved = ego_cells(points @ exact.T + shift, np.append(exact @ pose[:2] + shift, quarters * np.pi / 2))
        changed += int((ego_cells(points, pose)[0] != moved[0]).sum())
        total += len(points)
        angle, far = rng.uniform(-np.pi, np.pi), rng.uniform(-50, 50, 2)
        turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
        tensors = [torch.from_numpy(rng.normal(size=shape)) for shape in ((1, 200, 8), (1, 5, 4))]
        maps = []
        for places, heading, centre in ((points, 0.0, pose[:2]), (points @ turn.T + far, angle, turn @ pose[:2] + far)):
            where = torch.from_numpy(np.append(centre, heading))[None]
            with torch.no_grad():
                maps.append(reader(tensors[0], torch.from_numpy(places)[None], where, tensors[1]).cells)
        largest = max(largest, float((maps[0] - maps[1]).abs().max()))
    return changed, largest, total


def _unit(rows: np.ndarray) -> np.ndarray:
    unit: np.ndarray = rows / np.linalg.norm(rows, axis=-1, keepdims=True)
    return unit
