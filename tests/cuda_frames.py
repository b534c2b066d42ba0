"""Integrates frames with `CudaVoxels` and writes the cells: `python tests/cuda_frames.py INPUT OUTPUT` (safetensors).

A script, since numba's CUDA simulator must be chosen (NUMBA_ENABLE_CUDASIM=1) before numba is imported.
"""

from __future__ import annotations

import sys

import numpy as np
from safetensors.numpy import load_file, save_file

from embmem.maps import VoxelMap
from embmem.maps.voxels.cuda import CudaVoxels
from embmem.observation import Intrinsics, Observation


def integrated(depths: np.ndarray, poses: np.ndarray, integrator: str, on_gpu: bool) -> VoxelMap:
    """The map of depth images (n, h, w) with poses (n, 4, 4)."""
    voxels = VoxelMap(0.25, max_range=1.5, integrator=integrator)
    gpu = CudaVoxels(voxels, capacity=4) if on_gpu else None
    for i, (depth, T) in enumerate(zip(depths, poses, strict=True)):
        k = Intrinsics.from_fov(depth.shape[1], depth.shape[0], 79.0)
        (gpu or voxels).observe(Observation(float(i), T, k, depth=depth))
    return gpu.sync() if gpu else voxels


if __name__ == "__main__":
    given = load_file(sys.argv[1])
    arrays: dict[str, np.ndarray] = {}
    for name in ("projective", "ends", "rays"):
        state = integrated(given["depths"], given["poses"], name, on_gpu=True).save()
        arrays |= {f"{name}_{key}": array for key, array in state.arrays.items()}
    save_file(arrays, sys.argv[2])
