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
from embmem.maps.viewing.space import cloud_of, plan_of, voxel_maps
from embmem.maps.viewing.things import things_of
from embmem.maps.voxels import VoxelMap
from embmem.memory import Memory
from embmem.viewing.scene import Graph, Plan, Room, Scene, Thing, Trajectory, VoxelCloud
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
    cloud, plan, coarse = _space(maps, max_voxels, colour, (z_min, z_max))
    trajectory, views_left = trajectory_in(memory, max_views, progress)
    things, things_left = things_of(memory.layers, max_things)
    scene = _scene_graph(memory, maps) if find_rooms else None
    rooms, things, relations = _told_by(scene, trajectory, things, max_nodes)
    things, unplaced = with_facts(things, memory)
    records, records_left = _noted(memory, max_things, progress)
    graphs = [*_graphs(memory, max_nodes), *relations]
    left_out = (*coarse, views_left, things_left, records_left, *(text for _, text in graphs), unplaced)
    found = Scene(
        title=title,
        plan=plan,
        voxels=cloud,
        trajectory=trajectory,
        things=(*things, *records),
        graphs=tuple(graph for graph, _ in graphs if len(graph.labels) > 1),
        rooms=rooms,
        max_range=maps[0].max_range if maps else 5.0,
        left_out=tuple(text for text in left_out if text),
    )
    if found.extent is None:
        what = f"{len(memory.store):,} records, layers {[layer.kind for layer in memory.layers]}"
        raise InputError(f"nothing in this memory has a place: {what}")
    return found


def _layer(memory: Memory, kind: type[L]) -> L | None:
    return next((layer for layer in memory.layers if isinstance(layer, kind)), None)


def _space(
    maps: list[VoxelMap], max_voxels: int, colour: str, heights: tuple[float, float]
) -> tuple[VoxelCloud | None, Plan | None, list[str]]:
    """(voxels, floor plan, what was left out)."""
    if not maps:
        return None, None, []
    cloud, coarse = cloud_of(maps, max_voxels, colour)
    plan, note = plan_of(maps[0], cloud, z_min=heights[0], z_max=heights[1], most=_SIDE)
    return cloud, plan, [note, coarse]


def trajectory_in(
    memory: Memory, most: int, progress: Progress = lambda done, total: None
) -> tuple[Trajectory | None, str]:
    """(where the camera was, as the map has it now, what was left out); of recorded views, else of keyframes."""
    trajectory, note = trajectory_of(memory, most, progress)
    keyframes = _layer(memory, PoseGraph)
    if keyframes is None or not len(keyframes):
        return trajectory, note
    if trajectory is None:
        return Trajectory(*keyframes.trajectory()), ""
    return replace(trajectory, T_map_camera=keyframes.corrections(trajectory.stamps) @ trajectory.T_map_camera), note


def _noted(memory: Memory, most: int, progress: Progress) -> tuple[list[Thing], str]:
    """(what somebody noted somewhere, at its place as the map has it now, what was left out)."""
    keyframes = _layer(memory, PoseGraph)
    return noted(memory, most, progress) if keyframes is None else noted(memory, most, progress, keyframes.now)


def _graphs(memory: Memory, most: int) -> list[tuple[Graph, str]]:
    """Landmarks and keyframes, each with what was left out."""
    landmarks, keyframes = _layer(memory, LandmarkGraph), _layer(memory, PoseGraph)
    found = [] if landmarks is None else [landmark_graph(landmarks, most)]
    return found if keyframes is None else [*found, keyframe_graph(keyframes, most)]


def _told_by(
    scene: SceneGraph | None, trajectory: Trajectory | None, things: list[Thing], most: int
) -> tuple[tuple[Room, ...], list[Thing], list[tuple[Graph, str]]]:
    """(rooms, the things with their rooms and relations, these as a graph with what was left out), as far as known."""
    if scene is None:
        return (), things, []
    relations = scene.networkx()
    things = placed(things, relations, len(scene.floors))
    places = {key: thing.position for thing in things if (key := node_of(thing)) is not None}
    return rooms_of(scene, relations, trajectory), things, [relation_graph(relations, scene.kind, places, most)]


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
