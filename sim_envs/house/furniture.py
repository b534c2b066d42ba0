"""Kinds of furniture: real sizes, colours, and the boxes and surfaces they are built of.

Local frame of a piece: x along the wall in [0, width], y away from the wall in [0, depth] (its front is at `depth`),
z up from the floor. Sources of the sizes: catalogue dimensions of ordinary European furniture, rounded to 5 cm.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

Box = tuple[float, float, float, float, float, float]  # x0 y0 z0 x1 y1 z1 [m]
Surface = tuple[float, float, float, float, float]  # x0 y0 x1 y1 z [m]
Parts = tuple[list[Box], list[Surface]]
RGB = tuple[int, int, int]

PLAIN, CHECKER, WOOD, TILES = 0, 1, 2, 3  # patterns that the renderer draws


@dataclass(frozen=True)
class FurnitureKind:
    """One category of furniture."""

    width: tuple[float, float]  # least and greatest [m]
    depth: float  # [m]
    height: float  # top of its highest part [m]
    build: Callable[[float, float, float], Parts]  # (width, depth, height) -> boxes and surfaces
    colour: RGB
    accent: RGB = (90, 80, 75)
    accent_from: int = 99  # boxes from this index on have the accent colour
    pattern: int = PLAIN
    any_side: bool = False  # can be used from every side, not only from its front


def _legs(w: float, d: float, h: float, thick: float = 0.05) -> list[Box]:
    ends_x, ends_y = ((0.0, thick), (w - thick, w)), ((0.0, thick), (d - thick, d))
    return [(x0, y0, 0.0, x1, y1, h) for x0, x1 in ends_x for y0, y1 in ends_y]


def _cabinet(w: float, d: float, h: float) -> Parts:
    return [(0.0, 0.0, 0.0, w, d - 0.02, h), (0.03, d - 0.02, 0.08, w - 0.03, d, h - 0.05)], [
        (0.0, 0.0, w, d - 0.02, h)
    ]


def _closed(w: float, d: float, h: float) -> Parts:
    return [(0.0, 0.0, 0.0, w, d - 0.02, h), (0.03, d - 0.02, 0.08, w - 0.03, d, h - 0.05)], []


def _table(w: float, d: float, h: float) -> Parts:
    return [(0.0, 0.0, h - 0.04, w, d, h), *_legs(w, d, h - 0.04)], [(0.0, 0.0, w, d, h)]


def _shelf(w: float, d: float, h: float) -> Parts:
    """Sides, a back and boards about 0.35 m apart; the top is a board too."""
    n = max(2, round(h / 0.37))
    t, levels = 0.025, [0.08 + (h - 0.08) * i / n for i in range(n + 1)]
    boxes: list[Box] = [(t, 0.015, z - t, w - t, d, z) for z in levels[:-1]]
    boxes += [(0.0, 0.0, h - t, w, d, h), (0.0, 0.0, 0.0, t, d, h - t), (w - t, 0.0, 0.0, w, d, h - t)]
    boxes.append((t, 0.0, 0.0, w - t, 0.015, h - t))
    return boxes, [*((t, 0.015, w - t, d, z) for z in levels[:-1]), (0.0, 0.0, w, d, h)]


def _bed(w: float, d: float, h: float) -> Parts:
    boxes: list[Box] = [(0.0, 0.06, 0.0, w, d, 0.3), (0.0, 0.0, 0.0, w, 0.06, h)]
    boxes.append((0.03, 0.06, 0.3, w - 0.03, d - 0.03, 0.5))
    for i in range(2 if w > 1.2 else 1):
        middle = w / 2 if w <= 1.2 else w * (0.27 + 0.46 * i)
        boxes.append((middle - 0.3, 0.1, 0.5, middle + 0.3, 0.5, 0.6))
    return boxes, [(0.03, 0.9, w - 0.03, d - 0.03, 0.5)]


def _sofa(w: float, d: float, h: float) -> Parts:
    arm = 0.15
    boxes: list[Box] = [(0.0, 0.0, 0.0, w, 0.2, h), (0.0, 0.2, 0.0, arm, d, 0.6), (w - arm, 0.2, 0.0, w, d, 0.6)]
    boxes.append((arm, 0.2, 0.1, w - arm, d, 0.42))
    return boxes, [(arm, 0.2, w - arm, d, 0.42)]


def _chair(w: float, d: float, h: float) -> Parts:
    boxes: list[Box] = [(0.0, 0.0, 0.42, w, d, 0.46), (0.0, 0.0, 0.46, w, 0.04, h), *_legs(w, d, 0.42, 0.04)]
    return boxes, [(0.0, 0.04, w, d, 0.46)]


def _office_chair(w: float, d: float, h: float) -> Parts:
    boxes: list[Box] = [(0.0, 0.0, 0.44, w, d, 0.5), (0.03, 0.0, 0.55, w - 0.03, 0.07, h)]
    boxes += [
        (w / 2 - 0.04, d / 2 - 0.04, 0.08, w / 2 + 0.04, d / 2 + 0.04, 0.44),
        (0.0, d / 2 - 0.03, 0.0, w, d / 2 + 0.03, 0.08),
    ]
    boxes += [(w / 2 - 0.03, 0.0, 0.0, w / 2 + 0.03, d, 0.07), (w / 2 - 0.03, 0.0, 0.5, w / 2 + 0.03, 0.05, 0.55)]
    return boxes, []


def _toilet(w: float, d: float, h: float) -> Parts:
    boxes: list[Box] = [
        (0.02, 0.0, 0.4, w - 0.02, 0.18, h),
        (0.0, 0.18, 0.3, w, d, 0.42),
        (0.08, 0.0, 0.0, w - 0.08, d - 0.15, 0.3),
    ]
    return boxes, [(0.02, 0.0, w - 0.02, 0.18, h)]


def _washbasin(w: float, d: float, h: float) -> Parts:
    boxes: list[Box] = [(0.0, 0.0, h - 0.14, w, d, h), (w / 2 - 0.1, 0.0, 0.0, w / 2 + 0.1, 0.25, h - 0.14)]
    boxes.append((w / 2 - 0.02, 0.02, h, w / 2 + 0.02, 0.16, h + 0.12))
    return boxes, [(0.0, 0.16, w, d, h)]


def _bathtub(w: float, d: float, h: float) -> Parts:
    t = 0.08
    boxes: list[Box] = [(0.0, 0.0, 0.0, w, d, 0.15), (0.0, 0.0, 0.15, w, t, h), (0.0, d - t, 0.15, w, d, h)]
    boxes += [(0.0, t, 0.15, t, d - t, h), (w - t, t, 0.15, w, d - t, h)]
    return boxes, []


def _washing_machine(w: float, d: float, h: float) -> Parts:
    door = (w / 2 - 0.17, d - 0.02, 0.25, w / 2 + 0.17, d, 0.6)
    return [(0.0, 0.0, 0.0, w, d - 0.02, h), door], [(0.0, 0.0, w, d - 0.02, h)]


def _piano(w: float, d: float, h: float) -> Parts:
    return [(0.0, 0.0, 0.0, w, 0.35, h), (0.0, 0.35, 0.6, w, d, 0.72)], [(0.0, 0.0, w, 0.35, h)]


def _sink(w: float, d: float, h: float) -> Parts:
    boxes, _ = _cabinet(w, d, h)
    boxes.append((w / 2 - 0.02, 0.05, h, w / 2 + 0.02, 0.22, h + 0.25))
    return boxes, [(0.0, 0.25, w, d - 0.02, h)]


def _stove(w: float, d: float, h: float) -> Parts:
    boxes, _ = _cabinet(w, d, h)
    boxes.append((0.02, 0.0, h, w - 0.02, 0.04, h + 0.08))
    return boxes, [(0.0, 0.04, w, d - 0.02, h)]


def _hung(bottom: float) -> Callable[[float, float, float], Parts]:
    def build(w: float, d: float, h: float) -> Parts:
        return [(0.0, 0.0, bottom, w, d, h)], []

    return build


def _wall_shelf(w: float, d: float, h: float) -> Parts:
    boxes: list[Box] = [(0.0, 0.0, h - 0.03, w, d, h), (0.1, 0.0, h - 0.15, 0.13, 0.03, h - 0.03)]
    boxes.append((w - 0.13, 0.0, h - 0.15, w - 0.1, 0.03, h - 0.03))
    return boxes, [(0.0, 0.0, w, d, h)]


OAK, PINE, WALNUT, WHITE, STEEL = (176, 128, 78), (205, 165, 110), (105, 70, 45), (228, 228, 222), (150, 155, 160)

FURNITURE: dict[str, FurnitureKind] = {
    "bed": FurnitureKind((0.9, 1.6), 2.05, 0.95, _bed, WALNUT, (196, 204, 222), 2, WOOD),
    "nightstand": FurnitureKind((0.45, 0.6), 0.4, 0.5, _cabinet, OAK, WALNUT, 1, WOOD),
    "wardrobe": FurnitureKind((1.0, 1.6), 0.6, 2.0, _closed, (214, 200, 176), (190, 172, 142), 1, WOOD),
    "dresser": FurnitureKind((0.9, 1.2), 0.45, 0.8, _cabinet, PINE, OAK, 1, WOOD),
    "desk": FurnitureKind((1.3, 1.6), 0.65, 0.74, _table, (190, 150, 105), STEEL, 1, WOOD),
    "office chair": FurnitureKind((0.5, 0.5), 0.5, 0.95, _office_chair, (48, 52, 60), (70, 72, 78), 2),
    "bookshelf": FurnitureKind((0.8, 1.0), 0.3, 1.45, _shelf, (150, 105, 65), pattern=WOOD),
    "sofa": FurnitureKind((1.8, 2.2), 0.85, 0.8, _sofa, (88, 108, 122), (104, 126, 140), 3),
    "armchair": FurnitureKind((0.8, 0.9), 0.8, 0.85, _sofa, (150, 92, 72), (168, 110, 90), 3),
    "coffee table": FurnitureKind((0.9, 1.2), 0.6, 0.42, _table, (140, 95, 60), pattern=WOOD, any_side=True),
    "tv stand": FurnitureKind((1.4, 1.7), 0.4, 0.48, _cabinet, (70, 62, 58), (92, 82, 76), 1, WOOD),
    "sideboard": FurnitureKind((1.3, 1.6), 0.45, 0.82, _cabinet, (165, 115, 72), (190, 140, 96), 1, WOOD),
    "cupboard": FurnitureKind((0.8, 1.0), 0.4, 1.4, _shelf, (216, 206, 186), pattern=WOOD),
    "dining table": FurnitureKind((1.2, 1.6), 0.85, 0.75, _table, (158, 112, 66), pattern=WOOD, any_side=True),
    "chair": FurnitureKind((0.42, 0.42), 0.45, 0.85, _chair, (120, 84, 52), pattern=WOOD, any_side=True),
    "kitchen counter": FurnitureKind((0.9, 1.2), 0.6, 0.9, _cabinet, (120, 122, 126), WHITE, 1),
    "sink": FurnitureKind((0.8, 0.8), 0.6, 0.9, _sink, (176, 182, 188), WHITE, 1),
    "stove": FurnitureKind((0.6, 0.6), 0.6, 0.9, _stove, (60, 62, 66), (36, 38, 42), 1),
    "refrigerator": FurnitureKind((0.6, 0.7), 0.65, 1.8, _closed, (214, 218, 222), (202, 206, 212), 1),
    "wall cabinet": FurnitureKind((0.9, 1.2), 0.32, 2.1, _hung(1.5), (236, 234, 226)),
    "wall shelf": FurnitureKind((0.7, 1.0), 0.22, 1.25, _wall_shelf, (182, 138, 92), STEEL, 1, WOOD),
    "toilet": FurnitureKind((0.4, 0.4), 0.65, 0.8, _toilet, (240, 240, 244)),
    "washbasin": FurnitureKind((0.7, 0.8), 0.48, 0.85, _washbasin, (232, 236, 240), STEEL, 2),
    "bathtub": FurnitureKind((1.6, 1.6), 0.75, 0.55, _bathtub, (234, 240, 242)),
    "bathroom cabinet": FurnitureKind((0.7, 0.9), 0.35, 0.85, _cabinet, (186, 206, 208), WHITE, 1),
    "washing machine": FurnitureKind((0.6, 0.6), 0.6, 0.85, _washing_machine, (238, 238, 238), (60, 70, 84), 1),
    "shoe cabinet": FurnitureKind((1.0, 1.2), 0.32, 0.5, _cabinet, (198, 176, 144), OAK, 1, WOOD),
    "console table": FurnitureKind((0.9, 1.2), 0.32, 0.8, _table, (96, 66, 48), pattern=WOOD),
    "storage rack": FurnitureKind((0.9, 1.1), 0.42, 1.45, _shelf, (136, 142, 150)),
    "workbench": FurnitureKind((1.3, 1.6), 0.6, 0.88, _table, (172, 136, 92), (84, 92, 100), 1, WOOD),
    "toy chest": FurnitureKind((0.8, 1.0), 0.42, 0.45, _cabinet, (206, 120, 100), (230, 180, 90), 1),
    "bench": FurnitureKind((0.9, 1.1), 0.36, 0.45, _table, (146, 108, 70), pattern=WOOD),
    "piano": FurnitureKind((1.45, 1.45), 0.6, 1.15, _piano, (38, 30, 28), (235, 232, 224), 1),
    "coat rack": FurnitureKind((0.7, 0.9), 0.12, 1.7, _hung(1.5), (112, 76, 50), pattern=WOOD),
    "mirror": FurnitureKind((0.5, 0.6), 0.03, 1.8, _hung(1.15), (186, 208, 220)),
    "picture": FurnitureKind((0.5, 0.9), 0.03, 1.85, _hung(1.35), (116, 136, 92), pattern=CHECKER),
    "window": FurnitureKind((1.1, 1.6), 0.02, 2.1, _hung(1.0), (168, 206, 236)),
}
FURNITURE_CATEGORIES: tuple[str, ...] = tuple(FURNITURE)
