"""A part of space and time."""

from __future__ import annotations

from dataclasses import dataclass
from math import isnan

import numpy as np


@dataclass(frozen=True, eq=False)
class Window:
    """What a search is about. Where space is asked for, a record without a place is outside."""

    near: np.ndarray | None = None  # (3,) [m]
    radius: float = np.inf  # [m] around `near`, inclusive
    box: np.ndarray | None = None  # (2, 3) [m] lowest and highest corner, inclusive
    since: float = -np.inf  # [s], inclusive
    until: float = np.inf  # [s], exclusive

    def __post_init__(self) -> None:
        if self.near is not None and (np.shape(self.near) != (3,) or not np.isfinite(self.near).all()):
            raise ValueError(f"near must be three finite coordinates, got {self.near}")
        if self.box is not None and (np.shape(self.box) != (2, 3) or np.isnan(self.box).any()):
            raise ValueError(f"box must be its lowest and its highest corner, (2, 3), got {self.box}")
        if not self.radius >= 0.0 or isnan(self.since) or isnan(self.until):
            raise ValueError(f"need radius >= 0 and no NaN, got {self.radius}, since {self.since}, until {self.until}")

    @property
    def is_in_space(self) -> bool:
        """True where records without a place are left out."""
        return self.near is not None or self.box is not None

    def packed(self) -> np.ndarray:
        """(13,) for the kernels: low 3, high 3, near 3, radius^2, since, until, is_in_space."""
        low, high, middle, square = [-np.inf] * 3, [np.inf] * 3, [0.0] * 3, np.inf
        if self.near is not None:
            middle, square = [float(x) for x in self.near], self.radius * self.radius
            # A hair wider than the ball: what is inside by the squared distance must not be cut by rounding.
            reach = self.radius * (1.0 + 1e-12) + 1e-12 * max(abs(x) for x in middle)
            low, high = [x - reach for x in middle], [x + reach for x in middle]
        if self.box is not None:
            low = [max(a, float(b)) for a, b in zip(low, self.box[0], strict=True)]
            high = [min(a, float(b)) for a, b in zip(high, self.box[1], strict=True)]
        return np.array([*low, *high, *middle, square, self.since, self.until, float(self.is_in_space)])


EVERYWHERE = Window()
