"""The public street data: E2 on samples, files that are damaged, and the same figures as the metrics' own loader."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from embmem.errors import InputError
from embmem.maps.streets import StreetMap, actions_along, follow
from embmem.policies.street.simple import ForwardStreetAgent, GoldStreetAgent
from embmem.sim_envs.metrics.graph import read_street_graph
from embmem.sim_envs.metrics.street import orar, velma
from embmem.sim_envs.street.episodes import SPLITS, read_split, stream_episodes
from embmem.sim_envs.street.files import FILES, read_streets
from embmem.sim_envs.street.places import street_places
from embmem.sim_envs.street.walk import Rules, walk


@pytest.fixture(scope="module")
def folder(data_dir: Path) -> Path:
    return data_dir / "street"


@pytest.fixture(scope="module")
def streets(folder: Path) -> StreetMap:
    return read_streets(folder / "graph")


def test_the_graph_has_the_published_size(streets: StreetMap) -> None:
    assert len(streets) == 29_641
    assert len(streets.ends) == 61_319
    assert (streets.n_exits == 1).sum() == 214
    assert 120 < streets.lengths.max() < 170


@pytest.mark.parametrize("split", SPLITS)
def test_gold_routes_replay_to_their_goal(folder: Path, streets: StreetMap, split: str) -> None:
    episodes = read_split(folder, split, streets)
    assert len(episodes) == 800
    for episode in episodes[::50]:
        pose = episode.start(streets)
        walked = [p.place for p in follow(streets, pose, actions_along(streets, pose, episode.route))]
        assert tuple(p for i, p in enumerate(walked) if i == 0 or p != walked[i - 1]) == episode.route


def test_walks_are_measured_as_by_the_published_functions(folder: Path, streets: StreetMap) -> None:
    peer, ours = read_street_graph(folder / "graph"), street_places(streets)
    for episode in read_split(folder, "map2seq_unseen", streets)[:2]:
        gold = [streets.names[i] for i in episode.route]
        path = [gold[0], *(streets.names[streets.ends[streets.first[streets.number[p]]]] for p in gold[:20])]
        for measure in (velma, orar):
            assert measure(ours, path, gold) == pytest.approx(measure(peer, path, gold))


def test_gold_arrives_and_forward_does_not(folder: Path, streets: StreetMap) -> None:
    episode = read_split(folder, "map2seq_unseen", streets)[1]
    gold = walk(streets, episode, GoldStreetAgent(), Rules(80))
    forward = walk(streets, episode, ForwardStreetAgent(), Rules())
    assert gold["success"]
    assert gold["velma/spd_hops"] == 0
    assert gold["velma/kpa"] == gold["orar/sed"] == gold["orar/ndtw"] == 1
    assert not forward["success"]
    assert forward["steps"] <= 40
    json.dumps(gold, allow_nan=False)


ROW = {"instructions_id": 1, "navigation_text": "Go.", "route_panoids": ["a", "b"], "start_heading": 0}


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"navigation_text": "  "}, "navigation_text"),
        ({"navigation_text": 3}, "navigation_text"),
        ({"route_panoids": ["a"]}, "at least two"),
        ({"route_panoids": ["a", "x"]}, "no place 'x'"),
        ({"route_panoids": ["b", "a"]}, "no way leads"),
        ({"start_heading": None}, "start_heading"),
        ({"start_heading": float("nan")}, "start_heading"),
        ({"start_heading": 10**400}, "start_heading"),
        ({"instructions_id": None}, "instructions_id"),
        ({"navigation_text": "Go \ud800."}, "surrogate"),
        ({"route_panoids": ["a", ["b"]]}, "no place"),
    ],
)
def test_a_file_with_a_bad_line_is_refused_with_its_number(tmp_path: Path, change: dict[str, Any], says: str) -> None:
    streets = StreetMap.from_exits(["a", "b"], np.zeros((2, 2)), [(0, 0.0, 1)])
    file = tmp_path / "dev.jsonl.gz"
    with gzip.open(file, "wt") as lines:
        lines.write(json.dumps(ROW) + "\n" + json.dumps({**ROW, **change}) + "\n")
    with pytest.raises(InputError, match=rf"line 2: .*{says}"):
        list(stream_episodes(file, "map2seq_seen", streets))


def test_a_line_that_nests_too_deep_is_refused(tmp_path: Path) -> None:
    streets = StreetMap.from_exits(["a", "b"], np.zeros((2, 2)), [(0, 0.0, 1)])
    (tmp_path / "deep.gz").write_bytes(gzip.compress(b"[" * 100_000 + b"\n"))
    with pytest.raises(InputError, match="line 1: not JSON"):
        list(stream_episodes(tmp_path / "deep.gz", "map2seq_seen", streets))


def test_a_missing_or_cut_file_is_refused(tmp_path: Path) -> None:
    streets = StreetMap.from_exits(["a", "b"], np.zeros((2, 2)), [(0, 0.0, 1)])
    with pytest.raises(InputError, match="dev"):
        list(stream_episodes(tmp_path / "dev.jsonl.gz", "map2seq_seen", streets))
    whole = gzip.compress((json.dumps(ROW) + "\n").encode() * 50)
    (tmp_path / "cut.gz").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(InputError):
        list(stream_episodes(tmp_path / "cut.gz", "map2seq_seen", streets))


def _graph(folder: Path, **texts: str) -> Path:
    good = {"nodes": "a,0,40.7,-74\nb,0,40.7,-74\n", "links": "a,0,b\n", "partition": "a,seen\nb,unseen\n"}
    for name, text in {**good, **texts}.items():
        (folder / f"{name}.txt.gz").write_bytes(gzip.compress(text.encode()))
    return folder


@pytest.mark.parametrize(
    ("name", "text", "says"),
    [
        ("nodes", "a,0,40.7\n", "line 1: needs 4"),
        ("nodes", "a,0,140.7,-74\nb,0,40.7,-74\n", "line 1: no place"),
        ("links", "a,0,b\na,1,c\n", "line 2: no node is called 'c'"),
        ("links", "a,x,b\n", "line 1: could not"),
        ("links", "a,0,b\na,0,b\n", "one heading"),
        ("partition", "a,seen\n", "same places"),
        ("partition", "a,seen\nb,both\n", "line 2: must say"),
    ],
)
def test_a_damaged_graph_is_refused(tmp_path: Path, name: str, text: str, says: str) -> None:
    assert len(read_streets(_graph(tmp_path))) == 2
    read_streets.cache_clear()
    with pytest.raises(InputError, match=says):
        read_streets(_graph(tmp_path, **{name: text}))


def test_a_graph_without_one_of_its_files_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=FILES[0]):
        read_streets(tmp_path / "nothing")
