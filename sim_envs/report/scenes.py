"""Episodes worth looking at: the same one side by side for every agent, on the plan of its house."""

from __future__ import annotations

import base64
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure

from embmem.agent import Body
from embmem.errors import InputError
from embmem.sim_envs.episodes import parse_scene
from embmem.sim_envs.house import House, make_house, night
from embmem.sim_envs.house.plan import draw_plan
from embmem.sim_envs.navmesh import NavMesh
from embmem.sim_envs.street.picture import draw_walk, street_segments
from embmem.sim_envs.view_points import view_points

N_EPISODES = 4
STRIP_BONUS = 0.25  # how much more an episode is worth if there are pictures of it
SAME_SESSION = 0.5  # how much less it is worth for each one of its session that is shown already
INCHES = 3.8  # width of a plan
DPI = 200
GOAL, PAST, START = "#dc2626", "#9a3412", "#111827"
TIME = "viridis_r"  # light at the start, dark at the end


@dataclass
class Panel:
    """What one agent did in an episode."""

    agent: str
    row: Mapping[str, Any]
    plan: str  # data URI
    strip: str | None  # data URI


@dataclass
class Scene:
    """One episode with the panels of all agents that ran it."""

    title: str
    is_moved: bool
    panels: list[Panel] = field(default_factory=list)


def scenes(rows: Sequence[Mapping[str, Any]], strips: Path, *, n: int = N_EPISODES) -> list[Scene]:
    """The `n` episodes in which the agents differ most, drawn; those with a strip are preferred.

    Args:
        rows: of all agents; rows without trajectory are left out.
        strips: folder of `<agent>_<session>_<episode>.png`.
        n: how many episodes at most.
    """
    episodes: dict[tuple[Any, Any], list[Mapping[str, Any]]] = {}
    for row in rows:
        if row.get("trajectory"):
            episodes.setdefault((row["session"], row["episode"]), []).append(row)

    def interest(key: tuple[Any, Any]) -> float:
        values = [(float(r["success"]), float(r.get("spl") or 0.0)) for r in episodes[key]]
        contrast = float(np.ptp(values, axis=0).sum())
        has_strip = any(_strip_file(strips, r) is not None for r in episodes[key])
        return contrast + STRIP_BONUS * has_strip - SAME_SESSION * sum(key[0] == other[0] for other in chosen)

    chosen: list[tuple[Any, Any]] = []
    while len(chosen) < min(n, len(episodes)):  # ties keep the order of the rows
        chosen.append(max((key for key in episodes if key not in chosen), key=interest))
    return [_scene(episodes[key], strips) for key in chosen]


def _scene(rows: Sequence[Mapping[str, Any]], strips: Path) -> Scene:
    first = rows[0]
    places = _places(first)
    number = first["episode"] + 1 if isinstance(first["episode"], int) else first["episode"]  # people count from 1
    title = f"Session {first['session']}, episode {number}: {first.get('goal', '')}"
    scene = Scene(title, bool(first.get("moved")))
    for row in rows:
        file = _strip_file(strips, row)
        strip = None if file is None else _data_uri(file.read_bytes())
        scene.panels.append(
            Panel(
                str(row["agent"]),
                row,
                _data_uri(draw_walk(row, street_segments()) if "gold" in row else _draw(row, places)),
                strip,
            )
        )
    return scene


@dataclass
class _Places:
    """Where an episode happens."""

    house: House | None = None  # None: somebody else's scene
    goals: np.ndarray = field(default_factory=lambda: np.empty((0, 2)))
    before: np.ndarray = field(default_factory=lambda: np.empty((0, 2)))  # where the goals lay before the night
    view_points: np.ndarray = field(default_factory=lambda: np.empty((0, 2)))


def _places(row: Mapping[str, Any]) -> _Places:
    """The house of a row, made again from its seeds, and where the goal lies in it."""
    try:
        seed, n_rooms, night_seed = parse_scene(str(row.get("scene", "")))
    except InputError:
        return _Places()
    house = make_house(seed, n_rooms)
    categories = str(row.get("goal", "")).split(", ")
    before = _positions(house, categories)
    if night_seed is None:
        return _Places(house, before, view_points=_view_points(house, categories))
    house, moves = night(house, np.random.default_rng(night_seed))
    moved = np.array([m.from_position[:2] for m in moves if m.category in categories]).reshape(-1, 2)
    return _Places(house, _positions(house, categories), moved, _view_points(house, categories))


def _positions(house: House, categories: Sequence[str]) -> np.ndarray:
    small = [o.position[:2] for o in house.objects if o.category in categories]
    large = [((f.x0 + f.x1) / 2, (f.y0 + f.y1) / 2) for f in house.furniture if f.category in categories]
    return np.array([*small, *large]).reshape(-1, 2)


def _view_points(house: House, categories: Sequence[str]) -> np.ndarray:
    """Where a body of the default size can stand and see a small object that answers the goal."""
    body = Body()
    navmesh = NavMesh(house.obstacles(), np.array(house.bounds()), body.radius)
    found = [
        view_points(navmesh, house.object_aabb(thing), house.solid_boxes(), body.height)
        for thing in house.objects
        if thing.category in categories
    ]
    return np.concatenate([np.empty((0, 2)), *found])


def _draw(row: Mapping[str, Any], places: _Places) -> bytes:
    """The plan with the path of one agent as PNG."""
    path = np.array(row["trajectory"], dtype=float)[:, :2]
    if places.house is not None:
        x0, y0, x1, y1 = places.house.bounds()
    else:
        (x0, y0), (x1, y1) = path.min(axis=0) - 1.0, path.max(axis=0) + 1.0
    height = INCHES * (y1 - y0 + 0.4) / (x1 - x0 + 0.4)
    figure = Figure(figsize=(INCHES, height), dpi=DPI)
    axes = figure.add_axes((0.0, 0.0, 1.0, 1.0))
    axes.set(xlim=(x0 - 0.2, x1 + 0.2), ylim=(y0 - 0.2, y1 + 0.2), aspect="equal")
    axes.set_axis_off()
    if places.house is not None:
        draw_plan(axes, places.house, objects=False)
    _draw_goal(axes, places)
    _draw_path(axes, path)
    picture = io.BytesIO()
    figure.savefig(picture, format="png", metadata={"Software": None})
    return picture.getvalue()


def _draw_goal(axes: Axes, places: _Places) -> None:
    axes.plot(*places.view_points.T, ".", color=GOAL, alpha=0.35, markersize=1.6, zorder=6)
    axes.plot(*places.before.T, "X", color="white", markeredgecolor=PAST, markersize=8, zorder=9)
    axes.plot(*places.goals.T, "*", color=GOAL, markeredgecolor="white", markersize=13, zorder=9)


def _draw_path(axes: Axes, path: np.ndarray) -> None:
    steps = np.stack([path[:-1], path[1:]], axis=1)
    axes.add_collection(LineCollection(list(steps), colors="white", linewidths=3.6, zorder=7, capstyle="round"))
    line = LineCollection(list(steps), cmap=TIME, linewidths=2.0, zorder=8, capstyle="round")
    line.set_array(np.arange(len(steps)))
    axes.add_collection(line)
    axes.plot(*path[0], "o", color="white", markeredgecolor=START, markeredgewidth=1.6, markersize=7, zorder=10)
    axes.plot(*path[-1], "s", color=START, markeredgecolor="white", markersize=7, zorder=10)


def _strip_file(folder: Path, row: Mapping[str, Any]) -> Path | None:
    """The strip of a row; a name that leads out of the folder has none."""
    name = f"{row['agent']}_{row['session']}_{row['episode']}.png"
    file = folder / name
    return file if Path(name).name == name and file.is_file() else None


def _data_uri(png: bytes) -> str:
    return "data:image/png;base64," + base64.b64encode(png).decode("ascii")
