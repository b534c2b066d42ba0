"""The GPU's voxel map against the CPU's, under numba's CUDA simulator, or on a GPU where there is one."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from embmem.geometry import camera_pose
from embmem.maps import VoxelMap
from embmem.observation import Intrinsics, Observation

pytest.importorskip("numba_cuda", reason="numba-cuda is not installed (extra cuda)")
cuda_voxels = pytest.importorskip("embmem.maps.voxels.cuda")
SCRIPT = Path(__file__).parent / "cuda_frames.py"


def frames(n: int, shape: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
    """Random depth with holes and far places, from random poses."""
    rng = np.random.default_rng(5)
    patches = rng.uniform(0.3, 2.2, (n, shape[0] // 3, shape[1] // 3))
    depths = np.kron(patches, np.ones((1, 3, 3))).astype(np.float32)
    depths[rng.random(depths.shape) < 0.1] = np.nan
    depths[0, 0, 0], depths[0, 0, 1], depths[0, 1, 0] = np.inf, -1.0, 0.0
    poses = [camera_pose(rng.uniform(-1, 1, 3), rng.uniform(-3, 3), rng.uniform(-0.5, 0.5)) for _ in range(n)]
    return depths, np.stack(poses)


def on_cpu(depths: np.ndarray, poses: np.ndarray, integrator: str) -> VoxelMap:
    voxels = VoxelMap(0.25, max_range=1.5, integrator=integrator)
    k = Intrinsics.from_fov(depths.shape[2], depths.shape[1], 79.0)
    for i, (depth, T) in enumerate(zip(depths, poses, strict=True)):
        voxels.observe(Observation(float(i), T, k, depth=depth))
    return voxels


def test_the_gpu_gives_the_cells_of_the_cpu(tmp_path: Path) -> None:
    depths, poses = frames(2, (12, 15))
    save_file({"depths": depths, "poses": poses}, tmp_path / "in")
    environment = os.environ | {"NUMBA_ENABLE_CUDASIM": "1"}
    command = [sys.executable, str(SCRIPT), str(tmp_path / "in"), str(tmp_path / "out")]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr
    gpu = load_file(tmp_path / "out")
    for integrator in ("projective", "ends", "rays"):
        state = on_cpu(depths, poses, integrator).save()
        assert (state.arrays["cells"] > 0).sum() > 50
        for name, array in state.arrays.items():
            assert np.array_equal(gpu[f"{integrator}_{name}"], array), (integrator, name)


@pytest.mark.parametrize("seed", range(20))
def test_the_box_of_a_view_holds_all_that_it_can_see(seed: int) -> None:
    rng = np.random.default_rng(seed)
    k = Intrinsics.from_fov(40, 30, float(rng.uniform(40, 140)))
    T = camera_pose(rng.uniform(-3, 3, 3), rng.uniform(-3, 3), rng.uniform(-1.5, 1.5))
    pixels = rng.uniform((-0.5, -0.5), (k.width - 0.5, k.height - 0.5), (20_000, 2))
    rays = np.stack([(pixels[:, 0] - k.cx) / k.fx, (pixels[:, 1] - k.cy) / k.fy, np.ones(len(pixels))], axis=1)
    rays *= (rng.random(len(rays)) ** 0.1 * 4.0 / np.linalg.norm(rays, axis=1))[:, None]
    blocks = np.floor((rays @ T[:3, :3].T + T[:3, 3]) / 0.1 / 8)
    low, high = cuda_voxels.view_box(k, T, 0.1, 4.0)
    assert (blocks >= low).all()
    assert (blocks <= high).all()
    assert np.prod(high - low + 1) <= 3 * np.prod(np.ptp(blocks, axis=0) + 1)  # and not much more
