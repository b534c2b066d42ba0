"""The top-down semantic map: obstacle, explored, agent, path, and a plane for every category."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import cv2
import numpy as np
from jaxtyping import Float, UInt8

from embmem.errors import InputError
from embmem.maps.ego_grid import planar_pose
from embmem.maps.grid import OCCUPIED, UNSEEN, GridBuilder, OccupancyGrid
from embmem.maps.objects import BACKGROUND
from embmem.maps.semantic_map.cells import LabelCells, label_cells
from embmem.maps.semantic_map.changed import ChangedThings
from embmem.maps.semantic_map.path import Path
from embmem.maps.semantic_map.things import Hidden, Thing, find_things
from embmem.maps.states import check_header, checked_array, checked_numbers
from embmem.maps.voxels.meaning.payload import Payload
from embmem.maps.voxels.voxel_map import VoxelMap
from embmem.observation import Observation
from embmem.protocols import Deformation, LayerState
from embmem.records import Hit, Query

PLANES = ("obstacle", "explored", "agent", "path")  # the channels before the categories
NUMBERS = ("z_min", "z_max", "ceiling", "gap", "bridge", "min_cells", "min_voxels", "min_votes")
_LOW = 0.5  # [m]; below it nobody can look over the tops of things
_WHOLE = ("gap", "min_cells", "min_voxels", "min_votes")


@dataclass(frozen=True, eq=False)
class Channels:
    """The map as an image with many planes; rows along +y, columns along +x."""

    origin: Float[np.ndarray, "2"]  # (x, y) [m] of the outer corner of cell (0, 0)
    resolution: float  # [m]
    names: tuple[str, ...]  # of the planes: `PLANES`, then categories
    planes: UInt8[np.ndarray, "c h w"]  # 0 or 1

    def __getitem__(self, name: str) -> UInt8[np.ndarray, "h w"]:
        """The plane of that name; the first if a category is called as one of `PLANES`."""
        return self.planes[self.names.index(name)]


class SemanticMap:
    """A map of categories seen from above (FILM, Min et al., ICLR 2022; MapNav, Zhang et al., ACL 2025).

    Depth and semantic image go into voxels of the map's resolution, which carve free space and vote for labels, so
    that things that moved disappear and a detector's mistakes are outvoted; the planes are projections of these.
    `things` are the connected components of each category, what labels are written on. Memory is that of the voxels of
    the area seen and does not grow while the robot stays in it.
    """

    kind: ClassVar[str] = "semantic_map"
    version: ClassVar[int] = 1

    def __init__(
        self,
        voxels: VoxelMap | None = None,
        *,
        z_min: float = 0.15,
        z_max: float = 1.0,
        ceiling: float = 2.0,
        gap: int = 1,
        bridge: float = 0.6,
        min_cells: int = 2,
        min_voxels: int = 3,
        min_votes: int = 2,
        background: Sequence[str] = BACKGROUND,
    ) -> None:
        """An empty map.

        Args:
            voxels: what to look at, with the payload channels "labels" and "seen"; by default an empty map of 5 cm.
            z_min: [m] what ends below is floor ...
            z_max: [m] ... what begins above is no obstacle ...
            ceiling: [m] ... and what is higher has no label.
            gap: cells that may be missing between two parts of one thing.
            bridge: [m] that a thing may go on through cells that nobody looked into.
            min_cells: fewer are no thing.
            min_voxels: fewer are no thing.
            min_votes: frames that must have shown one of its voxels: a detector's slip is no thing.
            background: labels that are no things.
        """
        self.voxels = VoxelMap(0.05, payload=Payload(("labels", "seen"))) if voxels is None else voxels
        if self.voxels.payload is None or not {"labels", "seen"} <= set(self.voxels.payload.channels):
            raise ValueError("a semantic map needs voxels with the payload channels 'labels' and 'seen'")
        if not z_min < z_max <= ceiling < np.inf:
            raise ValueError(f"need z_min < z_max <= ceiling, got {z_min, z_max, ceiling}")
        if gap < 0 or not 0.0 <= bridge < np.inf or min(min_cells, min_voxels, min_votes) < 1:
            least = (min_cells, min_voxels, min_votes)
            raise ValueError(f"need gap, bridge >= 0 and least counts >= 1, got {gap}, {bridge}, {least}")
        self.z_min, self.z_max, self.ceiling = z_min, z_max, ceiling
        self.gap, self.bridge = gap, bridge
        self.min_cells, self.min_voxels, self.min_votes = min_cells, min_voxels, min_votes
        self.background = tuple(background)
        self.path = Path(self.voxels.resolution)
        self.changed = ChangedThings()
        self._agent: np.ndarray | None = None  # T_map_camera
        self._agent_stamp = -np.inf
        self._builder = GridBuilder(self.voxels, z_min, z_max)
        self._low_builder = GridBuilder(self.voxels, z_min, max(_LOW, z_min + self.voxels.resolution))
        self._things: tuple[int, list[Thing]] | None = None  # revision of the voxels that they are of, and they

    @property
    def resolution(self) -> float:
        """Edge of a cell [m]."""
        return self.voxels.resolution

    @property
    def stamp(self) -> float:
        """[s] of the last observation, -inf without any."""
        return self._agent_stamp

    @property
    def agent(self) -> Float[np.ndarray, "3"] | None:
        """(x, y [m], heading [rad]) of the camera at the last observation."""
        return None if self._agent is None else planar_pose(self._agent)

    def observe(self, observation: Observation) -> None:
        """Integrate depth and labels; the pose counts even without images."""
        self.voxels.observe(observation)
        self.stand(observation.T_map_camera, float(observation.stamp))

    def stand(self, T_map_camera: Float[np.ndarray, "4 4"], stamp: float) -> None:
        """Take note that the camera is there at `stamp` [s]: for agent and path."""
        self._agent = np.array(T_map_camera, dtype=np.float64)
        self._agent_stamp = stamp
        self.path.append(self._agent[:2, 3], stamp)

    def occupancy(self) -> OccupancyGrid:
        """What is free and what is not, up to date; see `GridBuilder.update`."""
        return self._builder.update()

    def categories(self) -> list[str]:
        """The names ever heard of that are no background, in the order in which they came."""
        payload = self._payload()
        return [name for name in payload.names if name not in self.background]

    def cells(self, names: Sequence[str] | None = None) -> LabelCells:
        """The cells of these categories, by default of all that are no background."""
        wanted = set(self.categories() if names is None else names)
        is_wanted = np.array([name in wanted for name in self._payload().names], dtype=np.bool_)
        lowest = -self.resolution  # a voxel under the floor, so that a carpet is a thing
        return label_cells(self.voxels, is_wanted, z_min=lowest, z_max=self.ceiling)

    def things(self) -> list[Thing]:
        """The things on the map, in order of category, then from the lowest y and x up."""
        revision = self.voxels.blocks.revision
        if self._things is None or self._things[0] != revision:
            self._things = (revision, self._find(self.cells()))
        return list(self._things[1])

    def channels(self, names: Sequence[str] | None = None) -> Channels:
        """All planes: `PLANES`, then those of `names`, by default all categories in the order in which they came."""
        grid = self.occupancy()
        chosen = self.categories() if names is None else list(names)
        planes = np.zeros((len(PLANES) + len(chosen), *grid.cells.shape), dtype=np.uint8)
        planes[0], planes[1] = grid.cells == OCCUPIED, grid.cells != UNSEEN
        if grid.cells.size:
            self._draw_agent(grid, planes[2], planes[3])
        corner = np.round(grid.origin / self.resolution).astype(np.int64)
        for thing in self.things() if names is None else self._find(self.cells(chosen)):
            at = thing.cells[:, ::-1] - corner[::-1]
            at = at[grid.contains(at)]  # what hangs over unseen floor may lie outside
            planes[len(PLANES) + chosen.index(thing.category), at[:, 0], at[:, 1]] = 1
        return Channels(grid.origin, self.resolution, (*PLANES, *chosen), planes)

    def query(self, query: Query) -> list[Hit]:
        """Things of the category `query.entity`, or all, measured in the time asked for, best supported first.

        The score is the support; with `near` it is divided by 1 + the distance [m] from the centroid at mid height.
        `text` and `embedding` get no answer.
        """
        if query.place is not None or query.kind not in (None, self.kind):
            return []
        if query.text is not None or query.embedding is not None:
            return []
        wanted = None if query.entity is None else query.entity.strip().casefold()
        hits = []
        for thing in self.things():
            if not query.since <= thing.stamp < query.until or wanted not in (None, thing.category.casefold()):
                continue
            hit = self._hit(thing)
            if query.near is not None and hit.position is not None:
                distance = float(np.linalg.norm(hit.position - query.near))
                if distance > query.radius:
                    continue
                why = f"{hit.why}, {distance:.2f} m away"
                hit = replace(hit, score=hit.score / (1.0 + distance), why=why)
            hits.append(hit)
        return sorted(hits, key=lambda hit: -hit.score)[: query.k]

    def tick(self, stamp: float) -> None:
        """Time alone changes nothing: only looking again does."""

    def deform(self, deformation: Deformation) -> None:
        """Move voxels, path, agent and changed things with the keyframes nearest in time to each."""
        self.voxels.deform(deformation)
        self.path.deform(deformation)
        self.changed.deform(deformation)
        if self._agent is not None and len(deformation.stamps):
            self._agent = deformation.at(np.array([self._agent_stamp]))[0] @ self._agent

    def stats(self) -> dict[str, float]:
        """Of the voxels; things, categories, length of the path [m], bytes of RAM."""
        voxels, steps = self.voxels.stats(), np.diff(self.path.points, axis=0)
        return {
            **voxels,
            "things": float(len(self.things())),
            "categories": float(len({thing.category for thing in self.things()})),
            "path": float(np.hypot(steps[:, 0], steps[:, 1]).sum()),
            "bytes": voxels["bytes"]
            + self.path.n_bytes()
            + self.changed.n_bytes()
            + self._builder.grid.cells.nbytes
            + self._low_builder.grid.cells.nbytes,
        }

    def save(self) -> LayerState:
        """The voxels with their labels, the path, the last pose, the changed things."""
        voxels = self.voxels.save()
        params: dict[str, Any] = {name: getattr(self, name) for name in NUMBERS}
        params |= {"background": list(self.background), "changed": self.changed.params()}
        params["voxels"] = {"version": voxels.version, "params": voxels.params}
        arrays = {f"voxels_{name}": array for name, array in voxels.arrays.items()}
        arrays["path"] = self.path.rows()
        arrays["agent"] = np.zeros((0, 4, 4)) if self._agent is None else self._agent[None]
        arrays["stamp"] = np.zeros(0) if self._agent is None else np.array([self._agent_stamp])
        return LayerState(self.kind, self.version, params, arrays | self.changed.arrays())

    @classmethod
    def load(cls, state: LayerState) -> SemanticMap:
        """The map that was saved.

        Raises:
            InputError: if the state is of another kind, a newer version or malformed.
        """
        check_header(state, cls.kind, cls.version)
        params = dict(state.params)
        voxels = _checked_voxels(state, params.pop("voxels", None))
        background, changed = params.pop("background", None), params.pop("changed", None)
        if not isinstance(background, list) or not all(isinstance(name, str) for name in background):
            raise InputError(f"the background of layer {cls.kind!r} is not a list of names")
        numbers: dict[str, Any] = checked_numbers(replace(state, params=params), NUMBERS)
        if any(numbers[name] != int(numbers[name]) for name in _WHOLE):
            raise InputError(f"layer {cls.kind!r} needs whole numbers for {_WHOLE}, got {numbers}")
        numbers |= {name: int(numbers[name]) for name in _WHOLE}
        try:
            semantic = cls(voxels, background=background, **numbers)
        except ValueError as error:
            raise InputError(f"layer {cls.kind!r}: {error}") from error
        semantic.path.fill(state, "path")
        semantic.changed = ChangedThings.from_state(changed, state)
        agent = checked_array(state, "agent", np.float64, (None, 4, 4))
        stamp = checked_array(state, "stamp", np.float64, (len(agent),))
        turns = agent[:, :3, :3] @ agent[:, :3, :3].transpose(0, 2, 1)
        is_rigid = np.allclose(turns, np.eye(3), atol=1e-3) and (agent[:, 3] == [0.0, 0.0, 0.0, 1.0]).all()
        if len(agent) > 1 or not is_rigid:
            raise InputError(f"layer {cls.kind!r} holds {len(agent)} poses of one agent, or one that is not rigid")
        if len(agent):
            semantic._agent, semantic._agent_stamp = agent[0], float(stamp[0])
        return semantic

    def _payload(self) -> Payload:
        if self.voxels.payload is None:
            raise ValueError("the voxels of this map have lost their payload")
        return self.voxels.payload

    def _find(self, cells: LabelCells) -> list[Thing]:
        least = {"min_cells": self.min_cells, "min_voxels": self.min_voxels, "min_votes": self.min_votes}
        return find_things(cells, self._payload().names, gap=self.gap, hidden=self._hidden(cells), **least)

    def _hidden(self, cells: LabelCells) -> Hidden | None:
        """The cells that nobody looked into, low enough not to look over things."""
        grid = self._low_builder.update()
        if self.bridge == 0.0 or grid.cells.size == 0:
            return None
        corner = np.round(grid.origin / self.resolution).astype(np.int64)
        reach = round(self.bridge / self.resolution)
        return Hidden.around(cells, grid.cells == UNSEEN, corner, reach, _LOW)

    def _draw_agent(self, grid: OccupancyGrid, agent: np.ndarray, path: np.ndarray) -> None:
        """Mark the cell of the agent and those on its way."""
        if self._agent is not None:
            cell = grid.to_cells(self._agent[None, :2, 3])
            agent[tuple(cell[grid.contains(cell)].T)] = 1
        points = grid.to_cells(self.path.points.copy())[:, ::-1].astype(np.int32)
        cv2.polylines(path, [points.reshape(-1, 1, 2)], False, 1)

    def _hit(self, thing: Thing) -> Hit:
        middle = np.append(thing.centroid, thing.box[:, 2].mean())
        return Hit(
            score=thing.support,
            why=f"{thing.category} on {len(thing.cells)} cells, {thing.n_voxels} voxels",
            layer=self.kind,
            stamp=thing.stamp,
            position=middle,
            entity=thing.category,
            detail={"confidence": thing.support, "cells": float(len(thing.cells)), "size": thing.area**0.5},
        )


def _checked_voxels(state: LayerState, saved: Any) -> VoxelMap:
    """The voxels of a saved map.

    Raises:
        InputError: if they are malformed.
    """
    if not isinstance(saved, dict) or saved.keys() != {"version", "params"} or not isinstance(saved["params"], dict):
        raise InputError(f"layer {state.kind!r} lacks its voxels")
    arrays = {name.removeprefix("voxels_"): a for name, a in state.arrays.items() if name.startswith("voxels_")}
    return VoxelMap.load(LayerState(VoxelMap.kind, saved["version"], saved["params"], arrays))
