"""A house with a body in it: actions in, posed observations out, one clock."""

from __future__ import annotations

import math
from functools import cached_property

import numpy as np
from jaxtyping import Float

from embmem.agent import Action, Body
from embmem.geometry import camera_pose
from embmem.observation import Intrinsics, Observation
from embmem.sim_envs.ground import Ground
from embmem.sim_envs.house import LABELS, House, build_mesh
from embmem.sim_envs.navmesh import NavMesh
from embmem.sim_envs.noise import CameraNoise, Detector
from embmem.sim_envs.render import Frame, Renderer
from embmem.sim_envs.shortest_path import Oracle
from embmem.sim_envs.view_points import view_points

STEP_SECONDS = 0.1  # [s] that every action takes
MAX_PITCH = math.radians(60.0)
STOP_WITHIN = 0.09  # [m], where the oracle stops: ObjectNav asks for < 0.1


class World:
    """One body in one house, in the `map` frame.

    Motion is exact and sliding (see `NavMesh`), sensor poses are exact, images carry the given noise. Everything
    random comes from `rng`, which may be exchanged at any time; without noise nothing is random.

    Args:
        house: where to be; its seed decides where the body stands until `place` is called.
        intrinsics: of the camera, which looks ahead from `body.height`.
        body: shape and stride.
        noise: of depth; None is perfect.
        detector: of semantic and instance images; None is perfect and shows the *true* instance ids.
        rng: noise only.
        rgb: False saves the time to shade colour images.
    """

    def __init__(
        self,
        house: House,
        *,
        intrinsics: Intrinsics,
        body: Body,
        noise: CameraNoise | None = None,
        detector: Detector | None = None,
        rng: np.random.Generator,
        rgb: bool = True,
    ) -> None:
        self.intrinsics = intrinsics
        self.body = body
        self.noise = noise
        self.detector = detector
        self.rng = rng
        self.rgb = rgb
        self.stamp = 0.0
        self.house = house
        self._enter()
        self._truth: Frame | None = None
        self._settle()

    @cached_property
    def _renderer(self) -> Renderer:
        rooms = np.array([(r.x0, r.y0, r.x1, r.y1) for r in self.house.rooms], dtype=np.float64).reshape(-1, 4)
        doors = [(d.x0, d.y0, d.x1, d.y1, d.room_a, d.room_b) for d in self.house.doors]
        return Renderer(build_mesh(self.house), rooms, np.array(doors, dtype=np.float64).reshape(-1, 6))

    def set_house(self, house: House) -> None:
        """Exchange the house, e.g. for the same one after a night; the clock runs on.

        The pose is kept where it is free; else the body stands where the new house's seed puts it.
        """
        if house is self.house:
            return
        is_same_floor = np.array_equal(house.obstacles(), self.house.obstacles())
        self.house = house
        if not is_same_floor:
            self._enter()
        self.__dict__.pop("_renderer", None)
        self._truth = None
        if not self.navmesh.is_free(self.position[None])[0]:
            self._settle()

    def place(self, position: Float[np.ndarray, "2"], yaw: float) -> None:
        """Stand at `position` [m] with heading `yaw` [rad], looking level.

        Raises:
            ValueError: if the body does not fit there.
        """
        position = np.array(position, dtype=np.float64)
        if not math.isfinite(yaw) or not self.navmesh.is_free(position[None])[0]:
            raise ValueError(f"no free place at {position.tolist()} with yaw {yaw} in house {self.house.seed}")
        self.position = position  # (2,) [m]
        self.yaw = math.remainder(yaw, math.tau)  # [rad] in [-pi, pi]
        self.pitch = 0.0  # [rad], positive looks up

    def apply(self, action: Action) -> bool:
        """Move, and let `STEP_SECONDS` pass; whether the body touched something. STOP only takes its time."""
        collided = False
        if action == Action.FORWARD:
            delta = self.body.forward * np.array([math.cos(self.yaw), math.sin(self.yaw)])
            positions, touched = self.navmesh.steps(self.position, delta[None])
            self.position, collided = positions[0], bool(touched[0])
        elif action in (Action.LEFT, Action.RIGHT):
            turn = math.radians(self.body.turn)
            self.yaw = math.remainder(self.yaw + (turn if action == Action.LEFT else -turn), math.tau)
        elif action in (Action.LOOK_UP, Action.LOOK_DOWN):
            look = math.radians(self.body.look)
            pitch = self.pitch + (look if action == Action.LOOK_UP else -look)
            self.pitch = min(max(pitch, -MAX_PITCH), MAX_PITCH)
        self.stamp += STEP_SECONDS
        return collided

    def advance(self, seconds: float) -> None:
        """Let time pass without doing anything.

        Raises:
            ValueError: if `seconds` is negative or not finite.
        """
        if not 0 <= seconds < math.inf:
            raise ValueError(f"time runs forwards only, got {seconds} s")
        self.stamp += seconds

    def observe(self) -> Observation:
        """What the sensors show now."""
        frame, T_map_camera = self._look()
        self._truth = frame
        depth, semantic, instance = frame.depth, frame.semantic, frame.instance
        if self.noise is not None:
            depth = self.noise.apply(depth, self.rng)
        if self.detector is not None:
            semantic, instance = self.detector.apply(semantic, instance, self.rng)
        return Observation(
            stamp=self.stamp,
            T_map_camera=T_map_camera,
            intrinsics=self.intrinsics,
            depth=depth,
            rgb=frame.rgb,
            semantic=semantic,
            instance=instance,
            labels=LABELS,
        )

    def _look(self) -> tuple[Frame, Float[np.ndarray, "4 4"]]:
        """What the camera sees from where the body stands, without noise; and its pose."""
        T_map_camera = camera_pose(np.array([*self.position, self.body.height]), self.yaw, self.pitch)
        return self._renderer.render(T_map_camera, self.intrinsics, rgb=self.rgb), T_map_camera

    def truth(self) -> Frame:
        """The images of the last observation before noise, with the true instance ids.

        Raises:
            ValueError: if nothing was observed in this house yet.
        """
        if self._truth is None:
            raise ValueError("observe() first: there is no frame yet")
        return self._truth

    def view_points(self, object_ids: list[int]) -> Float[np.ndarray, "n 2"]:
        """Where any of these objects or pieces of furniture can be seen from (`view_points.view_points`), sorted.

        Raises:
            ValueError: if an id is neither an object's nor a piece of furniture's.
        """
        points = [np.empty((0, 2))]
        for object_id in object_ids:
            aabb, occluders = _box_and_occluders(self.house, object_id)
            points.append(view_points(self.navmesh, aabb, occluders, self.body.height))
        return np.unique(np.concatenate(points), axis=0)

    def next_action(self, goals: Float[np.ndarray, "m 2"], tolerance: float = STOP_WITHIN) -> Action:
        """The oracle's action: toward the nearest goal; STOP nearer than `tolerance` [m, geodesic] or if stuck."""
        return self._oracle.next_action(self.position, self.yaw, goals, tolerance)

    def close(self) -> None:
        """Give back what the world holds outside Python; here nothing."""

    def _enter(self) -> None:
        """Find out where the body fits in this house."""
        bounds = np.array(self.house.bounds(), dtype=np.float64)
        self.navmesh: Ground = NavMesh(self.house.obstacles(), bounds, self.body.radius)
        self._oracle = Oracle(self.navmesh, self.body)

    def _settle(self) -> None:
        """Stand somewhere that depends on the house only."""
        rng = np.random.default_rng(self.house.seed)
        self.place(self.navmesh.sample(rng), float(rng.uniform(-math.pi, math.pi)))


def _box_and_occluders(house: House, object_id: int) -> tuple[Float[np.ndarray, "6"], Float[np.ndarray, "n 6"]]:
    """The bounding box of a thing and the boxes that can hide it."""
    for obj in house.objects:
        if obj.id == object_id:
            return house.object_aabb(obj), house.solid_boxes()
    for piece in house.furniture:
        if piece.id == object_id:
            aabb = np.concatenate([piece.boxes[:, :3].min(axis=0), piece.boxes[:, 3:].max(axis=0)])
            others = [f.boxes for f in house.furniture if f.id != object_id]
            return aabb, np.concatenate([house.walls, *others])
    raise ValueError(f"house {house.seed} has no object or furniture with id {object_id}")
