"""The network on the egocentric grid: against the numpy rule and a loop, equivariant, differentiable."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

pytest.importorskip("torch")

import torch

from embmem.maps.ego_grid import EgoGrid, ego_cells
from embmem.maps.ego_grid_reader import EgoGridReader, cell_codes, grid_cells

seeds = st.integers(0, 2**31 - 1)


def scene(seed: int, batch: int = 2, n: int = 30) -> tuple[torch.Tensor, ...]:
    """(patches, places, poses, words) in double precision; places on a lattice of 1/1024 m."""
    generator = torch.Generator().manual_seed(seed)

    def normal(*shape: int) -> torch.Tensor:
        return torch.randn(*shape, generator=generator, dtype=torch.float64)

    places = torch.round(normal(batch, n, 2) * 3 * 1024) / 1024
    poses = torch.round(normal(batch, 3) * 1024) / 1024
    return normal(batch, n, 5), places, poses, normal(batch, 4, 3)


def reader(side: int = 14) -> EgoGridReader:
    return EgoGridReader(5, 3, 6, side=side, seed=1).double()


@given(seeds)
def test_lays_the_cells_of_the_numpy_rule(seed: int) -> None:
    _, places, poses, _ = scene(seed)
    index, half = grid_cells(places, poses)
    for i in range(len(places)):
        expected, width = ego_cells(places[i].numpy(), poses[i].numpy())
        assert index[i].tolist() == expected.tolist()
        assert half[i].item() == pytest.approx(width, abs=1e-12)


def test_equals_a_loop_over_cells() -> None:
    patches, places, poses, words = scene(3)
    network = reader(side=5)
    with torch.no_grad():
        grid = network(patches, places, poses, words)
        W, V = network.relevance, network.value
        for b in range(len(patches)):
            codes = cell_codes(grid.half_width[b : b + 1], 5)[0]
            for cell in range(25):
                at = [j for j in range(30) if grid.index[b, j] == cell]
                assert bool(grid.is_filled[b, cell]) == bool(at)
                if not at:
                    assert not grid.cells[b, cell].any()
                    continue
                r = torch.stack([max(patches[b, j] @ W @ w for w in words[b]) for j in at])
                total = sum(a * (V @ patches[b, j]) for a, j in zip(torch.softmax(r, 0), at, strict=True))
                total = total + network.norm(network.place @ codes[cell] + network.place_bias)
                torch.testing.assert_close(grid.cells[b, cell], total)


@given(seeds, st.integers(0, 3))
def test_a_world_turned_by_right_angles_gives_the_same_map_bit_for_bit(seed: int, quarters: int) -> None:
    patches, places, poses, words = scene(seed)
    poses[:, 2] = 0.0
    turn = torch.linalg.matrix_power(torch.tensor([[0.0, -1.0], [1.0, 0.0]], dtype=torch.float64), quarters)
    moved_poses = torch.cat(
        [poses[:, :2] @ turn.T + 3.0, torch.full((2, 1), quarters * np.pi / 2, dtype=torch.float64)], dim=1
    )
    with torch.no_grad():
        before = reader()(patches, places, poses, words)
        after = reader()(patches, places @ turn.T + 3.0, moved_poses, words)
    assert torch.equal(after.index, before.index)
    assert torch.equal(after.cells, before.cells)


@given(seeds, st.floats(-7, 7), st.floats(-30, 30))
def test_any_turn_and_shift_of_the_world_changes_the_map_by_rounding_only(
    seed: int, angle: float, shift: float
) -> None:
    patches, places, poses, words = scene(seed)
    c, s = np.cos(angle), np.sin(angle)
    turn = torch.tensor([[c, -s], [s, c]])
    moved_poses = torch.cat([poses[:, :2] @ turn.T + shift, poses[:, 2:] + angle], dim=1)
    with torch.no_grad():
        before = reader()(patches, places, poses, words)
        after = reader()(patches, places @ turn.T + shift, moved_poses, words)
    assert torch.equal(after.index, before.index)  # no patch of these scenes is within rounding of a border
    torch.testing.assert_close(after.cells, before.cells, rtol=0.0, atol=1e-6)


def test_gradients_are_those_of_finite_differences() -> None:
    patches, places, poses, words = scene(5, n=8)
    network = reader(side=2)

    def cells(patches: torch.Tensor, words: torch.Tensor, W: torch.Tensor, V: torch.Tensor) -> torch.Tensor:
        changed = {"relevance": W, "value": V}
        out = torch.func.functional_call(network, changed, (patches, places, poses, words))
        assert isinstance(out.cells, torch.Tensor)
        return out.cells

    inputs = [patches, words, network.relevance.detach(), network.value.detach()]
    assert torch.autograd.gradcheck(cells, [each.clone().requires_grad_() for each in inputs])


def test_padding_changes_nothing() -> None:
    patches, places, poses, words = scene(7)
    is_patch = torch.arange(30).expand(2, 30) < torch.tensor([[30], [18]])
    is_word = torch.arange(4).expand(2, 4) < torch.tensor([[4], [2]])
    with torch.no_grad():
        padded = reader()(patches, places, poses, words, is_patch, is_word)
        alone = reader()(patches[1:, :18], places[1:, :18], poses[1:], words[1:, :2])
    torch.testing.assert_close(padded.cells[1], alone.cells[0])
    assert (padded.index[1, 18:] == -1).all()


def test_an_empty_memory_is_an_empty_map() -> None:
    words = torch.zeros(2, 3)
    grid = EgoGridReader(5, 3, 6).read(EgoGrid(5), torch.zeros(3), words)
    assert not grid.is_filled.any()
    assert not grid.cells.any()


def test_a_batch_is_read_as_its_members_are() -> None:
    patches, places, poses, words = scene(9)
    memory = EgoGrid(5)
    points = np.concatenate([places[0].numpy(), np.zeros((30, 1))], axis=1)
    memory.append(patches[0].numpy(), points, 0.0)
    network = EgoGridReader(5, 3, 6, seed=1)
    with torch.no_grad():
        one = network.read(memory, poses[0], words[0].float())
        both = network(patches.float(), places, poses, words.float())
    assert torch.equal(one.index[0], both.index[0])
    torch.testing.assert_close(one.cells[0], both.cells[0], atol=5e-3, rtol=0.0)  # the memory keeps float16


def test_the_relevant_patch_outweighs_its_cell() -> None:
    network = EgoGridReader(4, 4, 4)
    with torch.no_grad():
        network.relevance.copy_(10.0 * torch.eye(4))
    patches = torch.eye(4)[None]
    grid = network(patches, torch.zeros(1, 4, 2), torch.zeros(1, 3), torch.eye(4)[None, 2:3])
    assert grid.weight[0, 2] > 0.999
    assert grid.weight.sum().item() == pytest.approx(1.0)
