"""Images of labels and segments that others recorded reach the object map: ScanNet's and Replica's."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import pytest
import recorded_rooms
from box_room import LABELS, MUG

from embmem.errors import InputError
from embmem.maps import ObjectMemory
from embmem.recordings.opening import open_recording, read_recording
from embmem.recordings.scannet import read_categories

IDS = [0, 1, 3, 35, 46]  # of LABELS, in the table below
TABLE = "id\traw_category\tnyu40id\n1\twall\t1\n3\tfloor\t2\n35\tceiling\t22\n46\tmug\t40\n47\t\t40\n"


def write(path: Path, ids: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    assert cv2.imwrite(str(path), ids)


def scannet(path: Path, *, table: str | None = TABLE) -> None:
    """A scene with labels of 16 bits and segments of 8 in the pixels of the colour image, twice as many a side."""
    recorded_rooms.scannet(path)
    twice = np.ones((2, 2), dtype=np.uint16)
    for i, frame in enumerate(recorded_rooms.frames()):
        assert frame.semantic is not None
        assert frame.instance is not None
        write(path / "label-filt" / f"{i}.png", np.kron(np.array(IDS, np.uint16)[frame.semantic], twice))
        write(path / "instance-filt" / f"{i}.png", np.kron(frame.instance.astype(np.uint8), twice.astype(np.uint8)))
    if table is not None:
        (path.parent / "scannetv2-labels.combined.tsv").write_text(table)


def replica(path: Path) -> None:
    recorded_rooms.replica(path)
    for i, frame in enumerate(recorded_rooms.frames()):
        assert frame.semantic is not None
        assert frame.instance is not None
        write(path / "semantic_class" / f"semantic_class_{i}.png", frame.semantic.astype(np.uint8))
        write(path / "semantic_instance" / f"semantic_instance_{i}.png", frame.instance.astype(np.uint16))
    classes = [{"id": i, "name": name} for i, name in enumerate(LABELS) if i]
    (path / "info_semantic.json").write_text(json.dumps({"classes": classes}))


@pytest.mark.parametrize("record", [scannet, replica])
@pytest.mark.parametrize("colour", [True, False])
def test_labels_and_segments_come_in_the_pixels_of_the_depth_image(
    tmp_path: Path, record: object, colour: bool
) -> None:
    assert callable(record)
    record(tmp_path / "scene")
    objects = ObjectMemory()
    for seen, frame in zip(read_recording(tmp_path / "scene", rgb=colour), recorded_rooms.frames(), strict=True):
        assert seen.semantic is not None
        assert seen.instance is not None
        assert frame.semantic is not None
        names = np.array(seen.labels, dtype=object)[seen.semantic]
        assert (names == np.array(LABELS, dtype=object)[frame.semantic]).mean() > 0.97  # edges of pixels may differ
        assert (seen.instance == frame.instance).mean() > 0.97
        objects.observe(seen)
    (mug,) = [t for t in objects.things() if objects.categories[t["category"]] == "mug"]
    frame_of_map = read_recording(tmp_path / "scene").T_map_world
    np.testing.assert_allclose(mug["position"], frame_of_map[:3, :3] @ MUG + frame_of_map[:3, 3], atol=0.15)


def test_labels_that_have_no_table_are_left_out_and_that_is_told(tmp_path: Path) -> None:
    scannet(tmp_path / "scene", table=None)
    recording = open_recording(tmp_path / "scene")
    assert recording.notes == ("labels are left out, since scannetv2-labels.combined.tsv is missing",)
    assert next(iter(read_recording(tmp_path / "scene"))).semantic is None


def test_frames_without_labels_are_frames_all_the_same(tmp_path: Path) -> None:
    scannet(tmp_path / "scene")
    (tmp_path / "scene" / "label-filt" / "0.png").unlink()
    first, second, *_ = read_recording(tmp_path / "scene")
    assert first.semantic is None
    assert second.semantic is not None


@pytest.mark.parametrize("table", ["", "a\tb\n", "id\traw_category\nx\tmug\n", "id\traw_category\n99999\tmug\n"])
def test_a_table_that_is_none_is_named(tmp_path: Path, table: str) -> None:
    path = tmp_path / "labels.tsv"
    path.write_text(table)
    with pytest.raises(InputError, match=r"labels\.tsv: "):
        read_categories(path)


@pytest.mark.parametrize("classes", ["{}", '{"classes": [1]}', '{"classes": [{"id": -1, "name": "x"}]}', "[]", "{"])
def test_classes_that_are_none_are_named(tmp_path: Path, classes: str) -> None:
    replica(tmp_path / "scene")
    (tmp_path / "scene" / "info_semantic.json").write_text(classes)
    with pytest.raises(InputError, match=r"info_semantic\.json: "):
        open_recording(tmp_path / "scene")


def test_labels_of_another_size_are_refused_by_name(tmp_path: Path) -> None:
    scannet(tmp_path / "scene")
    write(tmp_path / "scene" / "label-filt" / "1.png", np.zeros((7, 9), np.uint16))
    with pytest.raises(InputError, match=r"label-filt/1\.png: 9x7"):
        read_recording(tmp_path / "scene")
