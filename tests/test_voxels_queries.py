"""Queries of the voxel map against dictionaries, plain walks and lists of everything."""

from __future__ import annotations

from math import floor, inf

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from voxel_worlds import RES, dictionary, random_map, seeds

from embmem.geometry import camera_pose, invert_pose
from embmem.maps import VoxelMap
from embmem.maps.voxels import cast, nearest, regions
from embmem.maps.voxels.blocks import UNKNOWN, BlockPool, pack
from embmem.maps.voxels.summary import BlockSummary
from embmem.observation import Intrinsics
from embmem.protocols import Deformation
from embmem.records import Query

anything = arrays(np.float64, st.tuples(st.integers(0, 20), st.just(3)), elements=st.floats(width=64))
CAMERA = Intrinsics.from_fov(40, 30, 79.0)


def lattice(rng: np.random.Generator, n: int) -> np.ndarray:
    """Points within and around a random map, half of them on corners, faces and centres of voxels."""
    points = rng.uniform(-8, 8, (n, 3))
    points[::2] = np.round(points[::2] / (RES / 2)) * (RES / 2)
    return points


@given(seeds, anything)
def test_log_odds_are_those_of_a_dictionary_and_nan_for_points_that_are_nowhere(seed: int, odd: np.ndarray) -> None:
    voxels, rng = random_map(seed), np.random.default_rng(seed)
    model = dictionary(voxels)
    points = np.concatenate([lattice(rng, 300), odd])
    with np.errstate(invalid="ignore", over="ignore"):
        at = np.floor(points / RES)
    expected = [model.get(tuple(v), np.nan * 32) / 32 if np.isfinite(v).all() else np.nan for v in at.tolist()]
    np.testing.assert_array_equal(voxels.log_odds(points), expected)


def passed(origin: np.ndarray, ray: np.ndarray, reach: float) -> list[tuple[int, ...]]:
    """The voxels of a plain walk (Amanatides and Woo), in order; origin and reach in voxels."""
    start, direction = origin.tolist(), ray.tolist()
    voxel = [floor(x) for x in start]
    step = [(d > 0) - (d < 0) for d in direction]
    crossing = [
        inf if d == 0 else ((floor(s) + (1.0 if d > 0 else 0.0) - s) / d) for s, d in zip(start, direction, strict=True)
    ]
    spacing = [inf if d == 0 else 1.0 / abs(d) for d in direction]
    voxels, t = [], 0.0
    while t <= reach:
        voxels.append(tuple(voxel))
        axis = min((2, 1, 0), key=lambda a: crossing[a])
        t = crossing[axis]
        voxel[axis] += step[axis]
        crossing[axis] += spacing[axis]
    return voxels


def interval(voxel: tuple[int, ...], origin: np.ndarray, ray: np.ndarray) -> tuple[float, float]:
    """Where a ray enters and leaves a voxel, from its six faces; the first is greater if it misses."""
    with np.errstate(divide="ignore", invalid="ignore"):
        ends = np.stack([(np.array(voxel) - origin) / ray, (np.array(voxel) + 1 - origin) / ray])
    is_between = (np.array(voxel) <= origin) & (origin <= np.array(voxel) + 1)
    low, high = np.where(ray == 0, np.where(is_between, -inf, inf), ends.min(axis=0)), ends.max(axis=0)
    return max(low.max(), 0.0), np.where(ray == 0, inf, high).min()


@given(seeds, st.booleans())
@settings(max_examples=40)
def test_a_ray_ends_on_the_face_of_the_first_voxel_that_stops_it(seed: int, unknown_stops: bool) -> None:
    """What is touched for less than 1e-9 voxels may stop it or not."""
    voxels, rng = random_map(seed), np.random.default_rng(seed)
    model, reach = dictionary(voxels), 9.0 / RES
    origins, rays = lattice(rng, 40), rng.normal(size=(40, 3))
    rays[:20] = rng.integers(-2, 3, (20, 3))  # along axes, faces and diagonals
    rays[(rays == 0).all(axis=1)] = [0.0, 0.0, -1.0]
    units = rays / np.linalg.norm(rays, axis=1, keepdims=True)
    hits = cast.cast_hits(voxels, origins, rays, 9.0, unknown="occupied" if unknown_stops else "free")
    for origin, unit, t, centre, state in zip(
        origins / RES, units, hits.distances / RES, hits.centres, hits.states, strict=True
    ):
        spans = [(*interval(v, origin, unit), v) for v in passed(origin, unit, reach)]
        stops = [
            low for low, high, v in spans
            if high - low > 1e-9 and low < reach - 1e-9 and (model.get(v, 1 if unknown_stops else 0) > 0)
        ]  # fmt: skip
        assert t <= min(stops, default=inf) * (1 + 1e-9) + 1e-9
        if state == cast.NOTHING:
            assert np.isinf(t)
            assert np.isnan(centre).all()
            continue
        voxel = tuple(np.floor(centre / RES).astype(int).tolist())
        low, high = interval(voxel, origin, unit)
        assert low <= high + 1e-9
        assert t == pytest.approx(low, rel=1e-9, abs=1e-12)
        assert state == (cast.UNKNOWN_VOXEL if voxel not in model else cast.OCCUPIED_VOXEL)
        assert model.get(voxel, 1) > 0


def moved(voxels: VoxelMap, by: tuple[int, int, int]) -> VoxelMap:
    """The map with every voxel so many voxels farther on, in other blocks."""
    far = VoxelMap(RES)
    model = {tuple(np.add(v, by).tolist()): cell for v, cell in dictionary(voxels).items()}
    blocks: dict[int, np.ndarray] = {}
    for (x, y, z), cell in model.items():
        cells = blocks.setdefault(pack(x >> 3, y >> 3, z >> 3), np.full(512, UNKNOWN))
        cells[(x & 7) * 64 + (y & 7) * 8 + (z & 7)] = cell
    keys = np.array([*blocks], dtype=np.int64)
    cells = np.stack([*blocks.values()]) if blocks else np.empty((0, 512), dtype=np.int8)
    far.blocks = BlockPool.from_rows(keys, cells, np.zeros(len(keys)))
    return far


@given(seeds, st.tuples(*[st.integers(-20, 20)] * 3), st.sampled_from(["free", "occupied"]))
@settings(max_examples=30)
def test_where_blocks_begin_changes_no_ray(seed: int, by: tuple[int, int, int], unknown: cast.Policy) -> None:
    voxels, rng = random_map(seed), np.random.default_rng(seed)
    origins, rays = lattice(rng, 300).round(3) * 3, rng.normal(size=(300, 3))
    origins, rays[::2] = np.round(origins * 2.0**20) / 2.0**20, rng.integers(-2, 3, (150, 3))
    rays[(rays == 0).all(axis=1)] = [0.0, -1.0, 0.0]
    here = cast.cast_hits(voxels, origins, rays, 40.0, unknown=unknown)
    there = cast.cast_hits(moved(voxels, by), origins + np.array(by) * RES, rays, 40.0, unknown=unknown)
    np.testing.assert_array_equal(here.distances, there.distances)
    np.testing.assert_array_equal(here.states, there.states)
    np.testing.assert_array_equal(here.centres + np.array(by) * RES, there.centres)


@pytest.mark.parametrize("unknown", ["free", "occupied"])
def test_maps_too_wide_for_a_grid_answer_the_same(unknown: cast.Policy, monkeypatch: pytest.MonkeyPatch) -> None:
    voxels, wide, rng = random_map(5, 60), random_map(5, 60), np.random.default_rng(0)
    origins, rays = lattice(rng, 3000) * 1.5, rng.normal(size=(3000, 3))
    assert voxels.summary().grid.size > 0
    monkeypatch.setattr("embmem.maps.voxels.summary._MOST_ENTRIES", 0)
    assert wide.summary().grid.size == 0
    one, other = (cast.cast_hits(v, origins, rays, 20.0, unknown=unknown) for v in (voxels, wide))
    assert (one.states == cast.OCCUPIED_VOXEL).sum() > 20
    assert one.distances.tobytes() == other.distances.tobytes()
    assert one.centres.tobytes() == other.centres.tobytes()
    assert one.states.tobytes() == other.states.tobytes()


def test_a_summary_that_follows_the_map_is_that_of_the_whole_map() -> None:
    voxels, rng = VoxelMap(0.1), np.random.default_rng(3)
    for i in range(12):
        voxels.integrate(rng.normal(size=(40, 3)) * (0.2 + 0.3 * i), np.zeros(3), stamp=float(i))
        kept, fresh, n = voxels.summary(), BlockSummary().of(voxels.blocks), voxels.blocks.n
        for name in ("n_occupied", "n_free", "lowest", "highest", "flags", "solid", "stops"):
            np.testing.assert_array_equal(getattr(kept, name)[: n + 1], getattr(fresh, name)[: n + 1])
        np.testing.assert_array_equal(kept.box, fresh.box)
        np.testing.assert_array_equal(kept.grid, fresh.grid)


def test_unknown_space_stops_a_ray_only_where_that_is_asked_for() -> None:
    voxels = VoxelMap(0.1)
    voxels.integrate(np.array([[1.05, 0.05, 0.05]]), np.array([0.05, 0.05, 0.05]))
    origins, rays = np.full((2, 3), 0.05), np.array([[1.0, 0.0, 0.0], [0.0, 1.0, 0.0]])
    np.testing.assert_allclose(voxels.cast(origins, rays, 3.0), [0.95, inf])
    np.testing.assert_allclose(voxels.cast(origins, rays, 3.0, unknown="occupied"), [0.95, 0.05])
    hits = cast.cast_hits(voxels, origins, rays, 3.0, unknown="occupied")
    assert hits.states.tolist() == [cast.OCCUPIED_VOXEL, cast.UNKNOWN_VOXEL]
    np.testing.assert_allclose(hits.centres, [[1.05, 0.05, 0.05], [0.05, 0.15, 0.05]])


@pytest.mark.parametrize("threads", [2, 3])
def test_threads_change_no_answer(threads: int) -> None:
    voxels, rng = random_map(5, 40), np.random.default_rng(0)
    points, rays = lattice(rng, 2000), rng.normal(size=(2000, 3))
    one = cast.cast_hits(voxels, points, rays, 5.0, unknown="occupied")
    many = cast.cast_hits(voxels, points, rays, 5.0, unknown="occupied", threads=threads)
    assert one.distances.tobytes() == many.distances.tobytes()
    assert one.centres.tobytes() == many.centres.tobytes()
    assert one.states.tobytes() == many.states.tobytes()
    assert cast.read_points(voxels, points).tobytes() == cast.read_points(voxels, points, threads=threads).tobytes()
    for a, b in zip(nearest.nearest(voxels, points, 2), nearest.nearest(voxels, points, 2, threads=threads),
                    strict=True):  # fmt: skip
        assert a.tobytes() == b.tobytes()


def listed(voxels: VoxelMap, state: str) -> np.ndarray:
    """Centres of all voxels of a state, in the order of the map."""
    wanted = {"occupied": (1, 127), "free": (-127, 0), "known": (-127, 127)}[state]
    return voxels._centres(*wanted)[0]


@pytest.mark.parametrize("state", ["occupied", "free", "known"])
@given(seed=seeds)
def test_boxes_and_balls_hold_what_a_list_of_everything_has_in_them(seed: int, state: regions.State) -> None:
    voxels, rng = random_map(seed), np.random.default_rng(seed)
    every = listed(voxels, state)
    low, high = np.sort(lattice(rng, 2), axis=0)
    inside = ((low <= every) & (every <= high)).all(axis=1)
    np.testing.assert_array_equal(voxels.in_box(low, high, state=state), every[inside])
    centre, radius = lattice(rng, 1)[0], float(rng.uniform(0, 4))
    inside = np.linalg.norm(every - centre, axis=1) <= radius
    np.testing.assert_array_equal(voxels.in_radius(centre, radius, state=state), every[inside])


def test_a_box_without_limits_holds_everything_and_a_box_far_away_nothing() -> None:
    voxels = random_map(3, 40)
    everywhere = np.full(3, inf)
    np.testing.assert_array_equal(voxels.in_box(-everywhere, everywhere), voxels.occupied())
    assert len(voxels.in_box(np.full(3, 1e200), everywhere)) == 0
    assert len(voxels.in_radius(np.full(3, -1e100), 5.0)) == 0


def test_few_blocks_of_many_are_found_by_looking_them_up() -> None:
    voxels = random_map(8, 900, reach=5)
    every = voxels.occupied()
    inside = np.linalg.norm(every - [0.1, 0.2, 0.3], axis=1) <= 1.9
    assert inside.sum() > 10
    np.testing.assert_array_equal(voxels.in_radius(np.array([0.1, 0.2, 0.3]), 1.9), every[inside])


@given(seeds)
def test_a_frustum_holds_what_projects_into_the_image(seed: int) -> None:
    voxels, rng = random_map(seed, 30), np.random.default_rng(seed)
    T = camera_pose(rng.uniform(-4, 4, 3), rng.uniform(-3, 3), rng.uniform(-1, 1))
    every = voxels.occupied()
    x, y, z = (every @ invert_pose(T)[:3, :3].T + invert_pose(T)[:3, 3]).T
    with np.errstate(divide="ignore", invalid="ignore"):
        u, v = x / z * CAMERA.fx + CAMERA.cx, y / z * CAMERA.fy + CAMERA.cy
    from_edge = np.min([z - 0.5, 6.0 - z, u + 0.5, 39.5 - u, v + 0.5, 29.5 - v], axis=0)
    found = {tuple(c) for c in voxels.in_frustum(T, CAMERA, near=0.5, far=6.0).tolist()}
    assert {tuple(c) for c in every[from_edge > 1e-9].tolist()} <= found
    assert found <= {tuple(c) for c in every[from_edge > -1e-9].tolist()}


@given(seeds, st.integers(1, 5))
def test_the_k_nearest_are_those_of_a_stable_sort_of_everything(seed: int, k: int) -> None:
    voxels, rng = random_map(seed), np.random.default_rng(seed)
    points = np.concatenate([lattice(rng, 15), lattice(rng, 3) * 20])
    every = voxels.occupied()
    centres, distances = nearest.nearest(voxels, points, k)
    for point, found, d in zip(points, centres, distances, strict=True):
        difference = every - point
        apart = np.sqrt(difference[:, 0] ** 2 + difference[:, 1] ** 2 + difference[:, 2] ** 2)
        best = np.argsort(apart, kind="stable")[:k]
        np.testing.assert_array_equal(d, np.r_[apart[best], np.full(k - len(best), inf)])
        np.testing.assert_array_equal(found[: len(best)], every[best])
        assert np.isnan(found[len(best) :]).all()


def test_answers_follow_the_map_when_it_changes_and_when_it_moves() -> None:
    voxels, asked, eye = VoxelMap(0.1), np.array([[1.55, 0.05, 1.05]]), np.array([0.05, 0.05, 1.05])
    ray = (eye[None], np.array([[1.0, 0.0, 0.0]]), 5.0)
    voxels.integrate(np.array([[3.05, 0.05, 1.05]]), eye, stamp=1.0)
    assert voxels.nearest_occupied(asked)[1][0] == pytest.approx(1.5)
    assert voxels.cast(*ray)[0] == pytest.approx(2.95)
    assert voxels.stats()["free"] == 30
    voxels.integrate(np.array([[1.55, 0.05, 1.05]]), eye, stamp=1.0)
    assert voxels.nearest_occupied(asked)[1][0] == pytest.approx(0.0)
    assert voxels.cast(*ray)[0] == pytest.approx(1.45)
    assert voxels.stats()["free"] == 29
    T = np.eye(4)
    T[0, 3] = 1.0
    voxels.deform(Deformation(stamps=np.array([0.0]), T_new_old=T[None]))
    assert voxels.nearest_occupied(asked + T[:3, 3])[1][0] == pytest.approx(0.0)
    assert voxels.cast(*ray)[0] == pytest.approx(2.45)


@given(seeds, st.floats(0, 40), st.integers(1, 30), st.floats(0, 9))
def test_hits_are_the_nearest_of_everything_in_the_time_asked_for(
    seed: int, radius: float, k: int, since: float
) -> None:
    voxels, near = random_map(seed), lattice(np.random.default_rng(seed), 1)[0]
    centres, rows = voxels._centres(1, 127)
    stamps, distances = voxels.blocks.stamps[rows], np.linalg.norm(centres - near, axis=1)
    for limit in (radius, inf):
        match = (distances <= limit) & (since <= stamps) & (stamps < 7.0)
        best = np.flatnonzero(match)[np.argsort(distances[match], kind="stable")][:k]
        hits = voxels.query(Query(near=near, radius=limit, k=k, since=since, until=7.0))
        assert [hit.score for hit in hits] == (-distances[best]).tolist()
        assert [hit.stamp for hit in hits] == stamps[best].tolist()
        np.testing.assert_array_equal(
            np.array([hit.position for hit in hits]).reshape(-1, 3), centres[best].reshape(-1, 3)
        )


@given(seeds)
def test_bounds_and_volumes_are_those_of_the_listed_voxels(seed: int) -> None:
    voxels = random_map(seed)
    known, stats, box = listed(voxels, "known"), voxels.stats(), voxels.bounds()
    assert stats["known"] == len(known)
    assert stats["occupied"] == len(listed(voxels, "occupied"))
    assert stats["free"] == len(listed(voxels, "free"))
    if box is None:
        assert len(known) == stats["volume_unknown"] == 0
        return
    np.testing.assert_allclose(box, [known.min(axis=0) - RES / 2, known.max(axis=0) + RES / 2])
    whole = stats["volume_occupied"] + stats["volume_free"] + stats["volume_unknown"]
    assert whole == pytest.approx(np.prod(box[1] - box[0]))


@given(seeds, st.integers(1, 5))
def test_chunks_joined_are_the_whole_map(seed: int, n_blocks: int) -> None:
    voxels = random_map(seed)
    chunks = [*regions.iterate(voxels, n_blocks=n_blocks)]
    every = listed(voxels, "known")
    assert all(len(centres) <= 512 * n_blocks for centres, _ in chunks)
    np.testing.assert_array_equal(np.concatenate([np.empty((0, 3)), *(c for c, _ in chunks)]), every)
    np.testing.assert_array_equal(np.concatenate([np.empty(0), *(v for _, v in chunks)]), voxels.log_odds(every))


BAD = np.array([[0.0, np.nan, 0.0]])
ORIGIN = np.zeros((1, 3))
AHEAD = np.array([[1.0, 0.0, 0.0]])


@pytest.mark.parametrize(("call", "named"), [
    (lambda v: v.cast(BAD, AHEAD, 1.0), "nan"),
    (lambda v: v.cast(ORIGIN, BAD, 1.0), "nan"),
    (lambda v: v.cast(ORIGIN, ORIGIN, 1.0), "directions"),
    (lambda v: v.cast(AHEAD * 1e9, AHEAD, 1.0), "e.09"),
    (lambda v: v.cast(ORIGIN, AHEAD, -1.0), "-1.0"),
    (lambda v: v.cast(ORIGIN, AHEAD, float("nan")), "nan"),
    (lambda v: cast.cast_hits(v, ORIGIN, AHEAD, 1.0, threads=0), "threads"),
    (lambda v: nearest.nearest(v, BAD), "nan"),
    (lambda v: nearest.nearest(v, ORIGIN, 0), "got 0"),
    (lambda v: v.in_box(np.ones(3), np.zeros(3)), "low <= high"),
    (lambda v: v.in_box(BAD[0], np.ones(3)), "nan"),
    (lambda v: v.in_radius(np.zeros(3), -0.5), "-0.5"),
    (lambda v: v.in_radius(BAD[0], 0.5), "nan"),
    (lambda v: v.in_frustum(np.eye(4), CAMERA, near=2.0, far=1.0), "2.0"),
    (lambda v: v.in_frustum(np.full((4, 4), np.nan), CAMERA, far=1.0), "nan"),
    (lambda v: [*regions.iterate(v, n_blocks=0)], "n_blocks"),
    (lambda v: v.query(Query(near=np.zeros(3), radius=-1.0)), "-1.0"),
])  # fmt: skip
def test_senseless_questions_are_refused_with_the_value(call, named: str) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(ValueError, match=named):
        call(random_map(1))
