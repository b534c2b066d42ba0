"""What benchmarks/voxels.py maps: a generated flat, a generated building, real Kinect frames and a real scan.

Everything comes from seeds, so every run and every machine sees the same input.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from embmem.geometry import backproject, camera_pose, transform_points
from embmem.observation import Intrinsics, Observation
from embmem.recordings.octomap_graph import read_scan_graph
from embmem.recordings.opening import read_recording
from embmem.sim_envs.house import build_mesh, make_house
from embmem.sim_envs.noise import CameraNoise
from embmem.sim_envs.render import Renderer

CAMERA = Intrinsics.from_fov(640, 480, 79.0)
NOISE = CameraNoise()
FLAT = 21
TILES = (5, 3)  # houses along x and y
PITCH = 11.0  # [m] from house to house, a whole number of voxels of 5 cm


@dataclass(frozen=True)
class Frame:
    """One frame in both of the forms that maps take."""

    observation: Observation
    points: np.ndarray  # (n, 3) float32 [m] in the map, valid pixels only
    origin: np.ndarray  # (3,) float32 [m]


def to_frame(observation: Observation) -> Frame:
    """The frame with its points in the map, rounded to float32 as OctoMap keeps them."""
    depth, T = observation.depth, observation.T_map_camera
    if depth is None:
        raise ValueError("the observation has no depth")
    points = backproject(depth, observation.intrinsics)[depth > 0]
    return Frame(observation, transform_points(T, points).astype(np.float32), T[:3, 3].astype(np.float32))


class _Flat:
    """A generated home of six rooms and the camera in it."""

    def __init__(self, seed: int) -> None:
        self.house = make_house(seed)
        rooms = np.array([(r.x0, r.y0, r.x1, r.y1) for r in self.house.rooms])
        doors = np.array([(d.x0, d.y0, d.x1, d.y1, d.room_a, d.room_b) for d in self.house.doors], dtype=np.float64)
        self._renderer = Renderer(build_mesh(self.house), rooms, doors)

    def views(
        self, n: int, rng: np.random.Generator, least_median: float = 1.0
    ) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """(pose, what the noisy camera measures) of a robot that looks anywhere but at a wall in front of its nose.

        The camera is 0.88 m high, 0.2 m away from everything and looks slightly up or down; half of what it sees is
        at least `least_median` [m] away.
        """
        while n > 0:
            T = self._pose(rng)
            depth = NOISE.apply(self._renderer.render(T, CAMERA, rgb=False).depth, rng)
            if np.nanmedian(depth) >= least_median:
                n -= 1
                yield T, depth

    def _pose(self, rng: np.random.Generator) -> np.ndarray:
        house, obstacles = self.house, self.house.obstacles()
        x0, y0, x1, y1 = house.bounds()
        while True:
            p = rng.uniform((x0, y0), (x1, y1))
            is_in_thing = np.all((p > obstacles[:, :2] - 0.2) & (p < obstacles[:, 2:] + 0.2), axis=1).any()
            if house.room_at(p[0], p[1]) and not is_in_thing:
                yaw, pitch = rng.uniform(-np.pi, np.pi), rng.uniform(-0.5, 0.3)
                return camera_pose(np.array([p[0], p[1], 0.88]), yaw, pitch)


def flat_frames(n: int, *, least_median: float = 1.0) -> list[Frame]:
    """`n` views of one flat, of which half is at least `least_median` [m] away; 0 takes views of walls, too."""
    flat, rng = _Flat(FLAT), np.random.default_rng(0)
    views = enumerate(flat.views(n, rng, least_median))
    return [to_frame(Observation(float(i), T, CAMERA, depth=depth)) for i, (T, depth) in views]


def building_frames(n: int) -> Iterator[Observation]:
    """`n` views on a way through 15 homes; the first and the last tenth are the same views of equal homes.

    So whatever the last frames cost more than the first is due to the size of the map and to nothing else.
    """
    n_tiles = TILES[0] * TILES[1]
    tenth = n // 10
    shares = [tenth, *np.diff(np.linspace(tenth, n - tenth, n_tiles - 1).astype(int)).tolist(), tenth]
    stamp = 0.0
    for tile, share in enumerate(shares):
        seed = FLAT + tile % (n_tiles - 1)
        flat, rng = _Flat(seed), np.random.default_rng(seed)
        offset = np.array([tile % TILES[0], tile // TILES[0], 0.0]) * PITCH
        for T, depth in flat.views(share, rng):
            moved = T.copy()
            moved[:3, 3] += offset
            yield Observation(stamp, moved, CAMERA, depth=depth)
            stamp += 1.0


def kinect_frames(data: Path, *, every: int) -> list[Frame]:
    """Every so many of the 400 frames of 7-Scenes."""
    folder = read_recording(data / "rgbd" / "seven_scenes", every=every, rgb=False)
    return [to_frame(observation) for observation in folder]


def scan_frames(data: Path) -> list[Frame]:
    """The scans of OctoMap's example."""
    frames = []
    for scan in read_scan_graph(data / "octomap" / "spherical_scan.graph"):
        points = transform_points(scan.T_map_scan, scan.points).astype(np.float32)
        observation = Observation(0.0, scan.T_map_scan, CAMERA)
        frames.append(Frame(observation, points, scan.T_map_scan[:3, 3].astype(np.float32)))
    return frames


def write_frames(path: Path, frames: Sequence[Frame]) -> None:
    """The frames as benchmarks/octomap_driver/driver.cpp reads them."""
    with path.open("wb") as out:
        out.write(np.int32(len(frames)).tobytes())
        for frame in frames:
            out.write(frame.origin.tobytes() + np.int32(len(frame.points)).tobytes() + frame.points.tobytes())
