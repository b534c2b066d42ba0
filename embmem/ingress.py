"""The one place where observations are checked: what passes here is trusted by every layer behind it."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field, replace
from typing import Literal

import numpy as np

from embmem.errors import RefusedObservation
from embmem.observation import Observation

Policy = Literal["refuse", "repair", "new_session"]

# What each fault may do, its default first. A repair must be one that loses nothing: never an invented pose.
FAULTS: dict[str, tuple[Policy, ...]] = {
    "stamp_not_finite": ("refuse",),
    "pose_not_finite": ("refuse",),
    "pose_not_rigid": ("refuse", "repair"),
    "bad_intrinsics": ("refuse",),
    "wrong_shape": ("refuse",),
    "bad_embeddings": ("refuse",),
    "depth_range": ("repair", "refuse"),
    "clock_backwards": ("refuse", "new_session"),
}
RIGID_TOLERANCE = 1e-3  # largest entry of |R R^T - I|
REPAIRABLE_ROTATION = 0.1


@dataclass(eq=False)
class IngressGate:
    """Checks observations, one policy a fault, and counts what it saw.

    `refuse` raises `RefusedObservation`; `repair` mends it (nearest rotation; depth outside the range becomes NaN);
    `new_session` accepts a clock that ran backwards and starts session number `session` + 1.
    """

    policies: dict[str, Policy] = field(default_factory=dict)
    depth_max: float = 20.0  # [m], farther is invalid
    session: int = field(default=0, init=False)
    counts: Counter[str] = field(default_factory=Counter, init=False)

    def __post_init__(self) -> None:
        for fault, policy in self.policies.items():
            if policy not in FAULTS.get(fault, ()):
                known = "; ".join(f"{name}: {' or '.join(allowed)}" for name, allowed in FAULTS.items())
                raise ValueError(f"no policy {policy!r} for fault {fault!r}; there are {known}")
        if not self.depth_max > 0:
            raise ValueError(f"depth_max must be > 0, got {self.depth_max}")
        self.last_stamp = -np.inf  # [s] of the newest observation admitted

    def admit(self, observation: Observation) -> Observation:
        """The observation as the layers may see it.

        Raises:
            RefusedObservation: if a fault has the policy `refuse`; the gate's clock has not moved then.
        """
        self._check_shapes(observation)
        observation = self._check_pose(observation)
        observation = self._check_depth(observation)
        self._check_embeddings(observation)
        self._check_clock(observation.stamp)
        self.counts["admitted"] += 1
        return observation

    def _fault(self, fault: str, detail: str) -> Policy:
        """Count a fault and return what to do about it; refusing raises."""
        self.counts[fault] += 1
        policy = self.policies.get(fault, FAULTS[fault][0])
        if policy == "refuse":
            raise RefusedObservation(fault, detail)
        return policy

    def _check_shapes(self, observation: Observation) -> None:
        k = observation.intrinsics
        numbers = (k.fx, k.fy, k.cx, k.cy)
        if not np.isfinite(numbers).all() or k.fx <= 0 or k.fy <= 0 or k.width < 1 or k.height < 1:
            self._fault("bad_intrinsics", f"need finite numbers, fx, fy > 0 and a size >= 1, got {k}")
        if len(k.distortion) not in (0, 4, 5, 8) or not np.isfinite(k.distortion).all():
            self._fault("bad_intrinsics", f"need 0, 4, 5 or 8 finite coefficients, got distortion {k.distortion}")
        for name, kinds, channels in (
            ("depth", "f", ()),
            ("rgb", "u", (3,)),
            ("semantic", "iu", ()),
            ("instance", "iu", ()),
        ):
            image = getattr(observation, name)
            if image is None:
                continue
            if image.shape != (k.height, k.width, *channels) or image.dtype.kind not in kinds:
                expected = (k.height, k.width, *channels)
                self._fault("wrong_shape", f"{name} is {image.dtype}{image.shape}, expected {kinds}{expected}")
        if observation.semantic is not None and observation.semantic.size:
            low, high = int(observation.semantic.min()), int(observation.semantic.max())
            if low < 0 or (high > 0 and high >= len(observation.labels)):
                self._fault("wrong_shape", f"semantic ids [{low}, {high}] but {len(observation.labels)} labels")

    def _check_pose(self, observation: Observation) -> Observation:
        T = observation.T_map_camera
        if T.shape != (4, 4):
            self._fault("wrong_shape", f"T_map_camera is {T.shape}, expected (4, 4)")
        if not np.isfinite(T).all():
            self._fault("pose_not_finite", f"T_map_camera holds {T[~np.isfinite(T)][0]}")
        R = T[:3, :3]
        error = float(np.abs(R @ R.T - np.eye(3)).max())
        is_proper = np.linalg.det(R) > 0 and np.array_equal(T[3], [0.0, 0.0, 0.0, 1.0])
        if error <= RIGID_TOLERANCE and is_proper:
            return observation
        self._fault("pose_not_rigid", f"rotation is off by {error:.3g} (non-unit quaternion?)")
        if error > REPAIRABLE_ROTATION or not is_proper:
            raise RefusedObservation("pose_not_rigid", f"off by {error:.3g}, too far to repair")
        U, _, Vt = np.linalg.svd(R)
        repaired = T.copy()
        repaired[:3, :3] = U @ Vt
        return replace(observation, T_map_camera=repaired)

    def _check_depth(self, observation: Observation) -> Observation:
        depth = observation.depth
        if depth is None:
            return observation
        with np.errstate(invalid="ignore"):
            bad = (depth <= 0) | (depth > self.depth_max)  # NaN compares false: already invalid
        n_bad = int(np.count_nonzero(bad))
        if n_bad == 0:
            return observation if depth.dtype == np.float32 else replace(observation, depth=depth.astype(np.float32))
        self._fault("depth_range", f"{n_bad} pixels outside (0, {self.depth_max}] m")
        return replace(observation, depth=np.where(bad, np.nan, depth).astype(np.float32))

    def _check_embeddings(self, observation: Observation) -> None:
        embeddings, instance = observation.embeddings, observation.instance
        if not embeddings:
            return
        vectors = [np.asarray(vector) for vector in embeddings.values()]
        shapes = {vector.shape for vector in vectors}
        if len(shapes) != 1 or vectors[0].ndim != 1 or any(vector.dtype.kind != "f" for vector in vectors):
            self._fault("bad_embeddings", f"need float vectors of one length, got shapes {sorted(shapes)}")
        if not all(np.isfinite(vector).all() and vector.any() for vector in vectors):
            self._fault("bad_embeddings", "a vector is zero or not finite")
        unseen = set(embeddings) if instance is None else {n for n in embeddings if n == 0 or n not in instance}
        if unseen:
            self._fault("bad_embeddings", f"no segment of the instance image is numbered {sorted(unseen)}")

    def _check_clock(self, stamp: float) -> None:
        if not np.isfinite(stamp):
            self._fault("stamp_not_finite", f"stamp is {stamp}")
        if stamp < self.last_stamp:
            self._fault("clock_backwards", f"stamp {stamp} after {self.last_stamp}")
            self.session += 1
        self.last_stamp = stamp
