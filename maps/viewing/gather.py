"""A memory as a scene: every layer that has something to show is asked for it."""

from __future__ import annotations

from dataclasses import replace
from typing import TypeVar

from embmem.errors import InputError
from embmem.maps.landmarks import LandmarkGraph
from embmem.maps.objects import ObjectMemory
from embmem.maps.pose_graph import PoseGraph
from embmem.maps.scene_graph.scene_graph import SceneGraph
from embmem.maps.viewing.graphs import keyframe_graph, landmark_graph, relation_graph
from embmem.maps.viewing.rooms import node_of, placed, rooms_of
from embmem.maps.viewing.space import cloud_of, joined, plan_of, voxel_maps
from embmem.maps.viewing.things import things_of
from embmem.maps.voxels import VoxelMap
from embmem.memory import Memory
from embmem.viewing.scene import Graph, Plan, Room, Scene, Trajectory, VoxelCloud
from embmem.viewing.told import Progress, noted, trajectory_of, with_facts

_SIDE = 1200  # cells of a plan
_MAX_ROOMS_AREA = 1 << 24  # cells of a map in which rooms are looked for that no layer knows
L = TypeVar("L")


def scene_of(
    memory: Memory,
    *,
    title: str = "",
    max_voxels: int = 500_000,
    max_things: int = 3_000,
    max_views: int = 20_000,
    max_nodes: int = 10_000,
    colour: str = "auto",
    z_min: float = 0.15,
    z_max: float = 1.0,
    find_rooms: bool = True,
    progress: Progress = lambda done, total: None,
) -> Scene:
    """What there is to look at in a memory.

    Args:
        memory: is asked, not changed.
        title: of the scene.
        max_voxels: larger cubes stand for the voxels where there are more.
        max_things: the surest are shown where there are more, and as many of the newest records with a place.
        max_views: poses are chosen evenly where there are more.
        max_nodes: of each graph.
        colour: of voxels: "height", "colour", "label", or "auto" for the first of the last two that the map keeps.
        z_min: [m] what is lower is no obstacle on the floor plan.
        z_max: [m] nor what is higher.
        find_rooms: show the scene graph, and make one of walls and things where the memory has none.
        progress: is told how many records have been read.

    Raises:
        InputError: if the memory has nothing that has a place.
    """
    if min(max_voxels, max_things, max_views, max_nodes) < 1:
        raise ValueError(f"need room for one at least, got {max_voxels, max_things, max_views, max_nodes}")
    maps = [voxels for voxels in voxel_maps(memory) if voxels.blocks.n]
    cloud, plan, left_out = _space(maps, max_voxels, colour, (z_min, z_max))
    trajectory, note = _trajectory(memory, max_views, progress)
    things, cut = things_of(memory.layers, max_things)
    keyframes = _layer(memory, PoseGraph)
    records, old = (
        noted(memory, max_things, progress) if keyframes is None else noted(memory, max_things, progress, keyframes.now)
    )
    graphs, less = _graphs(memory, max_nodes)
    rooms: tuple[Room, ...] = ()
    scene = _scene_graph(memory, maps) if find_rooms else None
    if scene is not None:
        relations = scene.networkx()
        rooms = rooms_of(scene, relations, trajectory)
        things = placed(things, relations, len(scene.floors))
        places = {key: thing.position for thing in things if (key := node_of(thing)) is not None}
        graphs.append(relation_graph(relations, scene.kind, places))
    things, unplaced = with_facts(things, memory)
    found = Scene(
        title=title,
        plan=plan,
        voxels=cloud,
        trajectory=trajectory,
        things=(*things, *records),
        graphs=tuple(graph for graph in graphs if len(graph.labels) > 1),
        rooms=rooms,
        max_range=maps[0].max_range if maps else 5.0,
        left_out=tuple(text for text in (*left_out, note, cut, old, less, unplaced) if text),
    )
    if found.extent is None:
        kinds = [layer.kind for layer in memory.layers]
        raise InputError(f"nothing in this memory has a place: {len(memory.store):,} records, layers {kinds}")
    return found


def _layer(memory: Memory, kind: type[L]) -> L | None:
    return next((layer for layer in memory.layers if isinstance(layer, kind)), None)


def _space(
    maps: list[VoxelMap], max_voxels: int, colour: str, heights: tuple[float, float]
) -> tuple[VoxelCloud | None, Plan | None, list[str]]:
    """(voxels, floor plan, what was left out)."""
    if not maps:
        return None, None, []
    cloud = joined([cloud_of(voxels, max_voxels, colour) for voxels in maps])
    plan, note = plan_of(maps[0], cloud, z_min=heights[0], z_max=heights[1], most=_SIDE)
    n = len(cloud.centres)
    coarse = f"{n:,} cubes of {cloud.edge:g} m stand for {cloud.n_in_map:,} occupied voxels."
    return cloud, plan, [note, coarse] if n < cloud.n_in_map else [note]


def _trajectory(memory: Memory, most: int, progress: Progress) -> tuple[Trajectory | None, str]:
    """(where the camera was, as the map has it now, what was left out)."""
    trajectory, note = trajectory_of(memory, most, progress)
    keyframes = _layer(memory, PoseGraph)
    if keyframes is None or not len(keyframes):
        return trajectory, note
    if trajectory is None:
        return Trajectory(*keyframes.trajectory()), ""
    return replace(trajectory, T_map_camera=keyframes.corrections(trajectory.stamps) @ trajectory.T_map_camera), note


def _graphs(memory: Memory, most: int) -> tuple[list[Graph], str]:
    """(landmarks and keyframes, what was left out)."""
    graphs, left_out = [], ""
    landmarks, keyframes = _layer(memory, LandmarkGraph), _layer(memory, PoseGraph)
    if landmarks is not None:
        graph, left_out = landmark_graph(landmarks, most)
        graphs.append(graph)
    if keyframes is not None:
        graphs.append(keyframe_graph(keyframes, most))
    return graphs, left_out


def _scene_graph(memory: Memory, maps: list[VoxelMap]) -> SceneGraph | None:
    """The layer of the memory, or one that is made of its walls and things; None where there is nothing to see."""
    scene = _layer(memory, SceneGraph)
    if scene is None or not scene.floors:
        box = maps[0].bounds() if maps else None
        if box is None or ((box[1] - box[0])[:2] / maps[0].resolution).prod() > _MAX_ROOMS_AREA:
            return None
        scene = SceneGraph()
        scene.update_from(maps[0], _layer(memory, ObjectMemory))
    return scene if len(scene) else None
