"""How much of the floor a recording has seen, and when."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float
from scipy import ndimage

from embmem.viewing.first_seen import first_seen
from embmem.viewing.scene import FREE, OCCUPIED, UNSEEN, Plan, Trajectory

_VIEWS = 300  # poses that tell when a cell was seen


@dataclass(frozen=True, eq=False)
class Coverage:
    """What is known of a floor plan; areas in square metres."""

    free: float  # floor that was seen
    obstacles: float
    enclosed: float  # not seen, with what was seen all around
    seen: Float[np.ndarray, "h w"]  # [s] when each known cell was seen first, NaN where nothing is known
    stamps: Float[np.ndarray, " n"]  # [s] ascending
    areas: Float[np.ndarray, " n"]  # floor seen until then

    @property
    def span(self) -> tuple[float, float]:
        """First and last stamp [s]."""
        return float(self.stamps[0]), float(self.stamps[-1])


def coverage(plan: Plan, trajectory: Trajectory, max_range: float) -> Coverage | None:
    """What was seen of the plan from the trajectory; None without a pose.

    When a cell was seen is told by level rays from `_VIEWS` of the poses (`embmem.viewing.first_seen`), so the curve is
    good to that part of the recording; the areas are those of the map.
    """
    n = len(trajectory.stamps)
    if not n:
        return None
    chosen = np.unique(np.linspace(0, n - 1, min(n, _VIEWS)).astype(np.int64))
    some = Trajectory(trajectory.stamps[chosen], trajectory.T_map_camera[chosen], trajectory.intrinsics)
    seen = first_seen(plan, some, max_range)
    cell = plan.resolution**2
    free = plan.cells == FREE
    when = np.sort(seen[free & np.isfinite(seen)])
    return Coverage(
        free=float(free.sum() * cell),
        obstacles=float((plan.cells == OCCUPIED).sum() * cell),
        enclosed=float(_enclosed(plan).sum() * cell),
        seen=seen,
        stamps=np.sort(some.stamps),
        areas=np.searchsorted(when, np.sort(some.stamps), side="right") * cell,
    )


def _enclosed(plan: Plan) -> np.ndarray:
    """Cells nobody looked into that no way of such cells leads out of."""
    holes, _ = ndimage.label(plan.cells == UNSEEN)
    at_edge = np.unique(np.concatenate([holes[0], holes[-1], holes[:, 0], holes[:, -1]]))
    return (holes > 0) & ~np.isin(holes, at_edge)
