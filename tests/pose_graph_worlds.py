"""Pose graphs with known answers, and a robot that drives around a room while its odometry drifts."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from functools import cache

import numpy as np

from embmem.agent import Body
from embmem.geometry import invert_pose
from embmem.maps.pose_graph.graph import Edge
from embmem.maps.pose_graph.se3 import exponential, inverse
from embmem.observation import Intrinsics, Observation
from embmem.sim_envs.house import make_house
from embmem.sim_envs.tasks.tours import guided_tour, tour_stops
from embmem.sim_envs.world import World


def edge(poses: np.ndarray, i: int, j: int, *, kind: str = "odometry", sigma: float = 0.01) -> Edge:
    """The true edge between two poses."""
    T = inverse(poses[i : i + 1])[0] @ poses[j]
    return Edge(i, j, T, sigma**2 * np.eye(6), kind="loop" if kind == "loop" else "odometry")


def circle(n: int, radius: float = 2.0) -> np.ndarray:
    """n poses on a circle, heading along it."""
    angle = 2.0 * np.pi * np.arange(n) / n
    xi = np.zeros((n, 6))
    xi[:, 2] = angle
    T = exponential(xi)
    T[:, :3, 3] = np.column_stack([radius * np.sin(angle), radius * (1.0 - np.cos(angle)), np.zeros(n)])
    return T


def noisy_graph(n: int, n_loops: int, seed: int, sigma: float = 0.01) -> tuple[np.ndarray, np.ndarray, list[Edge]]:
    """(true poses, poses by odometry, edges with noise) of two rounds on a circle; loops join the rounds."""
    rng = np.random.default_rng(seed)
    true = np.concatenate([circle(n // 2), circle(n // 2)])
    edges = [edge(true, k, k + 1, sigma=sigma) for k in range(len(true) - 1)]
    edges += [edge(true, k, k + n // 2, kind="loop", sigma=sigma) for k in rng.permutation(n // 2)[:n_loops].tolist()]
    noise = exponential(sigma * rng.normal(size=(len(edges), 6)))
    edges = [replace(each, T_i_j=each.T_i_j @ E) for each, E in zip(edges, noise, strict=True)]
    poses = [true[0]]
    for each in edges[: len(true) - 1]:
        poses.append(poses[-1] @ each.T_i_j)
    return true, np.stack(poses), edges


@cache
def drive(
    n: int, *, seed: int = 11, every: int = 3, yaw_drift: float = 0.004
) -> tuple[tuple[Observation, ...], np.ndarray]:
    """(frames with odometry poses, their true poses) of a tour through a house of three rooms."""
    frames = tuple(_drive(n, seed, every))
    true = np.stack([frame.T_map_camera for frame in frames])
    return tuple(drifting(frames, np.random.default_rng(seed), yaw_drift)), true


def drifting(frames: tuple[Observation, ...], rng: np.random.Generator, yaw_drift: float) -> Iterator[Observation]:
    """The frames with poses summed up from their steps, each of which turns too far."""
    T, last = frames[0].T_map_camera, frames[0].T_map_camera
    for frame in frames:
        step = invert_pose(last) @ frame.T_map_camera
        way = float(np.linalg.norm(step[:3, 3]))
        up = (T @ step)[:3, :3].T @ np.array([0.0, 0.0, 1.0])
        xi = np.append(up * (yaw_drift if way > 0 else 0.0), 0.01 * np.sqrt(way) * rng.normal(size=3))
        T, last = T @ step @ exponential(xi[None])[0], frame.T_map_camera
        yield replace(frame, T_map_camera=T)


def trajectory_error(found: np.ndarray, true: np.ndarray) -> float:
    """Root mean square distance [m] after the best rigid alignment (Umeyama, PAMI 1991, without scale)."""
    p, q = (T[:, :3, 3] - T[:, :3, 3].mean(axis=0) for T in (found, true))
    U, _, Vt = np.linalg.svd(p.T @ q)
    R = U @ np.diag([1.0, 1.0, np.sign(np.linalg.det(U @ Vt))]) @ Vt
    return float(np.sqrt(np.mean(np.sum((p @ R - q) ** 2, axis=1))))


def _drive(n: int, seed: int, every: int) -> Iterator[Observation]:
    house = make_house(seed, n_rooms=3)
    world = World(house, intrinsics=Intrinsics.from_fov(64, 48, 79.0), body=Body(), rng=np.random.default_rng(seed))
    stops = tour_stops(world, house)
    world.place(stops[0], 0.0)
    for k, action in enumerate(guided_tour(world, np.concatenate([stops, stops]), n * every)):
        world.apply(action)
        if k % every == 0:
            yield world.observe()
