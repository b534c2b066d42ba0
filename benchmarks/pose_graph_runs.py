"""Robots whose odometry drifts, in houses and on a real recording, and what the pose graph makes of it.

A walk leads to random free places of a house until its way is long enough, so that it comes back to rooms by chance.
Odometry sums up the true steps with noise: a bias of the heading and white noise of heading and place, as large as
those of a wheeled robot without a gyroscope. The recording is a hand's way of two metres; it is gone there and back
twice, each time with other frames of it, with three times that drift.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from embmem.agent import Action, Body
from embmem.geometry import invert_pose
from embmem.maps import ObjectMemory, VoxelMap
from embmem.maps.landmarks import LandmarkGraph
from embmem.maps.pose_graph import Edge, LoopSearch, PoseGraph, optimise
from embmem.maps.pose_graph.consistency import consistent
from embmem.maps.pose_graph.graph import Chain, odometry_edges
from embmem.maps.pose_graph.se3 import exponential, inverse, rigid
from embmem.memory import Memory
from embmem.observation import Intrinsics, Observation
from embmem.protocols import Deformation
from embmem.recordings.opening import read_recording
from embmem.records import Query
from embmem.sim_envs.house import make_house
from embmem.sim_envs.noise import CameraNoise
from embmem.sim_envs.world import World

RESOLUTION = 0.05  # [m]
CAMERA = Intrinsics.from_fov(96, 72, 79.0)
YAW_BIAS, YAW_NOISE, TURN_NOISE, STEP_NOISE = 0.01, 0.01, 0.02, 0.02  # rad/m, rad/sqrt(m), rad/sqrt(rad), m/sqrt(m)
FALSE_SHARE = 0.5  # false loops injected, of the right ones


@dataclass
class Run:
    """One drive and what came of it."""

    name: str
    way: float = 0.0  # [m]
    keyframes: int = 0
    loops: int = 0
    wrong_loops: int = 0  # verified by registration, yet more than 0.3 m off
    wrong_on: int = 0  # ... and believed in the end
    errors: dict[str, float] = field(default_factory=dict)  # ATE [m] by method
    false_on: dict[str, int] = field(default_factory=dict)  # injected loops that are believed, by method
    n_false: int = 0
    right_off: int = 0  # right loops that are not believed when false ones are there
    disagreement: dict[str, float] = field(default_factory=dict)  # [m] by layer
    seconds: dict[str, float] = field(default_factory=dict)


def walk(seed: int, way: float) -> Iterator[Observation]:
    """Noisy frames with true poses of a walk of that length [m] through a house of three rooms."""
    rng = np.random.default_rng(seed)
    world = World(make_house(seed, n_rooms=3), intrinsics=CAMERA, body=Body(), noise=CameraNoise(), rng=rng)
    goal, gone = world.navmesh.sample(rng), 0.0
    while gone < way:
        action = world.next_action(goal[None])
        if action is Action.STOP:
            goal = world.navmesh.sample(rng)
            continue
        before = world.position.copy()
        world.apply(action)
        gone += float(np.linalg.norm(world.position - before))
        yield world.observe()


def there_and_back(path: Path) -> Iterator[Observation]:
    """The frames of a folder in four legs, no frame twice, with a clock of their own."""
    folder = list(read_recording(path, every=2))
    legs = [folder[0::4], folder[2::4][::-1], folder[1::4], folder[3::4][::-1]]
    for k, frame in enumerate(frame for leg in legs for frame in leg):
        yield replace(frame, stamp=0.1 * k)


def drifting(
    frames: Iterable[Observation], rng: np.random.Generator, scale: float
) -> Iterator[tuple[Observation, np.ndarray]]:
    """(the frame with its odometry pose, its true pose)."""
    bias = rng.choice([-1.0, 1.0]) * YAW_BIAS * scale
    T, last = None, np.eye(4)
    for frame in frames:
        true = rigid(frame.T_map_camera)
        if T is None:
            T = last = true
        step = invert_pose(last) @ true
        way = float(np.linalg.norm(step[:3, 3]))
        turn = float(np.arccos(np.clip((np.trace(step[:3, :3]) - 1.0) / 2.0, -1.0, 1.0)))
        yaw = bias * way + scale * rng.normal() * np.hypot(YAW_NOISE * np.sqrt(way), TURN_NOISE * np.sqrt(turn))
        up = (T @ step)[:3, :3].T @ np.array([0.0, 0.0, 1.0])
        noise = np.append(up * yaw, scale * STEP_NOISE * np.sqrt(way) * rng.normal(size=3))
        T, last = T @ step @ exponential(noise[None])[0], true
        yield replace(frame, T_map_camera=T), true


def drive(name: str, frames: Iterable[Observation], seed: int, graph: PoseGraph, scale: float = 1.0) -> Run:
    """A memory of four layers sees the frames, closes its loops once in the end, and is looked at."""
    rng = np.random.default_rng([seed, 1])
    memory = Memory([VoxelMap(RESOLUTION), ObjectMemory(), LandmarkGraph(), graph])
    truth, run = {}, Run(name)
    start = time.process_time()
    for frame, T in drifting(frames, rng, scale):
        memory.observe(frame)
        truth[frame.stamp] = T
    run.seconds["frames"] = time.process_time() - start
    stamps, before = graph.trajectory()
    true = np.stack([truth[stamp] for stamp in stamps])
    run.keyframes = len(graph)
    run.way = float(np.linalg.norm(np.diff(true[:, :3, 3], axis=0), axis=1).sum())
    held = hold(memory)
    start = time.process_time()
    deformation = graph.close_loops()
    run.seconds["close"] = time.process_time() - start
    run.errors["odometry"] = trajectory_error(before, true)
    if deformation is None:
        run.errors |= dict.fromkeys(("ours", "no kernel", "open3d"), run.errors["odometry"])
        return run
    start = time.process_time()
    memory.deform(deformation)
    run.seconds["deform"] = time.process_time() - start
    poses = np.stack([keyframe.T_map_camera for keyframe in graph.keyframes if keyframe.stamp in truth])
    run.errors["ours"] = trajectory_error(poses[: len(true)], true)
    run.disagreement = disagreement(memory, held, deformation)
    count_loops(run, graph.loops, true)
    with_false_loops(run, graph, before, true, rng)
    return run


def count_loops(run: Run, loops: list[Edge], true: np.ndarray) -> None:
    """How many loops were verified, and how many of them are wrong."""
    off = [float(np.linalg.norm((inverse(e.T_i_j) @ inverse(true[e.i]) @ true[e.j])[:3, 3])) for e in loops]
    run.loops = len(loops)
    run.wrong_loops = sum(error > 0.3 for error in off)
    run.wrong_on = sum(error > 0.3 and loop.is_on for error, loop in zip(off, loops, strict=True))


def with_false_loops(
    run: Run, graph: PoseGraph, before: np.ndarray, true: np.ndarray, rng: np.random.Generator
) -> None:
    """The same graph with false loops added, by us and by two peers: which are believed, and the error."""
    n = len(before)
    right = [replace(loop, is_on=True) for loop in graph.loops if loop.is_on]
    run.n_false = max(int(FALSE_SHARE * len(right)), 3)
    false = []
    for _ in range(run.n_false):
        i, j = sorted(rng.choice(n, 2, replace=False).tolist())
        xi = np.concatenate([[0.0, 0.0, rng.uniform(-np.pi, np.pi)], rng.uniform(-2.5, 2.5, 3)])
        false.append(Edge(i, j, exponential(xi[None])[0], right[0].covariance, kind="loop"))
    keyframes = graph.keyframes[:n]
    odometry, loops = odometry_edges(keyframes, graph.drift), [*right, *false]
    agrees = consistent(loops, Chain(keyframes, graph.drift))
    edges = odometry + [replace(loop, is_on=bool(on)) for loop, on in zip(loops, agrees, strict=True)]
    ours = optimise(before, edges)
    is_on = ours.is_on[len(odometry) :]
    run.errors["ours, false loops"] = trajectory_error(ours.poses, true)
    run.false_on["ours"] = int(is_on[len(right) :].sum())
    run.right_off = int((~is_on[: len(right)]).sum())
    all_on = odometry + loops
    plain = optimise(before, [replace(edge, kind="odometry") if edge.kind == "loop" else edge for edge in all_on]
                     + [replace(odometry[0], kind="loop")])  # fmt: skip
    run.errors["no kernel"] = trajectory_error(plain.poses, true)
    run.false_on["no kernel"] = run.n_false
    poses, kept = by_open3d(before, odometry, loops)
    run.errors["open3d"] = trajectory_error(poses, true)
    run.false_on["open3d"] = int(kept[len(right) :].sum())


def by_open3d(poses: np.ndarray, odometry: list[Edge], loops: list[Edge]) -> tuple[np.ndarray, np.ndarray]:
    """(poses, which loops are kept) of Open3D's optimiser, whose line process prunes uncertain edges."""
    import open3d as o3d

    reg = o3d.pipelines.registration
    graph = reg.PoseGraph()
    for T in poses:
        graph.nodes.append(reg.PoseGraphNode(T))
    for edge in odometry + loops:
        information = np.linalg.inv(edge.covariance)
        graph.edges.append(reg.PoseGraphEdge(edge.j, edge.i, edge.T_i_j, information, edge.kind == "loop"))
    option = reg.GlobalOptimizationOption(
        max_correspondence_distance=0.1, edge_prune_threshold=0.25, preference_loop_closure=1.0, reference_node=0
    )
    with o3d.utility.VerbosityContextManager(o3d.utility.VerbosityLevel.Error):
        reg.global_optimization(
            graph, reg.GlobalOptimizationLevenbergMarquardt(), reg.GlobalOptimizationConvergenceCriteria(), option
        )
    left = {(edge.source_node_id, edge.target_node_id) for edge in graph.edges if edge.uncertain}
    kept = np.array([(loop.j, loop.i) in left for loop in loops], dtype=np.bool_)
    return np.stack([np.asarray(node.pose) for node in graph.nodes]), kept


def hold(memory: Memory) -> dict[str, np.ndarray]:
    """Where everything is, and at what time it was anchored."""
    voxels, things = memory.layer(VoxelMap), memory.layer(ObjectMemory).things()
    nodes = memory.layer(LandmarkGraph).tables.nodes
    views = memory.store.read(Query(kind="view", k=10**6))
    voxel_stamps = voxels.blocks.stamps[voxels._centres(1, 127)[1]]
    return {
        "voxels": voxels.occupied(), "voxel stamps": voxel_stamps,
        "things": things["position"].copy(), "thing stamps": things["last_seen"].copy(),
        "places": nodes["position"].copy(), "place stamps": nodes["anchor"].copy(),
        "episodes": np.stack([view.T_map_obs[:3, 3] for view in views if view.T_map_obs is not None]),
        "episode stamps": np.array([view.t_event for view in views]),
    }  # fmt: skip


def disagreement(memory: Memory, held: dict[str, np.ndarray], deformation: Deformation) -> dict[str, float]:
    """How far [m] each layer ends at most from where the keyframe of its anchor takes it."""

    def expected(kind: str) -> np.ndarray:
        T = deformation.at(held[f"{kind} stamps"])
        points: np.ndarray = np.einsum("nij,nj->ni", T[:, :3, :3], held[f"{kind}s"]) + T[:, :3, 3]
        return points

    graph = memory.layer(PoseGraph)
    views = [graph.now(view) for view in memory.store.read(Query(kind="view", k=10**6))]
    now = {
        "thing": memory.layer(ObjectMemory).things()["position"],
        "place": memory.layer(LandmarkGraph).tables.nodes["position"],
        "episode": np.stack([view.T_map_obs[:3, 3] for view in views if view.T_map_obs is not None]),
    }
    result = {
        kind: float(np.linalg.norm(points - expected(kind), axis=1).max(initial=0.0)) for kind, points in now.items()
    }
    result["voxel"] = float(memory.layer(VoxelMap).nearest_occupied(expected("voxel"))[1].max(initial=0.0))
    return result


def trajectory_error(found: np.ndarray, true: np.ndarray) -> float:
    """Root mean square distance [m] after the best rigid alignment (Umeyama, PAMI 1991, without scale)."""
    p, q = (T[:, :3, 3] - T[:, :3, 3].mean(axis=0) for T in (found, true))
    U, _, Vt = np.linalg.svd(p.T @ q)
    R = U @ np.diag([1.0, 1.0, np.sign(np.linalg.det(U @ Vt))]) @ Vt
    return float(np.sqrt(np.mean(np.sum((p @ R - q) ** 2, axis=1))))


def house_run(seed: int, way: float) -> Run:
    """One house."""
    return drive(f"house {seed}", walk(seed, way), seed, PoseGraph())


def recorded_run(path: Path, seed: int) -> Run:
    """A folder of real frames; a hand moves less than a robot."""
    search = LoopSearch(min_path=1.5, reach=1.0, spacing=0.3, n_before=2, n_around=3)
    graph = PoseGraph(
        distance=0.2, angle=0.25, drift_distance=0.06, drift_yaw=0.04, drift_turn=0.06, tilt=0.003, search=search
    )
    return drive(f"{path.name} with drift {seed}", there_and_back(path), seed, graph, scale=3.0)
