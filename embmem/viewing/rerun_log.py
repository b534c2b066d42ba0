"""A memory as a Rerun recording: a file, or straight into the viewer."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
from jaxtyping import Float

from embmem.errors import InputError, import_extra
from embmem.output import new_file
from embmem.viewing.scene import Graph, Room, Scene, Thing, Trajectory, is_unix

TIMELINE = "stamp"
_PATH, _SURE, _DOUBTED, _ROOM = (228, 87, 46), (15, 118, 110), (148, 163, 184), (139, 92, 246)
_GRAPHS = ((59, 110, 240), (190, 140, 20), (210, 50, 130), (34, 160, 80))
_MAX_DIAGRAM = 2000  # nodes that are also drawn as a diagram


def write_recording(path: Path, scene: Scene, *, overwrite: bool = False) -> None:
    """Write the scene as a .rrd file, whole or not at all; no viewer and no screen is needed.

    Raises:
        MissingExtraError: if Rerun is not installed.
        OutputExistsError: if `path` exists and `overwrite` is not set.
        InputError: if the folder does not exist.
    """
    rr = import_extra("rerun", "view")
    with new_file(path, overwrite=overwrite) as part:
        recording = _new(rr, scene)
        recording.save(part, default_blueprint=_blueprint(scene))
        log_scene(rr, recording, scene)
        recording.flush()
        recording.disconnect()


def show(scene: Scene) -> None:
    """Open the Rerun viewer on the scene and return when it is closed.

    It is given a file, not a connection: what a memory holds is not offered to the network.

    Raises:
        MissingExtraError: if Rerun is not installed.
        InputError: if the viewer does not start.
    """
    import_extra("rerun", "view")
    with tempfile.TemporaryDirectory(prefix="embmem-") as folder:
        file = Path(folder) / "memory.rrd"
        write_recording(file, scene)
        command = [sys.executable, "-m", "rerun", "--bind", "127.0.0.1", str(file)]
        done = subprocess.run(
            command, env={"RUST_LOG": "error", **os.environ}, stderr=subprocess.PIPE, text=True, check=False
        )
    if done.returncode != 0:
        reason = next((line for line in done.stderr.splitlines() if line.startswith("Error")), "")
        raise InputError(f"the Rerun viewer does not start here; write out=memory.html or out=memory.rrd ({reason})")


def log_scene(rr: ModuleType, recording: Any, scene: Scene) -> None:
    """Send everything there is in the scene.

    Entities: `map/voxels`, `map/path`, `map/camera` on the timeline, `map/things/<name>/<id>` from when they were
    first seen, `map/rooms`, `map/graphs/<layer>/nodes` and `.../<kind of edge>`, `diagrams/<layer>`, `about`.
    """
    recording.log("map", rr.ViewCoordinates.RIGHT_HAND_Z_UP, static=True)
    recording.log("about", rr.TextDocument(_about(scene)), static=True)
    if scene.voxels is not None and len(scene.voxels.centres):
        cloud = scene.voxels
        points = rr.Points3D(cloud.centres.astype(np.float32), colors=cloud.colours, radii=cloud.edge / 2)
        recording.log("map/voxels", points, static=True)
    clock = "timestamp" if scene.span is not None and is_unix(scene.span[0]) else "duration"  # one for all of them
    if scene.trajectory is not None:
        _log_trajectory(rr, recording, scene.trajectory, clock)
    for thing in scene.things:
        _log_thing(rr, recording, thing, clock)
    if scene.rooms:
        _log_rooms(rr, recording, scene.rooms)
    for number, graph in enumerate(scene.graphs):
        _log_graph(rr, recording, graph, _GRAPHS[number % len(_GRAPHS)])


def _new(rr: ModuleType, scene: Scene) -> Any:
    recording = rr.RecordingStream("embmem", send_properties=False)
    recording.set_log_time_enabled(False)  # the clock of the memory is the only one that says anything
    recording.send_recording_name(scene.title or "memory")
    return recording


def _blueprint(scene: Scene) -> Any:
    """The map at the left, diagrams and figures at the right, all panels but the timeline folded."""
    rrb = import_extra("rerun.blueprint", "view")
    beside = [
        rrb.GraphView(origin=f"diagrams/{graph.name}", name=graph.title)
        for graph in scene.graphs
        if _has_diagram(graph)
    ]
    views = rrb.Horizontal(
        rrb.Spatial3DView(origin="map", name=scene.title or "memory"),
        rrb.Vertical(rrb.TextDocumentView(origin="about", name="about"), *beside),
        column_shares=[3, 1],
    )
    return rrb.Blueprint(views, rrb.TimePanel(timeline=TIMELINE), collapse_panels=True)


def _log_trajectory(rr: ModuleType, recording: Any, trajectory: Trajectory, clock: str) -> None:
    poses = trajectory.T_map_camera.astype(np.float32)
    strip = rr.LineStrips3D([poses[:, :3, 3]], colors=[_PATH], radii=rr.Radius.ui_points(1.5))
    recording.log("map/path", strip, static=True)
    if trajectory.intrinsics is not None:
        k = trajectory.intrinsics
        pinhole = rr.Pinhole(
            image_from_camera=k.matrix(), resolution=[k.width, k.height],
            camera_xyz=rr.ViewCoordinates.RDF, image_plane_distance=0.4, color=_PATH,
        )  # fmt: skip
        recording.log("map/camera", pinhole, static=True)
    recording.send_columns(
        "map/camera",
        indexes=[rr.TimeColumn(TIMELINE, **{clock: trajectory.stamps})],
        columns=rr.Transform3D.columns(translation=poses[:, :3, 3], mat3x3=poses[:, :3, :3]),
    )


def _log_thing(rr: ModuleType, recording: Any, thing: Thing, clock: str) -> None:
    """A box from when the thing was first seen, at the places where it was; from its last sighting on as it is now."""
    entity = ["map", "things", thing.name or "unnamed", thing.id]
    path = rr.new_entity_path(entity)
    half = np.full(3, 0.05) if thing.box is None else np.maximum((thing.box[1] - thing.box[0]) / 2, 0.01)
    middle = np.asarray(thing.position if thing.box is None else thing.box.mean(axis=0))
    colour = _SURE if thing.confidence >= 0.5 else _DOUBTED
    true = [*thing.facts, *(text for text, _, end in thing.held if end == np.inf)]
    facts = rr.AnyValues(
        confidence=thing.confidence, first_seen=thing.first_seen, last_seen=thing.last_seen,
        why=thing.why, layer=thing.layer, room=thing.room, facts=true or None,
    )  # fmt: skip

    def at(stamp: float, centre: np.ndarray, label: str, tint: Sequence[int]) -> None:
        box = rr.Boxes3D(centers=[centre], half_sizes=[half], labels=[label], colors=[tint], show_labels=True)
        if not np.isfinite(stamp):
            recording.log(path, box, facts, static=True)
            return
        recording.set_time(TIMELINE, **{clock: stamp})
        recording.log(path, box, facts)

    now = f"{thing.name} {100 * thing.confidence:.0f} %"
    if thing.moves is not None and len(thing.moves):
        for stamp, *where in thing.moves:
            at(float(stamp), np.array(where), thing.name, _SURE)
    elif thing.first_seen < thing.last_seen:
        at(thing.first_seen, middle, thing.name, _SURE)
    at(thing.last_seen, middle, now, colour)


def _log_rooms(rr: ModuleType, recording: Any, rooms: Sequence[Room]) -> None:
    """Outlines and names on the floor, of all rooms together: the names of rooms need not differ."""
    strips = [_closed(ring) for room in rooms for ring in room.outlines]
    if strips:
        outlines = rr.LineStrips3D(strips, colors=[_ROOM], radii=rr.Radius.ui_points(1.5))
        recording.log("map/rooms/outlines", outlines, static=True)
    centres = np.array([[*room.centre, 0.0] for room in rooms])
    names = rr.Points3D(centres, labels=[room.name for room in rooms], colors=[_ROOM], radii=0.05, show_labels=True)
    recording.log("map/rooms/names", names, static=True)


def _closed(ring: Float[np.ndarray, "k 2"]) -> Float[np.ndarray, "n 3"]:
    on_floor = np.column_stack([ring, np.full(len(ring), 0.02)])
    return np.concatenate([on_floor, on_floor[:1]])


def _log_graph(rr: ModuleType, recording: Any, graph: Graph, colour: Sequence[int]) -> None:
    at = ["map", "graphs", graph.name]
    if len(graph.positions):
        nodes = rr.Points3D(
            graph.positions, labels=list(graph.labels), colors=[colour], radii=0.06, show_labels=len(graph.labels) <= 50
        )
        recording.log(rr.new_entity_path([*at, "nodes"]), nodes, static=True)
    for kind in dict.fromkeys(graph.edge_kinds):
        of_kind = graph.edges[[i for i, name in enumerate(graph.edge_kinds) if name == kind]]
        strips = graph.positions[of_kind]
        lines = rr.LineStrips3D(
            list(strips), colors=[colour], radii=rr.Radius.ui_points(1.5 if kind != "loop" else 3.0)
        )
        recording.log(rr.new_entity_path([*at, "edges", kind or "edge"]), lines, static=True)
    if _has_diagram(graph):
        ids = [str(i) for i in range(len(graph.labels))]
        edges = [(ids[a], ids[b]) for a, b in graph.edges.tolist()]
        recording.log(
            rr.new_entity_path(["diagrams", graph.name]),
            rr.GraphNodes(ids, labels=list(graph.labels), colors=[colour] * len(ids)),
            rr.GraphEdges(edges, graph_type="directed" if graph.is_directed else "undirected"),
            static=True,
        )


def _has_diagram(graph: Graph) -> bool:
    return 0 < len(graph.labels) <= _MAX_DIAGRAM


def _about(scene: Scene) -> str:
    counts = [f"{len(scene.things):,} things, {sum(t.confidence >= 0.5 for t in scene.things):,} of them believed in"]
    if scene.voxels is not None:
        counts.append(f"{scene.voxels.n_in_map:,} occupied voxels")
    if scene.trajectory is not None:
        counts.append(f"{len(scene.trajectory.stamps):,} views")
    counts.append(f"{len(scene.rooms):,} rooms")
    counts += [f"{graph.title}: {len(graph.labels):,} nodes, {len(graph.edges):,} edges" for graph in scene.graphs]
    return "\n".join([scene.title, "", *counts, "", *scene.left_out])
