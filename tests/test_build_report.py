"""What the page about a build is made of: plans, charts, coverage, pictures; and the commands that write it."""

from __future__ import annotations

import base64
import re
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
from box_room import walk
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from view_scene import flat, thing

from embmem.building.record import read_record
from embmem.building.report.best_views import best_views
from embmem.building.report.chart import Line, line_chart
from embmem.building.report.coverage import coverage
from embmem.building.report.plan_svg import Drawing, small_plan
from embmem.cli.main import main
from embmem.geometry import camera_pose, project, transform_points
from embmem.observation import Intrinsics
from embmem.recordings.rgbd_writer import write_rgbd_folder
from embmem.viewing.scene import Plan, Trajectory

CAMERA = Intrinsics.from_fov(64, 48, 75.0)
masks = arrays(np.bool_, st.tuples(st.integers(1, 12), st.integers(1, 12)))


@given(masks)
def test_drawn_rectangles_cover_each_cell_of_a_mask_once_and_no_other(mask: np.ndarray) -> None:
    plan = Plan(np.zeros(2), 1.0, np.zeros(mask.shape, np.int8), np.full(mask.shape, np.nan))
    drawing = Drawing(plan.extent, "")
    drawing.cells(plan, [("free", mask)])
    covered: np.ndarray = np.zeros(mask.shape, dtype=int)
    for x, y, w, h, back in re.findall(r"M(\d+) (\d+)h(\d+)v(\d+)h-(\d+)z", drawing.svg()):
        assert w == back
        covered[int(y) : int(y) + int(h), int(x) : int(x) + int(w)] += 1
    np.testing.assert_array_equal(covered[::-1], mask)  # the drawing's rows go down


@given(arrays(np.int8, (23, 31), elements=st.sampled_from([-1, 0, 100])))
def test_a_smaller_plan_shows_the_most_of_what_its_cells_held(cells: np.ndarray) -> None:
    height = np.where(cells == 100, 1.0, np.nan)
    small = small_plan(Plan(np.zeros(2), 0.1, cells, height), side=10)
    assert small.resolution == pytest.approx(0.4)
    for row, column in np.ndindex(*small.cells.shape):
        block = cells[4 * row : 4 * row + 4, 4 * column : 4 * column + 4]
        assert small.cells[row, column] == block.max()
        assert np.isnan(small.height[row, column]) == (block.max() < 100)


@given(arrays(np.float64, st.integers(2, 900), elements=st.floats(0, 1e6)), st.floats(1e-3, 1e6))
def test_a_chart_draws_its_largest_value_inside_its_axes(y: np.ndarray, seconds: float) -> None:
    svg = line_chart([Line("line", np.linspace(0, seconds, len(y)), y)], label="", x_label="", y_label="")
    assert svg is not None
    (points,) = re.findall(r'points="([^"]*)"', svg)
    drawn = np.array([[float(v) for v in pair.split(",")] for pair in points.split()])
    assert len(drawn) <= 401
    assert drawn[:, 0].min() == 50.0
    assert drawn[:, 0].max() == 546.0
    assert 12.0 <= drawn[:, 1].min() <= drawn[:, 1].max() <= 194.0
    ticks = [float(tick) for tick in re.findall(r'class="tick y"[^>]*>([^<]*)<', svg)]
    value = (194.0 - drawn[:, 1].min()) / (194.0 - 12.0) * ticks[-1]
    assert value == pytest.approx(y.max(), abs=0.002 * ticks[-1] + 1e-9)


def test_a_chart_needs_two_points_and_leaves_gaps() -> None:
    gap = np.array([0.0, 1.0, np.nan, 2.0, 3.0])
    assert line_chart([Line("line", np.arange(1.0), np.zeros(1))], label="", x_label="", y_label="") is None
    svg = line_chart([Line("line", np.arange(5.0), gap)], label="", x_label="", y_label="", marks=[2.0, 9.0])
    assert svg is not None
    assert svg.count("<polyline") == 2
    assert svg.count('class="mark"') == 1


def test_coverage_counts_the_floor_and_what_is_enclosed() -> None:
    plan, trajectory = flat().plan, flat().trajectory
    assert plan is not None
    assert trajectory is not None
    cells = plan.cells.copy()
    cells[10:15, 10:15] = -1  # nobody looked in
    cells[:3] = -1  # open to the outside
    covered = coverage(replace(plan, cells=cells), trajectory, 5.0)
    assert covered is not None
    assert covered.free == pytest.approx((cells == 0).sum() * 0.01)
    assert covered.enclosed == pytest.approx(0.25)
    assert (np.diff(covered.areas) >= 0).all()
    assert covered.areas[-1] == pytest.approx(covered.free)
    assert covered.areas[0] < 0.8 * covered.free  # the other room is behind a door


def test_coverage_of_a_build_without_poses_is_not_known() -> None:
    plan = flat().plan
    assert plan is not None
    assert coverage(plan, Trajectory(np.zeros(0), np.zeros((0, 4, 4))), 5.0) is None


def test_the_best_view_shows_the_thing_large_and_whole() -> None:
    mug = thing("mug", 3.0, 0.0, first_seen=0.0, last_seen=9.0)
    at = [(0.0, 0.0, 0.0), (2.0, 0.0, 0.0), (2.0, 0.0, np.pi), (2.85, 0.0, 0.0)]  # far, near, away, in it
    poses = np.stack([camera_pose(np.array([x, y, 0.25]), yaw) for x, y, yaw in at])
    (view,) = best_views([mug], np.arange(4.0), poses, CAMERA, None)
    assert view is not None
    assert view.frame == 1
    corners = np.array([[x, y, z] for x in (2.75, 3.25) for y in (-0.25, 0.25) for z in (0.0, 0.5)])
    seen = project(transform_points(np.linalg.inv(poses[1]), corners), CAMERA)
    left, top, right, bottom = view.box
    assert (seen >= [left, top]).all()
    assert (seen <= [right, bottom]).all()
    assert best_views([mug], np.arange(1.0), poses[2:3], CAMERA, None) == [None]
    assert best_views([mug], np.zeros(0), poses[:0], CAMERA, None) == [None]


class Wall:
    """Everything beyond x = 1 is behind a wall for who stands before it."""

    resolution, max_range = 0.05, 5.0

    def occupied(self) -> np.ndarray:
        return np.zeros((0, 3))

    free = occupied

    def log_odds(self, points: np.ndarray) -> np.ndarray:
        return np.full(len(points), np.nan)

    def nearest_occupied(self, points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        return points, np.full(len(points), np.inf)

    def cast(self, origins: np.ndarray, directions: np.ndarray, max_range: float) -> np.ndarray:
        return np.where(origins[:, 0] < 1.0, 1.0 - origins[:, 0], np.inf)


def test_a_view_through_a_wall_is_none_where_there_is_another() -> None:
    mug = thing("mug", 3.0, 0.0, first_seen=0.0, last_seen=9.0)
    poses = np.stack([camera_pose(np.array([x, 0.0, 0.25]), yaw) for x, yaw in ((0.9, 0.0), (6.0, np.pi))])
    for occupancy, expected in ((None, 0), (Wall(), 1)):
        (view,) = best_views([mug], np.arange(2.0), poses, CAMERA, occupancy)
        assert view is not None
        assert view.frame == expected


def test_views_are_taken_while_the_thing_was_there() -> None:
    mug = thing("mug", 3.0, 0.0, first_seen=2.0, last_seen=3.0)
    poses = np.stack([camera_pose(np.array([x, 0.0, 0.25]), 0.0) for x in (2.0, 2.0, 1.5, 1.5)])
    (view,) = best_views([mug], np.arange(4.0), poses, CAMERA, None)
    assert view is not None
    assert view.frame in (2, 3)


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("builds")
    write_rgbd_folder(walk(16), folder / "room")
    memory = folder / "room.embmem"
    assert main(["build", str(folder / "room"), f"out={memory}", "page.doctor=false"]) == 0
    return memory


def pictures(page: Path) -> list[np.ndarray]:
    found = re.findall(r'src="data:image/jpeg;base64,([^"]*)"', page.read_text("utf-8"))
    files = [np.frombuffer(base64.b64decode(uri), np.uint8) for uri in found]
    return [np.asarray(cv2.imdecode(file, cv2.IMREAD_COLOR)) for file in files]


def test_a_build_leaves_a_page_with_pictures_of_frames_and_things(built: Path) -> None:
    page = built.with_suffix(".html")
    text = page.read_text("utf-8")
    record = read_record(built)
    assert record is not None
    assert record.map_hash in text
    assert '<b dir="auto">mug</b>' in text
    *strip, mug = pictures(page)
    assert len(strip) == 16
    is_mug = (np.abs(mug.astype(int) - [55, 80, 240]) < 60).all(axis=2)  # as `box_room` paints the mug, blue first
    assert is_mug[mug.shape[0] // 3 : 2 * mug.shape[0] // 3, mug.shape[1] // 3 : 2 * mug.shape[1] // 3].mean() > 0.5


def test_the_page_can_be_made_again_and_says_where_it_is(built: Path, capsys: pytest.CaptureFixture[str]) -> None:
    page = built.with_name("again.html")
    assert main(["report", str(built), str(page), "page.n_strip=4", "page.doctor=false"]) == 0
    assert str(page) in capsys.readouterr().out
    assert len(pictures(page)) == 5
    assert main(["report", str(built), str(page)]) == 1
    assert "exists" in capsys.readouterr().err


def test_a_recording_that_has_gone_leaves_a_page_without_pictures(built: Path, tmp_path: Path) -> None:
    folder = built.with_name("room")
    folder.rename(tmp_path / "elsewhere")
    try:
        page = tmp_path / "page.html"
        assert main(["report", str(built), str(page)]) == 0
        assert pictures(page) == []
        assert "could not be read once more for pictures" in page.read_text("utf-8")
        assert "The doctor could not examine the recording" in page.read_text("utf-8")
    finally:
        (tmp_path / "elsewhere").rename(folder)
