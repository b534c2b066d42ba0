"""Damaged maps of other programs: an error of ours in one line, or a map; what a file claims costs no memory."""

from __future__ import annotations

import os
import struct
import subprocess
import sys
import tracemalloc
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from rtabmap_writer import compressed, rvl

from embmem.errors import InputError
from embmem.imports.map_server import read_map_server
from embmem.maps.importing import import_map
from embmem.recordings.rtabmap_blobs import calibration_of, decompress, depth_image


def test_damaged_files_and_columns_are_refused_in_one_line() -> None:
    """10,000 for each importer; `make fuzz` tries 100,000."""
    here = Path(__file__).parent
    path = os.pathsep.join([str(here), str(here.parent), os.environ.get("PYTHONPATH", "")])
    command = [sys.executable, str(here / "fuzz_imports.py"), "10000"]
    done = subprocess.run(command, capture_output=True, text=True, env={**os.environ, "PYTHONPATH": path}, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    tried = [int(line.split()[3].replace(",", "")) for line in done.stdout.splitlines()]
    assert len(tried) == 18
    assert sum(tried) > 38_000  # four importers; whole databases are few


def test_what_a_file_claims_costs_no_memory(tmp_path: Path) -> None:
    bomb = zlib.compress(bytes(1 << 26))
    (tmp_path / "map.yaml").write_text(
        "image: map.pgm\nresolution: 0.05\norigin: [0, 0, 0]\nnegate: 0\noccupied_thresh: 0.65\nfree_thresh: 0.2\n"
    )
    (tmp_path / "map.pgm").write_bytes(b"P5\n16000 16000\n255\n")
    (tmp_path / "laughs.yaml").write_text("a: &a [x, x]\n" + "".join(f"b{i}: &b{i} [*a, *a]\n" for i in range(20)))
    deep = b"[" * 200_000
    (tmp_path / "deep.json").write_bytes(deep)
    claims: list[Callable[[], object]] = [
        lambda: read_map_server(tmp_path / "map.yaml"),
        lambda: read_map_server(tmp_path / "laughs.yaml"),
        lambda: import_map(tmp_path / "deep.json"),
        lambda: decompress(bomb + struct.pack("<3i", 1, 1 << 30, 5)),
        lambda: decompress(bomb + struct.pack("<3i", 1, 4, 5)),
        lambda: depth_image(b"DEPTHRVL" + struct.pack("<2I", 1 << 20, 1 << 20) + bytes(8)),
        lambda: calibration_of(struct.pack("<11i", 0, 21, 0, 0, 8, 6, 9, 1 << 30, 0, 0, 0), (0, 21, 0)),
    ]
    for read in claims:
        tracemalloc.start()
        try:
            with pytest.raises(InputError):
                read()
            assert tracemalloc.get_traced_memory()[1] < 8 << 20
        finally:
            tracemalloc.stop()


def test_numbers_of_another_type_are_no_matrix() -> None:
    whole = compressed(np.ones(3, dtype=np.float32))
    with pytest.raises(InputError, match="type 6"):
        decompress(whole[:-4] + struct.pack("<i", 6))
    with pytest.raises(InputError, match="does not hold"):
        decompress(whole[:-12] + struct.pack("<3i", 1, 4, 5))
    with pytest.raises(InputError, match="RVL"):
        depth_image(rvl(np.full((3, 3), 900, np.uint16))[:-4])
