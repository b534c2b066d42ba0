"""An observation as bytes: every bit comes back, damage is named."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from embmem.errors import InputError
from embmem.geometry import camera_pose
from embmem.observation import Intrinsics, Observation
from embmem.records import Record
from embmem.replay.frame_codec import canonical, pack, unpack
from embmem.testing import wall_ahead


def round_trip(observation: Observation) -> Observation:
    record = Record(kind="frame", t_event=observation.stamp, source="camera", T_map_obs=observation.T_map_camera)
    return unpack(replace(record, blob=pack(observation)))


def assert_same_bits(a: Observation, b: Observation) -> None:
    assert (a.stamp, a.intrinsics, a.labels) == (b.stamp, b.intrinsics, b.labels)
    for name in ("T_map_camera", "depth", "rgb", "semantic", "instance"):
        one, other = getattr(a, name), getattr(b, name)
        assert (one is None) == (other is None), name
        if one is not None:
            assert (one.dtype, one.shape, one.tobytes()) == (other.dtype, other.shape, other.tobytes()), name
    assert list(a.embeddings or {}) == list(b.embeddings or {})
    for number, vector in (a.embeddings or {}).items():
        assert vector.tobytes() == (b.embeddings or {})[number].tobytes()


INTEGERS = (np.uint8, np.int16, np.uint16, np.int32, np.int64, np.dtype(">i4"))
LABELS = ("unlabelled", "wall", "mug", "Stühle", "x")


def some_observation(seed: int) -> Observation:
    """Any size, any images, any types."""
    rng = np.random.default_rng(seed)
    height, width = (int(n) for n in rng.integers(1, 10, 2))
    has = dict(zip(("depth", "rgb", "semantic", "instance"), rng.random(4) < 0.7, strict=True))

    def numbers() -> np.ndarray:
        return rng.integers(0, 5, (height, width)).astype(INTEGERS[rng.integers(len(INTEGERS))])

    depth = rng.choice([np.nan, 0.001, 1.25, 19.999, 65.6, rng.uniform(0, 20)], (height, width)).astype(np.float32)
    if rng.random() < 0.5:
        depth = np.round(np.minimum(depth, 20.0), 3).astype(np.float32)
    instance = numbers() if has["instance"] else None
    seen = [] if instance is None else [int(n) for n in np.unique(instance) if n]
    vector_type = (np.float16, np.float32, np.float64)[rng.integers(3)]
    return Observation(
        stamp=float(rng.uniform(-1e9, 1e9)),
        T_map_camera=camera_pose(rng.normal(size=3), rng.uniform(-3, 3)),
        intrinsics=Intrinsics(width, height, 7.1, 7.3, 1.0, 2.0, ((), (0.1, 0.2, 0.3, 0.4))[rng.integers(2)]),
        depth=depth if has["depth"] else None,
        rgb=rng.integers(0, 256, (height, width, 3), dtype=np.uint8)[:, ::-1] if has["rgb"] else None,
        semantic=numbers() if has["semantic"] else None,
        instance=instance,
        labels=LABELS[: rng.integers(6)],
        embeddings={n: rng.normal(size=3).astype(vector_type) for n in seen} or None,
    )


seeds = st.integers(0, 2**32 - 1)


@given(seeds, st.sampled_from([None, 0.001, 0.01]))
@settings(deadline=None)
def test_every_bit_of_a_canonical_observation_comes_back(seed: int, step: float | None) -> None:
    observation = some_observation(seed)
    sent = canonical(observation, step)
    assert_same_bits(round_trip(sent), sent)
    assert_same_bits(canonical(sent, step), sent)  # nothing is left to round


@given(seeds)
@settings(deadline=None)
def test_without_a_step_no_value_changes(seed: int) -> None:
    observation = some_observation(seed)
    sent = canonical(observation)
    for name in ("depth", "rgb", "semantic", "instance"):
        if getattr(observation, name) is not None:
            np.testing.assert_array_equal(getattr(sent, name), getattr(observation, name))


@given(seeds, st.sampled_from([0.001, 0.01]))
@settings(deadline=None)
def test_a_step_moves_depth_by_half_of_it_at_most(seed: int, step: float) -> None:
    observation = some_observation(seed)
    if observation.depth is None:
        return
    before, after = observation.depth, canonical(observation, step).depth
    assert after is not None
    is_near = before >= 0.51 * step
    np.testing.assert_allclose(after[is_near], before[is_near], rtol=1e-6, atol=0.501 * step)
    assert np.isnan(after[np.isnan(before)]).all()


def test_depth_on_a_grid_of_millimetres_takes_half_the_bytes() -> None:
    rng = np.random.default_rng(0)
    noisy = replace(wall_ahead(), depth=rng.uniform(0.5, 5.0, (24, 32)).astype(np.float32))
    assert len(pack(canonical(noisy, 0.001))) < 0.8 * len(pack(canonical(noisy)))


def test_damage_is_named() -> None:
    observation = canonical(wall_ahead())
    blob = pack(observation)
    record = Record(kind="frame", t_event=0.0, source="camera", T_map_obs=observation.T_map_camera, id=7)
    for length in [*range(0, len(blob), 97), len(blob) - 1]:
        with pytest.raises(InputError, match="record 7"):
            unpack(replace(record, blob=blob[:length]))
    with pytest.raises(InputError, match="no pose or no images"):
        unpack(record)


@given(st.data())
@settings(deadline=None)
def test_a_flipped_byte_is_an_error_or_harmless(data: st.DataObject) -> None:
    observation = canonical(wall_ahead())
    blob = bytearray(pack(observation))
    at = data.draw(st.integers(0, len(blob) - 1))
    blob[at] ^= data.draw(st.integers(1, 255))
    record = Record(kind="frame", t_event=0.0, source="camera", T_map_obs=observation.T_map_camera, blob=bytes(blob))
    try:
        found = unpack(record)
    except InputError:
        return
    assert found.intrinsics == observation.intrinsics
