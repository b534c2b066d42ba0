"""Parts of the public Kinect sequence as recordings of their own, and plans to build them."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import pytest

from embmem.building.plan import BuildPlan
from embmem.cli.build import plan_of
from embmem.cli.main import compose_config


def plan(recording: Path, out: Path, *settings: str) -> BuildPlan:
    words = [f"recording={recording}", f"out={out}", "resolution=0.1", "frame=identity", *settings]
    return plan_of(compose_config("build", words))


def parts_of(folder: Path, name: str, numbers: Sequence[int]) -> Path:
    """Frames of the public sequence, as links."""
    source = Path(os.environ.get("EMBMEM_DATA_DIR", "../shared/data")).resolve() / "rgbd" / "seven_scenes"
    if not source.is_dir():
        pytest.skip("EMBMEM_DATA_DIR holds no public data")
    part = folder / name
    part.mkdir()
    (part / "camera-intrinsics.txt").symlink_to(source / "camera-intrinsics.txt")
    for number in numbers:
        for kind in ("depth.png", "pose.txt"):
            (part / f"frame-{number:06d}.{kind}").symlink_to(source / f"frame-{number:06d}.{kind}")
    return part
