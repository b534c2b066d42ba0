"""Since when each cell of a floor plan is known, as far as poses tell."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float
from scipy import ndimage

from embmem.viewing.scene import OCCUPIED, UNSEEN, Plan, Trajectory

_MAX_RAYS = 360  # of a view
_MAX_VIEWS = 1000


def first_seen(plan: Plan, trajectory: Trajectory, max_range: float) -> Float[np.ndarray, "h w"]:
    """Stamp [s] at which each cell of the plan first was in sight; NaN where the plan knows nothing.

    Level rays over the horizontal field of view of every pose (of a thousand at most, evenly chosen) up to `max_range`
    [m] end at the first occupied cell. A known cell that no ray meets, since cameras look up and down too, was seen
    when the nearest one that a ray meets was. Without intrinsics the camera looks all around.
    """
    seen: np.ndarray = np.full(plan.cells.shape, np.nan)
    if not len(trajectory.stamps) or not seen.size:
        return seen
    chosen = np.unique(np.linspace(0, len(trajectory.stamps) - 1, _MAX_VIEWS).astype(np.int64))
    k = trajectory.intrinsics
    angle = 2 * np.pi if k is None else 2 * np.arctan(0.5 * k.width / k.fx)
    n_rays = int(np.clip(np.ceil(angle * max_range / plan.resolution), 2, _MAX_RAYS))
    fan: np.ndarray = np.linspace(-angle / 2, angle / 2, n_rays)[:, None]
    reach: np.ndarray = np.arange(int(np.ceil(max_range / plan.resolution)) + 1) * plan.resolution
    headings, is_wall = trajectory.headings(), plan.cells == OCCUPIED
    for i in chosen[::-1]:  # the earliest comes last and stays
        x, y, yaw = headings[i].tolist()
        across = (x + np.cos(yaw + fan) * reach - plan.origin[0]) / plan.resolution
        up = (y + np.sin(yaw + fan) * reach - plan.origin[1]) / plan.resolution
        is_in = (up >= 0) & (up < seen.shape[0]) & (across >= 0) & (across < seen.shape[1])
        rows, columns = np.where(is_in, up, 0).astype(np.int64), np.where(is_in, across, 0).astype(np.int64)
        n_walls = np.cumsum(is_wall[rows, columns] & is_in, axis=1)
        is_seen = is_in & (n_walls - (is_wall[rows, columns] & is_in) == 0)
        seen[rows[is_seen], columns[is_seen]] = trajectory.stamps[i]
    is_known = plan.cells != UNSEEN
    if np.isfinite(seen[is_known]).any():
        nearest = ndimage.distance_transform_edt(
            ~(np.isfinite(seen) & is_known), return_distances=False, return_indices=True
        )
        seen = seen[tuple(nearest)]
    else:
        seen[:] = trajectory.stamps[0]
    seen[~is_known] = np.nan
    return seen
