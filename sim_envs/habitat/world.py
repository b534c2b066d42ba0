"""Our houses in Habitat: the embedded world's interface, with Habitat's motion, images and distances."""

from __future__ import annotations

import math
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float

from embmem.agent import Action, Body
from embmem.observation import Intrinsics
from embmem.sim_envs.habitat.ground import HabitatGround
from embmem.sim_envs.habitat.images import colours, make_semantics, metric_depth
from embmem.sim_envs.habitat.missing import import_habitat
from embmem.sim_envs.habitat.navmesh_settings import house_settings
from embmem.sim_envs.habitat.scene_files import ensure_scene, stage_path
from embmem.sim_envs.habitat.simulator import HabitatScene, SceneSettings
from embmem.sim_envs.house import LABELS, House
from embmem.sim_envs.house.categories import STRUCTURE
from embmem.sim_envs.noise import CameraNoise, Detector
from embmem.sim_envs.render import Frame
from embmem.sim_envs.shortest_path import Oracle
from embmem.sim_envs.world import STEP_SECONDS, World


def habitat_world(**settings: Any) -> partial[HabitatWorld]:
    """`HabitatWorld` with these settings, still without a house; what `configs/world/habitat.yaml` makes.

    Raises:
        MissingExtraError: if habitat_sim is not installed, before anything else is done.
    """
    import_habitat()
    return partial(HabitatWorld, **settings)


class HabitatWorld(World):
    """One body in one house that was written as glTF, semantics and settings, and is simulated by habitat-sim.

    Everything means what it means in `World`; noise, clock and goals are the same. What differs is Habitat's: motion
    and distances on a navigation mesh of 3 cm cells that keeps up to 6 cm more distance from things, float32, and
    images without shading or patterns whose colours are linear light.

    Args:
        house: where to be.
        intrinsics: of the camera: centred pinhole with square pixels.
        body: shape and stride.
        noise: of depth; None is perfect.
        detector: of semantic and instance images; None is perfect.
        rng: noise only.
        rgb: False saves the 5 s that Habitat takes to prepare a colour camera.
        scenes: folder for the files of the houses; they are kept and used again.
        gpu: number of the GPU; -1 renders without one, None takes the first if Habitat could use it.
        allow_sliding: whether the body slides along what it touches.

    Raises:
        MissingExtraError: if habitat_sim is not installed.
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
        scenes: str = "habitat_scenes",
        gpu: int | None = None,
        allow_sliding: bool = True,
    ) -> None:
        self._scenes = Path(scenes)
        self._gpu = gpu
        self._allow_sliding = allow_sliding
        self._scene: HabitatScene | None = None
        super().__init__(house, intrinsics=intrinsics, body=body, noise=noise, detector=detector, rng=rng, rgb=rgb)

    @property
    def scene(self) -> HabitatScene:
        """What stands behind this world."""
        if self._scene is None:
            raise ValueError("this world was closed")
        return self._scene

    def close(self) -> None:
        """End the simulator; this world cannot be used any more."""
        if self._scene is not None:
            self._scene.close()
            self._scene = None

    def set_house(self, house: House) -> None:
        """Exchange the house, e.g. for the same one after a night; the clock runs on.

        The pose is kept where it is free; else the body stands where the new house's seed puts it.
        """
        if house is self.house:
            return
        self.house = house
        self._enter()
        self._truth = None
        position, yaw, pitch = self.position, self.yaw, self.pitch
        if not self.navmesh.is_free(position[None])[0]:
            self._settle()
            return
        self.place(position, yaw)
        look = math.radians(self.body.look)
        for _ in range(round(abs(pitch) / look) if look else 0):
            self._act(Action.LOOK_UP if pitch > 0 else Action.LOOK_DOWN)

    def place(self, position: Float[np.ndarray, "2"], yaw: float) -> None:
        """Stand at `position` [m] with heading `yaw` [rad], looking level.

        Places beside the navigation mesh by no more than `ground.NEAR` are drawn to it.

        Raises:
            ValueError: if the body does not fit there.
        """
        position = np.array(position, dtype=np.float64)
        ground = self._ground
        on_mesh, usable = ground.nearest(position[None])
        if not math.isfinite(yaw) or not usable[0]:
            raise ValueError(f"no free place at {position.tolist()} with yaw {yaw} in house {self.house.seed}")
        self.scene.place(on_mesh[0], yaw)
        self._update()

    def apply(self, action: Action) -> bool:
        """Move, and let `STEP_SECONDS` pass; whether the body touched something. STOP only takes its time."""
        collided = self._act(action)
        self.stamp += STEP_SECONDS
        return collided

    def _look(self) -> tuple[Frame, Float[np.ndarray, "4 4"]]:
        images, T_map_camera = self.scene.images()
        semantic, instance = self._semantics.split(images["semantic"].astype(np.int64))
        rgb = colours(images["rgb"]) if "rgb" in images else None
        return Frame(metric_depth(images["depth"]), semantic, instance, rgb), T_map_camera

    def _act(self, action: Action) -> bool:
        collided = self.scene.apply(action)
        self._update()
        return collided

    def _update(self) -> None:
        """Learn from Habitat where the body stands."""
        feet, yaw = self.scene.pose()
        self.position = feet[:2]
        self.yaw = math.remainder(yaw, math.tau)
        self.pitch = math.radians(self.scene.pitch)

    def _enter(self) -> None:
        """Open the house in Habitat, and find out where the body fits in it."""
        glb = ensure_scene(self.house, self._scenes, self.body)
        self.close()
        self._scene = HabitatScene(
            SceneSettings(
                scene=str(stage_path(glb).resolve()),
                intrinsics=self.intrinsics,
                body=self.body,
                navmesh=house_settings(self.body),
                sensors=("rgb", "depth", "semantic") if self.rgb else ("depth", "semantic"),
                allow_sliding=self._allow_sliding,
                gpu=self._gpu,
            )
        )
        semantics = make_semantics(self._scene.things(), LABELS, frozenset(STRUCTURE))
        if semantics is None:
            self.close()
            raise ValueError(f"{glb}: Habitat found no semantic table; are .semantic.glb and .semantic.txt beside it?")
        self._semantics = semantics
        self._ground = HabitatGround(self._scene)
        self.navmesh = self._ground
        self._oracle = Oracle(self.navmesh, self.body)
