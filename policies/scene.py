"""What a searching agent knows at one instant; the parts of it decide on nothing else."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from embmem.maps.grid import OccupancyGrid
from embmem.maps.voxels.voxel_map import VoxelMap
from embmem.policies.cost_map import CostMap
from embmem.policies.coverage import Coverage


@dataclass(frozen=True, eq=False)
class Scene:
    """The pose, the maps, and the clock."""

    position: np.ndarray  # (2,) [m]
    yaw: float  # [rad]
    pitch: float  # [rad]
    stamp: float  # [s] of the newest frame
    recent: float  # [s] of the frame before: what was seen since is seen now
    grid: OccupancyGrid
    costs: CostMap
    voxels: VoxelMap
    coverage: Coverage
    since: float  # [s], looks at places before that do not count
    is_fresh: bool  # whether `costs` is of this instant, not of some steps ago
