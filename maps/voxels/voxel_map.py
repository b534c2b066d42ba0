"""Occupancy of space: what is solid, what is free, what was never seen."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field, replace
from typing import Any, ClassVar

import numpy as np
from jaxtyping import Float

from embmem.errors import InputError
from embmem.maps.states import check_header, checked_array, checked_numbers
from embmem.maps.voxels.blocks import AXIS_LIMIT, SCALE, BlockPool
from embmem.maps.voxels.cast import Policy, cast_distances, list_voxels, read_points
from embmem.maps.voxels.extent import bounds, volumes
from embmem.maps.voxels.marker import INTEGRATORS, Marker
from embmem.maps.voxels.meaning.payload import Payload
from embmem.maps.voxels.meaning.readings import Readings
from embmem.maps.voxels.meaning.semantic import Answer, Search, to_hits
from embmem.maps.voxels.motion.flips import is_tracked, track_changes
from embmem.maps.voxels.motion.removal import Removal, checked_removal
from embmem.maps.voxels.nearest import nearest
from embmem.maps.voxels.regions import State, closest, in_box, in_frustum, in_radius
from embmem.maps.voxels.resample import moved_blocks
from embmem.maps.voxels.saved import checked_pool, saved_arrays
from embmem.maps.voxels.sensors import Sensor, sensor_rays
from embmem.maps.voxels.summary import BlockSummary
from embmem.observation import Intrinsics, Observation
from embmem.protocols import Deformation, LayerState
from embmem.records import Hit, Query

MAX_REACH = 10_000  # voxels; bounds the number of tiles of one frame
PARAMS = ("resolution", "hit", "miss", "low", "high", "max_range")


@dataclass(eq=False)
class VoxelMap:
    """Log-odds occupancy on a sparse grid, in the `map` frame (metres, z up).

    A frame updates each voxel at most once: `hit` where something was measured, else `miss` where it was seen through.
    For a point cloud that is what a ray to the centre of each end voxel passes; for a depth image, the voxels whose
    centre is nearer than what its pixel measured. Log-odds are clamped so that the map can still change its mind
    (Hornung et al., OctoMap, Autonomous Robots 2013, eq. 4) and kept in steps of 1/32.
    """

    kind: ClassVar[str] = "voxels"
    version: ClassVar[int] = 2

    resolution: float = 0.05  # edge of a voxel [m]
    hit: float = 0.85  # log-odds added by an endpoint
    miss: float = -0.4  # log-odds added by a pass-through
    low: float = -2.0  # clamp
    high: float = 3.5  # clamp
    max_range: float = 5.0  # [m]; of what is farther only the free space up to here is used
    removal: Removal | None = None  # forgets what a depth image sees past, before it is integrated
    track_changes: bool = False  # remember of every voxel how often and when it flipped
    integrator: str = "projective"  # of depth images: "projective", "ends" (a ray to each end voxel) or "rays" (all)
    threads: int = 1  # that integrate a frame; the result is the same
    payload: Payload | None = None  # what is kept of surfaces beside occupancy
    search: Search = field(default_factory=Search)  # how queries by text, embedding or label are answered
    blocks: BlockPool = field(default_factory=BlockPool, init=False, repr=False)
    epoch: float = field(default=float("nan"), init=False)  # [s] stamp of the first frame

    def __post_init__(self) -> None:
        if not (self.resolution > 0 and 0 < self.max_range <= MAX_REACH * self.resolution):
            raise ValueError(f"need resolution > 0 and 0 < max_range <= {MAX_REACH} voxels, got {self}")
        if not -127 / SCALE <= self.low <= self.miss < 0 < self.hit <= self.high <= 127 / SCALE:
            raise ValueError(f"need -3.9 <= low <= miss < 0 < hit <= high <= 3.9, got {self}")
        if min(self.hit, -self.miss) < 1 / SCALE:
            raise ValueError(f"hit and miss must be at least 1/32, got {self}")
        if self.integrator not in INTEGRATORS or self.threads < 1:
            raise ValueError(f"need threads >= 1 and an integrator of {INTEGRATORS}, got {self}")
        steps = (self.hit, self.miss, self.low, self.high)
        self._marker = Marker(self.resolution, self.max_range, steps, self.threads)
        self._summary = BlockSummary()
        self._n_frames = 0
        self._n_skipped = 0
        if self.track_changes:
            track_changes(self.blocks, 0.0, self._sure())
        if self.payload is not None:
            self.payload.open_channels(self.blocks)

    def observe(self, observation: Observation) -> None:
        """Integrate the depth image; without one nothing happens."""
        if observation.depth is None:
            return
        self._check_origin(np.asarray(observation.T_map_camera)[:3, 3])
        if self.payload is not None:
            self.payload.check(observation)
        if self.removal is not None:
            self.removal.apply(self.blocks, self.resolution, observation)
        pose, stamp = observation.T_map_camera, observation.stamp
        self._marker.integrate_image(
            self.blocks, observation.depth, observation.intrinsics, pose, stamp, self.integrator
        )
        self._close_frame(observation.stamp)
        if self.payload is not None:
            ends = self._marker.ends[: observation.depth.size]
            self.payload.write(self.blocks, ends, observation, self.epoch)

    def integrate(
        self,
        points: Float[np.ndarray, "n 3"],
        origin: Float[np.ndarray, "3"] | Float[np.ndarray, "m 3"],
        stamp: float | Float[np.ndarray, " n"] = 0.0,
        *,
        every_ray: bool = False,
    ) -> None:
        """Integrate points [m] seen from one origin or one each, at `stamp` [s]; blocks get the latest.

        Points that are not finite, are their own origin or start out of range are skipped and counted.

        Args:
            every_ray: one ray to each point, not one to the centre of each distinct end voxel.
        """
        origins = np.atleast_2d(np.asarray(origin, dtype=np.float64))
        if len(origins) not in (1, len(points)):
            raise ValueError(f"need one origin or one a point, got {len(origins)} for {len(points)} points")
        if origins.size == 3:
            self._check_origin(origins[0])
        cloud, latest = np.asarray(points, dtype=np.float64), float(np.max(stamp))
        self._n_skipped += self._marker.integrate_points(self.blocks, cloud, origins, latest, every_ray=every_ray)
        self._close_frame(latest)
        if self.payload is not None:
            self.payload.write_times(self.blocks, self._marker.ends[: len(cloud)], latest, self.epoch)

    def integrate_image(
        self,
        ranges: Float[np.ndarray, "h w"],
        sensor: Sensor,
        T_map_sensor: Float[np.ndarray, "4 4"],
        stamp: float = 0.0,
    ) -> None:
        """Integrate ranges [m] of a panorama or a spinning LiDAR, or the planar depth of a pinhole; NaN is invalid."""
        self._check_origin(T_map_sensor[:3, 3])
        if ranges.shape != sensor_rays(sensor).shape[:2]:
            raise ValueError(f"the image is {ranges.shape}, the sensor {sensor_rays(sensor).shape[:2]}")
        self._marker.integrate_image(self.blocks, ranges, sensor, T_map_sensor, stamp, self.integrator)
        self._close_frame(stamp)

    def occupied(self) -> Float[np.ndarray, "n 3"]:
        """Centres of the occupied voxels [m], in a fixed order."""
        return self._centres(1, 127)[0]

    def free(self) -> Float[np.ndarray, "n 3"]:
        """Centres of the voxels that are known to be free [m], in a fixed order."""
        return self._centres(-127, 0)[0]

    def log_odds(self, points: Float[np.ndarray, "n 3"]) -> Float[np.ndarray, " n"]:
        """Log-odds of occupancy at the points [m], NaN where nothing is known; occupied is > 0."""
        return read_points(self, points, threads=self.threads)

    def cast(
        self,
        origins: Float[np.ndarray, "n 3"],
        directions: Float[np.ndarray, "n 3"],
        max_range: float,
        *,
        unknown: Policy = "free",
    ) -> Float[np.ndarray, " n"]:
        """Distance [m] along each ray to the face of the voxel that stops it, inf if none within `max_range`.

        Occupied voxels do; with unknown="occupied" those never seen do as well (`cast.cast_hits` tells which).

        Raises:
            ValueError: if a direction has no length, a number is not finite or an origin is out of range.
        """
        return cast_distances(self, origins, directions, max_range, unknown=unknown, threads=self.threads)

    def nearest_occupied(
        self, points: Float[np.ndarray, "n 3"]
    ) -> tuple[Float[np.ndarray, "n 3"], Float[np.ndarray, " n"]]:
        """(centre, distance) [m] of the occupied voxel nearest to each point; NaN and inf on an empty map."""
        centres, distances = nearest(self, points, threads=self.threads)
        return centres[:, 0], distances[:, 0]

    def in_box(
        self, low: Float[np.ndarray, "3"], high: Float[np.ndarray, "3"], *, state: State = "occupied"
    ) -> Float[np.ndarray, "n 3"]:
        """Centres [m] of the voxels whose centre is in the box, in the order of `occupied` (see `regions.in_box`)."""
        return in_box(self, low, high, state=state)

    def in_radius(
        self, centre: Float[np.ndarray, "3"], radius: float, *, state: State = "occupied"
    ) -> Float[np.ndarray, "n 3"]:
        """Centres [m] of the voxels at most `radius` from `centre` [m] (see `regions.in_radius`)."""
        return in_radius(self, centre, radius, state=state)

    def in_frustum(
        self,
        T_map_camera: Float[np.ndarray, "4 4"],
        intrinsics: Intrinsics,
        *,
        near: float = 0.0,
        far: float,
        state: State = "occupied",
    ) -> Float[np.ndarray, "n 3"]:
        """Centres [m] of the voxels that a camera has in its image, hidden or not (see `regions.in_frustum`)."""
        return in_frustum(self, T_map_camera, intrinsics, near=near, far=far, state=state)

    def bounds(self) -> Float[np.ndarray, "2 3"] | None:
        """(low, high) corners [m] of the smallest box around all known voxels; None if nothing is known."""
        return bounds(self)

    def query(self, query: Query) -> list[Hit]:
        """Things by `text`, `embedding` or `entity` (see `find`), else occupied voxels nearest to `query.near`."""
        if query.kind == "change":
            from embmem.maps.voxels.motion.changes import change_hits  # which needs this module

            return change_hits(self, query)
        if query.place or query.kind not in (None, self.kind):
            return []
        if query.text is not None or query.embedding is not None or query.entity:
            return to_hits(self.find(query), self.kind)
        if query.near is None:
            return []
        stamps = self.blocks.stamps

        def is_in_time(rows: np.ndarray) -> np.ndarray:
            return (query.since <= stamps[rows]) & (stamps[rows] < query.until)

        centres, distances, rows = closest(self, query.near, query.radius, query.k, is_in_time)
        odds = self.log_odds(centres)
        return [
            Hit(
                score=-float(distance),
                why=f"occupied voxel {distance:.2f} m away",
                layer=self.kind,
                stamp=float(stamps[row]),
                position=centre,
                detail={"log_odds": float(value)},
            )
            for centre, distance, row, value in zip(centres, distances, rows, odds, strict=True)
        ]

    def find(self, query: Query) -> Answer:
        """What `payload` knows of the text, embedding or label asked for, with the best score where that is nothing.

        Raises:
            ValueError: if there is text but no `search.encoder`, or an embedding of the wrong length.
        """
        if self.payload is None:
            return Answer([], -np.inf)
        return self.search.find(query, self.blocks, self.payload, resolution=self.resolution, epoch=self.epoch)

    def read(self, points: Float[np.ndarray, "n 3"]) -> Readings:
        """What `payload` knows of the voxels around the points [m].

        Raises:
            ValueError: if the map keeps no payload.
        """
        if self.payload is None:
            raise ValueError("this map keeps occupancy only: give it a payload")
        return Readings.at(points, self.blocks, self.payload, self.resolution, self.epoch)

    def summary(self) -> BlockSummary:
        """Counts and bounds of each block, brought up to date."""
        return self._summary.of(self.blocks)

    def tick(self, stamp: float) -> None:
        """Nothing decays here: only looking again changes occupancy."""

    def deform(self, deformation: Deformation) -> None:
        """Move every block with the keyframe nearest to its last update."""
        if len(deformation.stamps) == 0 or self.blocks.n == 0:
            return
        pool = self.blocks
        T_new_old = deformation.at(pool.stamps[: pool.n])
        self.blocks = moved_blocks(pool, T_new_old, self.resolution, keep_all=True)
        self.blocks.revision = pool.revision + 1
        self.blocks.revisions[: self.blocks.n] = self.blocks.revision

    def stats(self) -> dict[str, float]:
        """Blocks, voxels and volumes [m^3] by state, frames and skipped points since construction, bytes of RAM."""
        return {
            "blocks": float(self.blocks.n),
            **volumes(self),
            "frames": float(self._n_frames),
            "skipped": float(self._n_skipped),
            "bytes": float(self.blocks.n_bytes() + self._marker.n_bytes()),
        }

    def save(self) -> LayerState:
        """The blocks in Morton order, with their channels."""
        arrays = saved_arrays(self.blocks) | {"epoch": np.array([self.epoch] if np.isfinite(self.epoch) else [])}
        params = {name: getattr(self, name) for name in PARAMS}
        if self.removal is not None:
            params["removal"] = asdict(self.removal)
        if self.integrator != INTEGRATORS[0]:
            params["integrator"] = self.integrator
        if self.payload is not None:
            params |= {"payload": self.payload.params(), "search": self.search.params()}
            arrays |= self.payload.arrays()
        return LayerState(self.kind, self.version, params, arrays)

    @classmethod
    def load(cls, state: LayerState, *, mapped: bool = False) -> VoxelMap:
        """The map that was saved; with `mapped` in the arrays of the state, of which the cells are not read.

        Raises:
            InputError: if the state is of another kind, a newer version or malformed.
        """
        check_header(state, cls.kind, cls.version)
        params = dict(state.params)
        removal = checked_removal(cls.kind, params.pop("removal", None))
        integrator = params.pop("integrator", INTEGRATORS[0])
        payload, search = params.pop("payload", None), params.pop("search", None)
        try:
            numbers: dict[str, Any] = checked_numbers(replace(state, params=params), PARAMS)
            voxels = cls(**numbers, removal=removal, integrator=integrator)
        except ValueError as error:
            raise InputError(f"layer {cls.kind!r}: {error}") from error
        low, high = voxels._marker.steps[2:]
        voxels.blocks = checked_pool(state, low=int(low), high=int(high), mapped=mapped)
        voxels.track_changes = is_tracked(voxels.blocks)
        if payload is not None:
            voxels.payload = Payload.from_state(payload, state, voxels.blocks, mapped=mapped)
            voxels.search = Search.from_params(search, cls.kind)
        if state.version > 1 and checked_array(state, "epoch", np.float64, (None,)).size:
            voxels.epoch = float(state.arrays["epoch"][0])
        elif voxels.blocks.n:
            voxels.epoch = float(voxels.blocks.stamps[: voxels.blocks.n].min())
        return voxels

    def _centres(self, lowest: int, highest: int) -> tuple[np.ndarray, np.ndarray]:
        """(centres (n, 3) [m], rows of their blocks) of the voxels with a byte in [lowest, highest]."""
        pool = self.blocks
        voxels, rows = list_voxels(pool.order(), pool.keys, pool.cells, lowest, highest)
        return (voxels + 0.5) * self.resolution, rows

    def _check_origin(self, origin: np.ndarray) -> None:
        limit = (AXIS_LIMIT - MAX_REACH) * self.resolution
        if not (np.abs(origin) < limit).all():
            raise ValueError(f"the sensor must be within {limit:.0f} m of the map's origin, got {origin}")

    def _sure(self) -> tuple[int, int]:
        """(free up to this byte, occupied from this byte) where changes are tracked."""
        hit, _, low, _ = (int(step) for step in self._marker.steps)
        return low, hit

    def _close_frame(self, stamp: float) -> None:
        self._n_frames += 1
        if np.isnan(self.epoch):
            self.epoch = float(stamp)
        if self.track_changes:
            track_changes(self.blocks, stamp - self.epoch, self._sure())
