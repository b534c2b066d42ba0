"""Write a recording in the format that the name asks for."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Literal

from embmem.observation import Observation
from embmem.recordings.rgbd_writer import write_rgbd_folder

LAYOUTS = ("auto", "rgbd", "mcap", "lerobot")


def write_recording(
    observations: Iterable[Observation],
    path: Path | str,
    *,
    layout: str = "auto",
    color: Literal["png", "jpg"] = "png",
) -> int:
    """Number of frames written; what is written appears whole or not at all.

    Args:
        observations: to record, each with depth.
        path: file or folder to create.
        layout: `mcap` (a file), `rgbd` or `lerobot` (folders); `auto`: mcap for *.mcap, else rgbd.
        color: how colour is compressed where the layout leaves a choice.

    Raises:
        OutputExistsError: if the place is taken.
        ValueError: if there is no such layout, or the observations cannot be recorded.
        MissingExtraError: if the layout needs a library that is not installed.
    """
    if layout not in LAYOUTS:
        raise ValueError(f"layout must be one of {', '.join(LAYOUTS)}, got {layout!r}")
    path = Path(path)
    if layout == "mcap" or (layout == "auto" and path.suffix == ".mcap"):
        from embmem.recordings.mcap_writer import write_mcap

        return write_mcap(observations, path, color=color)
    if layout == "lerobot":
        from embmem.recordings.lerobot_writer import write_lerobot

        return write_lerobot(observations, path)
    return write_rgbd_folder(observations, path, color=color)
