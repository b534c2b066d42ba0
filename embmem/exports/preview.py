"""One picture of a map from above: heights, what is unknown, where the camera was, what it saw, and a scale."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float

from embmem.exports.top_down import TopDown

_UNKNOWN, _FLOOR, _INK, _PATH = "#d3d6da", "#fbfaf7", "#22303c", "#e4572e"
_MARGIN = 0.3  # [m] around the map
_LONG_SIDE = 9.0  # [inch]


def write_preview(
    path: Path,
    view: TopDown,
    *,
    trajectory: Float[np.ndarray, "n 4 4"] | None = None,
    objects: Sequence[tuple[str, Float[np.ndarray, "3"]]] = (),
    title: str = "",
    ceiling: float = 2.0,
) -> None:
    """Write a PNG with x to the right and y up.

    Args:
        path: the file.
        view: the columns of the map.
        trajectory: camera poses `T_map_camera` in order of time.
        objects: (name, position [m] in the map frame), the most important first.
        title: one line above the picture.
        ceiling: height [m] of the darkest colour.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    left, right, bottom, top = _crop(view, trajectory)
    bottom -= 0.06 * (top - bottom)  # a strip for the scale
    width, height = right - left, top - bottom
    inches = _LONG_SIDE / max(width, height)
    # Room for the title above and the height scale at the right.
    figure = Figure(figsize=(max(width * inches, 3.0) + 1.1, max(height * inches, 2.0) + 0.6), facecolor="white")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    axes.set_facecolor(_UNKNOWN)
    _draw_columns(figure, axes, view, ceiling)
    if trajectory is not None and len(trajectory):
        _draw_trajectory(axes, trajectory)
    axes.set(xlim=(left, right), ylim=(bottom, top), aspect="equal", xticks=[], yticks=[])
    _draw_scale(axes, left, right, bottom, top)
    _draw_objects(axes, objects)
    for spine in axes.spines.values():
        spine.set_visible(False)
    axes.set_title(title, loc="left", fontsize=11, color=_INK)
    figure.savefig(path, dpi=130, bbox_inches="tight")


def _crop(view: TopDown, trajectory: Float[np.ndarray, "n 4 4"] | None) -> tuple[float, float, float, float]:
    """(left, right, bottom, top) [m] of the known part and the trajectory with a margin."""
    rows, columns = np.nonzero(view.known)
    x = view.origin[0] + view.resolution * np.array([columns.min(), columns.max() + 1])
    y = view.origin[1] + view.resolution * np.array([rows.min(), rows.max() + 1])
    if trajectory is not None:
        x, y = np.append(x, trajectory[:, 0, 3]), np.append(y, trajectory[:, 1, 3])
    return (
        float(x.min()) - _MARGIN,
        float(x.max()) + _MARGIN,
        float(y.min()) - _MARGIN,
        float(y.max()) + _MARGIN,
    )


def _draw_columns(figure: Any, axes: Any, view: TopDown, ceiling: float) -> None:
    from matplotlib import colormaps
    from matplotlib.colors import LinearSegmentedColormap, ListedColormap

    shades = LinearSegmentedColormap.from_list("height", colormaps["YlGnBu"](np.linspace(0.25, 1.0, 256)))
    floor = np.ma.masked_where(~view.known, np.zeros(view.known.shape))
    axes.imshow(floor, cmap=ListedColormap([_FLOOR]), origin="lower", extent=view.extent, interpolation="nearest")
    heights = np.ma.masked_invalid(view.height)
    image = axes.imshow(
        heights, cmap=shades, vmin=0.0, vmax=ceiling, origin="lower", extent=view.extent, interpolation="nearest"
    )
    bar = figure.colorbar(image, ax=axes, shrink=0.5, pad=0.02, aspect=25)
    bar.set_label("height [m]", color=_INK, fontsize=9)
    bar.outline.set_visible(False)
    bar.ax.tick_params(labelsize=8, colors=_INK, length=2)


def _draw_trajectory(axes: Any, trajectory: Float[np.ndarray, "n 4 4"]) -> None:
    """The way of the camera, a small arrow along every optical axis, a ring at the start."""
    x, y = trajectory[:, 0, 3], trajectory[:, 1, 3]
    axes.plot(x, y, color="white", linewidth=3.4, solid_joinstyle="round", zorder=3)
    axes.plot(x, y, color=_PATH, linewidth=1.6, solid_joinstyle="round", zorder=4)
    ahead = trajectory[:, :2, 2] / np.maximum(np.linalg.norm(trajectory[:, :2, 2], axis=1, keepdims=True), 1e-9)
    axes.quiver(
        x, y, ahead[:, 0], ahead[:, 1],
        color=_PATH, scale=36, width=0.0035, headwidth=5, headlength=5, headaxislength=4.5, zorder=4,
    )  # fmt: skip
    axes.plot(x[0], y[0], marker="o", markersize=7, markerfacecolor="white", markeredgecolor=_PATH, zorder=5)


def _draw_objects(axes: Any, objects: Sequence[tuple[str, Float[np.ndarray, "3"]]]) -> None:
    """A dot for every object and its name where there is room: first come, first served."""
    from matplotlib.patheffects import withStroke

    halo = [withStroke(linewidth=2.2, foreground="white")]
    taken: list[Any] = []
    for name, position in objects:
        axes.plot(position[0], position[1], ".", color=_INK, markersize=5, zorder=6)
        label = axes.annotate(
            name, (position[0], position[1]), (3, 3), textcoords="offset points",
            fontsize=6.5, color=_INK, path_effects=halo, zorder=7,
        )  # fmt: skip
        box = label.get_window_extent()
        if any(box.overlaps(other) for other in taken) or box.x1 > axes.get_window_extent().x1:
            label.remove()
        else:
            taken.append(box)


def _draw_scale(axes: Any, left: float, right: float, bottom: float, top: float) -> None:
    """A bar of a round length, about a fifth of the width."""
    lengths = np.array([0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 20.0, 50.0, 100.0])
    length = float(lengths[np.abs(np.log(lengths / ((right - left) / 5.0))).argmin()])
    x, y = left + 0.03 * (right - left), bottom + 0.02 * (top - bottom)
    axes.plot([x, x + length], [y, y], color=_INK, linewidth=3, solid_capstyle="butt", zorder=8)
    axes.annotate(
        f"{length:g} m", (x + length / 2, y), (0, 4), textcoords="offset points",
        ha="center", fontsize=9, color=_INK, zorder=8,
    )  # fmt: skip
