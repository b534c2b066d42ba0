"""Cold starts in saved maps of houses: how many are found, refused or put in a wrong place.

    python benchmarks/relocalisation.py [--houses N] [--workers N] [--quick] [--json FILE]

Each house is mapped on a guided tour with a noisy depth camera and true labels; in the night its small things are
carried about. Then robots wake up at random places, turn and walk a little (ten frames) and ask where they are: three
in four in the map of their own house, one in four in that of another house. Right is within 0.25 m and 5 degrees, at
the robot's last place. Nothing was tuned on these houses.

The peers see the same frames: Open3D's global registration (FPFH and RANSAC, then ICP) of the same clouds, believed by
its fitness alone, in every other house; and the most similar view of the tour by labels and depth layout, believed by
similarity alone. Each peer has the threshold at which it finds as many right places as ours, or all that it can, so
that what it gets wrong compares.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table
from scipy.spatial.transform import Rotation

from embmem.agent import Action, Body
from embmem.geometry import invert_pose
from embmem.maps import VoxelMap
from embmem.maps.relocalise import Relocaliser
from embmem.maps.relocalise.slices import thinned
from embmem.maps.voxels.meaning.payload import Payload
from embmem.observation import Intrinsics, Observation
from embmem.sim_envs.house import House, make_house
from embmem.sim_envs.house.habits import night
from embmem.sim_envs.noise import CameraNoise
from embmem.sim_envs.tasks.tours import guided_tour, tour_stops
from embmem.sim_envs.world import World

CAMERA = Intrinsics.from_fov(128, 96, 79.0)
RESOLUTION = 0.05  # [m]
GROUP = 10  # houses that are in RAM at once
FIRST = 2000  # seed of the first house
STARTS = 4  # a house, of which the last is asked for in another one
EVERY = 2  # frame of the tour is mapped
NEAR, ALIKE = 0.25, 5.0  # [m], [degrees] a pose is right within
PEER_VOXEL = 0.15  # [m] of Open3D's clouds


@dataclass(frozen=True, eq=False)
class Start:
    """A robot that wakes up."""

    frames: list[Observation]  # in a frame of its own
    T_map_session: np.ndarray  # the truth, in the map of its house


@dataclass(frozen=True, eq=False)
class Home:
    """A house, its map, and who wakes up there."""

    voxels: VoxelMap
    views: tuple[np.ndarray, np.ndarray]  # descriptors and poses of the tour
    starts: list[Start]


@dataclass(frozen=True)
class Run:
    """What became of one start, by method."""

    is_at_home: bool
    ours: tuple[bool, bool]  # is accepted, is right
    geometry: tuple[bool, bool] | None  # the same without labels, of every other house
    open3d: tuple[float, bool] | None  # fitness, is right; of every other house
    views: tuple[float, bool]  # similarity, is right
    seconds: tuple[float, float | None]  # CPU, of ours and of Open3D's
    why: str


def make_home(seed: int) -> Home:
    """Map a house, let a night pass, and wake robots up in it."""
    house = make_house(seed, n_rooms=4 + seed % 4)
    world = _world(house, seed)
    voxels = VoxelMap(RESOLUTION, payload=Payload(("labels",)))
    descriptors, poses = [], []
    stops = tour_stops(world, house)
    world.place(stops[0], 0.0)
    for i, action in enumerate(guided_tour(world, stops, 2000)):
        world.apply(action)
        if i % EVERY == 0:
            frame = world.observe()
            voxels.observe(frame)
            descriptors.append(describe(frame))
            poses.append(frame.T_map_camera)
    after, _ = night(house, np.random.default_rng([seed, 1]))
    rng = np.random.default_rng([seed, 2])
    starts = list(_starts(_world(after, seed + 1), after, rng))
    return Home(voxels, (np.array(descriptors), np.array(poses)), starts)


def _world(house: House, seed: int) -> World:
    rng = np.random.default_rng([seed, 3])
    return World(house, intrinsics=CAMERA, body=Body(), noise=CameraNoise(), rng=rng, rgb=False)


def _starts(world: World, house: House, rng: np.random.Generator) -> Iterator[Start]:
    """Robots at random free places in rooms, each with ten frames and a frame of reference of its own."""
    x0, y0, x1, y1 = house.bounds()
    n = 0
    while n < STARTS:
        place = rng.uniform([x0, y0], [x1, y1])
        if not world.navmesh.is_free(place[None])[0] or house.room_at(*place) is None:
            continue
        world.place(place, float(rng.uniform(-np.pi, np.pi)))
        frames = [world.observe()]
        for action in (*(Action.LEFT, Action.LEFT, Action.FORWARD) * 2, Action.LEFT, Action.FORWARD, Action.FORWARD):
            world.apply(action)
            frames.append(world.observe())
        T = np.eye(4)
        T[:3, :3] = Rotation.from_euler("z", rng.uniform(-np.pi, np.pi)).as_matrix()
        T[:3, 3] = frames[0].T_map_camera[:3, 3] + rng.normal(size=3)
        back = invert_pose(T)
        yield Start([replace(frame, T_map_camera=back @ frame.T_map_camera) for frame in frames], T)
        n += 1


def describe(frame: Observation) -> np.ndarray:
    """Labels by third of the image, and the layout of the depth, as a unit vector."""
    assert frame.depth is not None
    assert frame.semantic is not None
    thirds = np.array_split(np.asarray(frame.semantic), 3, axis=1)
    labels = np.sqrt([np.bincount(part.ravel(), minlength=len(frame.labels)) / part.size for part in thirds]).ravel()
    blocks = np.nan_to_num(frame.depth, nan=5.0).reshape(8, 12, 8, 16).mean(axis=(1, 3)).ravel()
    layout = 5.0 / (5.0 + blocks)
    layout -= layout.mean()
    found = np.concatenate([labels / np.linalg.norm(labels), layout / max(float(np.linalg.norm(layout)), 1e-9)])
    return np.asarray(found / np.linalg.norm(found))


def ask(home: Home, start: Start, peer: Any, relocalisers: list[Relocaliser], *, is_at_home: bool) -> Run:
    """Ask all methods where a robot is."""
    last = start.frames[-1].T_map_camera

    def is_right(T: np.ndarray) -> bool:
        distance = np.linalg.norm((T @ last)[:3, 3] - (start.T_map_session @ last)[:3, 3])
        angle = Rotation.from_matrix(start.T_map_session[:3, :3].T @ T[:3, :3]).magnitude()
        return bool(is_at_home and distance < NEAR and np.degrees(angle) < ALIKE)

    clock = time.process_time()
    found = relocalisers[0].locate(start.frames)
    ours_took = time.process_time() - clock
    bare = relocalisers[1].locate(start.frames) if len(relocalisers) > 1 else None
    clock, open3d = time.process_time(), None
    if peer is not None:
        fitness, T_open3d = by_open3d(peer, start)
        open3d = (fitness, is_right(T_open3d))
    peer_took = None if peer is None else time.process_time() - clock
    similarity, T_view = by_views(home, start)
    return Run(
        is_at_home,
        (found.is_accepted, is_right(found.T_map_session)),
        None if bare is None else (bare.is_accepted, is_right(bare.T_map_session)),
        open3d, (similarity, is_right(T_view)), (ours_took, peer_took), found.why,
    )  # fmt: skip


def features(points: np.ndarray) -> Any:
    """Open3D's cloud with FPFH."""
    import open3d as o3d

    cloud = o3d.geometry.PointCloud(o3d.utility.Vector3dVector(thinned(points, PEER_VOXEL)))
    cloud.estimate_normals(o3d.geometry.KDTreeSearchParamHybrid(2.0 * PEER_VOXEL, 30))
    search = o3d.geometry.KDTreeSearchParamHybrid(5.0 * PEER_VOXEL, 100)
    registration: Any = o3d.pipelines.registration
    return cloud, registration.compute_fpfh_feature(cloud, search)


def by_open3d(target: Any, start: Start) -> tuple[float, np.ndarray]:
    """(fitness, pose) of Open3D's global registration, refined by ICP, as its documentation has it."""
    from open3d.pipelines import registration as reg
    from open3d.utility import random

    own = VoxelMap(RESOLUTION)
    for frame in start.frames:
        own.observe(frame)
    cloud, described = features(own.occupied())
    random.seed(0)
    point_to_point = reg.TransformationEstimationPointToPoint(False)
    edges = reg.CorrespondenceCheckerBasedOnEdgeLength(0.9)
    near = reg.CorrespondenceCheckerBasedOnDistance(1.5 * PEER_VOXEL)
    rough = reg.registration_ransac_based_on_feature_matching(
        cloud, target[0], described, target[1], True, 1.5 * PEER_VOXEL, point_to_point, 3, [edges, near],
        reg.RANSACConvergenceCriteria(100_000, 0.999),
    )  # fmt: skip
    fine = reg.registration_icp(
        cloud, target[0], PEER_VOXEL, rough.transformation, reg.TransformationEstimationPointToPlane()
    )
    return float(fine.fitness), np.asarray(fine.transformation)


def by_views(home: Home, start: Start) -> tuple[float, np.ndarray]:
    """(similarity, pose) by the view of the tour that is most like one of the start's."""
    descriptors, poses = home.views
    likeness = np.array([describe(frame) for frame in start.frames]) @ descriptors.T
    i, j = np.unravel_index(int(np.argmax(likeness)), likeness.shape)
    return float(likeness[i, j]), poses[j] @ invert_pose(start.frames[int(i)].T_map_camera)


def runs_of(numbers: range) -> list[Run]:
    """Every start of some houses at home or, the last of each, in the map of another one of them."""
    found: list[Run] = []
    homes = [make_home(FIRST + i) for i in numbers]
    for i, home in enumerate(homes):
        relocalisers, peer = [Relocaliser(home.voxels)], None
        if i % 2 == 0:
            relocalisers.append(Relocaliser(_without_labels(home.voxels)))
            peer = features(home.voxels.occupied())
        stranger = homes[(i + 4) % len(homes)].starts[-1]  # four on, a house has as many rooms
        for start in home.starts[:-1]:
            found.append(ask(home, start, peer, relocalisers, is_at_home=True))
        found.append(ask(home, stranger, peer, relocalisers, is_at_home=False))
    return found


def runs(n_houses: int, workers: int, console: Console) -> list[Run]:
    """All starts, in the order of the houses whatever the number of workers."""
    groups = [range(first, min(first + GROUP, n_houses)) for first in range(0, n_houses, GROUP)]
    found: list[Run] = []
    with ProcessPoolExecutor(workers, mp_context=get_context("spawn")) as pool:
        for part in pool.map(runs_of, groups):
            found += part
            n_wrong = sum(accepted and not right for accepted, right in (run.ours for run in found))
            n_accepted = sum(run.ours[0] for run in found)
            console.print(f"{len(found)} starts, {n_accepted} accepted, {n_wrong} wrong", style="dim")
    return found


def _without_labels(voxels: VoxelMap) -> VoxelMap:
    bare = VoxelMap(voxels.resolution, max_range=voxels.max_range)
    bare.blocks = voxels.blocks
    return bare


def counts(decided: list[tuple[bool, bool, bool]]) -> dict[str, int]:
    """Right, refused and wrong, of (is at home, is accepted, is right)."""
    return {
        "right": sum(accepted and right for _, accepted, right in decided),
        "refused at home": sum(home and not accepted for home, accepted, _ in decided),
        "wrong at home": sum(home and accepted and not right for home, accepted, right in decided),
        "wrong elsewhere": sum(not home and accepted for home, accepted, _ in decided),
    }


def at_equal_rate(found: list[Run], name: str, n_right: int) -> dict[str, int]:
    """The counts of a peer at the highest threshold at which it finds as many right places, or all that it can."""
    scored = [(run.is_at_home, *getattr(run, name)) for run in found]
    right = sorted((score for _, score, is_right in scored if is_right), reverse=True)
    threshold = right[min(n_right, len(right)) - 1] if right else np.inf
    return counts([(home, score >= threshold, is_right) for home, score, is_right in scored])


def rows_of(found: list[Run]) -> list[dict[str, Any]]:
    """The rows of the report."""
    n_home = sum(run.is_at_home for run in found)
    ours = counts([(run.is_at_home, *run.ours) for run in found])
    rate = ours["right"] / n_home
    n_wrong, away = ours["wrong at home"] + ours["wrong elsewhere"], ours["wrong elsewhere"]
    rows = [
        _row(f"right places of {n_home} at home", rate, None, "", ">= 0.8", rate >= 0.8),
        _row(f"wrong places of {len(found)}", n_wrong, None, "", "0", n_wrong == 0),
        _row(f"of them in a strange house, of {len(found) - n_home}", away, None, "", "0", away == 0),
    ]
    for peer_name, name in (("Open3D global registration, fitness", "open3d"), ("most similar view", "views")):
        asked = [run for run in found if getattr(run, name) is not None]
        rows += _beside(asked, name, peer_name)
    bare = counts([(run.is_at_home, *run.geometry) for run in found if run.geometry is not None])
    n_wrong, n_bare = bare["wrong at home"] + bare["wrong elsewhere"], bare["right"] + bare["refused at home"]
    rows.append(_row("wrong places without labels, every other house", n_wrong, None, "", "0", n_wrong == 0))
    rows.append(_row("right places without labels", bare["right"] / max(n_bare, 1), None, "", "", True))
    seconds = float(np.median([run.seconds[0] for run in found]))
    peer_seconds = float(np.median([run.seconds[1] for run in found if run.seconds[1] is not None]))
    rows.append(
        _row("CPU seconds a start, median", seconds, peer_seconds, "Open3D global registration, fitness", "", True)
    )
    return rows


def _beside(asked: list[Run], name: str, peer_name: str) -> list[dict[str, Any]]:
    """Ours and a peer's on the starts that the peer was asked for."""
    ours = counts([(run.is_at_home, *run.ours) for run in asked])
    peer = at_equal_rate(asked, name, ours["right"])
    n_home = sum(run.is_at_home for run in asked)
    wrong, peer_wrong = (each["wrong at home"] + each["wrong elsewhere"] for each in (ours, peer))
    return [
        _row(f"wrong places of {len(asked)}", wrong, peer_wrong, peer_name, "0", wrong == 0),
        _row(f"right places of {n_home} at home", ours["right"] / n_home, peer["right"] / n_home, peer_name, "", True),
    ]


def _row(name: str, ours: float, peer: float | None, peer_name: str, goal: str, met: bool) -> dict[str, Any]:
    ratio = ours / peer if peer else None
    return {"name": name, "ours": ours, "peer": peer, "peer_name": peer_name, "ratio": ratio, "goal": goal, "met": met}


def main() -> None:
    """Run and report."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--houses", type=int, default=50)
    parser.add_argument("--workers", type=int, default=1, help="processes; the result is the same")
    parser.add_argument("--quick", action="store_true", help="eight houses")
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    console = Console()
    if arguments.houses % GROUP in range(1, 5):
        parser.error(f"--houses must leave 0 or more than 4 when divided by {GROUP}")
    found = runs(8 if arguments.quick else arguments.houses, arguments.workers, console)
    table = Table("what", "ours", "peer", "which peer", "goal", "met", title="relocalisation")
    rows = rows_of(found)
    for row in rows:
        peer = "" if row["peer"] is None else f"{row['peer']:.3g}"
        table.add_row(
            row["name"], f"{row['ours']:.3g}", peer, row["peer_name"], row["goal"], "yes" if row["met"] else "no"
        )
    console.print(table)
    refused = [run.why for run in found if run.is_at_home and not run.ours[0]]
    console.print(f"{len(refused)} refused at home:", *refused, sep="\n  ", highlight=False)
    if arguments.json:
        arguments.json.write_text(json.dumps(rows, indent=1), encoding="utf-8")


if __name__ == "__main__":
    main()
