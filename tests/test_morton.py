"""Morton codes against writing the bits one by one."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from embmem.maps.voxels import morton

coordinates = arrays(np.int64, st.tuples(st.integers(0, 20), st.just(3)), elements=st.integers(0, 2**morton.BITS - 1))


def bit_by_bit(xyz: np.ndarray) -> int:
    return sum(((int(xyz[axis]) >> bit) & 1) << (3 * bit + axis) for bit in range(morton.BITS) for axis in range(3))


@given(coordinates)
def test_codes_interleave_the_bits(xyz: np.ndarray) -> None:
    assert morton.encode(xyz).tolist() == [bit_by_bit(each) for each in xyz]
    assert [int(morton.code(*each)) for each in xyz] == morton.encode(xyz).tolist()


@given(coordinates)
def test_decoding_is_the_inverse(xyz: np.ndarray) -> None:
    assert np.array_equal(morton.decode(morton.encode(xyz)), xyz)


def test_coordinates_out_of_range_are_refused() -> None:
    for bad in (-1, 2**morton.BITS):
        with pytest.raises(ValueError, match=str(bad)):
            morton.encode(np.array([[0, bad, 0]]))
