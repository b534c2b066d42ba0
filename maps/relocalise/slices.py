"""Every place and heading at which a session could lie in a map, scored at once.

Both are cut into horizontal slices of cells that are solid, empty or unknown. What is solid in both speaks for a pose,
what one saw solid and the other empty against it; for one heading that is a sum of correlations over all shifts
(correlative scan matching: Olson, ICRA 2009, here by FFT). Nothing is sampled: a rival that looks alike is found too,
which is what refusing ambiguous poses rests on.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int
from scipy import fft
from scipy.ndimage import grey_dilation
from scipy.spatial.transform import Rotation

from embmem.maps.coarse_alignment import peaks

LAYER = 0.3  # [m] height of a slice
HEIGHT_STEP = 0.05  # [m] at which heights are compared
MAX_CELLS = 1 << 24  # of all slices
_BESIDE = 0.6  # what a solid cell counts that lies beside one of the map
_IN_EMPTY = 0.7  # what a solid cell of the session counts against a pose where the map is empty
_THROUGH = 0.5  # what an empty cell of the session counts against it where the map is solid
_COMMON = 0.4  # share of the floor that a height may cover before it says nothing of where one is


@dataclass(frozen=True, eq=False)
class Seen:
    """What was found solid and what was found empty, as centres of voxels [m]."""

    solid: Float[np.ndarray, "n 3"]
    empty: Float[np.ndarray, "m 3"]

    def at(self, R: Float[np.ndarray, "3 3"], t: Float[np.ndarray, "3"]) -> Seen:
        """The same, moved."""
        return Seen(self.solid @ R.T + t, self.empty @ R.T + t)


@dataclass(frozen=True, eq=False)
class Candidate:
    """A pose to look at more closely."""

    score: float  # 1 where everything solid meets
    T_map_session: Float[np.ndarray, "4 4"]


class HeightWeights:
    """What a point says of where one is, by its height: floors and ceilings are the same everywhere."""

    def __init__(self, seen: Seen, cell: float) -> None:
        """Weights from how much of the ground plan is solid at each height.

        Args:
            seen: the map.
            cell: [m] of its ground plan.
        """
        n_columns = len(np.unique(cells_of(np.concatenate([seen.solid, seen.empty])[:, :2], cell)))
        self.low = float(seen.solid[:, 2].min())
        level = np.floor((seen.solid[:, 2] - self.low) / HEIGHT_STEP).astype(np.int64)
        kept = np.unique(cells_of(np.column_stack([seen.solid[:, :2] / cell, level]), 1.0), return_index=True)[1]
        self._weight = np.clip(1.0 - np.bincount(level[kept]) / n_columns / _COMMON, 0.0, 1.0)

    def of(self, z: Float[np.ndarray, " n"]) -> Float[np.ndarray, " n"]:
        """(n,) in [0, 1] for heights [m]; 0 above and below the map."""
        level = np.floor((z - self.low) / HEIGHT_STEP).astype(np.int64)
        is_in = (level >= 0) & (level < len(self._weight))
        return np.where(is_in, self._weight[np.clip(level, 0, len(self._weight) - 1)], 0.0)


def lifts(seen: Seen, session: Seen, *, k: int = 2) -> list[float]:
    """How far [m] the session has to be lifted so that its floor and ceiling meet those of the map, likeliest first."""
    low, low_session = float(seen.solid[:, 2].min()), float(session.solid[:, 2].min())
    ours, theirs = _profile(seen.solid[:, 2] - low), _profile(session.solid[:, 2] - low_session)
    fit = np.correlate(ours, theirs, "full")
    found: list[float] = []
    for i in np.argsort(-fit, kind="stable"):
        lift = low - low_session + (int(i) - (len(theirs) - 1)) * HEIGHT_STEP
        if fit[i] < 0.8 * fit.max() or len(found) == k:
            break
        if all(abs(lift - other) > LAYER for other in found):
            found.append(lift)
    return found


class SliceSearch:
    """The slices of a map, ready for any session.

    Args:
        seen: the map.
        cell: [m] of the slices.
        n_yaw: headings that are tried.
    """

    def __init__(self, seen: Seen, *, cell: float = 0.2, n_yaw: int = 90) -> None:
        self.cell, self.n_yaw = cell, n_yaw
        self._seen = seen
        self._low = seen.solid.min(axis=0) - [cell, cell, LAYER / 2.0]
        self._span = seen.solid.max(axis=0) - self._low
        self._weights = HeightWeights(seen, cell)

    def candidates(self, session: Seen, *, k: int = 12) -> list[Candidate]:
        """The k best poses that are apart, best first; the session is upright, its heading and place are unknown.

        Raises:
            ValueError: if map and session are too large for the cells.
        """
        middle = session.solid.mean(axis=0) * [1.0, 1.0, 0.0]
        centred = session.at(np.eye(3), -middle)
        reach = float(np.linalg.norm(centred.solid[:, :2], axis=1).max()) + 2.0 * self.cell
        shape = self._shape(reach)
        solid, empty = self._images(self._seen, self._low, shape)
        near = np.maximum(solid, _BESIDE * grey_dilation(solid, (1, 3, 3)))
        for_solid = fft.rfft2(near - _IN_EMPTY * empty)
        for_empty = fft.rfft2(-_THROUGH * solid)
        nx, ny = (int(side / self.cell) + 2 for side in self._span[:2])  # a session lies within the map
        everywhere = np.ones((nx, ny), dtype=np.bool_)
        found = []
        for lift in lifts(self._seen, session):
            for a in range(self.n_yaw):
                turned = centred.at(_turn(2.0 * np.pi * a / self.n_yaw), np.array([0.0, 0.0, lift]))
                score = self._scores(turned, (for_solid, for_empty), shape)[:nx, :ny]
                found += [(value, a, lift, i, j) for value, i, j in peaks(score, everywhere, k, width=3)]
        found.sort(key=lambda peak: (-peak[0], peak[1:]))
        return self._apart(found, middle, k)

    def _scores(
        self, turned: Seen, spectra: tuple[np.ndarray, np.ndarray], shape: tuple[int, int, int]
    ) -> Float[np.ndarray, "a b"]:
        """Of every shift of a session that is turned and lifted."""
        solid, empty = self._images(turned, np.array([0.0, 0.0, self._low[2]]), shape)
        levels = self._low[2] + LAYER * (np.arange(shape[0])[:, None] + (np.arange(6) + 0.5) / 6.0)
        weight = self._weights.of(levels.ravel()).reshape(levels.shape).mean(axis=1).astype(np.float32)
        solid, empty = solid * weight[:, None, None], empty * weight[:, None, None]
        total = float(solid.sum())
        if total == 0.0:
            return np.zeros(shape[1:], dtype=np.float32)
        product = spectra[0] * np.conj(fft.rfft2(solid)) + spectra[1] * np.conj(fft.rfft2(empty))
        return np.asarray(fft.irfft2(product.sum(axis=0), s=shape[1:])) / total

    def _shape(self, reach: float) -> tuple[int, int, int]:
        n_layers = int(self._span[2] / LAYER) + 2
        nx, ny = (int(fft.next_fast_len(int((side + reach) / self.cell) + 3, real=True)) for side in self._span[:2])
        if n_layers * nx * ny > MAX_CELLS:
            raise ValueError(f"a map of {self._span} m and a session of {reach:.1f} m are too large to search")
        return n_layers, nx, ny

    def _images(
        self, seen: Seen, low: np.ndarray, shape: tuple[int, int, int]
    ) -> tuple[Float[np.ndarray, "l a b"], Float[np.ndarray, "l a b"]]:
        """(solid, empty and not beside what is solid) cells of the slices; x and y wrap around."""
        images = []
        for points in (seen.solid, seen.empty):
            index = np.floor((points - low) / [self.cell, self.cell, LAYER]).astype(np.int64)
            index = index[(index[:, 2] >= 0) & (index[:, 2] < shape[0])]
            image = np.zeros(shape, dtype=np.float32)
            image[index[:, 2], index[:, 0] % shape[1], index[:, 1] % shape[2]] = 1.0
            images.append(image)
        solid, empty = images
        return solid, empty * (1.0 - grey_dilation(solid, (1, 3, 3)))

    def _apart(self, found: list[tuple[float, int, float, int, int]], middle: np.ndarray, k: int) -> list[Candidate]:
        """The best peaks, one for each place and heading."""
        kept: list[tuple[np.ndarray, int]] = []
        candidates: list[Candidate] = []
        for score, a, lift, i, j in found:
            at = np.array([self._low[0] + i * self.cell, self._low[1] + j * self.cell, lift])
            if any(np.linalg.norm(at - other) < 2.0 * self.cell and _steps(a - b, self.n_yaw) < 3 for other, b in kept):
                continue
            kept.append((at, a))
            T = np.eye(4)
            T[:3, :3] = _turn(2.0 * np.pi * a / self.n_yaw)
            T[:3, 3] = at - T[:3, :3] @ middle
            candidates.append(Candidate(score, T))
            if len(candidates) == k:
                break
        return candidates


def _profile(heights: np.ndarray) -> Float[np.ndarray, " n"]:
    """How much is solid at each height, smoothed over three steps."""
    counts = np.sqrt(np.bincount(np.rint(heights / HEIGHT_STEP).astype(np.int64)))
    return np.asarray(np.convolve(counts, [0.5, 1.0, 0.5], mode="same" if len(counts) >= 3 else "full")[: len(counts)])


def thinned(points: Float[np.ndarray, "n 3"], cell: float) -> Float[np.ndarray, "m 3"]:
    """One point a cell [m], the first of each, in the order of the cells."""
    return points[np.unique(cells_of(points, cell), return_index=True)[1]]


def cells_of(points: Float[np.ndarray, "n d"], cell: float) -> Int[np.ndarray, " n"]:
    """A whole number for each point, equal where the cell is."""
    index = np.floor(points / cell).astype(np.int64) + (1 << 20)
    return np.asarray(index @ (1 << (21 * np.arange(points.shape[1]))))


def _turn(yaw: float) -> Float[np.ndarray, "3 3"]:
    return np.asarray(Rotation.from_euler("z", yaw).as_matrix())


def _steps(difference: int, n: int) -> int:
    """Between two headings, the shorter way."""
    return abs((difference + n // 2) % n - n // 2)
