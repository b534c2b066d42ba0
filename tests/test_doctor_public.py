"""What the doctor says of public recordings."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from embmem.cli.main import main


def data(name: str) -> Path:
    path = Path(os.environ.get("EMBMEM_DATA_DIR", "../shared/data")) / name
    if not path.exists():
        pytest.skip(f"needs {name} under EMBMEM_DATA_DIR")
    return path


@pytest.mark.parametrize("name", ["ros2/nav2_turtlebot.mcap", "ros2/tf_example"])
def test_a_bag_without_images_gets_one_clear_verdict(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["doctor", str(data(name))]) == 4
    out = capsys.readouterr().out
    assert "nothing_to_see" in out
    assert "1 error" in out


@pytest.mark.parametrize("name", ["rgbd/3dmatch", "rgbd/redwood_living_room", "octomap/spherical_scan.graph"])
def test_nothing_is_wrong_with_clean_public_data(name: str) -> None:
    assert main(["doctor", str(data(name))]) == 0
