"""Fits the weights of `IdentityModel` to tours through embedded houses and prints them, with a reliability curve.

    python benchmarks/fit_identity.py [--houses N] [--days N] [--rounds N] [--looks with|without]

Each round the memory runs with the weights of the last one, the first with those that are shipped, so that the pairs
are those which it will have to judge. Half of the houses have the noise of configs/noise/mild.yaml, half that of
kinect.yaml. Held-out houses give the expected calibration error.
"""

from __future__ import annotations

import argparse
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

import numpy as np
from identity_house import NOISES, Sight, Visit, month
from rich.console import Console
from rich.table import Table
from scipy.optimize import minimize

from embmem.maps import ObjectMemory
from embmem.maps.identity.features import compare, things
from embmem.maps.identity.model import ELSEWHERE, FEATURES, HERE, N_FEATURES, IdentityModel
from embmem.maps.identity.recognise import Frame, returned_pairs

RIDGE = 0.05  # units of log-likelihood that a squared weight costs
TRAIN, HELD_OUT = 500, 600  # first seeds of the houses


@dataclass(eq=False)
class Pairs:
    """Compared pairs and whether the two are one."""

    features: list[np.ndarray] = field(default_factory=list)
    regime: list[np.ndarray] = field(default_factory=list)
    is_same: list[np.ndarray] = field(default_factory=list)

    def add(self, features: np.ndarray, regime: np.ndarray, is_same: np.ndarray) -> None:
        """More of them."""
        self.features.append(features)
        self.regime.append(regime)
        self.is_same.append(is_same)

    def of(self, regime: int) -> tuple[np.ndarray, np.ndarray]:
        """(features (n, f), is_same (n,)) of one regime."""
        if not self.features:
            return np.zeros((0, N_FEATURES)), np.zeros(0, dtype=bool)
        is_wanted = np.concatenate(self.regime) == regime
        return np.concatenate(self.features)[is_wanted], np.concatenate(self.is_same)[is_wanted]


def collect(model: IdentityModel, visits: Iterable[Visit], pairs: Pairs) -> None:
    """Add the pairs that a memory with this model has to judge during these visits to one house."""
    memory = ObjectMemory(identity=model)
    votes: defaultdict[int, Counter[int]] = defaultdict(Counter)
    for visit in visits:
        for sight in visit.sights:
            frame = memory.read(sight.observation)
            for judged in _judged(memory, frame, sight, votes):
                pairs.add(*judged)
            missed_before = memory.table.rows["times_missed"].copy(), memory.table.rows["id"].copy()
            memory.observe(sight.observation)
            for number, thing in memory.seen_now.items():
                votes[thing][sight.true_of[number]] += 1
            pairs.add(*_returned(memory, missed_before, votes))


def _judged(
    memory: ObjectMemory, frame: Frame, sight: Sight, votes: dict[int, Counter[int]]
) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """The pairs of a frame: all here; elsewhere what is not at its place, with things that are not in the frame."""
    table = memory.table
    features, regime = compare(things(table.rows), frame.compared(), (table.looks, frame.looks), gate=memory.gate)
    old = np.array([true_of(votes, int(thing)) for thing in table.rows["id"]], dtype=np.int64)
    new = np.array([sight.true_of[int(number)] for number in frame.segments.number], dtype=np.int64)
    is_same = (old[:, None] == new[None]) & (new > 0)
    here, settled = regime == HERE, (regime == HERE) & is_same
    yield features[here], regime[here], is_same[here]
    elsewhere = (regime == ELSEWHERE) & ~settled.any(axis=1)[:, None] & ~settled.any(axis=0)
    yield features[elsewhere], regime[elsewhere], is_same[elsewhere]


def _returned(
    memory: ObjectMemory, missed_before: tuple[np.ndarray, np.ndarray], votes: dict[int, Counter[int]]
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The pairs of what was just missed with what turned up since."""
    rows = memory.table.rows
    before = dict(zip(missed_before[1].tolist(), missed_before[0].tolist(), strict=True))
    is_missed = [n > before.get(i, n) for i, n in zip(rows["id"].tolist(), rows["times_missed"].tolist(), strict=True)]
    ids, features, regime = returned_pairs(memory.table, np.flatnonzero(is_missed), gate=memory.gate)
    true = [(true_of(votes, int(a)), true_of(votes, int(b))) for a, b in ids]
    return features, regime, np.array([a == b > 0 for a, b in true], dtype=bool)


def true_of(votes: dict[int, Counter[int]], thing: int) -> int:
    """What most sightings of a remembered thing truly were."""
    return min(votes[thing].items(), key=lambda item: (-item[1], item[0]))[0] if votes.get(thing) else 0


def fit(features: np.ndarray, is_same: np.ndarray) -> tuple[float, ...]:
    """The weights of greatest penalised likelihood; 0 for a feature that is always the same."""
    y = is_same.astype(np.float64)
    scale = features.std(axis=0)
    scale[0] = 1.0
    is_used = scale > 1e-9
    x = features[:, is_used] / scale[is_used]

    def loss(w: np.ndarray) -> tuple[float, np.ndarray]:
        z = x @ w
        p = 0.5 * (1.0 + np.tanh(0.5 * z))
        return float((np.logaddexp(0.0, z) - y * z).sum() + RIDGE * w @ w), x.T @ (p - y) + 2.0 * RIDGE * w

    weights = np.zeros(len(scale))
    weights[is_used] = minimize(loss, np.zeros(x.shape[1]), jac=True, method="L-BFGS-B").x / scale[is_used]
    return tuple(np.round(weights, 3).tolist())


def calibration_error(
    log_odds: np.ndarray, is_same: np.ndarray, n_bins: int = 15
) -> tuple[float, list[tuple[float, float, int]]]:
    """(expected calibration error, (mean probability, share that is the same, number) of each bin).

    Bins of equal width (Guo et al., On calibration of modern neural networks, ICML 2017, eq. 3).
    """
    p = 0.5 * (1.0 + np.tanh(0.5 * log_odds))
    of = np.minimum((p * n_bins).astype(int), n_bins - 1)
    bins = [(float(p[of == b].mean()), float(is_same[of == b].mean()), int((of == b).sum())) for b in np.unique(of)]
    return sum(n * abs(mean - share) for mean, share, n in bins) / max(len(p), 1), bins


def gather(model: IdentityModel, first: int, n_houses: int, n_days: int, *, looks: bool) -> Pairs:
    """The pairs of several houses, every other one with the worse sensors."""
    pairs = Pairs()
    for i in range(n_houses):
        collect(model, month(first + i, n_days, noise=list(NOISES)[i % len(NOISES)], looks=looks), pairs)
    return pairs


def refit(model: IdentityModel, pairs: Pairs, *, looks: bool) -> IdentityModel:
    """The model with new weights for pairs with looks, or without."""
    here, elsewhere = fit(*pairs.of(HERE)), fit(*pairs.of(ELSEWHERE))
    if looks:
        return IdentityModel(here, elsewhere, model.here_blind, model.elsewhere_blind)
    return IdentityModel(model.here, model.elsewhere, here, elsewhere)


def main() -> None:
    """Fit, print the weights and the calibration in held-out houses."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--houses", type=int, default=6)
    parser.add_argument("--days", type=int, default=4)
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--looks", choices=("both", "with", "without"), default="both")
    arguments = parser.parse_args()
    console, model = Console(), IdentityModel()
    for looks in {"both": (True, False), "with": (True,), "without": (False,)}[arguments.looks]:
        for _ in range(arguments.rounds):
            pairs = gather(model, TRAIN, arguments.houses, arguments.days, looks=looks)
            model = refit(model, pairs, looks=looks)
        told = gather(model, HELD_OUT, max(2, arguments.houses // 2), arguments.days, looks=looks)
        for name, regime in (("here", HERE), ("elsewhere", ELSEWHERE)):
            features, is_same = told.of(regime)
            regimes = np.full(len(features), regime)
            error, bins = calibration_error(model.log_odds(features, regimes), is_same)
            blind = "" if looks else "_blind"
            title = f"{name}{blind}: {len(is_same)} held-out pairs, {is_same.sum()} same, ECE {error:.4f}"
            table = Table("probability", "share", "pairs", title=title)
            for mean, share, n in bins:
                table.add_row(f"{mean:.3f}", f"{share:.3f}", str(n))
            console.print(table)
            console.print(f"{name}{blind} = {getattr(model, name + blind)}", soft_wrap=True)
    console.print("features:", ", ".join(FEATURES))


if __name__ == "__main__":
    main()
