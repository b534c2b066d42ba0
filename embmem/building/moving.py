"""Pixels that show what moves: other frames, a little earlier or later, look through the place where it was."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import cv2
import numpy as np
from jaxtyping import Bool, Float

from embmem.geometry import backproject, invert_pose
from embmem.observation import Intrinsics, Observation
from embmem.recordings.frames import RawFrame

Item = tuple[int, RawFrame, list[Observation]]
_PATCHES = 19_200  # of an image, about, whose pixels are looked at together


@dataclass(frozen=True)
class Moving:
    """Takes the depth of moving things from observations, before any map sees it.

    Two ways, either may be off. Labels: pixels of the named classes go. Sight: a point is moving if more of the frames
    around saw far past it than saw a surface there, `least` of them at least (visibility, as in Removert, Kim and Kim,
    IROS 2020, but image against image). A thing that stands still for the whole window is no moving thing; the map
    forgets it where it is later looked through.
    """

    classes: Sequence[str] = ()  # of `Observation.labels`, any case
    n_frames: int = 3  # compared with on either side; 0 looks at labels only
    spacing: int = 8  # frames between them
    margin: float = 0.08  # [m] that is noise, and ...
    slope: float = 0.03  # ... more by distance [m / m]
    least: int = 2

    def __post_init__(self) -> None:
        if min(self.n_frames, self.least - 1, self.spacing - 1) < 0 or not min(self.margin, self.slope) >= 0:
            raise ValueError(f"need n_frames, margin, slope >= 0, least, spacing >= 1, got {self}")
        if isinstance(self.classes, str):
            raise ValueError(f"moving.classes must be a list of words, got {self.classes!r}")

    @property
    def reach(self) -> int:
        """Frames before and after one that decide what moves in it."""
        return self.n_frames * self.spacing

    def removed(self, items: Iterator[Item]) -> Iterator[Item]:
        """The frames without what moves, `reach` of them late."""
        window: deque[tuple[Item, list[_Coarse]]] = deque()
        at = 0  # of the next one to be given out
        for item in items:
            window.append((item, [_coarse(o) for o in item[2]] if self.n_frames else []))
            if len(window) - at > self.reach:
                yield self._one(window, at)
                at += 1
            while at > self.reach:
                window.popleft()
                at -= 1
        for k in range(at, len(window)):
            yield self._one(window, k)

    def _one(self, window: Sequence[tuple[Item, list[_Coarse]]], k: int) -> Item:
        (number, frame, observations), coarse = window[k]
        offsets = [self.spacing * i for i in range(-self.n_frames, self.n_frames + 1) if i]
        others = [c for o in offsets if 0 <= k + o < len(window) for c in window[k + o][1]]
        mended = []
        for i, observation in enumerate(observations):
            mask = self._named(observation)
            if coarse and observation.depth is not None:
                seen = self._seen(coarse[i], others, observation.depth.shape)
                mask = seen if mask is None else mask | seen
            mended.append(observation if mask is None or not mask.any() else _without(observation, mask))
        return number, frame, mended

    def _named(self, observation: Observation) -> Bool[np.ndarray, "h w"] | None:
        """Pixels of the classes that move."""
        names = {name.casefold() for name in self.classes}
        moves = np.array([label.casefold() in names for label in observation.labels], dtype=np.bool_)
        if observation.semantic is None or not moves.any():
            return None
        mask: np.ndarray = moves[observation.semantic]
        return mask

    def _seen(self, one: _Coarse, others: Sequence[_Coarse], shape: tuple[int, ...]) -> Bool[np.ndarray, "h w"]:
        """Pixels whose points more of the other frames looked through than met."""
        n_through = np.zeros(len(one.points), dtype=np.int64)
        n_met = np.zeros(len(one.points), dtype=np.int64)
        for other in others:
            z, nearest, farthest = _measured(other, one.points)
            margin = self.margin + self.slope * z
            with np.errstate(invalid="ignore"):  # NaN compares false
                n_through += nearest > z + margin
                n_met += (nearest <= z + margin) & (farthest >= z - margin)
        moves: np.ndarray = np.zeros(one.nearest.shape, dtype=np.uint8)
        moves.ravel()[one.pixels[(n_through >= self.least) & (n_through > n_met)]] = 1
        moves = cv2.morphologyEx(moves, cv2.MORPH_OPEN, np.ones((2, 2), np.uint8))
        moves = cv2.dilate(moves, np.ones((3, 3), np.uint8))
        big = np.repeat(np.repeat(moves, one.step, axis=0), one.step, axis=1)[: shape[0], : shape[1]]
        mask = np.zeros(shape, dtype=np.bool_)
        mask[: big.shape[0], : big.shape[1]] = big.astype(np.bool_)
        return mask


@dataclass(frozen=True, eq=False)
class _Coarse:
    """A depth image in patches of `step` x `step` pixels."""

    step: int
    T_camera_map: np.ndarray  # (4, 4)
    intrinsics: Intrinsics  # of the whole image
    nearest: np.ndarray  # (h, w) [m] of the patch and those around it; NaN where anything was not measured
    farthest: np.ndarray  # (h, w) [m] likewise
    points: np.ndarray  # (n, 3) [m] in the map, one a patch
    pixels: np.ndarray  # (n,) their patches


def _coarse(observation: Observation) -> _Coarse:
    k, T = observation.intrinsics, observation.T_map_camera
    if observation.depth is None:
        nothing = np.zeros((0, 0))
        return _Coarse(1, invert_pose(T), k, nothing, nothing, np.zeros((0, 3)), np.zeros(0, dtype=np.int64))
    depth = np.asarray(observation.depth, dtype=np.float32)
    step = max(1, round(float(np.sqrt(depth.size / _PATCHES))))
    h, w = depth.shape[0] // step * step, depth.shape[1] // step * step
    patches = depth[:h, :w].reshape(h // step, step, w // step, step)
    is_gap = np.isnan(patches)
    near = cv2.erode(np.where(is_gap, -np.inf, patches).min(axis=(1, 3)), np.ones((3, 3), np.uint8))
    far = cv2.dilate(np.where(is_gap, -np.inf, patches).max(axis=(1, 3)), np.ones((3, 3), np.uint8))
    middle = backproject(depth, k)[step // 2 : h : step, step // 2 : w : step].reshape(-1, 3).astype(np.float64)
    pixels = np.flatnonzero(np.isfinite(middle).all(axis=1))
    points = middle[pixels] @ T[:3, :3].T + T[:3, 3]
    nearest, farthest = (np.where(np.isfinite(a), a, np.nan) for a in (near, far))
    return _Coarse(step, invert_pose(T), k, nearest, farthest, points, pixels)


def _measured(
    other: _Coarse, points: Float[np.ndarray, "n 3"]
) -> tuple[Float[np.ndarray, " n"], Float[np.ndarray, " n"], Float[np.ndarray, " n"]]:
    """(depth of the points in the other camera, nearest, farthest that it measured there) [m]; NaN out of sight."""
    k, T, step = other.intrinsics, other.T_camera_map, other.step
    local = points @ T[:3, :3].T + T[:3, 3]
    z = local[:, 2]
    nearest, farthest = np.full(len(z), np.nan), np.full(len(z), np.nan)
    ahead = np.flatnonzero(z > 0.05)
    u = np.floor((k.fx * local[ahead, 0] / z[ahead] + k.cx + 0.5) / step).astype(np.int64)
    v = np.floor((k.fy * local[ahead, 1] / z[ahead] + k.cy + 0.5) / step).astype(np.int64)
    h, w = other.nearest.shape
    inside = (u >= 0) & (v >= 0) & (u < w) & (v < h)
    rows = ahead[inside]
    nearest[rows], farthest[rows] = other.nearest[v[inside], u[inside]], other.farthest[v[inside], u[inside]]
    return z, nearest, farthest


def _without(observation: Observation, mask: Bool[np.ndarray, "h w"]) -> Observation:
    """The observation without the depth and the meaning of some pixels."""
    depth = None if observation.depth is None else np.where(mask, np.float32(np.nan), observation.depth)
    semantic = None if observation.semantic is None else np.where(mask, 0, observation.semantic)
    instance = None if observation.instance is None else np.where(mask, 0, observation.instance)
    return replace(
        observation,
        depth=depth,
        semantic=None if semantic is None else semantic.astype(observation.semantic.dtype),  # type: ignore[union-attr]
        instance=None if instance is None else instance.astype(observation.instance.dtype),  # type: ignore[union-attr]
    )
