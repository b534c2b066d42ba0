"""Voxel maps as files, as OctoMap trees, as meshes and as tensors."""
