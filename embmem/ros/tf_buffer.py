"""Transforms between named frames over time, as tf2 keeps them (Foote, tf: the transform library, TePRA 2013).

Between two stamps positions are interpolated linearly and rotations on the sphere, a frame may change its parent on the
way, of two transforms with one stamp the first stays, and nothing is extrapolated: tf2's rules.
"""

from __future__ import annotations

import math
from array import array
from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from threading import RLock

import numpy as np
from jaxtyping import Float

from embmem.errors import InputError
from embmem.geometry import invert_pose

UNIT_TOLERANCE = 1e-2  # of a quaternion's squared length; tf2's QUATERNION_NORMALIZATION_TOLERANCE
MAX_DEPTH = 1000  # frames in a chain; tf2's MAX_GRAPH_DEPTH
NANOSECONDS = 1_000_000_000


class TransformError(InputError):
    """A transform that cannot be kept, or one that is not known at that time; `fault` says why in a word."""

    def __init__(self, fault: str, detail: str) -> None:
        super().__init__(detail)
        self.fault = fault


class _Link:
    """How one frame moved in its parents, in order of time."""

    def __init__(self) -> None:
        self.stamps = array("q")  # [ns]
        self.numbers = array("d")  # x y z qx qy qz qw of each stamp
        self.parents: list[str] = []

    def add(self, stamp: int, parent: str, numbers: Sequence[float]) -> None:
        at = len(self.stamps) if not self.stamps or stamp > self.stamps[-1] else bisect_left(self.stamps, stamp)
        if at < len(self.stamps) and self.stamps[at] == stamp:
            return
        self.stamps.insert(at, stamp)
        self.parents.insert(at, parent)
        self.numbers[7 * at : 7 * at] = array("d", numbers)

    def at(self, stamp: int) -> tuple[str, Sequence[float], int]:
        """(parent, x y z qx qy qz qw, [ns] between the two that were interpolated); stamp lies within the ends."""
        right = bisect_left(self.stamps, stamp)
        after = self.numbers[7 * right : 7 * right + 7]
        if self.stamps[right] == stamp:
            return self.parents[right], after, 0
        before = self.numbers[7 * right - 7 : 7 * right]
        start, gap = self.stamps[right - 1], self.stamps[right] - self.stamps[right - 1]
        if self.parents[right] != self.parents[right - 1]:
            return self.parents[right - 1], before, gap
        return self.parents[right], _interpolated(before, after, (stamp - start) / gap), gap


class TfBuffer:
    """Transforms as they come in, looked up at any time between the first and the last of each frame, by any thread.

    Args:
        keep: [s] of history; older transforms of a frame are dropped as newer ones come, the static ones never. A
            recording that is read as a whole keeps all.
    """

    def __init__(self, *, keep: float = math.inf) -> None:
        if not keep > 0:
            raise ValueError(f"keep must be > 0 s, got {keep}")
        self._keep = keep
        self._links: dict[str, _Link] = {}
        self._static: dict[str, tuple[str, tuple[float, ...]]] = {}
        self._names: set[str] = set()
        self._lock = RLock()

    def add(
        self,
        parent: str,
        child: str,
        position: Float[np.ndarray, "3"],
        quat_xyzw: Float[np.ndarray, "4"],
        *,
        stamp_ns: int,
        is_static: bool = False,
    ) -> None:
        """Keep that `child` was at `position` [m] in `parent` at `stamp_ns`, or always.

        Raises:
            TransformError: if tf2 would not take it: a frame without a name or in itself, numbers that are not finite,
                a quaternion that is not of unit length.
        """
        parent, child = parent.removeprefix("/"), child.removeprefix("/")
        numbers = (*map(float, position), *map(float, quat_xyzw))
        if not parent or not child or parent == child:
            raise TransformError("bad_frame", f"no transform leads from frame {child!r} to frame {parent!r}")
        length = math.sqrt(sum(x * x for x in numbers[3:]))
        if not all(map(math.isfinite, numbers)) or abs(length * length - 1.0) > UNIT_TOLERANCE:
            raise TransformError("bad_transform", f"{parent} to {child}: no position and unit quaternion: {numbers}")
        numbers = (*numbers[:3], *(x / length for x in numbers[3:]))
        with self._lock:
            self._names |= {parent, child}
            if is_static:
                self._static[child] = parent, numbers
                return
            link = self._links.setdefault(child, _Link())
            link.add(stamp_ns, parent, numbers)
            self._forget(link)

    def _forget(self, link: _Link) -> None:
        if not math.isfinite(self._keep):
            return
        n_old = bisect_left(link.stamps, link.stamps[-1] - int(self._keep * NANOSECONDS))
        del link.stamps[:n_old], link.parents[:n_old], link.numbers[: 7 * n_old]

    def forget_moving(self) -> None:
        """Drop all but the static transforms, as tf2 does when the clock goes back."""
        with self._lock:
            self._links.clear()

    @property
    def frames(self) -> list[str]:
        """Every frame that was heard of, by name."""
        return sorted(self._names)

    def is_static(self, child: str) -> bool:
        """Whether the frame is fixed in its parent."""
        return child in self._static

    def parent(self, child: str) -> str | None:
        """The latest parent of a frame; None where it has none."""
        if child in self._static:
            return self._static[child][0]
        return self._links[child].parents[-1] if child in self._links else None

    def root(self, frame: str) -> str:
        """The frame at the top of the tree that `frame` hangs in, by the latest parents."""
        for _ in range(MAX_DEPTH):
            parent = self.parent(frame)
            if parent is None:
                break
            frame = parent
        return frame

    def span(self, child: str) -> tuple[int, int, int]:
        """(first stamp, last stamp [ns], number of transforms) of a frame that moves."""
        link = self._links[child]
        return link.stamps[0], link.stamps[-1], len(link.stamps)

    def stamps(self, child: str) -> np.ndarray:
        """(n,) int64 [ns], ascending, of a frame that moves."""
        return np.array(self._links[child].stamps, dtype=np.int64)

    def lookup(self, target: str, source: str, stamp_ns: int, *, max_gap: float = math.inf) -> Float[np.ndarray, "4 4"]:
        """`T_target_source` at that time.

        Args:
            target: frame that points are taken to.
            source: frame that they come from.
            stamp_ns: [ns].
            max_gap: [s] between two stamps that may be interpolated between.

        Raises:
            TransformError: `unknown_frame`, `not_connected`, `extrapolation` or `tf_gap`.
        """
        with self._lock:
            return self._lookup(target.removeprefix("/"), source.removeprefix("/"), stamp_ns, max_gap)

    def _lookup(self, target: str, source: str, stamp_ns: int, max_gap: float) -> Float[np.ndarray, "4 4"]:
        for frame in (target, source):
            if frame not in self._names and target != source:
                raise TransformError("unknown_frame", f"no transform names the frame {frame!r}, only {self.frames}")
        chain, reason = self._chain(source, stamp_ns, max_gap, until=target)
        if target in chain:
            return chain[target]
        other, reason_other = self._chain(target, stamp_ns, max_gap, until=source)
        common = next((frame for frame in chain if frame in other), None)
        if common is None:
            raise (
                reason
                or reason_other
                or TransformError("not_connected", f"frames {target!r} and {source!r} hang in two trees")
            )
        return invert_pose(other[common]) @ chain[common]

    def _chain(
        self, frame: str, stamp: int, max_gap: float, *, until: str
    ) -> tuple[dict[str, np.ndarray], TransformError | None]:
        """`T_ancestor_frame` of the frame's ancestors, nearest first, and why the last of them has no parent then."""
        T, chain = np.eye(4), {frame: np.eye(4)}
        while frame != until and len(chain) < MAX_DEPTH:
            try:
                step = self._step(frame, stamp, max_gap)
            except TransformError as error:
                return chain, error
            if step is None or step[0] in chain:
                break
            frame, T = step[0], _matrix(step[1]) @ T
            chain[frame] = T
        return chain, None

    def _step(self, child: str, stamp: int, max_gap: float) -> tuple[str, Sequence[float]] | None:
        if child in self._static:
            return self._static[child]
        link = self._links.get(child)
        if link is None:
            return None
        if not link.stamps[0] <= stamp <= link.stamps[-1]:
            end, side = (
                (link.stamps[0], "before the first") if stamp < link.stamps[0] else (link.stamps[-1], "after the last")
            )
            raise TransformError(
                "extrapolation",
                f"{stamp / NANOSECONDS:.6f} s is {abs(end - stamp) / NANOSECONDS:.6g} s {side} transform of {child!r}",
            )
        parent, numbers, gap = link.at(stamp)
        if gap > max_gap * NANOSECONDS:
            raise TransformError(
                "tf_gap", f"no transform of {child!r} for {gap / NANOSECONDS:.3g} s around {stamp / NANOSECONDS:.6f} s"
            )
        return parent, numbers

    def nearest_stamp(self, child: str, stamp_ns: int) -> int | None:
        """The stamp of the frame's transform nearest in time [ns]; None where it never moved."""
        link = self._links.get(child)
        if link is None:
            return None
        at = bisect_right(link.stamps, stamp_ns)
        return min(link.stamps[max(0, at - 1) : at + 1], key=lambda s: abs(s - stamp_ns))


def _interpolated(a: Sequence[float], b: Sequence[float], t: float) -> tuple[float, ...]:
    """Linear in position, the shorter way round in rotation (Shoemake, SIGGRAPH 1985)."""
    position = (a[i] + t * (b[i] - a[i]) for i in range(3))
    dot = sum(a[i] * b[i] for i in range(3, 7))
    sign = -1.0 if dot < 0 else 1.0
    # 2 asin of half the chord: acos of the product loses half of the digits of a small angle
    theta = 2.0 * math.asin(min(1.0, math.sqrt(sum((a[i] - sign * b[i]) ** 2 for i in range(3, 7))) / 2.0))
    if theta < 1e-12:
        return (*position, *a[3:])
    scale = math.sin(theta)
    s, r = math.sin((1.0 - t) * theta) / scale, sign * math.sin(t * theta) / scale
    return (*position, *(s * a[i] + r * b[i] for i in range(3, 7)))


def _matrix(numbers: Sequence[float]) -> Float[np.ndarray, "4 4"]:
    """Of x y z qx qy qz qw; scipy's constructor would cost ten times as much for one."""
    px, py, pz, x, y, z, w = numbers
    return np.array(
        [
            [1 - 2 * (y * y + z * z), 2 * (x * y - z * w), 2 * (x * z + y * w), px],
            [2 * (x * y + z * w), 1 - 2 * (x * x + z * z), 2 * (y * z - x * w), py],
            [2 * (x * z - y * w), 2 * (y * z + x * w), 1 - 2 * (x * x + y * y), pz],
            [0.0, 0.0, 0.0, 1.0],
        ]
    )
