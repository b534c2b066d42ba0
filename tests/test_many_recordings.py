"""Several recordings become a map each, or one memory that is the one of a single camera that saw it all."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import pytest
from box_room import walk
from house_frames import house_frames
from hypothesis import given
from hypothesis import strategies as st
from kinect_parts import parts_of, plan

from embmem.building.build import build
from embmem.building.many import build_many, outs_for
from embmem.building.sessions import build_merged
from embmem.cli.main import main
from embmem.errors import InputError, OutputExistsError
from embmem.map_hash import map_hash
from embmem.maps import open_memory, spatial_memory
from embmem.maps.merging import merge_memories
from embmem.observation import Observation
from embmem.recordings.opening import read_recording
from embmem.recordings.reading import Reading
from embmem.recordings.writing import write_recording

NEVER = 1e9


def recorded(path: Path, frames: Sequence[Observation]) -> Path:
    write_recording(list(frames), path, layout="rgbd")
    return path


@pytest.fixture(scope="module")
def rooms(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    folder = tmp_path_factory.mktemp("rooms")
    return [recorded(folder / name, list(walk(8))[start:]) for start, name in enumerate(("a", "b", "c"))]


def test_recordings_have_the_outcomes_of_being_built_alone(rooms: list[Path], tmp_path: Path) -> None:
    broken = tmp_path / "broken"
    broken.mkdir()
    told: list[tuple[str, int, int]] = []
    plans = [plan(path, tmp_path / f"{i}.embmem") for i, path in enumerate([*rooms, broken])]
    outcomes = build_many(plans, tell=lambda *what: told.append(what))
    alone = [build(plan(path, tmp_path / f"alone{i}.embmem")).map_hash for i, path in enumerate(rooms)]
    assert [o.record.map_hash for o in outcomes[:3] if o.record] == alone
    assert len(set(alone)) == 3
    assert outcomes[3].record is None
    assert "no recording of a known format" in outcomes[3].error
    assert told == [("recordings", i + 1, 4) for i in range(4)]
    assert sorted(f.name for f in tmp_path.glob("[0-9]*")) == ["0.embmem", "1.embmem", "2.embmem"]
    with pytest.raises(ValueError, match="one file"):
        build_many([plans[0], plans[0]])
    with pytest.raises(ValueError, match="workers"):
        build_many(plans, workers=0)


@given(st.lists(st.sampled_from(["a", "b", "x/a", "x/y/a", "a-2", "x/a-2"]), max_size=8))
def test_files_of_recordings_are_called_like_them_and_differ(recordings: list[str]) -> None:
    outs = outs_for(recordings, Path("out"))
    assert len(set(outs)) == len(recordings)
    assert all(out.name.startswith(Path(r).name) for out, r in zip(outs, recordings, strict=True))


def test_the_kinect_sequence_in_two_sessions_is_the_memory_of_one_build(tmp_path: Path) -> None:
    first, second, whole = (
        parts_of(tmp_path, name, numbers)
        for name, numbers in (("a", range(0, 200, 20)), ("b", range(200, 400, 20)), ("w", range(0, 400, 20)))
    )
    one = build(plan(whole, tmp_path / "one.embmem"))
    plans = [plan(path, Path("unused")) for path in (first, second)]
    for i, some in enumerate((plans, plans[::-1])):
        out = tmp_path / f"merged{i}.embmem"
        outcomes, merged = build_merged(some, out, merge_memories, frame="same")
        assert map_hash(open_memory(out)) == one.map_hash
        assert merged.n_memories == 2
        assert sum(o.record.n_frames for o in outcomes if o.record) == one.n_frames == 20
        assert sorted(f.name for f in tmp_path.glob("merged*")) == [f"merged{j}.embmem" for j in range(i + 1)]


def test_a_house_toured_twice_is_one_memory(tmp_path: Path) -> None:
    """Both tours begin at the same time: ties are broken by the order of the recordings' names, not by chance."""
    frames = house_frames(18, noisy=False)
    tours = [[replace(f, embeddings=None) for f in frames[:10]], [replace(f, embeddings=None) for f in frames[8:]]]
    shift = tours[1][0].stamp - tours[0][0].stamp
    tours[1] = [replace(f, stamp=f.stamp - shift) for f in tours[1]]
    paths = [recorded(tmp_path / name, tour) for name, tour in zip("ab", tours, strict=True)]
    hashes = set()
    for i in range(2):
        out = tmp_path / f"house{i}.embmem"
        build_merged([plan(path, out) for path in paths], out, merge_memories, frame="same")
        hashes.add(map_hash(open_memory(out)))
    readings = [read_recording(path, frame="identity") for path in paths]
    assert all(isinstance(reading, Reading) for reading in readings)
    together = [(o.stamp, i, o) for i, reading in enumerate(readings) for o in reading]
    assert hashes == {hash_of_all(together, order) for order in (0, 1)} & hashes
    assert len(hashes) == 1


def hash_of_all(frames: list[tuple[float, int, Observation]], order: int) -> str:
    """Of a memory that observes all frames by time, ties in one order of the recordings or the other."""
    memory = spatial_memory(0.1)
    memory.gate.policies["clock_backwards"] = "new_session"
    for _, _, observation in sorted(frames, key=lambda f: (f[0], -f[1] if order else f[1])):
        memory.observe(observation)
    memory.derive()
    return map_hash(memory)


def test_what_cannot_be_merged_leaves_no_file(rooms: list[Path], tmp_path: Path) -> None:
    out = tmp_path / "out.embmem"
    broken = tmp_path / "broken"
    broken.mkdir()
    with pytest.raises(InputError, match=r"broken: .*known format"):
        build_merged([plan(rooms[0], out), plan(broken, out)], out, merge_memories, frame="same")
    with pytest.raises(InputError, match="two recordings"):
        build_merged([plan(rooms[0], out)], out, merge_memories)
    assert not out.exists()
    out.write_text("mine")
    with pytest.raises(OutputExistsError):
        build_merged([plan(path, out) for path in rooms], out, merge_memories, frame="same")
    assert out.read_text() == "mine"


def test_the_command_takes_several_recordings(
    rooms: list[Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words: Callable[..., list[str]] = lambda *more: ["build", *map(str, rooms[:2]), "resolution=0.1", *more]  # noqa: E731
    assert main(words(f"out={tmp_path}/maps")) == 0
    assert sorted(f.name for f in (tmp_path / "maps").iterdir()) == ["a.embmem", "b.embmem"]
    told = capsys.readouterr().out
    assert map_hash(open_memory(tmp_path / "maps" / "b.embmem")) in told
    assert main(words(f"out={tmp_path}/all.embmem", "merge=same")) == 0
    assert (tmp_path / "all.embmem").is_file()
    assert main(words(f"out={tmp_path}/maps")) == 1
    assert "2 of 2 recordings could not be built" in capsys.readouterr().err
