"""The annotated map: text that comes back, rules against plain geometry, labels that do not overlap, the picture."""

from __future__ import annotations

import json
import math
from pathlib import Path

import cv2
import numpy as np
import pytest
from box_room import walk
from hypothesis import given, settings
from hypothesis import strategies as st

from embmem.errors import InputError, OutputExistsError
from embmem.maps.semantic_map import SemanticMap
from embmem.maps.semantic_map.annotation import Annotation, Label, annotate
from embmem.maps.semantic_map.canvas import Canvas, category_colours
from embmem.maps.semantic_map.draw import PATH, UNKNOWN, WALL, _lay, _View, draw, write_png
from embmem.maps.semantic_map.lettering import Box, letters, place_labels
from embmem.maps.semantic_map.rules import Item, answer, read_map

seeds = st.integers(0, 2**32 - 1)
KINDS = ("bed", "chair", "desk", "lamp")


def random_notes(seed: int, n: int = 12, *, agent: bool = True) -> Annotation:
    """Things anywhere in a square of 10 m, in whole centimetres as the text tells them."""
    rng = np.random.default_rng(seed)
    labels = []
    for i in range(n):
        x, y = np.round(rng.uniform(0, 10, 2), 2).tolist()
        w, d = np.round(rng.uniform(0.1, 1.0, 2), 2).tolist()
        low, high = (round(x - w, 2), round(y - d, 2), 0.0), (round(x + w, 2), round(y + d, 2), 1.0)
        labels.append(Label(KINDS[i % 4], i // 4 + 1, x, y, low, high, 0.9, 1.0))
    pose = (*np.round(rng.uniform(0, 10, 2), 2).tolist(), math.radians(int(rng.integers(-180, 180))))
    return Annotation(tuple(labels), pose if agent else None, (0.0, 0.0, 10.0, 10.0), 0.05, 80.0)


@given(st.lists(st.text(max_size=40), max_size=4), seeds)
def test_any_name_comes_back_from_the_text_and_stays_on_its_line(names: list[str], seed: int) -> None:
    plain = random_notes(seed, len(names))
    labels = tuple(
        Label(name, 1, label.x, label.y, label.low, label.high, 0.9, 1.0)
        for name, label in zip(names, plain.labels, strict=True)
    )
    text = Annotation(labels, plain.agent, plain.extent, 0.05, 1.0).text()
    world = read_map(text)
    assert [item.category for item in world.items] == names
    for item, label in zip(world.items, labels, strict=True):
        assert (item.x, item.y) == (label.x, label.y)
        assert (item.low, item.high) == (label.low[:2], label.high[:2])
    assert world.agent == pytest.approx(plain.agent, abs=1e-9)
    assert len(text.splitlines()) == 4 + len(names)


def test_a_name_cannot_pose_as_a_line_of_the_map() -> None:
    evil = 'mug" 1: x 0.00, y 0.00\n- "gold'
    label = Label(evil, 1, 1.0, 1.0, (0.0, 0.0, 0.0), (2.0, 2.0, 1.0), 0.9, 0.0)
    (item,) = read_map(Annotation((label,), None, (0.0, 0.0, 2.0, 2.0), 0.05, 4.0).text()).items
    assert item.category == evil


@pytest.mark.parametrize("text", ["", "hello", "semantic map: x\n- bed 1: x 0.00", "semantic map: x\nagent: here"])
def test_what_is_no_map_is_refused(text: str) -> None:
    with pytest.raises(InputError):
        read_map(text)


def gap(a: Label, b: Label) -> float:
    return math.hypot(*(max(a.low[i] - b.high[i], b.low[i] - a.high[i], 0.0) for i in (0, 1)))


def offset(item: Label, origin: tuple[float, float], ahead: np.ndarray) -> tuple[float, float]:
    """(how far ahead, how far to the left) of the origin a thing lies."""
    d = np.array([item.x - origin[0], item.y - origin[1]])
    return float(d @ ahead), float(d @ np.array([-ahead[1], ahead[0]]))


def same(item: Item, label: Label) -> bool:
    return (item.category, item.number) == (label.category, label.number)


@given(seeds, st.booleans())
def test_sides_of_a_thing_are_those_that_the_agent_sees(seed: int, is_left: bool) -> None:
    notes = random_notes(seed)
    assert notes.agent is not None
    x, y, _ = notes.agent
    bed = min(notes.labels[::4], key=lambda b: math.hypot(b.x - x, b.y - y))
    sight = np.array([bed.x - x, bed.y - y])
    ahead = sight / np.linalg.norm(sight)
    expected = []
    for label in notes.labels:
        forward, left = offset(label, (bed.x, bed.y), ahead)
        side = left if is_left else -left
        if label != bed and side > 0 and abs(forward) <= side * math.tan(math.radians(50)):
            expected.append(label)
    reply = answer(notes.text(), f"What is {'to the left of' if is_left else 'right of'} the bed?")
    assert {(i.category, i.number) for i in reply.items} == {(e.category, e.number) for e in expected}
    gaps = [gap(bed, next(e for e in expected if same(item, e))) for item in reply.items]
    assert gaps == pytest.approx(sorted(gaps))


@given(seeds)
def test_the_nearest_is_the_nearest(seed: int) -> None:
    notes = random_notes(seed)
    assert notes.agent is not None
    text, desk = notes.text(), notes.labels[2]
    reply = answer(text, "which is the nearest chair to the desk 1?")
    best = min(gap(desk, chair) for chair in notes.labels[1::4])
    assert gap(desk, next(c for c in notes.labels if same(reply.items[0], c))) == pytest.approx(best)
    nearest = answer(text, "what is the closest thing to me?").items[0]
    distances = [math.hypot(label.x - notes.agent[0], label.y - notes.agent[1]) for label in notes.labels]
    assert same(nearest, notes.labels[int(np.argmin(distances))])
    assert answer(text, "how many chairs are there?").value == 3.0
    assert answer(text, "how far is chair 1 from desk 1?").value == pytest.approx(gap(notes.labels[1], desk))
    assert same(answer(text, "where is lamp #2").items[0], notes.labels[7])


@settings(max_examples=20)
@given(seeds)
def test_before_and_behind_me_are_half_planes_of_the_heading(seed: int) -> None:
    notes = random_notes(seed)
    assert notes.agent is not None
    x, y, heading = notes.agent
    for label in notes.labels:
        forward, left = offset(label, (x, y), np.array([math.cos(heading), math.sin(heading)]))
        name = f"the {label.category} {label.number}"
        if abs(forward) > 0.01:
            assert answer(notes.text(), f"Is {name} in front of me?").is_so == (forward > 0)
            assert answer(notes.text(), f"is {name} behind").is_so == (forward < 0)
        if abs(left) > 0.01:
            assert answer(notes.text(), f"is {name} to the left of you?").is_so == (left > 0)


def test_behind_a_thing_is_farther_along_the_line_of_sight() -> None:
    things = [
        Label(name, 1, x, 0.0, (x - 0.1, -0.1, 0.0), (x + 0.1, 0.1, 0.0), 0.9, 0.0)
        for name, x in (("near", 1.0), ("middle", 2.0), ("far", 3.0))
    ]
    text = Annotation(tuple(things), (0.0, 0.0, 2.0), (0.0, 0.0, 3.0, 1.0), 0.05, 1.0).text()
    assert [i.category for i in answer(text, "what is behind the middle?").items] == ["far"]
    assert [i.category for i in answer(text, "what is in front of the middle").items] == ["near"]
    assert answer(text, "is far behind middle?").is_so


def test_rules_say_what_they_do_not_understand() -> None:
    text = random_notes(0).text()
    with pytest.raises(ValueError, match="do not understand"):
        answer(text, "what would you like for dinner?")
    with pytest.raises(ValueError, match="no 'unicorn'"):
        answer(text, "where is the unicorn?")
    with pytest.raises(ValueError, match="no agent"):
        answer(random_notes(0, agent=False).text(), "what is left of me?")


@settings(max_examples=25)
@given(seeds, st.integers(0, 50))
def test_labels_never_overlap_and_stay_on_the_map(seed: int, n: int) -> None:
    rng = np.random.default_rng(seed)
    frame, robot = Box(10, 20, 310, 220), Box(100, 100, 130, 130)
    sizes = [(int(w), int(h)) for w, h in zip(rng.integers(20, 80, n), rng.integers(10, 20, n), strict=True)]
    placed = place_labels(rng.uniform((0, 0), (320, 240), (n, 2)), sizes, [robot], frame)
    boxes = [box for box in placed if box is not None]
    drawn = np.zeros((260, 340), dtype=int)
    for box in [robot, *boxes]:
        drawn[box.top : box.bottom, box.left : box.right] += 1
    assert drawn.max() <= 1
    assert all(b.left >= 10 and b.right <= 310 and b.top >= 20 and b.bottom <= 220 for b in boxes)
    assert [(b.right - b.left, b.bottom - b.top) for b in boxes] == [
        size for size, box in zip(sizes, placed, strict=True) if box is not None
    ]


def test_a_label_with_room_lies_on_its_thing() -> None:
    (box,) = place_labels(np.array([[50.0, 40.0]]), [(20, 10)], [], Box(0, 0, 100, 80))
    assert box == Box(40, 35, 60, 45)


@given(st.text(max_size=12), st.sampled_from([11.5, 15.0]))
def test_any_text_can_be_lettered(text: str, size: float) -> None:
    mask = letters(text, size)
    assert mask.shape[0] == round(1.3 * size)
    assert mask.shape[1] >= 1


def room() -> SemanticMap:
    semantic = SemanticMap()
    for frame in walk(24):
        semantic.observe(frame)
    return semantic


def test_the_json_tells_what_the_text_tells() -> None:
    notes = annotate(room())
    data = json.loads(notes.json())
    (thing,) = data["things"]
    (item,) = read_map(notes.text()).items
    assert (thing["category"], thing["number"]) == (item.category, item.number) == ("mug", 1)
    assert thing["x"] == pytest.approx(item.x, abs=0.006)
    assert data["agent"]["heading"] == pytest.approx(notes.agent[2] if notes.agent else None)
    assert data["extent"][2] - data["extent"][0] == pytest.approx(5.0, abs=0.2)


def test_the_smallest_things_are_left_out_first() -> None:
    semantic = room()
    assert annotate(semantic, limit=0).labels == ()
    assert annotate(semantic, limit=0).n_hidden == 1
    assert "1 smaller ones left out" in annotate(semantic, limit=0).text()
    assert annotate(semantic, min_support=1.0).labels == ()


def test_the_picture_shows_walls_things_way_and_robot(tmp_path: Path) -> None:
    semantic = room()
    image = draw(semantic, size=600)
    assert image.tobytes() == draw(SemanticMap.load(semantic.save()), size=600).tobytes()
    fill, _ = category_colours("mug")
    for colour, least in ((WALL, 800), (PATH, 150), (UNKNOWN, 800), (fill, 10)):
        assert (image == np.array(colour)).all(axis=2).sum() > least
    write_png(tmp_path / "map.png", semantic, size=600, title="A room")
    read = cv2.imread(str(tmp_path / "map.png"))
    assert read is not None
    np.testing.assert_array_equal(read.shape, image.shape)
    with pytest.raises(OutputExistsError):
        write_png(tmp_path / "map.png", semantic)


def test_what_lies_off_the_picture_leaves_no_paint_on_it() -> None:
    canvas, view = Canvas(400, 400, (0, 0, 0)), _View((0.0, 0.0, 2.0, 2.0), 200)
    for origin in ([0.0, -9.0], [0.0, 9.0], [9.0, 0.0], [-9.0, 0.0]):
        _lay(canvas, view, np.ones((40, 40), np.uint8), np.array(origin), 0.05, (255, 255, 255))
    assert not canvas.pixels.any()


def test_an_empty_map_has_a_picture_and_a_text() -> None:
    semantic = SemanticMap()
    notes = annotate(semantic)
    assert read_map(notes.text()).items == ()
    assert draw(semantic, notes, size=300).shape[0] > 300
    with pytest.raises(ValueError, match="size"):
        draw(semantic, size=10)
