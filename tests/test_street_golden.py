"""A file of rankers that was written once must be read for good: `python tests/test_street_golden.py` writes it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from safetensors import safe_open
from test_street_moves import grid

from embmem.maps.streets import Pose
from embmem.policies.street.candidates import Reach, candidates
from embmem.policies.street.features import EDITS, N_LENGTHS, PLACES, WAYS, featurise
from embmem.policies.street.ranking import Ranker
from embmem.policies.street.weights import VERSION, RegionRankers, load_rankers, save_rankers
from embmem.policies.street.words import parse

TEXT = "Go straight through the light and turn left. Stop at the corner."
REACH = Reach(4, 6, is_shortest=False, may_turn_around=True)
BEST, CHANCE = (0, 5, 8, 13, 16), 0.226554  # the walk that these weights think is meant, and how likely it is


def golden(version: int) -> Path:
    """The file of a version."""
    return Path(__file__).parent / "data" / f"street_rankers_v{version}.safetensors"


def rankers() -> RegionRankers:
    """Two rankers with weights drawn from a seed."""
    rng = np.random.default_rng(0)
    made = [
        Ranker(
            words={"stop": 0, "the corner": 1},
            openings={"go straight": 0},
            edits=rng.normal(size=len(EDITS)),
            places=rng.normal(size=(len(PLACES), 3)),
            ways=rng.normal(size=(len(WAYS), 2)),
            lengths=rng.normal(size=N_LENGTHS),
        )
        for _ in range(2)
    ]
    return RegionRankers(np.array([[0.0, 0.0], [500.0, 0.0]]), tuple(made), REACH, {"split": "none", "seed": 0})


def chances(known: RegionRankers) -> dict[tuple[int, ...], float]:
    """How likely each walk through a small grid is meant."""
    streets = grid(3, 3)
    program, found = parse(TEXT), candidates(streets, Pose(0, 0.0), known.reach)
    features = featurise(streets, program, found, 0.0)
    odds = np.exp(known.of(streets.xy[0]).scores(features, TEXT, program))
    return {found.path(i): float(odds[i]) for i in range(len(found))}


@pytest.mark.parametrize("version", range(1, VERSION + 1))
def test_a_file_of_every_version_is_read_and_ranks_as_it_did(version: int) -> None:
    known = load_rankers(golden(version))
    assert (known.reach, known.about) == (REACH, {"split": "none", "seed": 0})
    assert [list(r.words) for r in known.rankers] == [["stop", "the corner"]] * 2
    told = chances(known)
    assert max(told, key=lambda path: told[path]) == BEST
    assert told[BEST] == pytest.approx(CHANCE, abs=1e-4)
    assert sum(told.values()) == pytest.approx(1)


def test_the_file_of_this_version_holds_what_is_written_now(tmp_path: Path) -> None:
    save_rankers(tmp_path / "now.safetensors", rankers())
    contents = []
    for file in (tmp_path / "now.safetensors", golden(VERSION)):
        with safe_open(file, framework="numpy") as f:
            tensors = {name: f.get_tensor(name).tolist() for name in f.keys()}  # noqa: SIM118
            contents.append((f.metadata(), tensors))
    assert contents[0] == contents[1]


if __name__ == "__main__":
    save_rankers(golden(VERSION), rankers())
