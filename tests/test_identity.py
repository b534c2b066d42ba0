"""Things keep their identity across views, and after they were carried elsewhere."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hydra import compose, initialize_config_module
from hydra.utils import instantiate
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.optimize import linear_sum_assignment
from test_objects import LABELS, Thing, look

from embmem.errors import InputError
from embmem.maps import ObjectMemory
from embmem.maps.identity import IdentityModel
from embmem.maps.identity import features as compared
from embmem.maps.identity.model import ELSEWHERE, HERE, N_FEATURES
from embmem.maps.identity.recognise import associate_gains
from embmem.maps.object_rows import ROW
from embmem.observation import Observation
from embmem.protocols import Deformation, Layer, LayerState
from embmem.records import Query
from embmem.testing import LayerContract

LOOKS = np.linalg.qr(np.random.default_rng(0).normal(size=(8, 8)))[0]  # orthogonal unit rows
MUG = Thing(2, (2.0, 0.0, 1.0))


class TestObjectMemoryWithIdentityContract(LayerContract):
    @pytest.fixture
    def layer(self) -> Layer:
        return ObjectMemory(identity=IdentityModel())


def seen(things: dict[int, Thing], stamp: float, **more: float) -> Observation:
    """A frame in which each thing looks like the row of `LOOKS` that names it."""
    frame = look(list(things.values()), stamp, **more)  # type: ignore[arg-type]
    assert frame.instance is not None
    numbers = enumerate(things, start=1)
    return replace(frame, embeddings={n: LOOKS[which] for n, which in numbers if n in frame.instance})


def recognising(**more: float) -> ObjectMemory:
    return ObjectMemory(identity=IdentityModel(**more))  # type: ignore[arg-type]


def state_bytes(memory: ObjectMemory) -> tuple[str, dict[str, bytes]]:
    state = memory.save()
    return repr(state.params), {name: array.tobytes() for name, array in state.arrays.items()}


def test_a_mug_that_is_carried_elsewhere_keeps_its_id_and_its_history() -> None:
    memory = recognising()
    for stamp in range(5):
        memory.observe(seen({0: MUG}, float(stamp)))
    (before,) = memory.things()
    moved = Thing(2, (1.5, 1.2, 1.0))
    for stamp in range(30_000, 30_006):
        memory.observe(seen({0: moved}, float(stamp)))
    (after,) = memory.things()
    assert after["id"] == before["id"]
    np.testing.assert_allclose(after["position"], moved.position, atol=0.05)  # the image cuts it
    assert (after["first_seen"], after["here_since"]) == (0.0, 30_000.0)
    assert after["confidence"] > 0.9
    (left,) = memory.places_left(int(after["id"]))
    np.testing.assert_allclose(left["position"], MUG.position, atol=0.03)
    assert (left["first_seen"], left["last_seen"]) == (0.0, 4.0)


def test_another_mug_elsewhere_is_a_new_thing() -> None:
    memory = recognising()
    for stamp in range(5):
        memory.observe(seen({0: MUG}, float(stamp)))
    for stamp in range(30_000, 30_006):
        memory.observe(seen({1: Thing(2, (1.5, 1.2, 1.0))}, float(stamp)))
    assert len(memory.things()) == 2
    assert len(memory.places_left()) == 0


def test_a_mug_found_elsewhere_before_its_place_was_seen_empty_becomes_the_one_that_is_missed() -> None:
    """Here without looks: only the empty place tells that the other mug is the one that stood there."""
    memory = recognising(least_elsewhere=1.0)
    for stamp in range(5):
        memory.observe(look([MUG], float(stamp)))
    other = Thing(2, (-2.0, 0.0, 1.0))
    for stamp in range(100, 103):
        memory.observe(look([other], float(stamp), yaw=np.pi))
    assert len(memory.things()) == 2
    memory.identity = IdentityModel(
        elsewhere_blind=(1.0, *[0.0] * 6, -1.0, *[0.0] * (N_FEATURES - 8))
    )  # the doubt alone counts
    for stamp in range(103, 110):
        memory.observe(look([], float(stamp)))
    (thing,) = memory.things()
    assert thing["id"] == 0
    np.testing.assert_allclose(thing["position"], other.position, atol=0.03)
    assert thing["times_seen"] == 8


def test_a_thing_that_is_missed_in_a_session_with_an_earlier_clock_is_not_its_own_return() -> None:
    """A bag that is played again: things are seen before they were seen first."""
    memory = recognising(least_elsewhere=1.0)
    for stamp in (100.0, 101.0, 102.0, 5.0, 6.0):
        memory.observe(look([MUG], stamp))
    for stamp in range(7, 12):
        memory.observe(look([], float(stamp)))
    assert [thing["id"] for thing in memory.things()] in ([], [0])


def test_two_mugs_that_change_places_keep_their_ids() -> None:
    memory = recognising()
    left, right = Thing(2, (2.0, 0.5, 1.0)), Thing(2, (2.0, -0.5, 1.0))
    for stamp in range(5):
        memory.observe(seen({0: left, 1: right}, float(stamp)))
    ids = {float(np.sign(thing["position"][1])): int(thing["id"]) for thing in memory.things()}
    for stamp in range(30_000, 30_005):
        memory.observe(seen({1: left, 0: right}, float(stamp)))
    after = {float(np.sign(thing["position"][1])): int(thing["id"]) for thing in memory.things()}
    assert after == {1.0: ids[-1.0], -1.0: ids[1.0]}


def test_a_wrong_label_makes_no_second_thing() -> None:
    memory = recognising()
    for stamp in range(5):
        memory.observe(seen({0: MUG}, float(stamp)))
    memory.observe(seen({0: Thing(3, MUG.position)}, 5.0))
    (thing,) = memory.things()
    assert memory.categories[thing["category"]] == "mug"
    for stamp in range(6, 20):
        memory.observe(seen({0: Thing(3, MUG.position)}, float(stamp)))
    (thing,) = memory.things()
    assert memory.categories[thing["category"]] == "book"


def test_a_stranger_at_its_place_does_not_hide_that_a_mug_is_gone() -> None:
    memory, plain = recognising(), ObjectMemory()
    for stamp in range(5):
        memory.observe(seen({0: MUG}, float(stamp)))
        plain.observe(seen({0: MUG}, float(stamp)))
    for stamp in range(30_000, 30_010):
        memory.observe(seen({1: MUG}, float(stamp)))
        plain.observe(seen({1: MUG}, float(stamp)))
    old, new = memory.things()
    assert old["times_seen"] == 5
    assert old["confidence"] < 0.5
    assert new["confidence"] > 0.9
    assert len(plain.things()) == 1


@st.composite
def scenes(draw: st.DrawFn) -> list[dict[int, Thing]]:
    """A few frames of up to five things that lie anywhere in front of the camera."""
    frames = []
    for _ in range(draw(st.integers(1, 5))):
        names = draw(st.lists(st.integers(0, 7), unique=True, max_size=5))
        frames.append({
            name: Thing(draw(st.integers(2, 3)), (draw(st.integers(10, 40)) / 10.0, draw(st.integers(-15, 15)) / 10.0,
                                                   draw(st.integers(5, 15)) / 10.0))
            for name in names
        })  # fmt: skip
    return frames


@settings(max_examples=25, deadline=None)
@given(scenes(), st.randoms(use_true_random=False))
def test_how_the_segments_of_a_frame_are_numbered_changes_nothing(frames: list[dict[int, Thing]], random) -> None:  # type: ignore[no-untyped-def]
    plain, renumbered = recognising(), recognising()
    for stamp, things in enumerate(frames):
        observation = seen(things, 900.0 * stamp)
        assert observation.instance is not None
        assert observation.embeddings is not None
        plain.observe(observation)
        numbers = list(range(1, len(things) + 1))
        random.shuffle(numbers)
        new = np.array([0, *numbers], dtype=np.int32)
        embeddings = {int(new[n]): vector for n, vector in observation.embeddings.items()}
        other = dict(sorted(embeddings.items(), reverse=True))
        renumbered.observe(replace(observation, instance=new[observation.instance], embeddings=other))
        assert state_bytes(plain) == state_bytes(renumbered)
        assert {int(new[n]): thing for n, thing in plain.seen_now.items()} == renumbered.seen_now


@settings(max_examples=25, deadline=None)
@given(scenes())
def test_two_segments_of_one_frame_never_share_an_id(frames: list[dict[int, Thing]]) -> None:
    memory = recognising(least_here=-30.0, least_elsewhere=-30.0)  # as eager to merge as can be
    stand_for: dict[int, set[int]] = {}
    for stamp, things in enumerate(frames * 2):
        memory.observe(seen(things, 900.0 * stamp))
        ids = list(memory.seen_now.values())
        assert len(set(ids)) == len(ids)
        for thing in ids:
            stand_for.setdefault(thing, set()).update(set(ids) - {thing})
    alive = set(memory.things()["id"].tolist())
    apart = {(int(a), int(b)) for a, b in memory.table.apart}
    for a, others in stand_for.items():
        for b in others & alive if a in alive else ():
            assert (min(a, b), max(a, b)) in apart
            with pytest.raises(ValueError, match="in one frame"):
                memory.merge(a, b)


gains = arrays(np.float64, st.tuples(st.integers(0, 6), st.integers(0, 6)),
               elements=st.integers(0, 40).map(lambda x: max(0, x - 15) / 8))  # fmt: skip


@given(gains)
def test_the_assignment_gains_as_much_as_any(gain: np.ndarray) -> None:
    rows, columns = associate_gains(gain)
    assert len(set(rows.tolist())) == len(set(columns.tolist())) == len(rows)
    assert (gain[rows, columns] > 0).all()
    assert gain[rows, columns].sum() == pytest.approx(gain[linear_sum_assignment(-gain)].sum())


def test_scores_are_the_weighted_sum_of_their_regime() -> None:
    rng = np.random.default_rng(0)
    weights = rng.normal(size=(4, N_FEATURES))
    model = IdentityModel(*weights.tolist())
    features = rng.normal(size=(5, 7, N_FEATURES))
    features[::2, :, -1] = 0.0
    regime = rng.integers(0, 3, size=(5, 7))
    scores = model.log_odds(features, regime)
    for i in range(5):
        for j in range(7):
            of = {HERE: weights[2 if i % 2 == 0 else 0], ELSEWHERE: weights[3 if i % 2 == 0 else 1]}
            expected = features[i, j] @ of[regime[i, j]] if regime[i, j] else -np.inf
            assert scores[i, j] == pytest.approx(expected)


def test_looks_at_right_angles_are_looks() -> None:
    rows = np.zeros(3, dtype=ROW)
    looks = np.array([[1.0, 0.0], [0.0, 1.0], [0.0, 0.0]], dtype=np.float32)  # of the last one nothing is known
    features, _ = compared.compare(compared.things(rows), compared.things(rows), (looks, looks), gate=0.3)
    assert ((features[..., -1] != 0.0) == [[True, True, False], [True, True, False], [False] * 3]).all()
    assert abs(features[0, 1, -2:]).max() < 1e-6
    each, _ = compared.compare_each(
        compared.things(rows), compared.things(rows[::-1].copy()), (looks, looks[::-1]), gate=0.3
    )
    assert (each[..., -1] != 0.0).tolist() == [False, True, False]


@pytest.mark.parametrize(("identity", "is_missed"), [(IdentityModel(), True), (None, False)])
def test_a_sliver_of_a_thing_is_missed_where_it_is_not(identity: IdentityModel | None, is_missed: bool) -> None:
    memory = ObjectMemory(identity=identity, min_pixels=1)
    memory.observe(look([MUG], 0.0))
    memory.table.rows["box"][:, 1, 2] = memory.table.rows["box"][:, 0, 2]  # flat
    memory.observe(look([], 1.0))
    assert (memory.things()["times_missed"] > 0).tolist() == [is_missed]


def test_looks_are_the_mean_of_unit_embeddings() -> None:
    memory = recognising()
    vectors = [LOOKS[0] + 0.1 * LOOKS[k] for k in range(1, 4)]
    for stamp, vector in enumerate(vectors):
        memory.observe(replace(seen({0: MUG}, float(stamp)), embeddings={1: 3.0 * vector}))
    mean = np.mean([vector / np.linalg.norm(vector) for vector in vectors], axis=0)
    found = memory.look(0)
    assert found is not None
    np.testing.assert_allclose(found, mean, atol=1e-6)
    memory.observe(look([Thing(3, (2.0, 0.7, 1.0))], 9.0))
    assert memory.look(1) is None


def test_embeddings_of_another_length_are_refused_and_change_nothing() -> None:
    memory = recognising()
    memory.observe(seen({0: MUG}, 0.0))
    before = state_bytes(memory)
    for embeddings in ({1: np.ones(5)}, {1: np.ones((2, 2))}):
        with pytest.raises(ValueError, match="length"):
            memory.observe(replace(seen({0: MUG}, 1.0), embeddings=embeddings))
        assert state_bytes(memory) == before
    ObjectMemory().observe(replace(seen({0: MUG}, 1.0), embeddings={1: np.ones(5)}))  # which does not compare them


def test_a_deformation_moves_the_places_that_were_left() -> None:
    memory = recognising()
    for stamp in range(3):
        memory.observe(seen({0: MUG}, float(stamp)))
    for stamp in range(30_000, 30_003):
        memory.observe(seen({0: Thing(2, (1.5, 1.2, 1.0))}, float(stamp)))
    (now,), (left,) = memory.things(), memory.places_left()
    T = np.tile(np.eye(4), (2, 1, 1))
    T[:, 0, 3] = (5.0, 7.0)
    memory.deform(Deformation(stamps=np.array([2.0, 30_002.0]), T_new_old=T))
    assert memory.things()["position"][0, 0] == pytest.approx(now["position"][0] + 7.0)
    assert memory.places_left()["position"][0, 0] == pytest.approx(left["position"][0] + 5.0)
    memory.undo(memory.operations()[-1].id)  # the two of before lie where the map has moved to
    found = sorted(memory.things()["position"][:, 0])
    np.testing.assert_allclose(found, sorted([left["position"][0] + 5.0, now["position"][0] + 7.0]), atol=0.03)


def test_a_memory_of_version_1_opens_with_its_things() -> None:
    memory = ObjectMemory()
    for stamp in range(3):
        memory.observe(look([MUG], float(stamp)))
    state = memory.save()
    names = ("id", "category", "position", "box", "weight", "log_odds", "first_seen", "last_seen", "times_seen",
             "times_missed", "categories", "next_id")  # fmt: skip
    old = LayerState(state.kind, 1, state.params, {name: state.arrays[name] for name in names})
    assert state_bytes(ObjectMemory.load(old)) == state_bytes(memory)


@pytest.mark.parametrize("params", [
    {"here": [1.0]}, {"here": ["a"] * N_FEATURES}, {"least_here": True}, {"here": [np.nan] * N_FEATURES}, {"what": 1.0},
    {"least_elsewhere": 10**400}, {"here": None},
])  # fmt: skip
def test_malformed_models_are_refused(params: dict[str, object]) -> None:
    state = recognising().save()
    with pytest.raises(InputError):
        ObjectMemory.load(replace(state, params={**state.params, "identity": {**state.params["identity"], **params}}))
    with pytest.raises(InputError):
        ObjectMemory.load(replace(state, params={**state.params, "identity": 3}))


def test_the_config_builds_a_memory_with_the_default_model() -> None:
    with initialize_config_module("embmem.configs", version_base="1.3"):
        layer = instantiate(compose("map/objects_identity").map)
    assert isinstance(layer, ObjectMemory)
    assert layer.save().params == recognising().save().params


def test_the_default_ignores_looks() -> None:
    with_looks, without = ObjectMemory(), ObjectMemory()
    for stamp in range(4):
        observation = seen({0: MUG, 1: Thing(2, (2.0, 0.7, 1.0))}, float(stamp))
        with_looks.observe(observation)
        without.observe(replace(observation, embeddings=None))
    assert state_bytes(with_looks) == state_bytes(without)
    assert [hit.entity for hit in with_looks.query(Query())] == [LABELS[2], LABELS[2]]
