"""The annotated map of a memory as files: a picture, a text, JSON."""

from __future__ import annotations

from pathlib import Path

from embmem.errors import InputError
from embmem.maps.semantic_map.annotation import annotate
from embmem.maps.semantic_map.draw import write_png
from embmem.maps.semantic_map.layer import SemanticMap
from embmem.maps.voxels.voxel_map import VoxelMap
from embmem.memory import Memory
from embmem.occupancy import views


def semantic_map_of(memory: Memory) -> SemanticMap:
    """The semantic map of a memory, or one over its voxels if these keep labels.

    Raises:
        InputError: if it has neither.
    """
    for layer in memory.layers:
        if isinstance(layer, SemanticMap):
            return layer
    for layer in memory.layers:
        if isinstance(layer, VoxelMap) and layer.payload and {"labels", "seen"} <= set(layer.payload.channels):
            semantic = SemanticMap(layer)
            for record in views(memory):
                if record.T_map_obs is not None:
                    semantic.stand(record.T_map_obs, record.t_event)
            return semantic
    kinds = [layer.kind for layer in memory.layers]
    raise InputError(f"this memory keeps no labels of places, only {kinds}; build it with memory=semantic")


def write_annotated(
    folder: Path, memory: Memory, *, title: str = "", size: int = 1200, limit: int = 200, min_support: float = 0.35
) -> None:
    """Write annotated.png, annotated.txt and annotated.json into a folder; see `draw` and `annotate`.

    Raises:
        InputError: if the memory keeps no labels.
        OutputExistsError: if one of the files exists.
    """
    semantic = semantic_map_of(memory)
    notes = annotate(semantic, min_support=min_support, limit=limit)
    write_png(folder / "annotated.png", semantic, notes, title=title, size=size)
    (folder / "annotated.txt").write_text(notes.text(), encoding="utf-8")
    (folder / "annotated.json").write_text(notes.json(), encoding="utf-8")
