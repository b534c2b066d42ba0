"""One scene in habitat-sim with one body in it: the only module that touches the simulator.

Everything comes and goes in the `map` frame. What it calls is the same in v0.3.3 and v0.3.4; `__version__` says 0.3.3
in both, so what differs is looked for and not concluded from it.
"""

from __future__ import annotations

import logging
import math
import os
import weakref
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from jaxtyping import Bool, Float

from embmem.agent import Action, Body
from embmem.errors import InputError
from embmem.geometry import camera_pose
from embmem.observation import Intrinsics
from embmem.sim_envs.episodes import GoalView
from embmem.sim_envs.habitat.device import choose_gpu
from embmem.sim_envs.habitat.frames import (
    camera_from_habitat,
    camera_to_habitat,
    from_habitat,
    to_habitat,
    yaw_from_habitat,
)
from embmem.sim_envs.habitat.images import colours
from embmem.sim_envs.habitat.missing import import_habitat
from embmem.sim_envs.habitat.navmesh_settings import NavMeshSettings

log = logging.getLogger(__name__)

MAX_PITCH = 60.0  # [degrees]
SAME_RADIUS = 0.01  # [m]
FOLLOWER_RADIUS = 0.75  # of a step: nearer than this the greedy follower cannot promise to get
BODY_ACTIONS = {Action.FORWARD: "move_forward", Action.LEFT: "turn_left", Action.RIGHT: "turn_right"}
KINDS = {"rgb": "COLOR", "depth": "DEPTH", "semantic": "SEMANTIC"}
LOOKS = {Action.LOOK_UP: "look_up", Action.LOOK_DOWN: "look_down"}


@dataclass(frozen=True, kw_only=True)
class SceneSettings:
    """What to open, with which body and sensors.

    Without `navmesh` the scene's own navigation mesh is used, and where it brings none, one is made for the body.
    """

    scene: str  # .glb, stage or scene configuration, or the name of one in `dataset`
    intrinsics: Intrinsics
    body: Body
    dataset: str | None = None  # *.scene_dataset_config.json
    navmesh: NavMeshSettings | None = None
    sensors: tuple[str, ...] = ("rgb", "depth", "semantic")
    allow_sliding: bool = True
    gpu: int | None = None  # see `device.choose_gpu`
    seed: int = 0

    def __post_init__(self) -> None:
        if not set(self.sensors) <= set(KINDS):
            raise ValueError(f"sensors are {', '.join(KINDS)}, got {self.sensors}")
        hfov_deg(self.intrinsics)


def hfov_deg(intrinsics: Intrinsics) -> float:
    """Horizontal field of view [degrees] of a camera that Habitat can have.

    Raises:
        ValueError: if its pixels are not square, it looks past the middle of the image or its lens distorts.
    """
    k = intrinsics
    centred = abs(k.cx - (k.width - 1) / 2) < 1e-6 and abs(k.cy - (k.height - 1) / 2) < 1e-6
    if abs(k.fx - k.fy) > 1e-6 * k.fx or not centred or any(k.distortion):
        raise ValueError(f"Habitat has centred pinhole cameras with square pixels only, got {k}")
    return float(np.degrees(2.0 * np.arctan(k.width / (2.0 * k.fx))))


class HabitatScene:
    """A scene, a body, its sensors and its navigation mesh; `close` gives the memory of the GPU back.

    Raises:
        MissingExtraError: if habitat_sim is not installed.
        InputError: if the scene has no floor to stand on.
        ValueError: if a GPU is asked for that Habitat cannot use, or another scene with sensors is open.
    """

    def __init__(self, settings: SceneSettings) -> None:
        gpu = choose_gpu(settings.gpu, os.environ)  # first: a wrong one would end the process
        self.settings = settings
        self._habitat = import_habitat()
        if settings.sensors and _RENDERING:
            raise ValueError(
                "another scene is still open, and Habitat's scenes of one process share what draws them, which "
                "goes with the first of them: close that one, or use a process for each"
            )
        self._sim: Any = self._habitat.Simulator(self._configuration(gpu))
        self._end = weakref.finalize(self, self._sim.close)
        if settings.sensors:
            _RENDERING.add(self)
        try:
            self._make_navmesh()
        except InputError:
            self.close()
            raise
        self._agent: Any = self._sim.get_agent(0)
        self._follower: Any = None
        self.pitch = 0.0  # [degrees]

    def close(self) -> None:
        """End the simulator; nothing else may be asked afterwards. A scene that nobody holds any more closes itself."""
        self._end()
        self._sim = None
        _RENDERING.discard(self)

    @property
    def pathfinder(self) -> Any:
        """Habitat's own, for what is asked in Habitat's frame (`ground`)."""
        return self._sim.pathfinder

    def multi_goal_path(self, goals: Float[np.ndarray, "m 3"]) -> Any:
        """A `MultiGoalShortestPath` to map points; it keeps where they are on the mesh, so use it again and again."""
        path = self._habitat.MultiGoalShortestPath()
        path.requested_ends = to_habitat(goals).astype(np.float32)
        return path

    def distance(self, start: Float[np.ndarray, "3"], path: Any) -> float:
        """Geodesic distance [m] from a map point by `multi_goal_path`, as habitat-lab measures it; inf if none.

        Points beside the mesh are drawn to it first, so a goal under a table has a distance, too.
        """
        path.requested_start = to_habitat(start).astype(np.float32)
        self.pathfinder.find_path(path)
        return float(path.geodesic_distance)

    def path_points(self, path: Any) -> Float[np.ndarray, "k 3"]:
        """Corners of what `distance` found last, in the map."""
        return from_habitat(vectors(path.points))

    def snap(self, points: Float[np.ndarray, "n 3"]) -> Float[np.ndarray, "n 3"]:
        """The points of the navigation mesh next to map points; NaN where there is none near."""
        return from_habitat(vectors(self.pathfinder.snap_point(p) for p in to_habitat(points).astype(np.float32)))

    def try_step(
        self, start: Float[np.ndarray, "3"], ends: Float[np.ndarray, "k 3"]
    ) -> tuple[Float[np.ndarray, "k 3"], Bool[np.ndarray, " k"]]:
        """(where one gets to, collided) on the way to alternative ends, as `apply` would move."""
        a, b = to_habitat(start).astype(np.float32), to_habitat(ends).astype(np.float32)
        finder = self.pathfinder
        move = finder.try_step if self.settings.allow_sliding else finder.try_step_no_sliding
        reached = vectors(move(a, end) for end in b)
        wanted, got = np.square(b - a).sum(axis=1), np.square(reached - a).sum(axis=1)
        return from_habitat(reached), got + 1e-5 < wanted

    def pose(self) -> tuple[Float[np.ndarray, "3"], float]:
        """(position of the feet [m], heading [rad])."""
        state = self._agent.get_state()
        return from_habitat(np.array(state.position, dtype=np.float64)), yaw_from_habitat(_xyzw(state.rotation))

    def place(self, position: Float[np.ndarray, "3"], yaw: float) -> None:
        """Put the feet there, looking level; nothing is checked or drawn to the mesh."""
        state = self._habitat.AgentState()
        state.position = to_habitat(np.asarray(position, dtype=np.float64))
        state.rotation = [0.0, float(np.sin(yaw / 2.0)), 0.0, float(np.cos(yaw / 2.0))]
        self._agent.set_state(state)
        self.pitch = 0.0

    def apply(self, action: Action) -> bool:
        """Act; whether the body touched something. A look beyond 60 degrees is not taken, STOP does nothing."""
        if action in BODY_ACTIONS:
            return bool(self._agent.act(BODY_ACTIONS[action]))
        if action in LOOKS:
            look = self.settings.body.look if action is Action.LOOK_UP else -self.settings.body.look
            if abs(self.pitch + look) <= MAX_PITCH + 1e-6:
                self._agent.act(LOOKS[action])
                self.pitch += look
        return False

    def images(self) -> tuple[dict[str, np.ndarray], Float[np.ndarray, "4 4"]]:
        """(what each sensor shows, `T_map_camera`); arrays are as Habitat gives them, the pose is optical.

        Without sensors nothing is drawn, and the pose is that of a camera at the body's height.
        """
        if not self.settings.sensors:
            feet, yaw = self.pose()
            eye = feet + np.array([0.0, 0.0, self.settings.body.height])
            return {}, camera_pose(eye, yaw, math.radians(self.pitch))
        seen = self._sim.get_sensor_observations()
        state = self._agent.get_state().sensor_states[self.settings.sensors[0]]
        T_map_camera = camera_from_habitat(np.array(state.position, dtype=np.float64), _xyzw(state.rotation))
        return {name: np.array(seen[name]) for name in self.settings.sensors}, T_map_camera

    def picture(self, view: GoalView) -> np.ndarray:
        """(h, w, 3) colours that a camera elsewhere sees; the body stands as before, looking level."""
        habitat, agent = self._habitat, self._agent
        spec = self._camera("picture", "COLOR", view.width, view.height, view.hfov_deg)
        self._sim.add_sensor(spec)
        try:
            before = agent.get_state()
            position, quat = camera_to_habitat(view.T_map_camera)
            pose = habitat.SixDOFPose(position=position, rotation=[float(x) for x in quat])
            there = habitat.AgentState(before.position, before.rotation, {**before.sensor_states, "picture": pose})
            agent.set_state(there, infer_sensor_states=False)
            seen = np.array(self._sim.get_sensor_observations()["picture"])
            self.pitch = 0.0
            agent.set_state(habitat.AgentState(before.position, before.rotation))
        finally:
            self._remove_sensor("picture")
        return colours(seen)

    def next_action(self, path: Any, stop_within: float) -> Action:
        """Habitat's greedy follower to the nearest goal of `path`; STOP nearer than `stop_within` [m] or if stuck."""
        position, _ = self.pose()
        left = self.distance(position, path)
        if not stop_within <= left < math.inf:
            return Action.STOP
        if self._follower is None:
            radius = max(stop_within, FOLLOWER_RADIUS * self.settings.body.forward)
            self._follower = self._sim.make_greedy_follower(0, goal_radius=radius)
        goal = vectors(path.points)[-1].astype(np.float32)
        try:
            chosen = self._follower.next_action_along(goal)
        except self._habitat.errors.GreedyFollowerError:
            return Action.STOP
        return next((action for action, name in BODY_ACTIONS.items() if name == chosen), Action.STOP)

    def things(self) -> list[tuple[int, str]]:
        """(semantic id, category) of everything that the scene's annotation names; empty where it has none."""
        scene = self._sim.semantic_scene
        named = [thing for thing in (scene.objects if scene is not None else []) if thing is not None]
        return [(_semantic_id(thing), thing.category.name()) for thing in named if thing.category is not None]

    def _configuration(self, gpu: int) -> Any:
        habitat, settings = self._habitat, self.settings
        simulator = habitat.SimulatorConfiguration()
        simulator.scene_id = settings.scene
        if settings.dataset is not None:
            simulator.scene_dataset_config_file = settings.dataset
        simulator.gpu_device_id = gpu
        simulator.allow_sliding = settings.allow_sliding
        simulator.random_seed = settings.seed
        simulator.enable_physics = False
        simulator.load_semantic_mesh = "semantic" in settings.sensors
        agent = habitat.agent.AgentConfiguration()
        agent.height, agent.radius = settings.body.height, settings.body.radius
        k = settings.intrinsics
        agent.sensor_specifications = [
            self._camera(name, KINDS[name], k.width, k.height, hfov_deg(k)) for name in settings.sensors
        ]
        agent.action_space = self._action_space()
        return habitat.Configuration(simulator, [agent])

    def _camera(self, name: str, kind: str, width: int, height: int, hfov: float) -> Any:
        habitat = self._habitat
        spec = habitat.CameraSensorSpec()
        spec.uuid = name
        spec.sensor_type = getattr(habitat.SensorType, kind)
        spec.sensor_subtype = habitat.SensorSubType.PINHOLE
        spec.resolution = [height, width]
        spec.position = [0.0, float(self.settings.body.height), 0.0]
        spec.orientation = [0.0, 0.0, 0.0]
        spec.hfov = hfov
        return spec

    def _remove_sensor(self, name: str) -> None:
        """Undo `add_sensor`; v0.3.4 can, before it takes four steps."""
        if hasattr(self._sim, "remove_sensor"):
            self._sim.remove_sensor(name)
        else:
            self._sim._sensors.pop(name).close()
            self._habitat.SensorFactory.delete_subtree_sensor(self._agent.scene_node, name)
            del self._agent._sensors[name]
        config = self._agent.agent_config
        config.sensor_specifications = [spec for spec in config.sensor_specifications if spec.uuid != name]

    def _action_space(self) -> dict[str, Any]:
        agent, body = self._habitat.agent, self.settings.body
        amounts = {"move_forward": body.forward, "turn_left": body.turn, "turn_right": body.turn}
        amounts |= {"look_up": body.look, "look_down": body.look}
        return {name: agent.ActionSpec(name, agent.ActuationSpec(amount=float(x))) for name, x in amounts.items()}

    def _make_navmesh(self) -> None:
        """Without a navigation mesh nothing would collide with anything."""
        finder, wanted, body = self.pathfinder, self.settings.navmesh, self.settings.body
        if wanted is None and not finder.is_loaded:
            log.info("%s brings no navigation mesh; one is made for radius %g m", self.settings.scene, body.radius)
            wanted = NavMeshSettings(agent_height=body.height, agent_radius=body.radius)
        if wanted is None:
            made_for = getattr(getattr(finder, "nav_mesh_settings", None), "agent_radius", body.radius)
            if abs(made_for - body.radius) > SAME_RADIUS:
                log.warning("the navigation mesh of %s is for radius %.2f m, the body has %.2f m: paths and distances"
                            " are those of the former", self.settings.scene, made_for, body.radius)  # fmt: skip
            return
        settings = self._habitat.NavMeshSettings()
        for name, value in asdict(wanted).items():
            setattr(settings, name, value)
        if not self._sim.recompute_navmesh(finder, settings) or not self.pathfinder.is_loaded:
            raise InputError(f"{self.settings.scene}: no navigation mesh can be made; is there a floor, is up up?")


def vectors(found: Iterable[Any]) -> Float[np.ndarray, "n 3"]:
    """Habitat's vectors as an array; some calls give magnum's, some numpy's, and both can be indexed."""
    return np.array([[v[0], v[1], v[2]] for v in found], dtype=np.float64).reshape(-1, 3)


def _xyzw(rotation: Any) -> Float[np.ndarray, "4"]:
    """Numbers of a quaternion object (w, x, y, z in print) in the order that files have."""
    return np.array([rotation.x, rotation.y, rotation.z, rotation.w], dtype=np.float64)


def _semantic_id(thing: Any) -> int:
    """The number that a thing has in semantic images; older bindings tell it by the end of the name only."""
    found = getattr(thing, "semantic_id", None)
    return int(str(thing.id).rsplit("_", 1)[-1]) if found is None else int(found)


_RENDERING: weakref.WeakSet[HabitatScene] = weakref.WeakSet()  # scenes with sensors that are open
