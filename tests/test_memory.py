"""A memory as a whole: what is observed is found again, in this process and in the next one."""

from __future__ import annotations

import sqlite3
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import ClassVar

import numpy as np
import pytest

from embmem.errors import FileVersionError, InputError, OutputExistsError, RefusedObservation
from embmem.geometry import camera_pose
from embmem.memory import Memory
from embmem.observation import Observation
from embmem.protocols import Deformation, LayerState
from embmem.records import Hit, Query
from embmem.testing import LayerContract, wall_ahead


@dataclass(eq=False)
class StampLayer:
    """The smallest layer of a third party: it remembers when something was seen, and nothing else."""

    kind: ClassVar[str] = "stamps"
    version: ClassVar[int] = 1
    stamps: list[float] = field(default_factory=list)

    def observe(self, observation: Observation) -> None:
        self.stamps.append(observation.stamp)

    def query(self, query: Query) -> list[Hit]:
        if query.near is not None or query.entity is not None:
            return []
        stamps = sorted({s for s in self.stamps if query.since <= s < query.until}, reverse=True)
        return [Hit(score=s, why="seen then", layer=self.kind, stamp=s) for s in stamps][: query.k]

    def tick(self, stamp: float) -> None:
        pass

    def deform(self, deformation: Deformation) -> None:
        pass

    def stats(self) -> dict[str, float]:
        return {"bytes": 8.0 * len(self.stamps)}

    def save(self) -> LayerState:
        return LayerState(self.kind, self.version, {}, {"stamps": np.array(self.stamps, dtype=np.float64)})

    @classmethod
    def load(cls, state: LayerState) -> StampLayer:
        if state.kind != cls.kind or state.version > cls.version or "stamps" not in state.arrays:
            raise InputError(f"not a state of {cls.kind}: {state.kind} {state.version}")
        return cls(state.arrays["stamps"].tolist())


class TestStampLayer(LayerContract):
    @pytest.fixture
    def layer(self) -> StampLayer:
        return StampLayer()


def walked_memory() -> Memory:
    """Four views, half a metre apart."""
    memory = Memory([StampLayer()])
    for i in range(4):
        pose = camera_pose(np.array([0.6 * i, 0.0, 1.0]), 0.0)
        memory.observe(replace(wall_ahead(float(i)), T_map_camera=pose))
    return memory


def test_views_are_recorded_when_the_camera_has_moved_or_turned() -> None:
    memory = walked_memory()
    here = memory.store.read(Query())[0]
    assert here.T_map_obs is not None
    memory.observe(replace(wall_ahead(4.0), T_map_camera=here.T_map_obs))  # same place: no new view
    assert len(memory.store) == 4
    memory.observe(replace(wall_ahead(5.0), T_map_camera=camera_pose(here.T_map_obs[:3, 3], 1.0)))
    assert len(memory.store) == 5
    assert set(memory.store.read(Query())[0].entities) == {"wall", "mug"}


def test_a_refused_observation_leaves_no_trace() -> None:
    memory = walked_memory()
    before = (memory.stats(), [r.id for r in memory.store.read(Query())])
    with pytest.raises(RefusedObservation):
        memory.observe(replace(wall_ahead(9.0), T_map_camera=np.full((4, 4), np.nan)))
    after = memory.stats()
    assert after["gate"].pop("pose_not_finite") == 1
    assert (after, [r.id for r in memory.store.read(Query())]) == before


def test_a_saved_memory_answers_the_same(tmp_path: Path) -> None:
    memory = walked_memory()
    memory.save(tmp_path / "walk.embmem")
    opened = Memory.open(tmp_path / "walk.embmem", [StampLayer])
    for query in (Query(), Query(entity="mug"), Query(near=np.array([0.6, 0.0, 1.0]), radius=0.1), Query(since=2.0)):
        assert [(h.layer, h.stamp, h.why) for h in opened.query(query)] == [
            (h.layer, h.stamp, h.why) for h in memory.query(query)
        ]
    assert [p.name for p in tmp_path.iterdir()] == ["walk.embmem"]


def test_saving_twice_gives_the_same_bytes(tmp_path: Path) -> None:
    memory = walked_memory()
    for name in ("a", "b"):
        memory.save(tmp_path / name)
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


def test_an_existing_file_is_kept_unless_asked(tmp_path: Path) -> None:
    path = tmp_path / "walk.embmem"
    path.write_text("precious")
    with pytest.raises(OutputExistsError, match=r"walk\.embmem"):
        walked_memory().save(path)
    assert path.read_text() == "precious"
    walked_memory().save(path, overwrite=True)
    assert len(Memory.open(path, [StampLayer]).store) == 4


def test_an_interrupted_save_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "walk.embmem"
    memory = walked_memory()
    memory.save(path)
    before = path.read_bytes()

    def fail(_: Path, __: Path) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(Path, "replace", fail)
    with pytest.raises(KeyboardInterrupt):
        memory.save(path, overwrite=True)
    assert path.read_bytes() == before
    assert [p.name for p in tmp_path.iterdir()] == ["walk.embmem"]


def test_missing_foreign_and_damaged_files_are_named(tmp_path: Path) -> None:
    path = tmp_path / "walk.embmem"
    with pytest.raises(InputError, match=r"walk\.embmem is not a file"):
        Memory.open(path, [StampLayer])
    path.write_text("this is no database, and long enough to be looked at " * 20)
    with pytest.raises(InputError, match=r"walk\.embmem is damaged"):
        Memory.open(path, [StampLayer])
    path.unlink()
    sqlite3.connect(path).executescript("CREATE TABLE t (a); PRAGMA user_version = 1")
    with pytest.raises(FileVersionError, match="not a memory file"):
        Memory.open(path, [StampLayer])


def test_a_truncated_or_flipped_file_never_opens_wrong(tmp_path: Path) -> None:
    path = tmp_path / "walk.embmem"
    walked_memory().save(path)
    whole = path.read_bytes()
    for length in range(0, len(whole), 1024):
        path.write_bytes(whole[:length])
        with pytest.raises(InputError):
            Memory.open(path, [StampLayer])


def test_newer_versions_and_unknown_layers_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "walk.embmem"
    walked_memory().save(path)
    with pytest.raises(InputError, match="stamps"):
        Memory.open(path, [])
    with sqlite3.connect(path) as db:
        db.execute("PRAGMA user_version = 99")
    db.close()
    with pytest.raises(FileVersionError, match="version 99"):
        Memory.open(path, [StampLayer])


def test_a_file_with_a_trigger_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "walk.embmem"
    walked_memory().save(path)
    with sqlite3.connect(path) as db:
        db.execute("CREATE TRIGGER t AFTER DELETE ON records BEGIN DELETE FROM entities; END")
    db.close()
    with pytest.raises(InputError, match="tables"):
        Memory.open(path, [StampLayer])


def test_layers_of_one_kind_are_refused() -> None:
    with pytest.raises(ValueError, match="one layer of a kind"):
        Memory([StampLayer(), StampLayer()])


def test_a_layer_is_found_by_its_class() -> None:
    memory = walked_memory()
    assert memory.layer(StampLayer).stamps == [0.0, 1.0, 2.0, 3.0]
