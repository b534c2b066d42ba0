"""Record observations to an RGB-D folder that `embmem.recordings.rgbd_folder` reads back."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Literal

import numpy as np

from embmem.observation import Observation
from embmem.output import new_folder
from embmem.recordings.images import write_image


def write_rgbd_folder(
    observations: Iterable[Observation], path: Path | str, *, color: Literal["png", "jpg"] = "png"
) -> int:
    """Number of frames written; the folder appears whole or not at all.

    Depth is rounded to millimetres and becomes invalid beyond 65.534 m. The poses' frame is taken to be a z-up map,
    so T_map_world.txt is the identity.

    Raises:
        OutputExistsError: if `path` exists and is not an empty folder.
        ValueError: if there is no observation, one without depth, or the camera or the labels change on the way.
    """
    with new_folder(Path(path)) as folder:
        stamps: list[float] = []
        first = None
        for observation in observations:
            first = observation if first is None else first
            if (observation.intrinsics, observation.labels) != (first.intrinsics, first.labels):
                raise ValueError(f"frame {len(stamps)} has another camera or other labels than the first")
            _write_frame(folder / f"frame-{len(stamps):06d}", observation, color)
            stamps.append(float(observation.stamp))
        if first is None:
            raise ValueError("nothing to record: no observation came")
        np.savetxt(folder / "camera-intrinsics.txt", first.intrinsics.matrix())
        np.savetxt(folder / "T_map_world.txt", np.eye(4))
        (folder / "timestamps.txt").write_text("".join(f"{stamp!r}\n" for stamp in stamps), "utf-8")
        if first.semantic is not None:
            (folder / "labels.txt").write_text("".join(f"{label}\n" for label in first.labels), "utf-8")
    return len(stamps)


def _write_frame(stem: Path, observation: Observation, color: str) -> None:
    if observation.depth is None:
        raise ValueError(f"{stem.name} has no depth")
    # %.18e, as numpy writes by default, returns every float64 bit for bit.
    np.savetxt(stem.with_name(f"{stem.name}.pose.txt"), observation.T_map_camera)
    write_image(stem.with_name(f"{stem.name}.depth.png"), millimetres(observation.depth))
    if observation.rgb is not None:
        write_image(stem.with_name(f"{stem.name}.color.{color}"), observation.rgb)
    for kind, ids in (("semantic", observation.semantic), ("instance", observation.instance)):
        if ids is not None:
            write_image(stem.with_name(f"{stem.name}.{kind}.png"), ids_16(ids, f"{kind} ids of {stem.name}"))


def millimetres(depth: np.ndarray) -> np.ndarray:
    """(h, w) uint16 of depth [m]; 0 where it is invalid or beyond 65.534 m."""
    raw = np.nan_to_num(np.rint(depth * 1000.0), nan=0.0, posinf=0.0)
    return np.where((raw > 0) & (raw < 65535), raw, 0).astype(np.uint16)


def ids_16(ids: np.ndarray, name: str) -> np.ndarray:
    """Ids as (h, w) uint16.

    Raises:
        ValueError: if one does not fit.
    """
    if ids.size and not 0 <= int(ids.min()) <= int(ids.max()) <= 65535:
        raise ValueError(f"{name} do not fit 16 bits: [{ids.min()}, {ids.max()}]")
    return ids.astype(np.uint16)
