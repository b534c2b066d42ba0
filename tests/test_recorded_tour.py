"""A tour of an embedded house, recorded to an RGB-D folder, built, and asked where things are."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest

from embmem.agent import Body
from embmem.cli.main import main
from embmem.observation import Intrinsics, Observation
from embmem.recordings.rgbd_writer import write_rgbd_folder
from embmem.sim_envs.house import LABELS, OBJECT_CATEGORIES, House, make_house
from embmem.sim_envs.tasks.tours import guided_tour, tour_stops
from embmem.sim_envs.world import World

CAMERA = Intrinsics.from_fov(160, 120, 79.0)
SEEN_PIXELS, SEEN_FRAMES = 40, 3  # an object that shows so many pixels in so many frames must be remembered


class Tour:
    """Observations of a guided tour, and which objects were in plain sight."""

    def __init__(self, house: House, n_frames: int) -> None:
        self.house = house
        self.n_frames = n_frames
        self.n_seen: dict[int, int] = defaultdict(int)

    def __iter__(self) -> Iterator[Observation]:
        world = World(self.house, intrinsics=CAMERA, body=Body(), rng=np.random.default_rng(0))
        stops = tour_stops(world, self.house)
        world.place(stops[0], 0.0)
        ids = {o.id for o in self.house.objects}
        for action in guided_tour(world, stops, self.n_frames):
            world.apply(action)
            observation = world.observe()
            assert observation.instance is not None
            for instance, count in zip(*np.unique(observation.instance, return_counts=True), strict=True):
                self.n_seen[int(instance)] += int(instance in ids and count >= SEEN_PIXELS)
            yield observation


@pytest.fixture(scope="module")
def tour() -> Tour:
    return Tour(make_house(11, n_rooms=4), 160)


@pytest.fixture(scope="module")
def built(tour: Tour, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("tour")
    assert write_rgbd_folder(tour, folder / "tour", color="jpg") == 160
    assert main(["build", f"recording={folder}/tour", f"out={folder}/tour.embmem"]) == 0
    return folder / "tour.embmem"


def test_every_object_in_plain_sight_is_found_where_it_is(
    tour: Tour, built: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    seen = [o for o in tour.house.objects if tour.n_seen[o.id] >= SEEN_FRAMES]
    assert len(seen) >= 5
    errors = []
    for thing in seen:
        capsys.readouterr()
        assert main(["query", f"file={built}", f"entity='{thing.category}'", "json=true"]) == 0
        found = json.loads(capsys.readouterr().out)["entity"]["objects"]
        assert {hit["entity"] for hit in found} == {thing.category}
        middle = np.array(thing.position) + np.array([0.0, 0.0, thing.size[2] / 2])
        errors.append(min(float(np.linalg.norm(np.array(hit["position"]) - middle)) for hit in found))
    assert max(errors) < 0.3
    assert np.median(errors) < 0.1


def test_what_is_not_in_the_house_is_not_found(tour: Tour, built: Path, capsys: pytest.CaptureFixture[str]) -> None:
    absent = sorted(set(OBJECT_CATEGORIES) - {o.category for o in tour.house.objects})
    assert absent
    for category in absent[:5]:
        capsys.readouterr()
        assert main(["query", f"file={built}", f"entity='{category}'", "json=true"]) == 0
        answer = json.loads(capsys.readouterr().out)["entity"]
        assert answer["objects"] == answer["views"] == []
        assert set(answer["known_entities"]) <= set(LABELS)


def test_the_exported_grid_is_the_floor_plan(tour: Tour, built: Path, tmp_path: Path) -> None:
    assert main(["export", f"file={built}", f"out={tmp_path}/tour"]) == 0
    grid = cv2.imread(str(tmp_path / "tour" / "map.pgm"), cv2.IMREAD_UNCHANGED)
    assert grid is not None
    lines = (tmp_path / "tour" / "map.yaml").read_text().splitlines()
    origin = json.loads(next(line for line in lines if line.startswith("origin")).split(": ", 1)[1])
    rows, columns = np.nonzero(grid[::-1] == 254)
    points = np.stack([columns, rows], axis=1) * 0.05 + 0.025 + np.array(origin[:2])
    world = World(tour.house, intrinsics=CAMERA, body=Body(radius=0.01), rng=np.random.default_rng(0))
    assert len(points) * 0.05**2 > 10  # [m2]
    assert np.mean(world.navmesh.is_free(points)) > 0.93
