"""How sure it is that a segment is a thing that is remembered: a logistic model whose weights were fitted."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float, Int

from embmem.errors import InputError

HERE, ELSEWHERE = 1, 2  # regimes: at the place of the thing, or at another
FEATURES = (
    "one",
    "distance",  # log(1 + metres / 0.1) between the positions
    "overlap",  # of the boxes, volume of both over that of the smaller one
    "size",  # |log of the ratio of the boxes' diagonals|; 0 where the border of the image cuts the segment
    "cut",  # 1 if it does
    "other class",  # 1 if the detector says another category than the thing has
    "range",  # [5 m] of the segment from the camera
    "existence",  # log-odds that the thing is where it is remembered
    "absence",  # log(1 + hours) since it was seen last
    "extent",  # log of the diagonal of the thing's box [0.3 m]
    "alike squared",  # with its sign
    "alike",  # product of the looks; 0 without
)
N_FEATURES = len(FEATURES)
WEIGHTS = ("here", "elsewhere", "here_blind", "elsewhere_blind")  # of `IdentityModel`

# Fitted by benchmarks/fit_identity.py
_HERE = (-26.068, -0.51, 4.513, -1.44, 0.257, -0.208, 1.614, -0.422, 0.066, 1.415, 65.959, -12.799)
_ELSEWHERE = (-15.176, -0.112, 0.0, 0.775, 0.036, 0.0, -0.676, -0.35, -0.103, -0.575, 62.637, -21.268)
_HERE_BLIND = (0.456, -0.762, 4.732, -2.052, -0.796, -4.306, 1.1, -0.42, 0.114, 1.042, 0.0, 0.0)
_ELSEWHERE_BLIND = (0.497, -0.306, 0.0, -1.101, -0.491, 0.0, -0.14, -0.026, 0.451, 0.004, 0.0, 0.0)


@dataclass(frozen=True)
class IdentityModel:
    """Weights of `FEATURES` in the log-odds that a segment and a thing are one.

    Four logistic regressions: for a segment at the place of the thing or elsewhere, with the looks of both or `blind`.
    The defaults were fitted on tours through embedded houses whose things are moved between the visits, with looks that
    are synthetic; other encoders want other weights, which benchmarks/fit_identity.py shows how to fit. A pair is a
    match if the log-odds exceed `least_here` or `least_elsewhere`; 0 takes what is more likely than not.
    """

    here: Sequence[float] = _HERE
    elsewhere: Sequence[float] = _ELSEWHERE
    here_blind: Sequence[float] = _HERE_BLIND
    elsewhere_blind: Sequence[float] = _ELSEWHERE_BLIND
    least_here: float = 0.0
    least_elsewhere: float = 0.0

    def __post_init__(self) -> None:
        for name in WEIGHTS:
            weights = [float(weight) for weight in getattr(self, name)]
            if len(weights) != N_FEATURES or not np.isfinite(weights).all():
                raise ValueError(f"{name} needs {N_FEATURES} finite weights ({', '.join(FEATURES)}), got {weights}")
            object.__setattr__(self, name, tuple(weights))
        if not np.isfinite([self.least_here, self.least_elsewhere]).all():
            raise ValueError(f"the least log-odds must be finite, got {self.least_here}, {self.least_elsewhere}")

    def log_odds(
        self, features: Float[np.ndarray, "*pairs f"], regime: Int[np.ndarray, "*pairs"]
    ) -> Float[np.ndarray, "*pairs"]:
        """That the two of each pair are one; -inf where the regime is 0.

        A pair has looks if its feature "alike" is not 0.
        """
        has_look = features[..., -1] != 0.0
        result = np.full(regime.shape, -np.inf)
        for wanted, sighted, blind in (
            (HERE, self.here, self.here_blind),
            (ELSEWHERE, self.elsewhere, self.elsewhere_blind),
        ):
            score = np.where(has_look, features @ np.array(sighted), features @ np.array(blind))
            result = np.where(regime == wanted, score, result)
        return result

    def gains(self, log_odds: Float[np.ndarray, "n m"], regime: Int[np.ndarray, "n m"]) -> Float[np.ndarray, "n m"]:
        """What a match is worth; 0 where it would be none."""
        least = np.where(regime == ELSEWHERE, self.least_elsewhere, self.least_here)
        return np.where(regime > 0, np.maximum(log_odds - least, 0.0), 0.0)

    def to_params(self) -> dict[str, Any]:
        """The model as JSON values."""
        weights = {name: list(getattr(self, name)) for name in WEIGHTS}
        return {**weights, "least_here": self.least_here, "least_elsewhere": self.least_elsewhere}

    @classmethod
    def from_params(cls, params: object) -> IdentityModel:
        """The model that was saved.

        Raises:
            InputError: if the parameters are not those of a model.
        """
        names = (*WEIGHTS, "least_here", "least_elsewhere")
        if not isinstance(params, dict) or set(params) != set(names):
            raise InputError(f"an identity model has the parameters {', '.join(names)}, got {params!r}")
        for name in names:
            values = params[name] if name in WEIGHTS else [params[name]]
            is_list = isinstance(values, list)
            if not is_list or any(isinstance(x, bool) or not isinstance(x, (int, float)) for x in values):
                raise InputError(f"parameter {name!r} of an identity model is {params[name]!r}, not numbers")
        try:
            return cls(**{**params, **{name: float(params[name]) for name in names[len(WEIGHTS) :]}})
        except (ValueError, OverflowError) as error:
            raise InputError(f"an identity model is malformed: {error}") from error
