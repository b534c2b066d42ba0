"""The object memory in scenes that a reader can draw: squares that face the camera, in front of a far wall."""

from __future__ import annotations

import itertools
from dataclasses import dataclass, replace

import networkx as nx
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from embmem.errors import InputError
from embmem.geometry import camera_pose, invert_pose, project
from embmem.maps import ObjectMemory
from embmem.maps.association import associate
from embmem.observation import Intrinsics, Observation
from embmem.protocols import Deformation, Layer
from embmem.records import Hit, Query
from embmem.testing import LayerContract

LABELS = ("unlabelled", "wall", "mug", "book", "sofa")
K = Intrinsics.from_fov(128, 96, 79.0)


class TestObjectMemoryContract(LayerContract):
    @pytest.fixture
    def layer(self) -> Layer:
        return ObjectMemory()


@dataclass(frozen=True)
class Thing:
    """A square of `width` [m] around (x, y, z) that always faces the camera; label 1 only hides what is behind."""

    label: int
    position: tuple[float, float, float]
    width: float = 0.2


def look(things: list[Thing], stamp: float, *, at: tuple[float, float] = (0.0, 0.0), yaw: float = 0.0,
         is_detected: bool = True) -> Observation:  # fmt: skip
    """What a camera 1 m above `at` sees of the things; nothing else is nearer than 6 m."""
    T = camera_pose(np.array([*at, 1.0]), yaw)
    depth = np.full((K.height, K.width), 6.0, dtype=np.float32)
    semantic = np.ones(depth.shape, dtype=np.int32)
    instance = np.zeros(depth.shape, dtype=np.int32)
    rows, columns = np.mgrid[: K.height, : K.width]
    for number, thing in enumerate(things, start=1):
        point = np.array([thing.position]) @ invert_pose(T)[:3, :3].T + invert_pose(T)[:3, 3]
        (u, v), z = project(point, K)[0], point[0, 2]
        half = 0.5 * thing.width * K.fx / z
        covered = (np.abs(columns - u) <= half) & (np.abs(rows - v) <= half) & (depth > z) & (z > 0)
        depth[covered] = z
        semantic[covered] = thing.label if is_detected else 1
        instance[covered] = number if is_detected and thing.label > 1 else 0
    return Observation(stamp, T, K, depth=depth, semantic=semantic, instance=instance, labels=LABELS)


def confidence(hit: Hit) -> float:
    return hit.detail["confidence"]


def place(hit: Hit) -> np.ndarray:
    return np.asarray(hit.position, dtype=np.float64)


def mugs(memory: ObjectMemory) -> list[Hit]:
    return memory.query(Query(entity="mug"))


MUG = Thing(2, (2.0, 0.0, 1.0))


def test_seen_twice_is_one_thing_at_its_place() -> None:
    memory = ObjectMemory()
    memory.observe(look([MUG], 1.0))
    memory.observe(look([MUG], 2.0, at=(0.5, 0.4), yaw=-0.2))
    (hit,) = mugs(memory)
    np.testing.assert_allclose(place(hit), MUG.position, atol=0.03)
    assert hit.entity == "mug"
    assert (hit.stamp, hit.detail["first_seen"], hit.detail["times_seen"]) == (2.0, 1.0, 2.0)
    assert confidence(hit) > 0.6
    assert memory.count("mug") == 1


def test_a_false_positive_seen_once_is_never_believed_and_dies_when_looked_for() -> None:
    memory = ObjectMemory()
    memory.observe(look([MUG], 0.0))
    assert confidence(mugs(memory)[0]) < 0.5
    assert memory.count("mug") == 0
    for stamp in range(1, 4):
        memory.observe(look([], float(stamp)))
    assert mugs(memory) == []
    assert len(memory) == 0


def test_two_mugs_one_metre_apart_stay_two() -> None:
    memory = ObjectMemory()
    left, right = Thing(2, (2.0, 0.5, 1.0)), Thing(2, (2.0, -0.5, 1.0))
    for stamp in range(6):
        memory.observe(look([left, right] if stamp % 2 else [right, left], float(stamp), yaw=0.1 * (stamp % 3)))
    assert memory.count("mug") == 2
    found = sorted(place(hit)[1] for hit in mugs(memory))
    np.testing.assert_allclose(found, [-0.5, 0.5], atol=0.03)


def test_different_categories_at_one_place_are_different_things() -> None:
    memory = ObjectMemory()
    for stamp in range(4):
        memory.observe(look([Thing(2 + stamp % 2, MUG.position)], float(stamp)))
    assert {hit.entity for hit in memory.query(Query())} == {"mug", "book"}


def test_a_moved_mug_is_found_at_its_new_place_and_doubted_at_the_old_one() -> None:
    memory = ObjectMemory()
    for stamp in range(5):
        memory.observe(look([MUG], float(stamp)))
    moved = Thing(2, (2.0, 1.2, 1.0))
    for stamp in range(10, 18):
        memory.observe(look([moved], float(stamp)))
    best, old = mugs(memory)
    np.testing.assert_allclose(place(best), moved.position, atol=0.03)
    np.testing.assert_allclose(place(old), MUG.position, atol=0.03)
    assert confidence(best) > 0.9
    assert confidence(old) < 0.2
    assert old.stamp == 4.0  # still answers when it was last seen there
    assert memory.count("mug") == 1


@pytest.mark.parametrize("frames", [1, 12])
def test_what_is_hidden_out_of_view_or_too_far_keeps_its_confidence(frames: int) -> None:
    memory = ObjectMemory()
    for stamp in range(4):
        memory.observe(look([MUG], float(stamp)))
    before = confidence(mugs(memory)[0])
    hider = Thing(1, (1.2, 0.0, 1.0), width=0.8)
    for stamp in range(10, 10 + frames):
        memory.observe(look([MUG, hider], float(stamp)))
        memory.observe(look([], float(stamp), yaw=2.0))
        memory.observe(look([], float(stamp), at=(-4.0, 0.0)))
    assert confidence(mugs(memory)[0]) == before


def test_one_missed_detection_costs_little() -> None:
    memory = ObjectMemory()
    for stamp in range(6):
        memory.observe(look([MUG], float(stamp)))
    memory.observe(look([MUG], 6.0, is_detected=False))
    assert confidence(mugs(memory)[0]) > 0.9
    assert mugs(memory)[0].detail["times_missed"] == 1


def test_invalid_depth_at_its_place_is_no_evidence() -> None:
    memory = ObjectMemory()
    for stamp in range(3):
        memory.observe(look([MUG], float(stamp)))
    before = confidence(mugs(memory)[0])
    blind = look([], 3.0)
    memory.observe(replace(blind, depth=np.full_like(blind.depth, np.nan)))
    assert confidence(mugs(memory)[0]) == before


def test_near_sightings_outweigh_far_ones_that_are_off() -> None:
    memory = ObjectMemory()
    for stamp in range(4):
        memory.observe(look([Thing(2, (1.0, 0.15, 1.0))], float(stamp), at=(-3.5, 0.0)))
    for stamp in range(4):
        memory.observe(look([Thing(2, (1.0, 0.0, 1.0))], 4.0 + stamp))
    assert abs(place(mugs(memory)[0])[1]) < 0.02


def test_a_sofa_seen_in_parts_is_one_sofa() -> None:
    """Two metres wide and never wholly in the image while the camera pans across it."""
    memory, sofa = ObjectMemory(), Thing(4, (1.3, 0.0, 1.0), width=2.0)
    for stamp, yaw in enumerate(np.linspace(-1.0, 1.0, 11)):
        memory.observe(look([sofa], float(stamp), yaw=float(yaw)))
    memory.observe(look([sofa], 20.0, at=(-1.0, 0.0)))
    assert memory.count("sofa") == 1
    (hit,) = memory.query(Query(entity="sofa"))
    assert np.linalg.norm(place(hit) - np.array(sofa.position)) < 0.35


def test_background_and_specks_are_no_things() -> None:
    memory = ObjectMemory(min_pixels=12)
    memory.observe(look([Thing(1, (2.0, 0.0, 1.0), width=1.0), Thing(2, (4.5, 0.0, 1.0), width=0.04)], 0.0))
    assert len(memory) == 0


def test_without_instances_connected_regions_are_the_things() -> None:
    memory = ObjectMemory()
    pair = [Thing(2, (2.0, 0.4, 1.0)), Thing(2, (2.0, -0.4, 1.0)), Thing(3, (2.0, 0.0, 1.3))]
    for stamp in range(3):
        memory.observe(replace(look(pair, float(stamp)), instance=None))
    assert (memory.count("mug"), memory.count("book")) == (2, 1)


def test_instance_numbers_mean_nothing_beyond_their_frame() -> None:
    pair = [Thing(2, (2.0, 0.4, 1.0)), Thing(2, (2.0, -0.4, 1.0))]
    plain, renumbered = ObjectMemory(), ObjectMemory()
    for stamp in range(4):
        observation = look(pair, float(stamp))
        plain.observe(observation)
        assert observation.instance is not None
        big = np.where(observation.instance == 0, 0, 70_000 - 13 * observation.instance * (1 + stamp))
        renumbered.observe(replace(observation, instance=big))
    a, b = (sorted(place(hit).tolist() for hit in mugs(memory)) for memory in (plain, renumbered))
    np.testing.assert_allclose(a, b)


def test_detectors_with_other_labels_share_the_memory() -> None:
    memory = ObjectMemory()
    memory.observe(look([MUG], 0.0))
    other = look([Thing(3, MUG.position)], 1.0)
    memory.observe(replace(other, labels=("unlabelled", "wall", "plate", "mug")))
    (hit,) = mugs(memory)
    assert hit.detail["times_seen"] == 2
    blind = look([], 2.0)  # this detector does not know mugs, so seeing none means nothing
    before = confidence(hit)
    memory.observe(replace(blind, labels=("unlabelled", "wall")))
    assert confidence(mugs(memory)[0]) == before


def test_queries_filter_by_name_place_and_time() -> None:
    memory = ObjectMemory()
    for stamp in range(3):
        memory.observe(look([MUG, Thing(3, (2.0, 0.7, 1.0))], float(stamp)))
    memory.observe(look([Thing(3, (2.0, 0.7, 1.0)), MUG], 7.0, yaw=0.9))  # the mug is out of view
    assert [hit.entity for hit in memory.query(Query(since=5.0))] == ["book"]
    assert [hit.entity for hit in memory.query(Query(until=7.0))] == ["mug"]
    near = np.array([2.0, 0.7, 1.0])
    assert [hit.entity for hit in memory.query(Query(near=near, radius=0.3))] == ["book"]
    assert [hit.entity for hit in memory.query(Query(near=near))] == ["book", "mug"]
    assert memory.query(Query(entity="MUG "))[0].entity == "mug"
    assert memory.query(Query(entity="unicorn")) == memory.query(Query(kind="voxels")) == []
    assert memory.count("unicorn") == 0


def test_a_deformation_moves_things_with_their_last_sighting() -> None:
    memory = ObjectMemory()
    memory.observe(look([MUG], 1.0))
    memory.observe(look([Thing(3, (-2.0, 0.0, 1.0))], 2.0, yaw=np.pi))
    T = np.stack([np.eye(4), camera_pose(np.array([0.0, 0.5, 0.0]), np.pi / 2)])
    book = place(memory.query(Query(entity="book"))[0])
    memory.deform(Deformation(stamps=np.array([1.0, 2.0]), T_new_old=T))
    np.testing.assert_allclose(place(mugs(memory)[0]), MUG.position, atol=0.03)
    np.testing.assert_allclose(place(memory.query(Query(entity="book"))[0]), T[1, :3, :3] @ book + T[1, :3, 3])


def test_things_are_told_as_plain_arrays() -> None:
    memory = ObjectMemory()
    for stamp in range(3):
        memory.observe(look([MUG, Thing(3, (2.0, 0.7, 1.0))], float(stamp)))
    things = memory.things()
    hits = sorted(memory.query(Query()), key=lambda hit: hit.detail["id"])
    assert [memory.categories[i] for i in things["category"]] == [hit.entity for hit in hits]
    assert things["id"].tolist() == [hit.detail["id"] for hit in hits]
    np.testing.assert_array_equal(things["position"], [place(hit) for hit in hits])
    np.testing.assert_allclose(things["confidence"], [confidence(hit) for hit in hits])
    assert things["first_seen"].tolist() == [0.0, 0.0]
    assert things["last_seen"].tolist() == [2.0, 2.0]
    things["position"] = 9.0
    assert abs(memory.things()["position"]).max() < 9.0


costs = arrays(np.float64, st.tuples(st.integers(0, 4), st.integers(0, 4)),
               elements=st.one_of(st.just(np.inf), st.integers(0, 40).map(lambda x: x / 8)))  # fmt: skip


@given(costs)
def test_association_is_the_best_of_all_one_to_one_pairings(cost: np.ndarray) -> None:
    rows, columns = associate(cost)
    n, m = cost.shape
    best = (0, 0.0)
    for size in range(min(n, m) + 1):
        for some in itertools.combinations(range(n), size):
            for others in itertools.permutations(range(m), size):
                total = float(cost[list(some), list(others)].sum())
                if np.isfinite(total):
                    best = min(best, (-size, total))
    assert len(set(rows.tolist())) == len(set(columns.tolist())) == len(rows)
    assert (-len(rows), float(cost[rows, columns].sum())) == pytest.approx(best)


@given(arrays(np.int32, st.tuples(st.integers(1, 8), st.integers(1, 8)), elements=st.integers(0, 2)))
def test_regions_are_the_connected_components_of_each_label(semantic: np.ndarray) -> None:
    from embmem.maps.segments import _regions

    graph = nx.grid_2d_graph(*semantic.shape)
    graph.remove_edges_from([(a, b) for a, b in graph.edges if semantic[a] != semantic[b]])
    graph.remove_nodes_from([tuple(cell) for cell in np.argwhere(semantic == 0).tolist()])
    expected = {frozenset(part) for part in nx.connected_components(graph)}
    ids = _regions(semantic)
    ours = {frozenset((int(r), int(c)) for r, c in np.argwhere(ids == i)) for i in range(1, ids.max() + 1)}
    assert ours == expected
    assert (ids[semantic == 0] == 0).all()


def test_malformed_states_are_refused() -> None:
    memory = ObjectMemory()
    for stamp in range(3):
        memory.observe(look([MUG, Thing(3, (2.0, 0.7, 1.0))], float(stamp)))
    state = memory.save()
    for name, value in {
        "category": [0, 99], "id": [1, 1], "next_id": [0], "first_seen": [9e9, 9e9],
        "box": [[[1, 1, 1], [0, 0, 0]]] * 2,
        "times_seen": [0, 0], "weight": [np.nan, 1.0], "position": np.zeros((3, 3)), "log_odds": [50.0, 0.0],
        "categories": np.frombuffer(b'["a", "a"]', dtype=np.uint8), "times_missed": [-1, 0],
    }.items():  # fmt: skip
        array = np.asarray(value).astype(state.arrays[name].dtype)
        with pytest.raises(InputError):
            ObjectMemory.load(replace(state, arrays={**state.arrays, name: array}))
    for encoded in (b"\xff\xfe", b"{}", b"[1]", b"[" * 100_000):
        damaged = np.frombuffer(encoded, dtype=np.uint8)
        with pytest.raises(InputError):
            ObjectMemory.load(replace(state, arrays={**state.arrays, "categories": damaged}))
    for change in ({"gate": -1.0}, {"gate": "wide"}, {"background": "wall"}, {"extra": 1.0}, {"min_pixels": 2.5}):
        with pytest.raises(InputError):
            ObjectMemory.load(replace(state, params={**state.params, **change}))


@pytest.mark.parametrize("arguments", [
    {"min_pixels": 0}, {"gate": 0.0}, {"max_range": -1.0}, {"hit": -1.0}, {"miss": 0.5}, {"low": 3.0}, {"high": np.inf},
])  # fmt: skip
def test_senseless_parameters_are_refused(arguments: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="need"):
        ObjectMemory(**arguments)  # type: ignore[arg-type]
