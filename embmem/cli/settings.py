"""Settings from the command line: Hydra hands over whatever was typed, so `overwrite=no` is a word, not a boolean."""

from __future__ import annotations

import math
from typing import Any, TypeVar

import numpy as np
from omegaconf import DictConfig, OmegaConf

T = TypeVar("T", bool, int, float, str)


def setting(cfg: DictConfig, name: str, kind: type[T]) -> T:
    """The setting `name`, which must be of that kind; a whole number may stand for a float.

    Raises:
        ValueError: if it is of another kind.
    """
    value: Any = cfg[name]
    if kind is float and isinstance(value, int) and not isinstance(value, bool):
        value = float(value)
    if kind is str and isinstance(value, (int, float)) and not isinstance(value, bool):
        value = str(value)  # a file may be called 7
    if type(value) is not kind:
        words = {bool: "true or false", int: "a whole number", float: "a number", str: "a word or a path"}
        raise ValueError(f"{name} must be {words[kind]}, got {value!r}")
    return value


def numbers(cfg: DictConfig, name: str, n: int) -> np.ndarray:
    """The setting `name` as an array of n finite numbers.

    Raises:
        ValueError: if it is anything else.
    """
    value = cfg[name]
    if OmegaConf.is_list(value):
        value = OmegaConf.to_container(value)
    is_list = isinstance(value, list) and len(value) == n
    if not is_list or not all(type(x) in (int, float) and math.isfinite(x) for x in value):
        raise ValueError(f"{name} must be {n} finite numbers in brackets, got {value}")
    return np.array(value, dtype=np.float64)
