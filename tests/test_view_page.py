"""The page of a memory, in a real browser: what is seen, what is found, what was known when, and what is not run."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest
from chromium import BROWSER, Browser
from house_frames import house_frames
from view_scene import HOSTILE, flat, thing

from embmem.maps import ObjectMemory, spatial_memory
from embmem.maps.viewing import scene_of
from embmem.viewing import Scene
from embmem.viewing.page import write_page

pytestmark = pytest.mark.skipif(BROWSER is None, reason="needs Chromium or Chrome")
NAMES = "[...document.querySelectorAll('#list li:not([hidden]) .name')].map(e => e.textContent)"
MATRIX = "new DOMMatrix(getComputedStyle(document.querySelector('#plan g')).transform)"  # metres to pixels
FIRST_WHEN = "document.querySelector('#list li:not([hidden]) .when').textContent"
# Chips of the layers roll sideways in their own row, so that the plan stays in sight.
TOO_WIDE = "all => [...all].filter(e => e.getBoundingClientRect().right > innerWidth + 1).length"
LEAST_CONTRAST = """all => {
    const linear = v => v <= 0.03928 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4;
    const light = colour => colour.match(/[0-9.]+/g).slice(0, 3).map(v => linear(v / 255))
        .reduce((sum, v, i) => sum + v * [0.2126, 0.7152, 0.0722][i], 0);
    const back = light(getComputedStyle(document.body).backgroundColor);
    return Math.min(...[...all].map(e => light(getComputedStyle(e).color))
        .map(c => (Math.max(c, back) + 0.05) / (Math.min(c, back) + 0.05)));
}"""


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("page") / "flat.html"
    write_page(path, flat())
    return path


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with Browser() as browser:
        yield browser


@pytest.fixture
def page(browser: Browser, path: Path) -> Iterator[Browser]:
    """Freshly loaded; in the end nothing may have gone wrong and nothing may have been asked of the network."""
    browser.errors.clear()
    browser.requests.clear()
    browser.open(path)
    browser.wait("document.querySelector('#plan image').hasAttribute('href')")
    yield browser
    assert browser.errors == []
    assert all(url == path.as_uri() or url.startswith("data:") for url in browser.requests)


def known(page: Browser, stamp: int) -> None:
    """Move the slider to a stamp of the walk, which takes 100 s."""
    page.run(f"document.getElementById('when').value = {10 * stamp}")
    page.run("document.getElementById('when').dispatchEvent(new Event('input'))")
    page.settle()


def n_visible(page: Browser, selector: str) -> int:
    """How many elements are neither hidden nor left out."""
    test = "e.getAttribute('visibility') !== 'hidden' && e.getAttribute('display') !== 'none'"
    return int(page.run(f"[...document.querySelectorAll('{selector}')].filter(e => {test}).length"))


def test_typing_filters_the_list_by_name_room_and_reason(page: Browser) -> None:
    assert page.run(NAMES) == ["kettle", "counter", "red mug", "lost key", "chair", page.run(NAMES)[5]]
    assert page.run("document.getElementById('count').textContent") == "6 of 6 things"
    page.press("/")
    for words, expected in (("mug", ["red mug"]), ("kitchen", ["kettle"]), ("COUNTER on", ["kettle"]), ("elk", [])):
        page.run("document.getElementById('filter').select()")
        page.write(words)
        assert page.run(NAMES) == expected
    assert page.run("document.getElementById('count').textContent") == "0 of 6 things"
    assert page.run("document.querySelectorAll('.thing.is-faded').length") == 6
    page.press("Escape")
    assert len(page.run(NAMES)) == 6
    page.click(".doubt input")
    assert "lost key" not in page.run(NAMES)
    assert n_visible(page, ".thing") == 5


def test_a_click_highlights_the_thing_on_the_plan_and_tells_what_is_known_of_it(page: Browser) -> None:
    page.click("#list button[data-thing='0']")
    dot = "document.querySelector('.thing[data-thing=\"0\"]')"
    assert page.run(f"{dot}.classList.contains('is-chosen')")
    assert page.run("document.querySelector('#list button').getAttribute('aria-expanded')") == "true"
    caption = "document.getElementById('caption').textContent"
    assert page.run(caption) == "kettle · 90 % · kitchen · last seen 50 s before"
    told = page.run("document.querySelector('#list dl').innerText")
    for text in (
        "90.0 %",
        "kitchen",
        "1.00, 3.00, 0.25 m",
        "10.0 s",
        "50.0 s",
        "on the counter",
        "seen 3 times, missed 0",
    ):
        assert text in told
    box = page.run("(b => [b.width, b.height])(document.querySelector('.chosen-box').getBoundingClientRect())")
    metre = page.run(f"{MATRIX}.a")
    assert box == pytest.approx([0.5 * metre, 0.5 * metre], abs=4.0)
    page.press("Escape")
    assert not page.run(f"{dot}.classList.contains('is-chosen')")
    assert page.run("document.querySelector('#list dl')") is None
    assert page.run(caption) == ""


def test_a_click_on_the_plan_opens_the_entry_in_the_list(page: Browser) -> None:
    page.click(".thing[data-thing='2']")
    assert page.run("document.querySelector('[aria-expanded=true] .name').textContent") == "red mug"


def test_the_slider_shows_what_was_known_by_then(page: Browser) -> None:
    for stamp, names, rooms, nodes in ((0, [], 1, 1), (7, ["counter"], 1, 1), (30, None, 1, 2), (100, None, 2, 3)):
        known(page, stamp)
        if names is not None:
            assert page.run(NAMES) == names
            assert n_visible(page, ".thing") == len(names)
        assert ("red mug" in page.run(NAMES)) == (stamp == 100)
        assert n_visible(page, ".room") == rooms
        assert n_visible(page, ".node.graph-0") == nodes
        assert page.run("document.getElementById('clock').textContent") == f"{stamp:.1f} s"
        points = page.run("document.querySelector('.walked').getAttribute('d').split('L').length")
        assert points == stamp // 2 + 1
    page.click("#list button[data-thing='0']")
    for stamp, fact in ((20, "is full"), (40, "is empty")):
        known(page, stamp)
        told = page.run("document.querySelector('#list dl').innerText")
        assert [word for word in ("is full", "is empty") if word in told] == [fact]
    assert page.run(FIRST_WHEN) == "kitchen · seen again later"
    known(page, 80)
    assert page.run(FIRST_WHEN) == "kitchen · last seen 30 s before"


def test_a_thing_that_moved_is_where_it_was_believed_to_be(page: Browser) -> None:
    def where() -> float:
        scale, shift = page.run(f"[{MATRIX}.a, {MATRIX}.e]")
        return float(page.run("+document.querySelector('.thing[data-thing=\"4\"]').getAttribute('cx')") - shift) / scale

    known(page, 100)
    assert where() == pytest.approx(7.0, abs=0.01)
    known(page, 60)
    assert where() == pytest.approx(2.0, abs=0.01)


def test_what_the_camera_had_not_seen_is_only_hinted_at(page: Browser) -> None:
    def shade(x: float, y: float) -> float:
        """Brightness in the middle of the plan's cell at a place [m] in what is painted."""
        data = page.run(
            "(async () => { const i = new Image(); i.src = document.querySelector('#plan image').getAttribute('href');"
            "await i.decode(); const c = document.createElement('canvas'); c.width = i.width; c.height = i.height;"
            "const g = c.getContext('2d'); g.drawImage(i, 0, 0);"
            f"return [...g.getImageData({int((x + 0.1) / 0.1)}, {41 - int((y + 0.1) / 0.1)}, 1, 1).data]; }})()"
        )
        return float(np.mean(data[:3]))

    known(page, 100)
    seen = shade(1.5, 2.0), shade(6.5, 3.5)
    assert seen[0] == seen[1] == 255
    known(page, 0)
    assert shade(1.5, 2.0) == 255
    assert shade(6.5, 3.5) < 245  # behind the wall, seen later through the door


def test_layers_can_be_switched_off_and_on(page: Browser) -> None:
    parts = page.run("[...document.querySelectorAll('#layers input')].map(e => [e.dataset.part, e.checked])")
    assert dict(parts) == {
        "things": True, "names": True, "rooms": True, "path": True, "graph landmarks": True, "graph pose_graph": False,
    }  # fmt: skip

    def drawn(selector: str) -> bool:
        return bool(page.run(f"document.querySelector('{selector}').getBoundingClientRect().width > 0"))

    assert drawn(".edge.graph-0")
    assert not drawn(".edge.graph-1")
    page.click("#layers input[data-part='graph landmarks']")
    page.click("#layers input[data-part='graph pose_graph']")
    assert not drawn(".edge.graph-0")
    assert drawn(".edge.graph-1.kind-1")  # the loop
    page.click("#layers input[data-part='rooms']")
    assert not drawn(".room")


def test_the_keyboard_alone_finds_chooses_moves_and_zooms(page: Browser) -> None:
    page.press("/")
    assert page.run("document.activeElement.id") == "filter"
    page.press("ArrowDown")
    page.press("ArrowDown")
    page.press("Enter")
    assert page.run("document.querySelector('[aria-expanded=true] .name').textContent") == "counter"
    page.press("ArrowUp")
    page.press("ArrowUp")
    assert page.run("document.activeElement.id") == "filter"
    page.run("document.getElementById('plan').focus()")
    before = page.run(f"{MATRIX}.a")
    page.press("+")
    assert page.run(f"{MATRIX}.a") == pytest.approx(1.4 * before, rel=1e-4)
    left = page.run(f"{MATRIX}.e")
    page.press("ArrowLeft")
    assert page.run(f"{MATRIX}.e") == pytest.approx(left + 60, abs=0.5)
    page.press("0")
    assert page.run(f"{MATRIX}.a") == pytest.approx(before)
    page.run("document.getElementById('when').focus()")
    page.press("ArrowLeft")
    assert page.run("document.getElementById('when').getAttribute('aria-valuetext')") == "99.9 s"


def test_the_mouse_drags_the_plan(page: Browser) -> None:
    page.run("document.getElementById('zoom-in').click()")
    page.settle()
    before = page.run(f"[{MATRIX}.e, {MATRIX}.f]")
    page.drag((300, 400), (340, 430))
    assert page.run(f"[{MATRIX}.e, {MATRIX}.f]") == pytest.approx([before[0] + 40, before[1] + 30], abs=0.5)


def test_play_runs_from_the_start_to_the_end(page: Browser) -> None:
    page.click("#play")
    assert page.run("+document.getElementById('when').value") < 500
    assert page.run("document.getElementById('play').getAttribute('aria-label')") == "Pause"
    page.run("document.getElementById('when').value = 990")
    page.wait("document.getElementById('play').getAttribute('aria-label') === 'Play'")
    assert page.run("+document.getElementById('when').value") == 1000


def test_labels_of_an_attacker_are_text_and_nothing_runs(page: Browser, path: Path) -> None:
    page.click("#list button[data-thing='5']")
    assert page.run("window.hacked") is None
    assert page.run("document.querySelectorAll('img, iframe, object, embed, link[rel=stylesheet]').length") == 0
    assert page.run("document.scripts.length") == 2
    shown = page.run("document.querySelector('[aria-expanded=true] .name').textContent")
    assert shown == HOSTILE.replace("\u2028", "\ufffd")
    assert page.run("document.querySelectorAll('.room-name')[1].textContent").startswith(shown[:20])
    assert HOSTILE[:9] in page.run("document.querySelector('.left-out').innerText")
    html = path.read_text("utf-8")
    assert html.count("</script>") == 2
    assert "<img" not in html
    for word in ("http:", "https:", "//cdn", "@import", "url("):
        assert word not in html.replace("http://www.w3.org/2000/svg", "")  # a name, not an address


def test_the_policy_of_the_page_stops_what_gets_in_all_the_same(browser: Browser, path: Path, tmp_path: Path) -> None:
    html = path.read_text("utf-8")
    smuggled = '<img src=x onerror="window.hacked=1"><script>window.hacked=2</script><ul id="list">'
    broken = html.replace('<ul id="list">', smuggled)
    assert broken != html
    (tmp_path / "broken.html").write_text(broken, "utf-8")
    browser.open(tmp_path / "broken.html")
    assert browser.run("window.hacked") is None
    assert len(browser.run(NAMES)) == 6  # the page itself still works
    assert any("Content Security Policy" in error for error in browser.errors)


@pytest.mark.parametrize(("width", "height", "is_dark"), [(1280, 800, False), (390, 800, True), (320, 480, False)])
def test_nothing_is_cut_off_in_any_window_or_light(page: Browser, width: int, height: int, is_dark: bool) -> None:
    page.resize(width, height)
    page.dim(is_dark)
    page.settle()
    page.wait(f"document.documentElement.scrollWidth <= {width}")
    assert page.run(f"({TOO_WIDE})(document.querySelectorAll('main *:not(svg *, .layers *)'))") == 0
    picture = cv2.imdecode(np.frombuffer(page.picture(), np.uint8), cv2.IMREAD_COLOR)
    assert picture is not None
    assert (np.median(picture) < 60) == is_dark
    texts = "h1, .note, .name, .when, .sure, .facts li, .time output, .layers label"
    ratio = page.run(f"({LEAST_CONTRAST})(document.querySelectorAll('{texts}'))")
    assert ratio >= 4.5  # WCAG 2.1, contrast (minimum)
    page.resize(1280, 800)
    page.dim(False)


def test_one_thing_far_away_does_not_shrink_the_map_and_can_be_gone_to(browser: Browser, tmp_path: Path) -> None:
    browser.errors.clear()
    write_page(tmp_path / "page.html", flat(things=(thing("moon", 4e8, -4e8),)))
    browser.open(tmp_path / "page.html")
    assert browser.run(f"{MATRIX}.a") > 50
    browser.click("#list button")
    width = browser.run("document.getElementById('plan').clientWidth")
    x = browser.run("+document.querySelector('.thing').getAttribute('cx')")
    assert x == pytest.approx(width / 2, abs=1.0)
    assert browser.errors == []


def test_a_house_is_shown_as_its_memory_has_it(browser: Browser, tmp_path: Path) -> None:
    memory = spatial_memory(0.1, 5.0)
    for frame in house_frames(40):
        memory.observe(frame)
    scene, objects = scene_of(memory, title="house"), memory.layer(ObjectMemory)
    browser.errors.clear()
    write_page(tmp_path / "house.html", scene)
    browser.open(tmp_path / "house.html")
    assert n_visible(browser, ".thing") == len(objects) > 10
    categories = [objects.categories[i] for i in objects.things()["category"]]
    assert sorted(browser.run(NAMES)) == sorted(categories)
    word = max(set(categories), key=categories.count)
    browser.run("document.getElementById('filter').focus()")
    browser.write(word)
    assert browser.run(NAMES).count(word) == categories.count(word)
    names = browser.run("[...document.querySelectorAll('.room-name')].map(e => e.textContent)")
    assert names == [room.name for room in scene.rooms]
    assert browser.run("document.querySelectorAll('.edge').length") == len(set(scene.graphs[0].edge_kinds))
    assert browser.errors == []


@pytest.mark.parametrize(
    "scene",
    [
        flat(things=(), graphs=(), rooms=(), trajectory=None, left_out=()),
        flat(plan=None, voxels=None, things=()),
        Scene("notes", things=(thing("one", 1.0, 1.0, first_seen=1.7e9, last_seen=1.7e9, box=None),)),
    ],
    ids=["a tree of OctoMap", "no map", "one note"],
)
def test_a_page_of_little_works_too(scene: Scene, browser: Browser, tmp_path: Path) -> None:
    browser.errors.clear()
    write_page(tmp_path / "page.html", scene)
    browser.open(tmp_path / "page.html")
    n = len(scene.things)
    assert browser.run("document.getElementById('count').textContent").startswith(f"{n} of {n}" if n else "This memory")
    assert n_visible(browser, ".thing") == n
    assert browser.run("document.getElementById('filter').checkVisibility()") == (n > 0)
    assert browser.errors == []
    if scene.title == "notes":
        browser.click("#list button")
        assert "2023-11-14 22:13:20 UTC" in browser.run("document.querySelector('#list dl').innerText")
