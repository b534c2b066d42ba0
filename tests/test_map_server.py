"""Grids of map_server both ways, against a plain reading of what Nav2's map_io does."""

from __future__ import annotations

import math
import tracemalloc
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

from embmem.errors import InputError
from embmem.exports.map_server import write_map_server
from embmem.imports.grey_images import read_grey
from embmem.imports.map_server import GridMap, read_map_server
from embmem.maps.grid import OccupancyGrid
from embmem.maps.voxels.formats.grid_voxels import voxels_of_grid

shapes = array_shapes(min_dims=2, max_dims=2, max_side=12)
trinary = arrays(np.int8, shapes, elements=st.sampled_from([-1, 0, 100]))
every = arrays(np.int8, shapes, elements=st.integers(-1, 100))
Folder = pytest.TempPathFactory


def as_nav2(yaml_file: Path, real: type[np.floating[Any]] = np.float64) -> np.ndarray:
    """Pixel by pixel what nav2_map_server's loadMapFromFile does, row 0 the lowest y.

    Its numbers are doubles up to Kilted and floats since it came to matrices of Eigen (main, 2026).
    """
    meta = yaml.safe_load(yaml_file.read_text())
    image = cv2.imread(str(yaml_file.parent / meta["image"]), cv2.IMREAD_UNCHANGED)
    assert image is not None
    grey: Any = image if image.ndim == 2 else image[..., 0]
    cells = np.empty(grey.shape, np.int8)
    for at in np.ndindex(grey.shape):
        pixel = int(grey[at])
        if meta["mode"] == "raw":
            cells[at] = pixel if pixel <= 100 else -1
            continue
        share = real(pixel) / real(255)
        share = share if meta["negate"] else real(1) - share
        low, high = real(meta["free_thresh"]), real(meta["occupied_thresh"])
        value = 100 if share >= high else 0 if share <= low else -1
        if value == -1 and meta["mode"] == "scale":
            value = math.floor(float((share - low) / (high - low) * real(100)) + 0.5)
        if image.ndim == 3 and image.shape[2] == 4 and image[..., 3][at] < 255:
            value = -1
        cells[at] = value
    return cells[::-1]


@given(data=st.data(), mode=st.sampled_from(["trinary", "scale", "raw"]), negate=st.booleans())
def test_every_mode_comes_back_bit_for_bit(
    tmp_path_factory: Folder, data: st.DataObject, mode: str, negate: bool
) -> None:
    cells = data.draw(trinary if mode == "trinary" else every)
    x, y, yaw = (data.draw(st.floats(-100, 100)) for _ in range(3))
    a, b = tmp_path_factory.mktemp("a"), tmp_path_factory.mktemp("b")
    how: Any = {"mode": mode, "negate": negate, "crop": False}
    write_map_server(a, cells, np.array([x, y]), 0.05, yaw=yaw, **how)
    np.testing.assert_array_equal(as_nav2(a / "map.yaml"), cells)
    np.testing.assert_array_equal(as_nav2(a / "map.yaml", np.float32), cells)
    read = read_map_server(a / "map.yaml")
    np.testing.assert_array_equal(read.cells, cells)
    assert [*read.origin, read.yaw] == pytest.approx([x, y, yaw], abs=1e-9)
    assert (read.resolution, read.mode, read.negate) == (0.05, mode, negate)
    write_map_server(b, read.cells, read.origin, read.resolution, yaw=read.yaw, **how)
    assert sorted(f.name for f in a.iterdir()) == sorted(f.name for f in b.iterdir())
    for file in a.iterdir():
        assert (b / file.name).read_bytes() == file.read_bytes()


levels = arrays(np.uint8, shapes)


@given(
    grey=levels,
    mode=st.sampled_from(["trinary", "scale", "raw"]),
    negate=st.booleans(),
    suffix=st.sampled_from(["pgm", "png", "bmp"]),
    thresholds=st.tuples(st.floats(0, 0.49), st.floats(0.5, 1)),
)
def test_pictures_of_others_are_read_as_nav2_reads_them(
    tmp_path_factory: Folder,
    grey: np.ndarray,
    mode: str,
    negate: bool,
    suffix: str,
    thresholds: tuple[float, float],
) -> None:
    folder = tmp_path_factory.mktemp("theirs")
    assert cv2.imwrite(str(folder / f"x.{suffix}"), grey)
    low, high = (round(value, 3) for value in thresholds)
    (folder / "x.yaml").write_text(
        f"image: x.{suffix}\nmode: {mode}\nresolution: 0.1\norigin: [1, -2, 0]\nnegate: {int(negate)}\n"
        f"occupied_thresh: {high}\nfree_thresh: {low}\n"
    )
    ours, theirs = read_map_server(folder / "x.yaml").cells, as_nav2(folder / "x.yaml")
    # They compute in single precision, this test in double: a level on a threshold may fall on either side.
    share = (grey / 255 if negate else 1 - grey / 255)[::-1]
    is_edge = (np.abs(share - low) < 1e-6) | (np.abs(share - high) < 1e-6)
    if mode == "scale":
        exact = (share - low) / (high - low) * 100
        is_edge |= np.abs(exact - np.floor(exact) - 0.5) < 1e-3
    np.testing.assert_array_equal(ours[~is_edge], theirs[~is_edge])


def test_plain_pgm_and_one_of_fewer_levels_are_read(tmp_path: Path) -> None:
    (tmp_path / "p2.pgm").write_text("P2\n# by hand\n3 2\n15\n0 15 7\n1 2 15\n")
    np.testing.assert_array_equal(read_grey(tmp_path / "p2.pgm")[0], [[0, 255, 119], [17, 34, 255]])


def described(folder: Path, **changes: object) -> Path:
    fields = {
        "image": "map.pgm", "resolution": 0.05, "origin": [0.0, 0.0, 0.0], "negate": 0, "occupied_thresh": 0.65,
        "free_thresh": 0.196, **changes,
    }  # fmt: skip
    (folder / "map.yaml").write_text(yaml.safe_dump({k: v for k, v in fields.items() if v is not None}))
    return folder / "map.yaml"


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"image": "../map.pgm"}, "outside of its folder"),
        ({"image": "/etc/passwd"}, "outside of its folder"),
        ({"image": "none.pgm"}, "no such file"),
        ({"image": 7}, "must name a file"),
        ({"image": "a\x00b"}, "must name a file"),
        ({"resolution": 0.0}, "resolution in"),
        ({"resolution": float("nan")}, "finite number"),
        ({"resolution": 10**400}, "finite number"),
        ({"resolution": None}, "finite number"),
        ({"origin": [0.0, 0.0]}, "x, y and yaw"),
        ({"origin": [1e9, 0.0, 0.0]}, "out of bounds"),
        ({"mode": "ternary"}, "mode must be"),
        ({"negate": "no"}, "negate must be"),
        ({"free_thresh": 0.7}, "free_thresh < occupied_thresh"),
        ({"occupied_thresh": True}, "finite number"),
    ],
)
def test_senseless_descriptions_are_refused(tmp_path: Path, changes: dict[str, object], message: str) -> None:
    (tmp_path / "map.pgm").write_bytes(b"P5\n2 1\n255\n\x00\xfe")
    read_map_server(described(tmp_path))
    with pytest.raises(InputError, match=message) as error:
        read_map_server(described(tmp_path, **changes))
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"P5\n99999 99999\n255\n", "can be read"),
        (b"P5\n4 4\n255\nxy", "is cut"),
        (b"P5\n2 1\n65535\n\0\0\0\0", "up to 255"),
        (b"P5\n0 1\n255\n", "1 to"),
        (b"P2\n2 1\n255\n1 x\n", "needs 2 numbers"),
        (b"P5\n1 1\n9\n\x0a", "a pixel of 10"),
        (b"P6\n1 1\n255\n\0\0\0", "neither PGM"),
        (b"P5 of nothing", "damaged PGM"),
        (b"\x89PNG\r\n\x1a\n", "truncated PNG"),
        (b"BM" + b"\0" * 16 + b"\xff\xff\xff\x0f" * 2, "1 to"),
        (b"BM" + b"\0" * 16 + b"\x00\x10\x00\x00" * 2 + b"\0" * 30, "hold no picture"),
    ],
)
def test_damaged_pictures_are_refused_before_anything_is_made(tmp_path: Path, content: bytes, message: str) -> None:
    (tmp_path / "map.pgm").write_bytes(content)
    with pytest.raises(InputError, match=message):
        read_map_server(described(tmp_path))


@pytest.mark.parametrize(
    "text", ["", "[1, 2]", "a: &x [1]\nb: *x", "{" * 500, "a: \xff", "!!python/object:os.system x"]
)
def test_what_is_no_description_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "map.yaml").write_bytes(text.encode("latin-1"))
    with pytest.raises(InputError, match=r"map\.yaml"):
        read_map_server(tmp_path / "map.yaml")


def test_a_grid_that_cannot_be_written_is_refused(tmp_path: Path) -> None:
    cells = np.array([[50]], np.int8)
    with pytest.raises(ValueError, match="use scale or raw"):
        write_map_server(tmp_path, cells, np.zeros(2), 0.05)
    with pytest.raises(ValueError, match=r"-1\.\.100"):
        write_map_server(tmp_path, np.array([[101]], np.int8), np.zeros(2), 0.05, mode="raw")
    with pytest.raises(ValueError, match="mode must be"):
        write_map_server(tmp_path, cells, np.zeros(2), 0.05, mode="grey")
    assert list(tmp_path.iterdir()) == []


@given(cells=trinary, column=st.integers(-40, 40), row=st.integers(-40, 40), offset=st.floats(-0.49, 0.49))
def test_a_plan_becomes_voxels_and_the_same_plan_again(cells: np.ndarray, column: int, row: int, offset: float) -> None:
    origin = (np.array([column, row]) + offset) * 0.1
    grid = GridMap(cells, origin, 0.0, 0.1)
    if not (cells >= 0).any():
        with pytest.raises(InputError, match="unknown everywhere"):
            voxels_of_grid(grid)
        return
    again = OccupancyGrid.from_voxels(voxels_of_grid(grid))
    corner = np.rint(again.origin / 0.1).astype(int)
    read = {(c + corner[0], r + corner[1]): again.cells[r, c] for r, c in np.argwhere(again.cells >= 0).tolist()}
    assert read == {(c + column, r + row): cells[r, c] for r, c in np.argwhere(cells >= 0).tolist()}


@given(cells=trinary, yaw=st.floats(-4, 4), x=st.floats(-3, 3), y=st.floats(-3, 3))
def test_a_turned_plan_is_looked_up_at_the_centre_of_each_voxel(
    cells: np.ndarray, yaw: float, x: float, y: float
) -> None:
    grid = GridMap(cells, np.array([x, y]), yaw, 0.1)
    if yaw == 0.0 or not (cells >= 0).any():
        return
    try:
        voxels = voxels_of_grid(grid, floor=False, height=0.1)
    except InputError:  # single cells may hold no centre
        return
    for state, value in ((voxels.occupied(), 100), (voxels.free(), 0)):
        for px, py, _ in state.tolist():
            dx, dy = px - x, py - y
            column = (math.cos(yaw) * dx + math.sin(yaw) * dy) / 0.1
            line = (-math.sin(yaw) * dx + math.cos(yaw) * dy) / 0.1
            if min(abs(column - round(column)), abs(line - round(line))) > 1e-6:
                assert cells[math.floor(line), math.floor(column)] == value
    n = len(voxels.occupied()) + len(voxels.free())
    assert abs(n - (cells >= 0).sum()) <= 4 * sum(cells.shape) + 4  # areas agree but for the rim


def test_a_plan_that_takes_too_much_is_refused() -> None:
    grid = GridMap(np.zeros((20, 20), np.int8), np.zeros(2), 0.0, 0.1)
    with pytest.raises(InputError, match="lower the height"):
        voxels_of_grid(grid, max_voxels=1000)
    with pytest.raises(ValueError, match="at least one voxel"):
        voxels_of_grid(grid, height=0.01)
    with pytest.raises(InputError, match="from the origin"):
        voxels_of_grid(GridMap(np.zeros((1, 1), np.int8), np.array([9e6, 0.0]), 0.0, 0.1))


@pytest.mark.parametrize(("shape", "yaw"), [((1, 4_000_000), 0.8), ((4000, 4000), 0.0), ((4000, 4000), 0.8)])
def test_a_plan_that_takes_too_much_costs_no_memory(shape: tuple[int, int], yaw: float) -> None:
    grid = GridMap(np.zeros(shape, np.int8), np.zeros(2), yaw, 0.05)
    tracemalloc.start()
    try:
        with pytest.raises(InputError, match="lower the height"):
            voxels_of_grid(grid)
        assert tracemalloc.get_traced_memory()[1] < 2 * grid.cells.nbytes
    finally:
        tracemalloc.stop()


def test_shares_become_log_odds_and_the_floor_lies_below() -> None:
    voxels = voxels_of_grid(GridMap(np.array([[0, 30, 50, 70, 100, -1]], np.int8), np.zeros(2), 0.0, 1.0), height=1.0)
    x = np.arange(6) + 0.5
    odds = voxels.log_odds(np.stack([x, np.full(6, 0.5), np.full(6, 0.5)], axis=1))
    np.testing.assert_allclose(odds[:5], [-2.0, math.log(3 / 7), 0.0, math.log(7 / 3), 3.5], atol=1 / 64)
    below = voxels.log_odds(np.stack([x, np.full(6, 0.5), np.full(6, -0.5)], axis=1))
    assert (below[:5] > 0).all()
    assert np.isnan([odds[5], below[5]]).all()
