"""Which conventions explain the frames best: each hypothesis is a setting under `read.`, judged by `consistency`.

The best family of hypotheses is accepted where it explains the frames much better than what the recording claims, then
the others are tried on top of it: forward selection, at most three faults deep.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator
from copy import copy
from dataclasses import dataclass, field, replace
from functools import partial

import numpy as np
from jaxtyping import Float
from scipy.optimize import minimize, minimize_scalar

from embmem.doctor.consistency import Lens, Pairs, disagreement, pairs_of, relative, scaled, subset
from embmem.doctor.views import Views
from embmem.errors import InputError
from embmem.recordings.conventions import CAMERA_AXES, DIRECTIONS, QUATERNIONS, Conventions

MAX_FAULTS = 3
_MUCH = 0.7  # of the disagreement that is left if a hypothesis is surely better
_LITTLE = 0.92  # that may be left if the improvement is seen in pair after pair
_T_VALUE = 4.0  # mean improvement of a pair by its standard error
_FEWEST = 4  # pairs that can show anything
_FEW_PAIRS, _FEW = 10, 0.5  # with so few pairs, so little must be left
_AGREES = 0.04  # disagreement below which nothing is to be improved
_MAX_OFFSET = 0.6  # [s]
_COARSE = 3  # every third pair finds about where the offset is
_GOOD, _SHARP = 0.3, 0.03  # disagreement of good poses, and by how much half a period makes it worse
# What a continuous hypothesis must differ by to be worth a finding.
_LEAST = {"scale": 0.04, "focal": 0.035, "center": 0.02, "offset": 0.012}


@dataclass(frozen=True, eq=False)
class State:
    """What is believed: conventions for the poses, a lens, a scale of translations."""

    conventions: Conventions
    lens: Lens
    scale: float = 1.0
    offset: float = 0.0


@dataclass(frozen=True, eq=False)
class Verdict:
    """A family of hypotheses that was accepted: what it is about, and how much better it explains the frames."""

    family: str  # conventions, scale, lens, offset, flip, ray
    state: State  # after it
    changed: dict[str, str] = field(default_factory=dict)  # of conventions
    before: float = 0.0  # disagreement without it
    after: float = 0.0
    n_pairs: int = 0
    runner_up: float = 1.0  # disagreement of the next best family


@dataclass(frozen=True, eq=False)
class Trial:
    """All verdicts in the order in which they were reached, and what is left."""

    verdicts: tuple[Verdict, ...]
    first: float  # disagreement as recorded
    left: float  # after all verdicts
    still: float  # if the camera had not moved
    n_pairs: int


class Judge:
    """Scores of states on the pairs of some views."""

    def __init__(self, views: Views) -> None:
        self.views = views
        self.pairs: Pairs = pairs_of(views)
        self._poses: dict[tuple[Conventions, float], Float[np.ndarray, "p 4 4"]] = {}

    def motions(self, state: State) -> Float[np.ndarray, "p 4 4"]:
        """`T_second_first` of the pairs; all NaN where the recording has no poses by these conventions."""
        key = state.conventions, state.offset
        if key not in self._poses:
            try:
                needed = {number for pair in self.pairs.numbers for number in pair}
                poses = self.views.poses(state.conventions, shift=state.offset, only=needed)
            except InputError:
                poses = {}
            self._poses[key] = relative(self.pairs, poses)
            if len(self._poses) > 200:
                del self._poses[next(iter(self._poses))]
        return scaled(self._poses[key], state.scale)

    def keep_posed(self, state: State) -> None:
        """Go on with the pairs alone of which both poses are known, where there are enough of them."""
        is_posed = np.isfinite(self.motions(state)).all(axis=(1, 2))
        if is_posed.sum() >= _FEWEST:
            self.pairs = subset(self.pairs, is_posed)
            self._poses.clear()

    def each(self, state: State, otherwise: Float[np.ndarray, " p"] | None = None) -> Float[np.ndarray, " p"]:
        """The disagreement of each pair; where a pose is missing 1, or `otherwise`."""
        found = disagreement(self.pairs, self.motions(state), state.lens)
        return np.where(np.isnan(found), 1.0 if otherwise is None else otherwise, found)

    def thinned(self, step: int) -> Judge:
        """A judge that looks at every `step`-th pair only."""
        some = copy(self)
        some.pairs, some._poses = subset(self.pairs, np.arange(len(self.pairs.numbers)) % step == 0), {}
        return some

    def score(self, state: State) -> float:
        """The mean disagreement."""
        return float(self.each(state).mean())


def try_all(views: Views, conventions: Conventions, lens: Lens, *, period: float) -> Trial:
    """Find the conventions that explain the frames.

    Args:
        views: frames of the recording.
        conventions: as recorded, or as the user says.
        lens: of the images.
        period: [s] between two frames.
    """
    judge = Judge(views)
    state = State(conventions, lens)
    judge.keep_posed(state)
    start = judge.each(state)
    still = disagreement(judge.pairs, np.tile(np.eye(4), (len(start), 1, 1)), lens)
    verdicts: list[Verdict] = []
    families: dict[str, Callable[[Judge, State], State]] = {
        "conventions": best_conventions,
        "scale": best_scale,
        "lens": best_lens,
        "offset": partial(best_offset, period=period),
        "flip": best_flip,
        "ray": lambda _, s: replace(s, lens=replace(s.lens, is_ray=True)),
    }
    before = start
    while families and len(verdicts) < MAX_FAULTS and before.mean() > _AGREES:
        tried = {name: best(judge, state) for name, best in families.items()}
        each = {
            name: judge.each(found, otherwise=before if name == "offset" else None) for name, found in tried.items()
        }
        ranked = sorted(families, key=lambda name: float(each[name].mean()))
        accepted = next((n for n in ranked if _is_better(before, each[n]) and _is_worth(n, state, tried[n])), None)
        if accepted is None:
            break
        runner_up = min((float(each[n].mean()) for n in families if n != accepted), default=1.0)
        verdicts.append(
            Verdict(
                accepted, tried[accepted], _changed(state.conventions, tried[accepted].conventions),
                float(before.mean()), float(each[accepted].mean()), len(before), runner_up,
            )
        )  # fmt: skip
        state, before = tried[accepted], each[accepted]
        del families[accepted]
    return Trial(tuple(verdicts), float(start.mean()), float(before.mean()), float(still.mean()), len(start))


def _is_better(before: Float[np.ndarray, " p"], after: Float[np.ndarray, " p"]) -> bool:
    """Whether the hypothesis surely explains the frames better: by much, or in pair after pair."""
    ratio = float(after.mean() / max(before.mean(), 1e-9))
    if len(before) < _FEW_PAIRS:
        return ratio < _FEW
    gain = before - after
    t = float(gain.mean() / max(gain.std() / math.sqrt(len(gain)), 1e-9))
    return t > _T_VALUE and ratio < _LITTLE if ratio > _MUCH else t > _T_VALUE / 2


def _is_worth(family: str, old: State, new: State) -> bool:
    """Whether a hypothesis differs by more than the best fit to right numbers does."""
    if family == "scale":
        return abs(math.log(new.scale / old.scale)) > _LEAST["scale"]
    if family == "offset":
        return abs(new.offset - old.offset) > _LEAST["offset"]
    if family == "lens":
        a, b = old.lens, new.lens
        focal = max(abs(math.log(b.fx / a.fx)), abs(math.log(b.fy / a.fy)))
        center = max(abs(b.cx - a.cx) / (2 * a.fx), abs(b.cy - a.cy) / (2 * a.fy))
        return focal > _LEAST["focal"] or center > _LEAST["center"]
    return True


def _changed(old: Conventions, new: Conventions) -> dict[str, str]:
    names = ("pose_direction", "camera_axes", "quaternion")
    return {name: getattr(new, name) for name in names if getattr(new, name) != getattr(old, name)}


def best_conventions(judge: Judge, state: State) -> State:
    """The best direction, axes and order of quaternions but the present ones; fewer changes where they tie."""
    return min(_other_conventions(judge, state), key=lambda found: found[0])[2]


def _other_conventions(judge: Judge, state: State) -> Iterator[tuple[tuple[float, int], int, State]]:
    for number, (direction, axes, order) in enumerate(itertools.product(DIRECTIONS, CAMERA_AXES, QUATERNIONS)):
        other = state.conventions.but({"pose_direction": direction, "camera_axes": axes, "quaternion": order})
        n_changes = len(_changed(state.conventions, other))
        if n_changes:
            found = replace(state, conventions=other)
            yield (round(judge.score(found), 6), n_changes), number, found


def best_scale(judge: Judge, state: State) -> State:
    """The best scale of translations: a coarse search over eight decades, then a fine one."""
    T = judge.motions(state)

    def score(log_scale: float) -> float:
        each = disagreement(judge.pairs, scaled(T, math.exp(log_scale)), state.lens)
        return float(np.nan_to_num(each, nan=1.0).mean())

    grid = np.log(np.geomspace(1e-4, 1e4, 65))
    return replace(state, scale=state.scale * math.exp(_refined(score, grid)))


def best_offset(judge: Judge, state: State, *, period: float) -> State:
    """The best [s] to add to the stamps of images before their poses are looked up."""
    reach = max(_MAX_OFFSET, 3 * period)
    n = min(40, max(12, math.ceil(reach / (period / 3))))
    some = judge.thinned(_COARSE)

    def score(offset: float, by: Judge = judge) -> float:
        # images of which no pose is known at the ends are left out, alike for all offsets
        each = disagreement(by.pairs, by.motions(replace(state, offset=offset)), state.lens)
        return float(np.nanmean(each)) if np.isfinite(each).mean() > 0.6 else 1.0

    here, aside = score(state.offset), 0.5 * period
    if here < _GOOD and min(score(state.offset - aside), score(state.offset + aside)) > here + _SHARP:
        return state  # good, and sharply so: what else could be is no better
    grid = state.offset + np.linspace(-reach, reach, 2 * n + 1)
    return replace(state, offset=_refined(score, grid, coarse=lambda offset: score(offset, some)))


def _refined(
    score: Callable[[float], float], grid: np.ndarray, coarse: Callable[[float], float] | None = None
) -> float:
    """Where a score is least: the best of a grid by the `coarse` score, then a search between its neighbours."""
    at = int(np.argmin([(coarse or score)(float(x)) for x in grid]))
    low, high = float(grid[max(0, at - 1)]), float(grid[min(len(grid) - 1, at + 1)])
    found = minimize_scalar(
        score, bounds=(low, high), method="bounded", options={"xatol": (high - low) / 200, "maxiter": 14}
    )
    return float(found.x) if found.fun < score(float(grid[at])) else float(grid[at])


def best_lens(judge: Judge, state: State) -> State:
    """The best focal lengths and principal point: from several starts, what fits best at first, then refined."""
    width, height = judge.pairs.size
    T, old = judge.motions(state), state.lens

    def lens_of(p: np.ndarray) -> Lens:
        fx, fy = old.fx * math.exp(p[0]), old.fy * math.exp(p[1])
        return replace(old, fx=fx, fy=fy, cx=float(p[2]) * width, cy=float(p[3]) * height)

    def score(p: np.ndarray) -> float:
        if np.abs(p[:2]).max() > 2.5 or p[2:].min() < -0.2 or p[2:].max() > 1.2:
            return 1.0
        return float(np.nan_to_num(disagreement(judge.pairs, T, lens_of(p)), nan=1.0).mean())

    swap = math.log(old.fy / old.fx)
    here, middle = (old.cx / width, old.cy / height), (0.5, 0.5)
    swapped = (old.cy / width, old.cx / height)
    logs = (-1.4, -0.7, -0.4, -0.2, -0.1, 0.0, 0.1, 0.2, 0.4, 0.7, 1.4)
    starts = [np.array([a, a, *center]) for a in logs for center in (here, middle)]
    starts += [np.array([swap, -swap, *center]) for center in (here, swapped)]
    starts += [np.array([0.0, 0.0, x, y]) for x in (0.35, 0.5, 0.65, here[0]) for y in (0.35, 0.5, 0.65, here[1])]
    start = min(starts, key=score)
    simplex = start + np.vstack([np.zeros(4), np.diag([0.06, 0.06, 0.03, 0.03])])
    found = minimize(
        score, start, method="Nelder-Mead", options={"maxfev": 140, "initial_simplex": simplex, "xatol": 2e-3}
    )
    return replace(state, lens=lens_of(found.x))


def best_flip(judge: Judge, state: State) -> State:
    """The best of mirrored, upside-down mirrored and turned round images."""
    flips = [replace(state, lens=replace(state.lens, flip=flip)) for flip in ("x", "y", "xy")]
    return min(flips, key=judge.score)
