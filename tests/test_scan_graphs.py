"""OctoMap's graphs of scans against hand-made bytes, damage and a real scan."""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np
import pytest

from embmem.errors import InputError
from embmem.recordings.octomap_graph import read_scan_graph


def graph_bytes(scans: list[np.ndarray]) -> bytes:
    data = struct.pack("<I", len(scans))
    for i, points in enumerate(scans):
        data += struct.pack("<I", len(points)) + b"".join(struct.pack("<I3d", 3, *point) for point in points)
        data += struct.pack("<I3dI4dI", 3, 1.0, 2.0, 3.0, 4, 0.5**0.5, 0.0, 0.0, 0.5**0.5, i)
    return data + struct.pack("<I", 0)


def test_scans_are_read_with_their_poses(tmp_path: Path) -> None:
    points = [np.random.default_rng(i).normal(size=(n, 3)) for i, n in enumerate((5, 0, 3))]
    (tmp_path / "scans.graph").write_bytes(graph_bytes(points))
    scans = read_scan_graph(tmp_path / "scans.graph")
    for scan, expected in zip(scans, points, strict=True):
        np.testing.assert_array_equal(scan.points, expected)
        quarter_turn = [[0, -1, 0, 1], [1, 0, 0, 2], [0, 0, 1, 3], [0, 0, 0, 1]]
        np.testing.assert_allclose(scan.T_map_scan, quarter_turn, atol=1e-12)


def test_the_real_scan_is_read(data_dir: Path) -> None:
    (scan,) = read_scan_graph(data_dir / "octomap" / "spherical_scan.graph")
    assert scan.points.shape == (10201, 3)
    np.testing.assert_allclose(scan.T_map_scan[:3, 3], [1.0, 0.0, -0.5])


def test_damaged_graphs_are_refused(tmp_path: Path) -> None:
    whole, path = graph_bytes([np.ones((4, 3)), np.zeros((2, 3))]), tmp_path / "cut.graph"
    n_edges = 4
    for length in range(len(whole) - n_edges):
        path.write_bytes(whole[:length])
        with pytest.raises(InputError, match=r"cut\.graph"):
            read_scan_graph(path)
    for place in (0, 4, 8):  # counts of scans and points, size of a point
        damaged = bytearray(whole)
        damaged[place + 3] = 0xFF
        path.write_bytes(damaged)
        with pytest.raises(InputError, match=r"cut\.graph"):
            read_scan_graph(path)
