"""Looking at a memory: a scene of plain arrays, one HTML page, a Rerun recording."""

from embmem.viewing.scene import Graph, Plan, Room, Scene, Thing, Trajectory, VoxelCloud

__all__ = ["Graph", "Plan", "Room", "Scene", "Thing", "Trajectory", "VoxelCloud"]
