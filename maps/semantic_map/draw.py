"""The annotated map as a picture: floor, walls, things with their names, the way, the agent, scale and legend."""

from __future__ import annotations

import itertools
from collections import Counter
from pathlib import Path

import cv2
import numpy as np
from jaxtyping import Float, UInt8

from embmem.errors import InputError
from embmem.maps.semantic_map.annotation import Annotation, annotate, shown_name
from embmem.maps.semantic_map.canvas import RGB, Canvas, category_colours, soft_mask, text_size
from embmem.maps.semantic_map.layer import SemanticMap
from embmem.maps.semantic_map.lettering import Box, place_labels
from embmem.maps.semantic_map.things import Thing
from embmem.output import new_file

PAPER, UNKNOWN, FLOOR, GRID = (252, 251, 249), (236, 234, 229), (255, 255, 255), (241, 240, 236)
WALL, INK, GREY, PATH = (59, 66, 82), (38, 45, 58), (120, 126, 136), (228, 87, 46)
PAD = 0.35  # [m] around what is known
_SIDE, _TOP, _BOTTOM, _ROW = 46, 74, 62, 21  # [px] margins and a row of the legend
_LARGE = 0.25  # [m^2] from which a name is written large
_COMPRESSION = (cv2.IMWRITE_PNG_COMPRESSION, 6, cv2.IMWRITE_PNG_STRATEGY, cv2.IMWRITE_PNG_STRATEGY_DEFAULT)
_CLOSING = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (5, 5))
_HOLE = 60  # cells
_SIZES = (15.0, 11.5)  # [px] of names


class _View:
    """Where the map lies on the picture."""

    def __init__(self, extent: tuple[float, float, float, float], size: int) -> None:
        self.left, self.bottom = extent[0] - PAD, extent[1] - PAD
        self.right, self.top = extent[2] + PAD, extent[3] + PAD
        metres = max(self.right - self.left, self.top - self.bottom)
        self.scale = size / metres  # [px / m]
        self.width = round((self.right - self.left) * self.scale)
        self.height = round((self.top - self.bottom) * self.scale)

    def frame(self) -> Box:
        """The pixels of the map."""
        return Box(_SIDE, _TOP, _SIDE + self.width, _TOP + self.height)

    def at(self, points: Float[np.ndarray, "n 2"]) -> Float[np.ndarray, "n 2"]:
        """(column, row) of points (x, y) [m]."""
        return np.stack(
            [_SIDE + (points[:, 0] - self.left) * self.scale, _TOP + (self.top - points[:, 1]) * self.scale], axis=1
        )


def draw(
    semantic_map: SemanticMap, annotation: Annotation | None = None, *, title: str = "", size: int = 1200
) -> UInt8[np.ndarray, "h w 3"]:
    """The annotated map as an RGB picture with x to the right and y up.

    Args:
        semantic_map: what to draw.
        annotation: what to write on it, by default all labels.
        title: above the map.
        size: pixels of the map's longer side.
    """
    if not 200 <= size <= 8000:
        raise ValueError(f"size must lie in [200, 8000] pixels, got {size}")
    notes = annotate(semantic_map) if annotation is None else annotation
    view = _View(notes.extent, size)
    things = [thing for thing in semantic_map.things() if _is_labelled(thing, notes)]
    legend = sorted(Counter(label.category for label in notes.labels).items())
    rows = max((view.height - 8 * _ROW) // _ROW, 8)
    columns = -(-len(legend) // rows)
    column_width = 44 + max((text_size(_entry(name, n), 12.0)[0] for name, n in legend), default=60)
    panel = max(columns * column_width, 150)
    canvas = Canvas(view.width + 2 * _SIDE + panel + 10, view.height + _TOP + _BOTTOM, PAPER)
    _draw_ground(canvas, view, semantic_map)
    for thing in sorted(things, key=lambda thing: -thing.area):
        _draw_thing(canvas, view, thing, semantic_map.resolution)
    _draw_path(canvas, view, semantic_map.path.points)
    taken = [_draw_agent(canvas, view, notes.agent)] if notes.agent is not None else []
    _draw_labels(canvas, view, notes, taken)
    _draw_frame(canvas, view, notes, title)
    _draw_legend(canvas, view, legend, rows, column_width)
    return canvas.pixels


def write_png(
    path: Path,
    semantic_map: SemanticMap,
    annotation: Annotation | None = None,
    *,
    title: str = "",
    size: int = 1200,
    overwrite: bool = False,
) -> None:
    """Write the picture of `draw` to a PNG file, whole or not at all.

    Raises:
        OutputExistsError: if the file exists and `overwrite` is not set.
        InputError: if the folder does not exist.
    """
    image = draw(semantic_map, annotation, title=title, size=size)
    is_done, data = cv2.imencode(".png", image[..., ::-1], _COMPRESSION)
    if not is_done:
        raise InputError(f"the picture of {image.shape[1]} x {image.shape[0]} pixels cannot be encoded as PNG")
    with new_file(path, overwrite=overwrite) as part:
        part.write_bytes(data.tobytes())


def _is_labelled(thing: Thing, notes: Annotation) -> bool:
    x, y = thing.centroid.tolist()
    return any(label.category == thing.category and (label.x, label.y) == (x, y) for label in notes.labels)


def _draw_ground(canvas: Canvas, view: _View, semantic_map: SemanticMap) -> None:
    """Unknown, floor with a grid of metres, and what stands on it."""
    frame = view.frame()
    canvas.rectangle(frame.left, frame.top, frame.right, frame.bottom, UNKNOWN)
    planes = semantic_map.channels([])
    _lay(canvas, view, planes["explored"], planes.origin, planes.resolution, FLOOR)
    for axis, (low, high) in enumerate(((view.left, view.right), (view.bottom, view.top))):
        for metre in range(int(np.ceil(low)), int(np.floor(high)) + 1):
            ends = np.array([[metre, view.bottom], [metre, view.top]], dtype=np.float64)
            ends = ends if axis == 0 else np.array([[view.left, metre], [view.right, metre]], dtype=np.float64)
            canvas.line(view.at(ends), GRID, 1)
    _lay(canvas, view, planes["obstacle"], planes.origin, planes.resolution, WALL)


def _lay(
    canvas: Canvas, view: _View, cells: np.ndarray, origin: np.ndarray, resolution: float, colour: RGB
) -> tuple[np.ndarray, int, int]:
    """Lay cells (rows along y) over the map; their soft mask and its corner on the picture."""
    height, width = cells.shape
    size = np.array([width, height]) * resolution
    corner = view.at(origin + size * np.array([[0.0, 1.0], [1.0, 0.0]]))
    left, top = np.floor(corner[0]).astype(int).tolist()
    right, bottom = np.ceil(corner[1]).astype(int).tolist()
    if cells.size == 0:
        return np.zeros((0, 0)), left, top
    opacity = soft_mask(np.ascontiguousarray(cells[::-1]), max(right - left, 1), max(bottom - top, 1))
    frame = view.frame()
    x0, y0 = max(frame.left - left, 0), max(frame.top - top, 0)
    cut = opacity[y0 : max(frame.bottom - top, y0), x0 : max(frame.right - left, x0)]
    canvas.blend(left + x0, top + y0, cut, colour)
    return cut, left + x0, top + y0


def _draw_thing(canvas: Canvas, view: _View, thing: Thing, resolution: float) -> None:
    """Its cells in the colour of the category with a darker outline."""
    low = thing.cells.min(axis=0) - 4
    width, height = (thing.cells.max(axis=0) + 5 - low).tolist()
    seen = np.zeros((height, width), dtype=np.uint8)
    seen[thing.cells[:, 1] - low[1], thing.cells[:, 0] - low[0]] = 1
    cells = _without_holes(cv2.morphologyEx(seen, cv2.MORPH_CLOSE, _CLOSING))
    fill, outline = category_colours(thing.category)
    opacity, left, top = _lay(canvas, view, cells, low * resolution, resolution, fill)
    outlines, _ = cv2.findContours((opacity > 0.5).astype(np.uint8), cv2.RETR_CCOMP, cv2.CHAIN_APPROX_NONE)
    for each in outlines:
        canvas.line(each.reshape(-1, 2) + np.array([left, top], dtype=np.float64), outline, 1, closed=True)


def _without_holes(cells: np.ndarray) -> np.ndarray:
    """The cells with small holes filled: what was hidden by things that stand on them."""
    n, labels, stats, _ = cv2.connectedComponentsWithStats(1 - cells, connectivity=4)
    is_small = stats[:, cv2.CC_STAT_AREA] <= _HOLE
    filled: np.ndarray = np.where(is_small[labels], 1, cells).astype(np.uint8)
    return filled if n > 1 else cells


def _draw_path(canvas: Canvas, view: _View, points: np.ndarray) -> None:
    """The way, paler the longer ago."""
    if len(points) < 2:
        return
    pixels = view.at(points.copy())
    canvas.line(pixels, FLOOR, 6)
    starts = np.unique(np.linspace(0, len(pixels) - 1, 25).astype(int))
    for i, (start, end) in enumerate(itertools.pairwise(starts.tolist())):
        share = 0.35 + 0.65 * (i + 1) / (len(starts) - 1)
        colour = _mixed(FLOOR, PATH, share)
        canvas.line(pixels[start : end + 1], colour, 2)
    canvas.disc(pixels[0].tolist(), 5.5, PATH)
    canvas.disc(pixels[0].tolist(), 3.5, FLOOR)


def _draw_agent(canvas: Canvas, view: _View, pose: tuple[float, float, float]) -> Box:
    """A pointed arrow with a cone of sight; the pixels that it takes."""
    x, y = view.at(np.array([pose[:2]]))[0].tolist()
    heading, reach = pose[2], min(1.2 * view.scale, 130.0)
    size = 2 * int(reach) + 1
    rows, columns = np.mgrid[:size, :size] - float(int(reach))
    distance = np.hypot(rows, columns)
    turned = np.abs(np.remainder(np.arctan2(-rows, columns) - heading + np.pi, 2 * np.pi) - np.pi)
    cone = np.clip((0.55 - turned) * distance, 0.0, 1.0) * np.clip(1.0 - distance / reach, 0.0, 1.0) * 0.45
    canvas.blend(round(x) - int(reach), round(y) - int(reach), cone, PATH)
    tip, back, notch = 17.0, 2.45, 6.0
    shape = [(tip, 0.0), (13.0, back), (notch, np.pi), (13.0, -back)]
    arrow = np.array([(x + r * np.cos(heading + a), y - r * np.sin(heading + a)) for r, a in shape])
    canvas.line(arrow, FLOOR, 6, closed=True)
    canvas.fill(arrow, PATH)
    return Box(round(x) - 17, round(y) - 17, round(x) + 17, round(y) + 17)


def _draw_labels(canvas: Canvas, view: _View, notes: Annotation, taken: list[Box]) -> None:
    """The names, the largest things first; one that is pushed aside has a thin line to its thing."""
    names = notes.names()
    areas = [(each.high[0] - each.low[0]) * (each.high[1] - each.low[1]) for each in notes.labels]
    order = np.argsort(-np.array(areas), kind="stable").tolist()
    anchors = view.at(np.array([(notes.labels[i].x, notes.labels[i].y) for i in order]).reshape(-1, 2))
    sizes = [_SIZES[0] if areas[i] >= _LARGE else _SIZES[1] for i in order]
    boxes = [text_size(names[i], size) for i, size in zip(order, sizes, strict=True)]
    placed = place_labels(anchors, [(w + 4, h - 1) for w, h in boxes], taken, view.frame())
    for i, anchor, box in zip(order, anchors.tolist(), placed, strict=True):
        outline = category_colours(notes.labels[i].category)[1]
        if box is None or not (box.left <= anchor[0] < box.right and box.top <= anchor[1] < box.bottom):
            canvas.disc(anchor, 2.6, outline)
            if box is not None:
                near = (float(np.clip(anchor[0], box.left, box.right)), float(np.clip(anchor[1], box.top, box.bottom)))
                canvas.line(np.array([anchor, near]), outline, 1)
    for i, size, box in zip(order, sizes, placed, strict=True):
        if box is not None:
            canvas.write(names[i], box.left + 2, box.top, size, INK, halo=FLOOR)


def _draw_frame(canvas: Canvas, view: _View, notes: Annotation, title: str) -> None:
    """Title, metres along the edges, a scale."""
    frame = view.frame()
    canvas.write(title or "Semantic map", frame.left, 14, 21.0, INK, bold=True)
    left, bottom, right, top = notes.extent
    what = f"{right - left:.1f} x {top - bottom:.1f} m   {notes.explored:.0f} m² explored   {len(notes.labels)} things"
    canvas.write(what, frame.left, 45, 12.5, GREY)
    step = 1 if max(right - left, top - bottom) <= 15 else 5
    for metre in range(int(np.ceil(view.left / step)) * step, int(np.floor(view.right)) + 1, step):
        x = view.at(np.array([[float(metre), 0.0]]))[0, 0]
        width, _ = text_size(str(metre), 10.5)
        canvas.write(str(metre), round(x - width / 2), frame.bottom + 5, 10.5, GREY)
    for metre in range(int(np.ceil(view.bottom / step)) * step, int(np.floor(view.top)) + 1, step):
        y = view.at(np.array([[0.0, float(metre)]]))[0, 1]
        width, height = text_size(str(metre), 10.5)
        canvas.write(str(metre), frame.left - 7 - width, round(y - height / 2), 10.5, GREY)
    length = float(_round_length((view.right - view.left) / 5.0))
    y, end = frame.bottom + 36, frame.left + round(length * view.scale)
    canvas.rectangle(frame.left, y, end, y + 5, INK)
    canvas.rectangle((frame.left + end) // 2, y + 1, end - 1, y + 4, PAPER)
    canvas.write(f"{length:g} m", end + 8, y - 7, 12.0, INK)


def _draw_legend(canvas: Canvas, view: _View, legend: list[tuple[str, int]], rows: int, column_width: int) -> None:
    """What the colours mean, in columns to the right of the map."""
    left, top = view.frame().right + 24, view.frame().top
    for row, (name, colour) in enumerate((("wall, obstacle", WALL), ("floor", FLOOR), ("not seen", UNKNOWN))):
        _swatch(canvas, left, top + row * _ROW, colour, GREY)
        canvas.write(name, left + 24, top + row * _ROW, 12.0, INK)
    y = top + 3 * _ROW
    canvas.line(np.array([[left, y + 8.0], [left + 16.0, y + 8.0]]), PATH, 2)
    canvas.write("way", left + 24, y, 12.0, INK)
    arrow = np.array([[14.0, 8.0], [1.0, 2.0], [5.0, 8.0], [1.0, 14.0]]) + np.array([left, y + _ROW])
    canvas.fill(arrow, PATH)
    canvas.write("robot", left + 24, y + _ROW, 12.0, INK)
    for i, (name, n) in enumerate(legend):
        x, y = left + i // rows * column_width, top + round(6.2 * _ROW) + i % rows * _ROW
        fill, outline = category_colours(name)
        _swatch(canvas, x, y, fill, outline)
        canvas.write(_entry(name, n), x + 24, y, 12.0, INK)


def _entry(name: str, n: int) -> str:
    return shown_name(name) if n == 1 else f"{shown_name(name)} x {n}"


def _swatch(canvas: Canvas, left: int, top: int, fill: RGB, outline: RGB) -> None:
    canvas.rectangle(left, top + 1, left + 16, top + 15, outline)
    canvas.rectangle(left + 1, top + 2, left + 15, top + 14, fill)


def _mixed(a: RGB, b: RGB, share: float) -> RGB:
    red, green, blue = (round(x + share * (y - x)) for x, y in zip(a, b, strict=True))
    return red, green, blue


def _round_length(wanted: float) -> float:
    """The length [m] of 1, 2 or 5 times a power of ten that is nearest."""
    lengths = np.array([0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 20.0, 50.0, 100.0])
    return float(lengths[np.abs(np.log(lengths / wanted)).argmin()])
