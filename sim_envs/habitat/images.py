"""What Habitat's sensors give, as what agents take."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int

UNLABELLED = "unlabelled"


@dataclass(frozen=True, eq=False)
class Semantics:
    """Names of the ids in Habitat's semantic images."""

    labels: tuple[str, ...]  # 0 is unlabelled
    label_of: np.ndarray  # (n,) index into `labels` by Habitat's id; ids beyond are unlabelled
    is_thing: np.ndarray  # (n,) bool: whether an id stands for one thing, and not for walls or floors

    def split(self, ids: Int[np.ndarray, "h w"]) -> tuple[Int[np.ndarray, "h w"], Int[np.ndarray, "h w"]]:
        """(semantic, instance) images of an image of Habitat's ids; `instance` is 0 where there is no single thing."""
        known = ids < len(self.label_of)
        safe = np.where(known, ids, 0).astype(np.int64)
        semantic = np.where(known, self.label_of[safe], 0).astype(np.int32)
        instance = np.where(known & self.is_thing[safe], ids, 0).astype(np.int32)
        return semantic, instance


def make_semantics(
    things: Iterable[tuple[int, str]],
    labels: tuple[str, ...] | None = None,
    structure: frozenset[str] = frozenset(("wall", "floor", "ceiling", "door frame")),
) -> Semantics | None:
    """Names from pairs (semantic id, category); None where there are none, as in scenes without annotation.

    Args:
        things: ids below 1 and categories called "unknown" stay unlabelled.
        labels: what the indices shall mean, 0 unlabelled; by default the categories in alphabetical order.
        structure: categories that are not things.
    """
    named = {i: name for i, name in things if i >= 1 and name.strip() and name.strip().lower() != "unknown"}
    if not named:
        return None
    if labels is None:
        labels = (UNLABELLED, *sorted(set(named.values())))
    index = {name: i for i, name in enumerate(labels)}
    label_of = np.zeros(max(named) + 1, dtype=np.int32)
    is_thing = np.zeros(max(named) + 1, dtype=bool)
    for i, name in named.items():
        label_of[i] = index.get(name, 0)
        is_thing[i] = name not in structure
    return Semantics(labels, label_of, is_thing)


def metric_depth(depth: Float[np.ndarray, "h w"], near: float = 0.0, far: float = np.inf) -> Float[np.ndarray, "h w"]:
    """Planar depth [m] with NaN for what was not measured: Habitat's 0 is "nothing hit, or beyond the far plane".

    Args:
        depth: from the simulator.
        near: nearer than this [m] the camera measures nothing.
        far: farther than this [m] it measures nothing.
    """
    metres = np.array(depth, dtype=np.float32)
    metres[~((metres > 0) & (metres >= near) & (metres <= far))] = np.nan
    return metres


def colours(rgba: np.ndarray) -> np.ndarray:
    """(h, w, 3) uint8 of Habitat's (h, w, 4) RGBA.

    Raises:
        ValueError: if it is another array.
    """
    if rgba.ndim != 3 or rgba.shape[2] not in (3, 4) or rgba.dtype != np.uint8:
        raise ValueError(f"expected (h, w, 4) uint8 colours, got {rgba.shape} {rgba.dtype}")
    return np.ascontiguousarray(rgba[..., :3])
