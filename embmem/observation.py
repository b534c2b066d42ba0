"""What a robot or a simulated agent sees at one instant."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float


@dataclass(frozen=True)
class Intrinsics:
    """Pinhole camera; integer pixel coordinates lie at pixel centres, so a centred `cx` is (width - 1) / 2."""

    width: int
    height: int
    fx: float  # [px]
    fy: float  # [px]
    cx: float  # [px]
    cy: float  # [px]
    distortion: tuple[float, ...] = ()  # OpenCV's k1 k2 p1 p2 [k3 [k4 k5 k6]], empty = none

    @classmethod
    def from_fov(cls, width: int, height: int, hfov_deg: float) -> Intrinsics:
        """Square pixels with the given horizontal field of view [degrees]."""
        if width < 1 or height < 1 or not 0 < hfov_deg < 180:
            raise ValueError(f"need a size >= 1 and 0 < hfov < 180, got {width}x{height}, {hfov_deg}")
        f = width / (2.0 * float(np.tan(np.radians(hfov_deg) / 2.0)))
        return cls(width, height, f, f, (width - 1) / 2.0, (height - 1) / 2.0)

    def matrix(self) -> Float[np.ndarray, "3 3"]:
        """The 3x3 camera matrix K."""
        return np.array([[self.fx, 0.0, self.cx], [0.0, self.fy, self.cy], [0.0, 0.0, 1.0]])


@dataclass(frozen=True, eq=False)
class Observation:
    """One posed frame. Images that the sensor does not have are None; all images share one size.

    `semantic` holds category ids that index `labels`; 0 means unlabelled. `instance` numbers the segments of
    *this frame* (0 = none): a detector knows which pixels belong together, not which object they were yesterday.
    Nothing is checked here, hence the plain array types: `embmem.ingress.IngressGate` checks what enters a memory.
    """

    stamp: float  # [s], Unix epoch or any clock that does not run backwards
    T_map_camera: np.ndarray  # (4, 4) float64, optical camera frame -> map
    intrinsics: Intrinsics
    depth: np.ndarray | None = None  # (h, w) float32, planar z [m], NaN = invalid
    rgb: np.ndarray | None = None  # (h, w, 3) uint8
    semantic: np.ndarray | None = None  # (h, w) integer
    instance: np.ndarray | None = None  # (h, w) integer
    labels: tuple[str, ...] = ()
    embeddings: dict[int, np.ndarray] | None = None  # (d,) float by number in `instance`, of any length > 0
