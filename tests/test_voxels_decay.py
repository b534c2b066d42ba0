"""Layers whose weights decay: closed form, forgetting, and the split into what stays and what moves."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hydra import compose, initialize_config_module
from hydra.utils import instantiate
from hypothesis import given, settings
from hypothesis import strategies as st

from embmem.errors import InputError
from embmem.maps import DecayLayers, VoxelMap
from embmem.maps.voxels.motion import weights
from embmem.maps.voxels.motion.changes import locate
from embmem.observation import Observation
from embmem.protocols import Layer
from embmem.records import Query
from embmem.testing import LayerContract, wall_ahead

MUG = np.array([[1.83, 0.0, 1.0]])  # on the picture of `wall_ahead(distance=2.02)`
WALL = np.array([[2.02, 0.5, 1.2]])


def looking(stamp: float) -> Observation:
    return wall_ahead(stamp, distance=2.02)


def away(stamp: float) -> Observation:
    """Looks the other way, so that a step passes and nothing in front is seen."""
    return wall_ahead(stamp, distance=2.02, yaw=np.pi)


def weight(layers: DecayLayers, name: str, points: np.ndarray) -> np.ndarray:
    voxels, decay = {
        "static": (layers.static, layers.static_decay),
        "dynamic": (layers.dynamic, layers.dynamic_decay),
    }[name]
    return weights.weights_at(voxels.blocks, *locate(voxels, points), step=layers.step, decay=decay)


class TestDecayLayersContract(LayerContract):
    @pytest.fixture
    def layer(self) -> Layer:
        return DecayLayers(VoxelMap(0.1), VoxelMap(0.1))


class TestTrackingLayersContract(LayerContract):
    @pytest.fixture
    def layer(self) -> Layer:
        return DecayLayers(VoxelMap(0.1, track_changes=True), VoxelMap(0.1), max_rate=0.05, period=0.5, removal=None)


@given(st.integers(0, 5000), st.floats(0.9, 1.0), st.floats(0.9, 1.0))
@settings(max_examples=20)
def test_weights_are_the_closed_form_after_any_number_of_steps(n: int, static: float, dynamic: float) -> None:
    layers = DecayLayers(
        VoxelMap(0.1), VoxelMap(0.1), static_decay=static, dynamic_decay=dynamic, period=1.0, least=1e-30
    )
    layers.observe(looking(0.0))
    layers.tick(float(n))
    assert weight(layers, "dynamic", MUG)[0] == pytest.approx(1.0 * dynamic**n, rel=1e-6, abs=1e-30)
    assert weight(layers, "static", WALL)[0] == pytest.approx(1.0 * static**n, rel=1e-6, abs=1e-30)


@given(st.lists(st.booleans(), min_size=1, max_size=25))
@settings(max_examples=20)
def test_looking_again_adds_to_what_has_decayed(looks: list[bool]) -> None:
    layers = DecayLayers(VoxelMap(0.1), VoxelMap(0.1), static_decay=0.9, dynamic_decay=0.7, most=2.5)
    static = dynamic = 0.0
    for i, is_looking in enumerate(looks):
        layers.observe(looking(float(i)) if is_looking else away(float(i)))
        static = min(static * 0.9 + is_looking, 2.5)
        dynamic = min(dynamic * 0.7 + is_looking, 2.5)
    if any(looks):
        np.testing.assert_allclose(weight(layers, "static", WALL), static, rtol=1e-6)
        np.testing.assert_allclose(weight(layers, "dynamic", MUG), dynamic, rtol=1e-6)


def test_each_label_goes_to_its_layer() -> None:
    layers = DecayLayers(VoxelMap(0.1), VoxelMap(0.1), movable=["MUG"])
    layers.observe(looking(0.0))
    assert layers.dynamic.log_odds(MUG)[0] > 0
    assert np.isnan(layers.dynamic.log_odds(WALL)[0])
    assert layers.static.log_odds(WALL)[0] > 0
    assert not layers.static.log_odds(MUG)[0] > 0
    everything = VoxelMap(0.1)
    everything.observe(looking(0.0))
    split = np.concatenate([layers.static.occupied(), layers.dynamic.occupied()])
    assert {tuple(p) for p in split.round(3)} == {tuple(p) for p in everything.occupied().round(3)}


def test_what_weighs_too_little_is_not_answered_and_unknown_after_a_sweep() -> None:
    layers = DecayLayers(VoxelMap(0.05), VoxelMap(0.05), least=0.5)
    layers.observe(looking(0.0))
    n_static, n_dynamic = (len(voxels.occupied()) for voxels in (layers.static, layers.dynamic))
    ask = Query(near=MUG[0], radius=0.05, k=1)
    lifetime = int(np.log(0.5) / np.log(0.98))  # 34 steps
    for i in range(lifetime):
        layers.observe(away(float(i + 1)))
    assert layers.query(ask)[0].detail["weight"] == pytest.approx(0.98**lifetime)
    assert layers.query(ask)[0].detail["dynamic"] == 1.0
    layers.observe(away(40.0))
    assert layers.query(ask) == []
    n_behind = len(layers.static.occupied()) - n_static
    assert len(layers.dynamic.occupied()) > 0  # not swept yet
    layers.tick(41.0)
    near = np.linalg.norm(layers.dynamic.occupied() - MUG, axis=1)
    assert n_dynamic > 0
    assert (near > 1.0).all()
    assert len(layers.static.occupied()) == n_static + n_behind


def test_sweeping_now_and_then_frees_what_is_forgotten() -> None:
    layers = DecayLayers(VoxelMap(0.05), VoxelMap(0.05), dynamic_decay=0.5)
    layers.observe(looking(0.0))
    for i in range(64):
        layers.observe(away(float(i + 1)))
    assert np.linalg.norm(layers.dynamic.occupied() - MUG, axis=1).min() > 1.0


def test_a_movable_thing_that_left_is_removed_from_its_layer() -> None:
    layers = DecayLayers(VoxelMap(0.05), VoxelMap(0.05))
    layers.observe(looking(0.0))
    gone = replace(looking(1.0), depth=np.full((24, 32), 2.02, np.float32), semantic=np.ones((24, 32), np.int32))
    layers.observe(gone)
    assert len(layers.dynamic.occupied()) == 0
    assert weight(layers, "dynamic", MUG)[0] == 0.0


def test_what_flips_often_goes_to_the_dynamic_layer_without_a_label() -> None:
    layers = DecayLayers(VoxelMap(0.05, track_changes=True), VoxelMap(0.05), movable=[], max_rate=0.02)
    for i in range(48):
        depth = np.full((24, 32), 2.02, np.float32)
        depth[9:15, 13:19] -= 0.2 * (i // 6 % 2)  # comes and goes
        frame = replace(looking(i / 6.0), depth=depth, semantic=None, labels=())
        layers.observe(frame)
    is_dynamic = layers.is_dynamic(looking(9.0))
    assert is_dynamic[9:15, 13:19].any()
    is_dynamic[9:15, 13:19] = False
    assert not is_dynamic.any()


def test_a_period_counts_seconds_not_frames() -> None:
    layers = DecayLayers(VoxelMap(0.1), VoxelMap(0.1), period=2.0)
    for stamp in (10.0, 10.5, 11.0):
        layers.observe(looking(stamp))
    assert layers.step == 0
    layers.tick(17.0)
    assert layers.step == 3
    layers.tick(5.0)  # a clock that ran backwards
    assert layers.step == 3


def test_one_layer_can_be_asked_alone_and_every_hit_tells_its_layer_and_weight() -> None:
    layers = DecayLayers(VoxelMap(0.05), VoxelMap(0.05))
    layers.observe(looking(0.0))
    for kind, flags in (("static", {0.0}), ("dynamic", {1.0}), (None, {0.0, 1.0})):
        hits = layers.query(Query(near=MUG[0], k=2000, kind=kind))
        assert {hit.detail["dynamic"] for hit in hits} == flags
        assert all(f"weight {hit.detail['weight']:.3g}" in hit.why for hit in hits)
    assert layers.query(Query(near=MUG[0], kind="objects")) == []


@pytest.mark.parametrize("arguments", [
    {"static_decay": 0.0}, {"dynamic_decay": 1.1}, {"least": 0.0}, {"gain": 9.0}, {"period": -1.0}, {"max_rate": 0.0},
    {"max_rate": 0.1, "static": VoxelMap()}, {"most": float("inf")},
])  # fmt: skip
def test_senseless_parameters_are_refused(arguments: dict[str, object]) -> None:
    with pytest.raises(ValueError, match="need"):
        DecayLayers(**arguments)  # type: ignore[arg-type]


def test_malformed_states_are_refused() -> None:
    layers = DecayLayers(VoxelMap(0.1), VoxelMap(0.1))
    layers.observe(looking(0.0))
    state = layers.save()
    weight, weighed = state.arrays["static_channel_weight"], state.arrays["static_channel_weighed"]
    for name, array in {
        "step": np.array([-1]), "begin": np.array([0.0, 1.0]), "static_channel_weight": -weight,
        "static_channel_weighed": weighed + 5, "dynamic_keys": state.arrays["dynamic_keys"][::-1][:-1].copy(),
    }.items():  # fmt: skip
        with pytest.raises(InputError):
            DecayLayers.load(replace(state, arrays={**state.arrays, name: array}))
    for name, value in {
        "movable": "mug", "max_rate": "often", "removal": {"z_max": -1.0, "margin": 0.1}, "static": None,
        "dynamic": {"version": 9, "params": {}}, "gain": float("nan"), "least": 2.0, "most": None,
    }.items():  # fmt: skip
        with pytest.raises(InputError):
            DecayLayers.load(replace(state, params={**state.params, name: value}))


def test_the_config_builds_the_layers_with_their_own_defaults() -> None:
    with initialize_config_module("embmem.configs", version_base="1.3"):
        layers = instantiate(compose("map/decay_voxels").map)
    assert isinstance(layers, DecayLayers)
    assert layers.save().params == DecayLayers().save().params
