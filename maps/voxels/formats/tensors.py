"""Voxels as torch tensors and torch tensors as depth, both without a copy (DLPack, CUDA array interface)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from embmem.errors import import_extra
from embmem.maps.voxels.voxel_map import VoxelMap

if TYPE_CHECKING:
    from embmem.maps.voxels.cuda import CudaVoxels


def as_array(image: Any) -> np.ndarray:
    """A NumPy view of a tensor in main memory, of torch or whoever else speaks DLPack; arrays stay what they are.

    Raises:
        ValueError: if the tensor is on a GPU; `CudaVoxels` takes such.
    """
    if isinstance(image, np.ndarray):
        return image
    try:
        return np.from_dlpack(image)
    except (AttributeError, BufferError, RuntimeError, TypeError) as error:
        raise ValueError(f"no NumPy view of {type(image).__name__}: {error}; CudaVoxels takes GPU tensors") from error


def cells_tensor(voxels: VoxelMap | CudaVoxels) -> Any:
    """(n, 512) int8 torch tensor that shares memory with the cells of the blocks, rows as `blocks.keys[:n]`.

    Log-odds in 1/32, -128 is unknown. It is a view: what it shows is undefined once another frame has been integrated.

    Raises:
        MissingExtraError: without torch.
    """
    torch = import_extra("torch", "learn")
    if isinstance(voxels, VoxelMap):
        return torch.from_dlpack(voxels.blocks.cells[: voxels.blocks.n])
    return torch.as_tensor(voxels.cells, device="cuda")[: voxels.voxels.blocks.n]
