"""Exported files, read back by programs that are not ours."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import trimesh
import yaml
from hypothesis import assume, given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

from embmem.errors import OutputExistsError
from embmem.exports.map_server import write_map_server
from embmem.exports.ply import write_ply
from embmem.exports.preview import write_preview
from embmem.exports.top_down import top_down
from embmem.geometry import camera_pose
from embmem.output import new_folder

grids = arrays(np.int8, array_shapes(min_dims=2, max_dims=2, max_side=20), elements=st.sampled_from([-1, 0, 100]))


def load_as_nav2(folder: Path) -> tuple[np.ndarray, list[float], float]:
    """Cells as Nav2's map_io reads them in trinary mode: (255 - pixel) / 255 against the two thresholds, row 0 last."""
    meta = yaml.safe_load((folder / "map.yaml").read_text())
    pixels = cv2.imread(str(folder / meta["image"]), cv2.IMREAD_UNCHANGED)
    assert pixels is not None
    shade = pixels / 255.0 if meta["negate"] else (255 - pixels) / 255.0
    cells = np.full(pixels.shape, -1, np.int8)
    cells[shade > meta["occupied_thresh"]] = 100
    cells[shade < meta["free_thresh"]] = 0
    return cells[::-1], meta["origin"], meta["resolution"]


@given(cells=grids, x=st.floats(-100, 100), y=st.floats(-100, 100))
def test_a_map_server_grid_is_read_back_cell_by_cell(
    tmp_path_factory: pytest.TempPathFactory, cells: np.ndarray, x: float, y: float
) -> None:
    assume((cells >= 0).any())
    folder = tmp_path_factory.mktemp("grid")
    write_map_server(folder, cells, np.array([x, y]), 0.05)
    read, origin, resolution = load_as_nav2(folder)
    row, column = (round((o - start) / 0.05) for o, start in ((origin[1], y), (origin[0], x)))
    again = np.full_like(cells, -1)
    again[row : row + read.shape[0], column : column + read.shape[1]] = read
    np.testing.assert_array_equal(again, cells)
    assert origin == pytest.approx([x + column * 0.05, y + row * 0.05, 0.0], abs=1e-9)
    assert resolution == 0.05
    for border in (read[0], read[-1], read[:, 0], read[:, -1]):
        assert (border >= 0).any()


def test_a_grid_of_nothing_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="unknown everywhere"):
        write_map_server(tmp_path, np.full((3, 4), -1, np.int8), np.zeros(2), 0.05)
    assert list(tmp_path.iterdir()) == []


def test_a_ply_holds_every_centre_and_colours_by_height(tmp_path: Path) -> None:
    centres = np.random.default_rng(0).uniform(-3, 3, (500, 3))
    write_ply(tmp_path / "map.ply", centres)
    cloud: Any = trimesh.load(tmp_path / "map.ply")
    np.testing.assert_allclose(cloud.vertices, centres, atol=1e-6)
    low, high = np.argmin(centres[:, 2]), np.argmax(centres[:, 2])
    # Viridis goes from dark violet to bright yellow.
    np.testing.assert_allclose(cloud.colors[low][:3], [68, 1, 84], atol=3)
    np.testing.assert_allclose(cloud.colors[high][:3], [253, 231, 37], atol=3)


def test_a_ply_of_nothing_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="no occupied voxel"):
        write_ply(tmp_path / "map.ply", np.empty((0, 3)))
    assert not (tmp_path / "map.ply").exists()


voxels = arrays(np.int64, st.tuples(st.integers(1, 30), st.just(3)), elements=st.integers(-8, 40))


@given(occupied=voxels, free=voxels)
def test_columns_match_a_plain_dictionary(occupied: np.ndarray, free: np.ndarray) -> None:
    resolution = 0.1
    view = top_down((occupied + 0.5) * resolution, (free + 0.5) * resolution, resolution)
    tops: dict[tuple[int, int], float] = {}
    for x, y, z in occupied:
        if (z + 0.5) * resolution < 2.0:
            tops[x, y] = max(tops.get((x, y), -np.inf), (z + 1) * resolution)
    known = {*tops, *((x, y) for x, y, _ in free)}
    low = np.rint(view.origin / resolution).astype(int)
    read_known = {(c + low[0], r + low[1]) for r, c in np.argwhere(view.known)}
    read_tops = {(c + low[0], r + low[1]): view.height[r, c] for r, c in np.argwhere(~np.isnan(view.height))}
    assert read_known == known
    assert read_tops == pytest.approx({k: v for k, v in tops.items() if v > 0.1 + 1e-9})


def test_a_picture_shows_walls_floor_path_and_unknown(tmp_path: Path) -> None:
    wall = np.stack(np.meshgrid(np.arange(0.025, 4, 0.05), [0.025], np.arange(0.025, 1.9, 0.05)), -1).reshape(-1, 3)
    floor = np.stack(np.meshgrid(np.arange(0.025, 4, 0.05), np.arange(0.075, 2, 0.05), [0.025]), -1).reshape(-1, 3)
    view = top_down(np.concatenate([wall, floor]), np.empty((0, 3)), 0.05)
    poses = np.stack([camera_pose(np.array([x, 1.0, 1.0]), 0.0) for x in (1.0, 2.0, 3.0)])
    write_preview(
        tmp_path / "a.png", view, trajectory=poses, objects=[("mug", np.array([2.0, 0.5, 0.8]))], title="a room"
    )
    image = cv2.imread(str(tmp_path / "a.png"))
    assert image is not None
    colours, counts = np.unique(image.reshape(-1, 3), axis=0, return_counts=True)
    drawn = {tuple(int(v) for v in c[::-1]) for c in colours[counts > 300]}
    assert {(0xD3, 0xD6, 0xDA), (0xFB, 0xFA, 0xF7), (0xE4, 0x57, 0x2E)} <= drawn
    dark = (image.sum(axis=2) < 260).any(axis=1)
    assert np.flatnonzero(dark).max() > image.shape[0] // 2  # the wall at y = 0 is drawn at the bottom


def test_a_map_without_voxels_has_no_picture() -> None:
    with pytest.raises(ValueError, match="empty"):
        top_down(np.empty((0, 3)), np.empty((0, 3)), 0.05)


def test_a_folder_appears_whole_or_not_at_all(tmp_path: Path) -> None:
    def fail_half_way() -> None:
        with new_folder(tmp_path / "out") as folder:
            (folder / "half").write_text("written")
            raise RuntimeError("half")

    with pytest.raises(RuntimeError, match="half"):
        fail_half_way()
    assert list(tmp_path.iterdir()) == []
    with new_folder(tmp_path / "out") as folder:
        (folder / "whole").write_text("written")
    assert [p.name for p in tmp_path.rglob("*")] == ["out", "whole"]
    with pytest.raises(OutputExistsError, match="out exists"), new_folder(tmp_path / "out"):
        pass
    assert (tmp_path / "out" / "whole").read_text() == "written"
