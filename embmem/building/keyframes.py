"""Which frames are worth observing: those from another place."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from embmem.geometry import rotation_angle


@dataclass(eq=False)
class Keyframes:
    """Keeps the first frame, then each that was taken far enough from the one kept before."""

    distance: float = 0.0  # [m] moved ...
    angle: float = 0.0  # [rad] ... or turned; 0 for both keeps every frame
    _last: np.ndarray | None = field(default=None, init=False, repr=False)

    def __post_init__(self) -> None:
        if not (0 <= self.distance < np.inf and 0 <= self.angle < np.inf):
            raise ValueError(f"keyframes need distance and angle >= 0 and finite, got {self.distance}, {self.angle}")

    def keep(self, T_map_camera: np.ndarray) -> bool:
        """Whether a frame taken there is kept; call it once a frame, in their order."""
        last = self._last
        is_kept = last is None or not (self.distance or self.angle)
        if last is not None and not is_kept:
            moved = float(np.linalg.norm(T_map_camera[:3, 3] - last[:3, 3]))
            is_far = 0 < self.distance <= moved
            is_kept = is_far or 0 < self.angle <= rotation_angle(T_map_camera[:3, :3].T @ last[:3, :3])
        if is_kept:
            self._last = T_map_camera
        return is_kept
