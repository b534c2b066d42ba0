"""Tensors and voxels share memory."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from embmem.maps import VoxelMap
from embmem.maps.voxels.formats.tensors import as_array, cells_tensor
from embmem.testing import wall_ahead

torch = pytest.importorskip("torch", reason="torch is not installed (extra learn)")


def test_a_tensor_shows_the_cells_without_a_copy() -> None:
    voxels = VoxelMap(0.1)
    voxels.observe(wall_ahead())
    cells = cells_tensor(voxels)
    assert cells.shape == (voxels.blocks.n, 512)
    assert cells.data_ptr() == voxels.blocks.cells.ctypes.data
    assert np.array_equal(cells.numpy(), voxels.blocks.cells[: voxels.blocks.n])
    assert int((cells > 0).sum()) == len(voxels.occupied())


def test_depth_from_a_tensor_is_a_view_and_maps_as_the_array_does() -> None:
    observation = wall_ahead()
    tensor = torch.from_numpy(observation.depth)
    depth = as_array(tensor)
    assert depth.ctypes.data == tensor.data_ptr()
    assert as_array(depth) is depth
    a, b = VoxelMap(0.1), VoxelMap(0.1)
    a.observe(observation)
    b.observe(replace(observation, depth=depth))
    assert np.array_equal(a.save().arrays["cells"], b.save().arrays["cells"])


def test_what_has_no_view_is_refused_by_name() -> None:
    with pytest.raises(ValueError, match="list"):
        as_array([1.0, 2.0])
    with pytest.raises(ValueError, match="Tensor"):
        as_array(torch.zeros(2, requires_grad=True))
