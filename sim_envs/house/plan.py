"""Floor plans drawn with matplotlib."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from embmem.sim_envs.house.categories import OBJECTS
from embmem.sim_envs.house.furniture import FURNITURE, RGB
from embmem.sim_envs.house.house import BODY_HEIGHT, House

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_FLOOR: dict[str, RGB] = {
    "kitchen": (246, 234, 210),
    "bathroom": (216, 234, 242),
    "laundry room": (222, 232, 232),
    "corridor": (240, 238, 234),
    "bedroom": (238, 228, 240),
    "living room": (244, 232, 222),
    "office": (226, 234, 222),
}
_OTHER_FLOOR: RGB = (234, 234, 226)
_WALL: RGB = (60, 58, 56)


def _hex(colour: RGB) -> str:
    return "#{:02x}{:02x}{:02x}".format(*colour)


def draw_plan(axes: Axes, house: House, *, names: bool = True, objects: bool = True) -> None:
    """Rooms, walls, furniture and small objects seen from above, in metres of the `map` frame."""
    from matplotlib.patches import Rectangle

    def fill(x0: float, y0: float, x1: float, y1: float, colour: RGB, edge: str = "none", order: int = 1) -> None:
        face = _hex(colour)
        axes.add_patch(Rectangle((x0, y0), x1 - x0, y1 - y0, fc=face, ec=edge, lw=0.5, zorder=order))

    for wall in house.walls[house.walls[:, 2] < BODY_HEIGHT]:
        fill(wall[0], wall[1], wall[3], wall[4], _WALL)
    for room in house.rooms:
        fill(room.x0, room.y0, room.x1, room.y1, _FLOOR.get(room.kind, _OTHER_FLOOR))
        if names:
            label = room.kind if room.kind != "corridor" else ""
            place = ((room.x0 + room.x1) / 2, (room.y0 + room.y1) / 2)
            axes.annotate(label, place, ha="center", va="center", fontsize=6, color="#555555", zorder=6)
    for f in sorted(house.furniture, key=lambda piece: float(piece.boxes[:, 5].max())):
        kind, order = FURNITURE[f.category], 3 if f.blocks_floor else 4
        for i in np.argsort(f.boxes[:, 5], kind="stable"):
            colour = kind.colour if i < kind.accent_from else kind.accent
            x0, y0, _, x1, y1, _ = f.boxes[i].tolist()
            fill(x0, y0, x1, y1, colour, "#444444", order)
    for obj in house.objects if objects else ():
        face = _hex(OBJECTS[obj.category].colour)
        axes.plot(*obj.position[:2], "o", ms=3, mfc=face, mec="black", mew=0.3, zorder=5)
    x0, y0, x1, y1 = house.bounds()
    axes.set_xlim(x0 - 0.2, x1 + 0.2)
    axes.set_ylim(y0 - 0.2, y1 + 0.2)
    axes.set_aspect("equal")
    axes.set_axis_off()


def write_plan(house: House, path: Path) -> None:
    """Write the floor plan as PNG, about 60 px a metre."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    x0, y0, x1, y1 = house.bounds()
    scale = 0.6 if len(house.rooms) <= 20 else 0.35  # [in/m]
    figure = Figure(figsize=(float(np.ceil((x1 - x0) * scale)), float(np.ceil((y1 - y0) * scale))), dpi=100)
    canvas = FigureCanvasAgg(figure)
    axes = figure.add_axes((0.0, 0.0, 1.0, 1.0))
    draw_plan(axes, house)
    part = path.with_suffix(path.suffix + ".part")
    canvas.print_figure(part, format="png", metadata={"Software": None})
    part.replace(path)
