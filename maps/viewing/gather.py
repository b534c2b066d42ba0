"""A memory as a scene: every layer that has something to show is asked for it."""

from __future__ import annotations

from embmem.errors import InputError
from embmem.maps.viewing.space import cloud_of, joined, plan_of, voxel_maps
from embmem.maps.viewing.things import things_of
from embmem.memory import Memory
from embmem.viewing.scene import Scene
from embmem.viewing.told import Progress, noted, trajectory_of

_SIDE = 1200  # cells of a plan


def scene_of(
    memory: Memory,
    *,
    title: str = "",
    max_voxels: int = 500_000,
    max_things: int = 3_000,
    max_views: int = 20_000,
    colour: str = "auto",
    z_min: float = 0.15,
    z_max: float = 1.0,
    progress: Progress = lambda done, total: None,
) -> Scene:
    """What there is to look at in a memory.

    Args:
        memory: is asked, not changed.
        title: of the scene.
        max_voxels: larger cubes stand for the voxels where there are more.
        max_things: the surest are shown where there are more, and as many of the newest records with a place.
        max_views: poses are chosen evenly where there are more.
        colour: of voxels: "height", "colour", "label", or "auto" for the first of the last two that the map keeps.
        z_min: [m] what is lower is no obstacle on the floor plan.
        z_max: [m] nor what is higher.
        progress: is told how many records have been read.

    Raises:
        InputError: if the memory has nothing that has a place.
    """
    if min(max_voxels, max_things, max_views) < 1:
        raise ValueError(f"need room for one at least, got {max_voxels, max_things, max_views}")
    left_out: list[str] = []
    cloud, plan, maps = None, None, [voxels for voxels in voxel_maps(memory) if voxels.blocks.n]
    if maps:
        cloud = joined([cloud_of(voxels, max_voxels, colour) for voxels in maps])
        plan, note = plan_of(maps[0], cloud, z_min=z_min, z_max=z_max, most=_SIDE)
        left_out.append(note)
        if len(cloud.centres) < cloud.n_in_map:
            left_out.append(
                f"{len(cloud.centres):,} cubes of {cloud.edge:g} m stand for {cloud.n_in_map:,} occupied voxels."
            )
    trajectory, note = trajectory_of(memory, max_views, progress)
    things, cut = things_of(memory.layers, max_things)
    records, old = noted(memory, max_things, progress)
    scene = Scene(
        title=title,
        plan=plan,
        voxels=cloud,
        trajectory=trajectory,
        things=(*things, *records),
        max_range=maps[0].max_range if maps else 5.0,
        left_out=tuple(text for text in (*left_out, note, cut, old) if text),
    )
    if scene.extent is None:
        kinds = [layer.kind for layer in memory.layers]
        raise InputError(f"nothing in this memory has a place: {len(memory.store):,} records, layers {kinds}")
    return scene
