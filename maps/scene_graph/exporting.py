"""The scene graph of a memory as files."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from embmem.errors import InputError
from embmem.maps.scene_graph.dsg import write_dsg
from embmem.maps.scene_graph.json_files import write_node_link
from embmem.maps.scene_graph.scene_graph import SceneGraph, scene_graph_of
from embmem.maps.scene_graph.text import graph_text
from embmem.maps.voxels.voxel_map import VoxelMap
from embmem.output import write_atomic
from embmem.protocols import Layer

FORMS = ("scene_graph", "dsg", "text")


def scene_graph_in(layers: Sequence[Layer], min_confidence: float = 0.5) -> SceneGraph:
    """The scene graph of a memory's layers, brought up to date; as it is where there are no voxels: it was imported.

    Raises:
        ValueError: if there is neither.
    """
    own = next((layer for layer in layers if isinstance(layer, SceneGraph)), None)
    if own is not None and not any(isinstance(layer, VoxelMap) for layer in layers):
        return own
    return scene_graph_of(layers, min_confidence=min_confidence)


def write_scene_graph(
    folder: Path, layers: Sequence[Layer], *, form: str, budget_tokens: int = 4000, min_confidence: float = 0.5
) -> Path:
    """Write the scene graph of these layers into a folder; returns the file.

    Args:
        folder: an existing folder.
        layers: of a memory, with a voxel map among them.
        form: "scene_graph": scene_graph.json, node-link JSON for networkx; "dsg": dsg.json for Spark-DSG; "text":
            scene_graph.txt, for language models.
        budget_tokens: of the text.
        min_confidence: of the things in it.

    Raises:
        InputError: if there is no voxel map, or nothing of a floor or a thing in the memory.
        ValueError: if the form has another name.
    """
    if form not in FORMS:
        raise ValueError(f"a scene graph is written as one of {', '.join(FORMS)}, not {form!r}")
    try:
        graph = scene_graph_in(layers, min_confidence).networkx()
    except ValueError as error:
        raise InputError(str(error)) from error
    if len(graph) == 0:
        raise InputError("there is no scene graph yet: the memory has seen neither a floor nor a thing")
    if form == "scene_graph":
        path = folder / "scene_graph.json"
        write_node_link(path, graph)
    elif form == "dsg":
        path = folder / "dsg.json"
        write_dsg(path, graph)
    else:
        path = folder / "scene_graph.txt"
        write_atomic(path, graph_text(graph, budget_tokens=budget_tokens).text.encode() + b"\n")
    return path
