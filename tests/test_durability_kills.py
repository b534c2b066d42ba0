"""Kill -9 under load: what was acknowledged is there, bit for bit, and the file opens at once."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from kills import kill_often

DATA = Path(__file__).parent / "data"


@pytest.mark.parametrize(("mode", "n"), [("write", 10), ("change", 4), ("save", 4), ("migrate", 2)])
def test_no_kill_loses_what_was_acknowledged(tmp_path: Path, mode: str, n: int) -> None:
    path = tmp_path / "memory.embmem"
    if mode == "migrate":
        shutil.copy(DATA / "wall_v1.embmem", path)
    toll = kill_often(path, mode, n, seed=0, longest=0.3)
    assert toll.problems == []
    assert toll.n_kills == n
    assert max(toll.reopening) < 1.0
    if mode != "migrate":
        assert toll.n_acknowledged > 0
