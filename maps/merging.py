"""Merging memories of the layers that embmem brings."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from embmem.errors import InputError
from embmem.maps.spatial_memory import LAYERS
from embmem.merge.files import Align, Merged, merge_files, same_frame

FRAMES: dict[str, Align] = {"same": same_frame}


def merge_memories(files: Sequence[Path], to: Path, *, frame: str = "same", overwrite: bool = False) -> Merged:
    """Write what several memory files hold to a new one; see `embmem.merge.files.merge_files`.

    Args:
        files: two or more; they are only read.
        to: the new file.
        frame: "same" if they are in one map frame.
        overwrite: whether `to` may be there.

    Raises:
        InputError: if a file cannot be merged.
        OutputExistsError: if `to` exists and `overwrite` is not set.
    """
    if frame not in FRAMES:
        raise InputError(f"frame is one of {sorted(FRAMES)}, got {frame!r}")
    return merge_files(files, to, align=FRAMES[frame], layer_types=LAYERS, overwrite=overwrite)
