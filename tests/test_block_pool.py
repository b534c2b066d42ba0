"""Blocks and their channels grow together, also where the system is mean with memory."""

from __future__ import annotations

import numpy as np
import pytest

from embmem.maps import VoxelMap
from embmem.maps.voxels import blocks
from embmem.testing import wall_ahead


def test_growing_past_what_was_reserved_keeps_every_row(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(blocks, "RESERVED", 8)
    pool = blocks.BlockPool(reserved=8)
    pool.add_channel("kept", np.uint16, (2,))
    rng = np.random.default_rng(0)
    cells, kept = rng.integers(-64, 112, (100, 512)).astype(np.int8), rng.integers(0, 9, (100, 512, 2))
    for i in range(100):
        pool.reserve(1)
        row, pool.n = blocks.insert(pool.table, pool.keys, pool.cells, pool.n, blocks.pack(i - 50, 3 * i, -i))
        pool.cells[row], pool.channels["kept"][row] = cells[i], kept[i]
    rows = [blocks.find(pool.table, pool.keys, blocks.pack(i - 50, 3 * i, -i)) for i in range(100)]
    assert rows == list(range(100))
    assert np.array_equal(pool.cells[:100], cells)
    assert np.array_equal(pool.channels["kept"][:100], kept)


def test_a_system_that_refuses_address_space_gets_fewer_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    real, allowed = np.zeros, 4 << 20  # bytes

    def mean(shape: tuple[int, ...], dtype: object = float) -> np.ndarray:
        if np.prod(shape) * np.dtype(dtype).itemsize > allowed:  # type: ignore[call-overload]
            raise MemoryError
        return real(shape, dtype=dtype)  # type: ignore[call-overload]

    plain = VoxelMap(0.1, track_changes=True)
    plain.observe(wall_ahead())
    monkeypatch.setattr(np, "zeros", mean)
    voxels = VoxelMap(0.1, track_changes=True)
    voxels.observe(wall_ahead())
    assert len(voxels.blocks.cells) < blocks.RESERVED
    monkeypatch.undo()
    for name, array in plain.save().arrays.items():
        assert np.array_equal(voxels.save().arrays[name], array)


def test_a_channel_keeps_its_type() -> None:
    pool = blocks.BlockPool(reserved=4)
    assert pool.add_channel("a", np.uint8) is pool.add_channel("a", np.uint8)
    with pytest.raises(ValueError, match="uint8"):
        pool.add_channel("a", np.float32)
