"""Sessions whose map frames differ become one memory where one is found in the map of the other for sure."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from kinect_parts import parts_of, plan

from embmem.building.build import build
from embmem.building.sessions import build_merged
from embmem.errors import InputError
from embmem.maps import VoxelMap, open_memory
from embmem.maps.merging import merge_memories


def test_sessions_in_frames_of_their_own_are_found_where_they_overlap_and_refused_where_not(tmp_path: Path) -> None:
    """Each is levelled by what it saw, so that their frames differ by a turn and a shift."""
    first, again, later = (
        parts_of(tmp_path, name, numbers)
        for name, numbers in (("a", range(0, 400, 20)), ("b", range(10, 400, 20)), ("c", range(300, 400, 20)))
    )
    plans = [plan(path, Path("unused"), "frame=level") for path in (first, again)]
    out = tmp_path / "both.embmem"
    _, merged = build_merged(plans, out, merge_memories, frame="relocalise")
    assert "parts" in merged.aligned[0]
    alone = build(replace(plans[0], out=str(tmp_path / "one.embmem")))
    assert alone.n_frames == 20
    one, both = (open_memory(p).layer(VoxelMap) for p in (tmp_path / "one.embmem", out))
    cells = {tuple(c) for c in np.floor(one.occupied() / 0.2).astype(int)}
    found = {tuple(c) for c in np.floor(both.occupied() / 0.2).astype(int)}
    assert len(cells & found) > 0.85 * len(cells)
    assert len(found) < 1.4 * len(cells), "laid upon each other, not beside"
    early = parts_of(tmp_path, "d", range(0, 100, 20))
    plans = [plan(path, Path("unused"), "frame=level") for path in (early, later)]
    with pytest.raises(InputError, match="was not found in the frame"):
        build_merged(plans, tmp_path / "none.embmem", merge_memories, frame="relocalise")
    assert not (tmp_path / "none.embmem").exists()
