"""Checks that saved layers go through before anything in them is used: a file is untrusted input."""

from __future__ import annotations

import sys

import numpy as np
from numpy.typing import DTypeLike

from embmem.errors import FileVersionError, InputError
from embmem.protocols import LayerState


def check_header(state: LayerState, kind: str, version: int) -> None:
    """Refuse a state of another kind or of a version that is not read here.

    Raises:
        InputError: if the kind is another.
        FileVersionError: if the version is newer, or none.
    """
    if state.kind != kind:
        raise InputError(f"expected a layer of kind {kind!r}, got {state.kind!r}")
    if isinstance(state.version, bool) or not isinstance(state.version, int) or not 1 <= state.version <= version:
        raise FileVersionError(f"layer {kind!r} is of version {state.version}, this embmem reads up to {version}")


def shaped_array(state: LayerState, name: str, dtype: DTypeLike, shape: tuple[int | None, ...]) -> np.ndarray:
    """The array `name` as it lies, not read; None in `shape` allows any length.

    Raises:
        InputError: if it is missing, or of another type or shape.
    """
    array = state.arrays.get(name)
    if array is None:
        raise InputError(f"layer {state.kind!r} lacks the array {name!r}")
    fits = array.ndim == len(shape) and all(want in (None, got) for want, got in zip(shape, array.shape, strict=True))
    if array.dtype != np.dtype(dtype) or not fits:
        wanted = f"{np.dtype(dtype)}{list(shape)}"
        raise InputError(f"array {name!r} of layer {state.kind!r} is {array.dtype}{list(array.shape)}, not {wanted}")
    return array


def checked_array(state: LayerState, name: str, dtype: DTypeLike, shape: tuple[int | None, ...]) -> np.ndarray:
    """A copy of the array `name`; None in `shape` allows any length.

    Raises:
        InputError: if it is missing, of another type or shape, or holds a number that is not finite.
    """
    array = shaped_array(state, name, dtype, shape)
    if array.dtype.kind == "f" and not np.isfinite(array).all():
        raise InputError(f"array {name!r} of layer {state.kind!r} holds numbers that are not finite")
    return np.array(array, order="C")


def checked_numbers(state: LayerState, names: tuple[str, ...]) -> dict[str, float]:
    """The parameters `names`, which must be exactly all parameters and finite numbers.

    Raises:
        InputError: if one is missing, unknown or not a finite number.
    """
    if set(state.params) != set(names):
        raise InputError(f"layer {state.kind!r} has parameters {sorted(state.params)}, expected {sorted(names)}")
    for name, value in state.params.items():
        is_number = isinstance(value, (int, float)) and not isinstance(value, bool)
        if not is_number or not abs(value) <= sys.float_info.max:  # also of integers beyond all floats
            raise InputError(f"parameter {name!r} of layer {state.kind!r} is {str(value)[:40]!r}, not a finite number")
    return {name: float(state.params[name]) for name in names}
