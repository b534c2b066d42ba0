"""A session that does not know where it is finds itself in a saved map, or says why it cannot tell."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float
from scipy.spatial import cKDTree

from embmem.maps.coarse_alignment import are_apart
from embmem.maps.registration import Cloud, Registration, prepare, register
from embmem.maps.relocalise.agreement import Agreement, Rays, Surface, agreement, sampled_rays
from embmem.maps.relocalise.slices import Candidate, HeightWeights, Seen, SliceSearch, thinned
from embmem.maps.voxels import VoxelMap
from embmem.observation import Observation

_VOXEL = 0.1  # [m] of the cloud of a map ...
_SESSION_VOXEL = 0.15  # ... and of that of a session, which is registered to it
_HOPELESS = 0.7  # of the best candidate's score, below which none is looked at closely
_LEAST = 200  # voxels of a map or a session below which nothing can be told


@dataclass(frozen=True)
class Acceptance:
    """What a pose must fulfil to be believed.

    The numbers lie between what was seen in ten furnished houses at home (scores from .89, .93 without names, and .05
    above the next best place, .22 with names) and in strange ones (scores to .72, or .81 without names).
    """

    min_met: float = 0.9  # share of what was measured that lies on the map's surface
    max_against: float = 0.04  # share that speaks against it
    min_score: float = 0.86  # see `Relocalisation.score`, where map and session have names for what they see ...
    min_unnamed_score: float = 0.92  # ... and where they have not
    min_margin: float = 0.1  # between its score and that of the best other pose
    min_patches: float = 60.0  # of surface, each 0.2 m wide, floors and ceilings not counted
    min_frame_met: float = 0.6  # of each frame that says anything ...
    min_frames: int = 3  # ... of which there are so many
    min_stiffness: float = 0.01  # see `Registration.stiffness`
    max_tilt: float = np.radians(4.0)  # between the z axes [rad]


@dataclass(frozen=True, eq=False)
class Relocalisation:
    """Where a session lies in a map."""

    T_map_session: Float[np.ndarray, "4 4"]
    covariance: Float[np.ndarray, "6 6"]  # of xi in T Exp(xi), rotation [rad] first, then translation [m]
    score: float  # share that agrees, less what speaks against it and what has another name there; at most 1
    margin: float  # to the score of the best other pose
    is_accepted: bool
    why: str  # in words, also where it is refused


@dataclass(frozen=True, eq=False)
class _Session:
    seen: Seen
    cloud: Cloud
    surface: cKDTree
    rays: Rays


@dataclass(frozen=True, eq=False)
class _Hypothesis:
    found: Registration
    agrees: Agreement


class Relocaliser:
    """Finds sessions in one map.

    Every place and heading is scored (`SliceSearch`), the best are registered, and what each frame measured is cast
    into the map at each of them. The best is believed if nearly everything agrees, nothing much speaks against it, and
    no other pose comes near; sensors must know which way is up.
    """

    def __init__(self, voxels: VoxelMap, *, acceptance: Acceptance = Acceptance(), n_candidates: int = 12) -> None:
        """Prepare a map.

        Args:
            voxels: the map.
            acceptance: what is believed.
            n_candidates: poses that are looked at closely.
        """
        if n_candidates < 2:
            raise ValueError(f"a best pose needs a second one to beat, got n_candidates = {n_candidates}")
        self.voxels, self.acceptance, self.n_candidates = voxels, acceptance, n_candidates
        self._seen = Seen(voxels.occupied(), voxels.free())
        self._is_usable = len(self._seen.solid) >= _LEAST
        if self._is_usable:
            self._search = SliceSearch(self._seen)
            self._weights = HeightWeights(self._seen, 2.0 * voxels.resolution)
            self._surface = Surface(voxels, self._seen.solid)
            self._cloud = prepare(thinned(self._seen.solid, _VOXEL))

    def locate(self, frames: Sequence[Observation]) -> Relocalisation:
        """Where the session of these frames lies in the map.

        Args:
            frames: with depth, posed in a frame of their own whose z is up: `T_map_camera` is `T_session_camera`.

        Raises:
            ValueError: if map and session are too large to search.
        """
        if not self._is_usable:
            return _refused(f"the map has {len(self._seen.solid)} occupied voxels, {_LEAST} are needed")
        session = self._session(frames)
        if len(session.seen.solid) < _LEAST:
            return _refused(f"the frames show {len(session.seen.solid)} occupied voxels, {_LEAST} are needed")
        return self._judged([self._looked_at(session, c.T_map_session) for c in self._candidates(session)])

    def _judged(self, tried: Sequence[_Hypothesis]) -> Relocalisation:
        """The best of the poses, and whether it is believed beside the others."""
        ranked = sorted(tried, key=lambda one: -one.agrees.score)
        if not ranked:
            return _refused("nothing in the map looks like it")
        best = ranked[0]
        rival = max((one.agrees.score for one in ranked if _is_elsewhere(one.found, best.found)), default=-1.0)
        complaint = self._complaint(best, rival)
        return Relocalisation(
            best.found.T_target_source, best.found.covariance, best.agrees.score, best.agrees.score - rival,
            not complaint, complaint or _praise(best.agrees, rival),
        )  # fmt: skip

    def _session(self, frames: Sequence[Observation]) -> _Session:
        """What the session saw, with a map of its own."""
        own = VoxelMap(self.voxels.resolution, max_range=self.voxels.max_range)
        for frame in frames:
            own.observe(frame)
        seen = Seen(own.occupied(), own.free())
        cloud = prepare(thinned(seen.solid, _SESSION_VOXEL))
        return _Session(seen, cloud, cKDTree(seen.solid), sampled_rays(frames, self.voxels.max_range, self._surface))

    def _candidates(self, session: _Session) -> list[Candidate]:
        cell, seen = self._search.cell / 2.0, session.seen
        coarse = Seen(thinned(seen.solid, cell), thinned(seen.empty, cell))
        found = self._search.candidates(coarse, k=self.n_candidates)
        return [c for c in found if c.score >= _HOPELESS * found[0].score]

    def _looked_at(self, session: _Session, guess: Float[np.ndarray, "4 4"]) -> _Hypothesis:
        """The pose after registration, with what the frames say of it."""
        found = register(session.cloud, self._cloud, guess, voxel=_VOXEL)
        T = found.T_target_source
        agrees = agreement(self.voxels, self._surface, self._weights, session.rays, session.surface, T)
        return _Hypothesis(found, agrees)

    def _complaint(self, best: _Hypothesis, rival: float) -> str:
        """The first condition that does not hold, empty if all do."""
        a, agrees = self.acceptance, best.agrees
        telling = agrees.weight > 0.1 * max(float(agrees.weight.max(initial=0.0)), 1e-9)
        tilt = float(np.arccos(np.clip(best.found.T_target_source[2, 2], -1.0, 1.0)))
        met, against, unknown = (agrees.total(name) for name in ("met", "against", "unknown"))
        if telling.sum() < a.min_frames:
            return f"only {telling.sum()} frames show more than floor and ceiling, {a.min_frames} are needed"
        if agrees.weight.sum() < a.min_patches:
            return f"what was seen is too little: {agrees.weight.sum():.0f} patches of surface, not {a.min_patches:.0f}"
        if met < a.min_met:
            return f"only {met:.2f} of what was seen is in the map, and {unknown:.2f} lies where it knows nothing"
        if against > a.max_against:
            return f"{against:.2f} of what was seen cannot be so in the map"
        least = a.min_score if agrees.is_named else a.min_unnamed_score
        if agrees.score < least:
            return f"it scores {agrees.score:.2f}, {agrees.total('misnamed'):.2f} has another name; {least} is needed"
        if agrees.score - rival < a.min_margin:
            return f"another place fits nearly as well: {rival:.2f}, the best {agrees.score:.2f}"
        if (agrees.met[telling] < a.min_frame_met).any():
            worst = int(np.flatnonzero(telling)[np.argmin(agrees.met[telling])])
            return f"frame {worst} does not agree: {agrees.met[worst]:.2f} of it is in the map"
        if best.found.stiffness < a.min_stiffness:
            return f"the pose can slide: least eigenvalue {best.found.stiffness:.4f}"
        if tilt > a.max_tilt:
            return f"it would be tilted by {np.degrees(tilt):.1f} degrees"
        return ""


def _is_elsewhere(one: Registration, best: Registration) -> bool:
    """True if it is another pose."""
    return are_apart(one.T_target_source, best.T_target_source, 0.25, np.radians(8.0))


def _praise(agrees: Agreement, rival: float) -> str:
    other = f"the next best place scores {rival:.2f}" if rival > -1.0 else "there is no other place like it"
    return f"{agrees.total('met'):.2f} of what was seen is in the map; {other}"


def _refused(why: str) -> Relocalisation:
    return Relocalisation(np.eye(4), np.full((6, 6), np.inf), -1.0, 0.0, False, why)
