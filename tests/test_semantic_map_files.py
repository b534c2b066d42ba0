"""The annotated map as files, from a semantic map or from labelled voxels, by hand and by command."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import pytest
from box_room import walk

from embmem.cli.main import main
from embmem.errors import InputError
from embmem.maps import ObjectMemory, VoxelMap
from embmem.maps.semantic_map import SemanticMap
from embmem.maps.semantic_map.files import semantic_map_of, write_annotated
from embmem.maps.semantic_map.rules import answer, read_map
from embmem.maps.voxels.meaning.payload import Payload
from embmem.memory import Memory

NAMES = {"annotated.png", "annotated.txt", "annotated.json"}


def toured(*layers: object) -> Memory:
    memory = Memory(layers)  # type: ignore[arg-type]
    for frame in walk(24):
        memory.observe(frame)
    return memory


def test_labelled_voxels_tell_the_same_as_a_semantic_map(tmp_path: Path) -> None:
    for name, layer in (
        ("map", SemanticMap()),
        ("voxels", VoxelMap(0.05, payload=Payload(("labels", "seen")))),
    ):
        (tmp_path / name).mkdir()
        write_annotated(tmp_path / name, toured(layer), title="A room")
        assert {p.name for p in (tmp_path / name).iterdir()} == NAMES
    items = [read_map((tmp_path / name / "annotated.txt").read_text("utf-8")).items for name in ("map", "voxels")]
    assert items[0] == items[1]


def test_a_memory_without_labels_says_how_to_get_them(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="memory=semantic"):
        semantic_map_of(toured(VoxelMap(0.1), ObjectMemory()))


def test_the_command_writes_picture_text_and_json(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    memory = toured(VoxelMap(0.05, payload=Payload(("labels", "seen"))))
    memory.save(tmp_path / "room.embmem")
    out = tmp_path / "labels"
    assert main(["export", f"file={tmp_path}/room.embmem", f"out={out}", "formats=[annotated]"]) == 0
    assert {p.name for p in out.iterdir()} == NAMES
    assert cv2.imread(str(out / "annotated.png")) is not None
    text = (out / "annotated.txt").read_text("utf-8")
    assert answer(text, "how many mugs are there?").value == 1.0
    assert [thing["category"] for thing in json.loads((out / "annotated.json").read_text("utf-8"))["things"]] == ["mug"]
    capsys.readouterr()
    Memory([VoxelMap(0.1)]).save(tmp_path / "bare.embmem")
    assert main(["export", f"file={tmp_path}/bare.embmem", f"out={tmp_path}/no", "formats=[annotated]"]) == 1
    assert "memory=semantic" in capsys.readouterr().err
    assert not (tmp_path / "no").exists()
