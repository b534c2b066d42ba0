"""Settings whose default says nothing about their kind: words that must be given, and points."""

from __future__ import annotations

import math

import numpy as np
from omegaconf import DictConfig, OmegaConf


def word(cfg: DictConfig, name: str) -> str:
    """The setting `name` as a word or path; a file may be called 7.

    Raises:
        ValueError: if it is a list or anything else that is no word.
    """
    value = cfg[name]
    if isinstance(value, bool) or not isinstance(value, (str, int, float)):
        raise ValueError(f"{name} must be a word or a path, got {value!r}")
    return str(value)


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
