"""The semantic map: planes against brute-force projection, components against scipy, bytes, moves, files."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from box_room import LABELS, MUG, observe_room, walk
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy import ndimage

from embmem.errors import InputError
from embmem.geometry import backproject, camera_pose
from embmem.maps.semantic_map import ChangedThings, SemanticMap
from embmem.maps.semantic_map.path import Path
from embmem.maps.semantic_map.things import Flood, Hidden, components
from embmem.observation import Observation
from embmem.protocols import Deformation
from embmem.records import Query
from embmem.testing import LayerContract, wall_ahead

masks = arrays(np.bool_, st.tuples(st.integers(1, 14), st.integers(1, 14)), elements=st.booleans())


class TestSemanticMapIsALayer(LayerContract):
    @pytest.fixture
    def layer(self) -> SemanticMap:
        return SemanticMap(min_votes=1)


def same_partition(a: np.ndarray, b: np.ndarray) -> bool:
    pairs = {(int(x), int(y)) for x, y in zip(a, b, strict=True)}
    return len(pairs) == len(set(a.tolist())) == len(set(b.tolist()))


@given(masks, st.integers(0, 3))
def test_components_are_those_of_scipy(mask: np.ndarray, gap: int) -> None:
    xy = np.argwhere(mask)
    grown = np.zeros(tuple(np.array(mask.shape) + gap), dtype=bool)  # a square of gap + 1 cells from each cell on
    for dx in range(gap + 1):
        for dy in range(gap + 1):
            grown[dx : dx + mask.shape[0], dy : dy + mask.shape[1]] |= mask
    expected, _ = ndimage.label(grown, structure=np.ones((3, 3)))
    found = components(xy, gap)
    assert same_partition(found, expected[xy[:, 0], xy[:, 1]])
    assert list(dict.fromkeys(found.tolist())) == list(range(len(set(found.tolist()))))


@given(masks, masks, st.integers(0, 3))
def test_hidden_cells_join_what_a_flood_of_scipy_joins(mask: np.ndarray, hidden: np.ndarray, half: int) -> None:
    shape = tuple(np.minimum(mask.shape, hidden.shape))
    mask, hidden = mask[: shape[0], : shape[1]], hidden[: shape[0], : shape[1]]
    flood = mask.copy()
    for _ in range(half):
        flood = ndimage.binary_dilation(flood, np.ones((3, 3))) & (hidden | mask)
    expected, _ = ndimage.label(flood, structure=np.ones((3, 3)))
    xy = np.argwhere(mask)
    veil = Hidden(np.where(hidden.T, 7, -1), np.zeros(2, dtype=np.int64), 2 * half)
    flood = Flood(veil, 7, np.ones(len(xy), dtype=bool))
    assert same_partition(components(xy, 0, flood), expected[xy[:, 0], xy[:, 1]])
    elsewhere = components(xy, 0, Flood(veil, 8, np.ones(len(xy), dtype=bool)))
    np.testing.assert_array_equal(elsewhere, components(xy, 0))


def shown(frames: list[Observation], label: int, resolution: float) -> set[tuple[int, int]]:
    """Cells that the pixels of a label end in, by plain projection."""
    cells = set()
    for frame in frames:
        assert frame.depth is not None
        assert frame.semantic is not None
        at = frame.semantic == label
        points = backproject(frame.depth, frame.intrinsics)[at].astype(float) @ frame.T_map_camera[:3, :3].T
        points += frame.T_map_camera[:3, 3]
        points = points[(points[:, 2] > 0.0) & (points[:, 2] < 2.0)]
        cells |= {(int(x), int(y)) for x, y in np.floor(points[:, :2] / resolution).tolist()}
    return cells


def test_the_plane_of_a_category_is_the_projection_of_its_pixels() -> None:
    frames = list(walk(24))
    semantic = SemanticMap(min_votes=1, min_cells=1, min_voxels=1)
    for frame in frames:
        semantic.observe(frame)
    planes = semantic.channels(["mug", "wall"])
    corner = np.round(planes.origin / planes.resolution).astype(int)
    for name in ("mug", "wall"):
        drawn = {(int(c + corner[0]), int(r + corner[1])) for r, c in np.argwhere(planes[name])}
        expected = shown(frames, LABELS.index(name), 0.05)
        assert drawn <= expected
        assert len(drawn) >= 0.97 * len(expected)  # voxels of two labels count for the stronger


def test_a_mug_on_a_wall_is_one_thing_where_it_is() -> None:
    semantic = SemanticMap()
    for frame in walk(24):
        semantic.observe(frame)
    (thing,) = semantic.things()
    assert thing.category == "mug"
    np.testing.assert_allclose(thing.centroid, MUG[:2], atol=0.06)
    np.testing.assert_allclose(thing.box[:, 2].mean(), MUG[2], atol=0.06)
    (hit,) = semantic.query(Query(entity=" Mug "))
    assert hit.entity == "mug"
    assert semantic.query(Query(entity="cup")) == []
    assert semantic.query(Query(entity="mug", near=np.zeros(3), radius=1.0)) == []


def test_the_planes_tell_walls_floor_agent_and_path() -> None:
    semantic = SemanticMap()
    for frame in walk(24):
        semantic.observe(frame)
    planes = semantic.channels()
    assert planes.names == ("obstacle", "explored", "agent", "path", "mug")
    centre = ((np.array([2.5, 3.3]) - planes.origin) / planes.resolution).astype(int)[::-1]
    assert planes["explored"][tuple(centre)] == 1
    assert planes["obstacle"][tuple(centre)] == 0
    assert planes["agent"].sum() == 1
    rows, columns = np.nonzero(planes["path"])
    radii = np.hypot((columns + 0.5) * 0.05 + planes.origin[0] - 2.5, (rows + 0.5) * 0.05 + planes.origin[1] - 2.0)
    assert radii.max() < 0.68
    assert len(radii) > 50
    obstacle = np.argwhere(planes["obstacle"])[:, ::-1] * 0.05 + 0.025 + planes.origin
    inside = ((obstacle > 0.1) & (obstacle < np.array([4.9, 3.9]))).all(axis=1)
    assert not inside.any()


def test_bytes_stay_flat_in_a_bounded_area() -> None:
    semantic = SemanticMap()
    frames = list(walk(24))
    n_bytes = []
    for step in range(300):
        semantic.observe(replace(frames[step % 24], stamp=float(step)))
        n_bytes.append(semantic.stats()["bytes"] if step % 24 == 23 else np.nan)
    flat = np.array(n_bytes)[~np.isnan(n_bytes)]
    assert (flat == flat[0]).all()


def test_what_was_carried_away_leaves_the_map() -> None:
    semantic = SemanticMap(min_votes=1)
    for i in range(4):
        semantic.observe(wall_ahead(float(i)))
    assert [thing.category for thing in semantic.things()] == ["mug"]
    for i in range(4, 20):
        frame = wall_ahead(float(i))
        assert frame.semantic is not None
        depth = np.full_like(frame.depth, 2.0)
        semantic.observe(replace(frame, depth=depth, semantic=np.ones_like(frame.semantic)))
    assert semantic.things() == []


def test_a_loop_closure_moves_things_path_and_agent_together() -> None:
    semantic = SemanticMap(min_votes=1)
    semantic.observe(wall_ahead(1.0))
    (before,) = semantic.things()
    semantic.changed.placed("mug", np.array([1.8, 0.0, 1.0]), 1.0)
    T = np.eye(4)
    T[:3, :3] = np.array([[0.0, -1.0, 0.0], [1.0, 0.0, 0.0], [0.0, 0.0, 1.0]])
    T[:3, 3] = (1.0, 3.0, 0.0)
    semantic.deform(Deformation(stamps=np.array([1.0]), T_new_old=T[None]))
    (after,) = semantic.things()
    np.testing.assert_allclose(after.centroid, (T[:2, :2] @ before.centroid) + T[:2, 3], atol=1e-6)
    assert semantic.agent is not None
    np.testing.assert_allclose(semantic.agent, [1.0, 3.0, np.pi / 2], atol=1e-9)
    np.testing.assert_allclose(semantic.path.points[-1], [1.0, 3.0])
    placed = semantic.changed.last("mug")
    assert placed is not None
    np.testing.assert_allclose(placed.position, [1.0, 4.8, 1.0])


@given(st.lists(st.tuples(st.floats(-3, 3), st.floats(-3, 3)), max_size=60), st.integers(4, 20))
def test_a_path_is_bounded_in_order_and_ends_where_the_robot_is(steps: list[tuple[float, float]], n: int) -> None:
    path = Path(0.1, capacity=n)
    last = None
    for stamp, point in enumerate(steps):
        path.append(np.array(point), float(stamp))
        if last is None or np.hypot(*(np.array(point) - last)) >= 0.1:
            last = np.array(point)
    assert len(path.points) <= n
    assert (np.diff(path.stamps) > 0).all()
    if last is not None:
        np.testing.assert_array_equal(path.points[-1], last)


def test_the_robot_knows_what_it_placed_and_what_it_changed() -> None:
    changed = ChangedThings(capacity=3)
    mask = np.zeros((4, 5), dtype=bool)
    mask[1:3, 2] = True
    changed.changed("Apple", "sliced", np.array([1.0, 1.0, 0.8]), 2.0, mask)
    changed.placed("mug", np.array([0.0, 0.0, 0.5]), 3.0)
    changed.placed("mug", np.array([0.1, 0.0, 0.5]), 4.0)  # the same mug, put down again
    assert len(changed) == 2
    apple = changed.last("apple")
    assert apple is not None
    assert apple.mask is not None
    np.testing.assert_array_equal(apple.mask, mask)
    assert changed.is_settled("mug", np.array([0.2, 0.0, 0.5]))
    assert not changed.is_settled("mug", np.array([2.0, 0.0, 0.5]))
    assert not changed.is_settled("apple", np.array([1.0, 1.0, 0.8]))
    for i in range(4):
        changed.placed("plate", np.array([5.0 + i, 0.0, 0.5]), 5.0 + i)
    assert [t.stamp for t in changed] == [6.0, 7.0, 8.0]
    with pytest.raises(ValueError, match="mask"):
        changed.changed("pot", "hot", np.zeros(3), 9.0, np.zeros((0, 5), dtype=bool))
    for place, stamp in ((np.full(3, np.nan), 9.0), (np.zeros(3), np.nan)):
        with pytest.raises(ValueError, match="finite"):
            changed.placed("pot", place, stamp)
    assert len(changed) == 3


def filled() -> SemanticMap:
    semantic = SemanticMap(min_votes=1)
    semantic.observe(wall_ahead(1.0))
    semantic.changed.changed("mug", "washed", np.array([1.8, 0.0, 1.0]), 1.0, np.eye(5, dtype=bool))
    return semantic


def test_everything_comes_back_from_a_file() -> None:
    semantic = filled()
    loaded = SemanticMap.load(semantic.save())
    a, b = semantic.channels(), loaded.channels()
    assert a.names == b.names
    np.testing.assert_array_equal(a.planes, b.planes)
    mug = loaded.changed.last("mug", "washed")
    assert mug is not None
    np.testing.assert_array_equal(mug.mask, np.eye(5, dtype=bool))
    assert loaded.stamp == 1.0


def test_a_robot_whose_clock_began_anew_finds_its_map_again() -> None:
    semantic = SemanticMap(min_votes=1)
    for stamp, x in ((100.0, 0.0), (0.0, 0.5), (1.0, 1.0)):
        pose = camera_pose(np.array([x, 0.0, 1.0]), 0.0)
        semantic.observe(replace(wall_ahead(stamp), T_map_camera=pose))
    loaded = SemanticMap.load(semantic.save())
    np.testing.assert_array_equal(loaded.path.stamps, [100.0, 0.0, 1.0])
    np.testing.assert_array_equal(loaded.path.points, semantic.path.points)


@pytest.mark.parametrize(
    "arrays",
    [
        {"path": np.zeros((5000, 3))},
        {"path": np.full((1, 3), np.nan)},
        {"agent": np.tile(np.eye(4), (2, 1, 1)), "stamp": np.zeros(2)},
        {"agent": np.full((1, 4, 4), 0.5)},
        {"changed_masks": np.zeros(1, np.uint8)},
        {"changed_masks": np.zeros(9, np.uint8)},
        {"changed_positions": np.zeros((2, 3))},
    ],
)
def test_damaged_arrays_are_refused(arrays: dict[str, np.ndarray]) -> None:
    state = filled().save()
    with pytest.raises(InputError):
        SemanticMap.load(replace(state, arrays={**state.arrays, **arrays}))


@pytest.mark.parametrize(
    "params",
    [
        {"gap": 0.5},
        {"z_min": 3.0},
        {"voxels": None},
        {"background": "wall"},
        {"changed": []},
        {"changed": [{"name": "mug", "state": "washed", "mask": [5, 10**9]}]},
        {"changed": [{"name": "", "state": "washed", "mask": [5, 5]}]},
        {"more": 1},
    ],
)
def test_damaged_settings_are_refused(params: dict[str, object]) -> None:
    state = filled().save()
    with pytest.raises(InputError):
        SemanticMap.load(replace(state, params={**state.params, **params}))


def test_frames_without_a_pose_in_range_change_nothing() -> None:
    semantic = SemanticMap()
    far = replace(observe_room(camera_pose(np.array([2.0, 2.0, 1.0]), 0.0), 0.0))
    pose = np.array(far.T_map_camera)
    pose[0, 3] = 1e9
    with pytest.raises(ValueError, match="within"):
        semantic.observe(replace(far, T_map_camera=pose))
    assert semantic.agent is None
    assert len(semantic.path.points) == 0
