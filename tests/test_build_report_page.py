"""The page about a build, as a text and in a real browser: what it says, what it never runs, how it looks anywhere."""

from __future__ import annotations

from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from chromium import BROWSER, Browser
from view_scene import HOSTILE, flat, thing

from embmem.building.record import BuildRecord, LoopRecord
from embmem.building.report.coverage import coverage
from embmem.building.report.page import Report, render, write_page
from embmem.building.report.pictures import Pictures, Shot
from embmem.doctor.finding import Content, Diagnosis, Finding
from embmem.errors import OutputExistsError
from embmem.viewing import Scene

PIXEL = "data:image/gif;base64,R0lGODlhAQABAIAAAAAAAP///yH5BAEAAAAALAAAAAABAAEAAAIBRAA7"
VOID = {"meta", "link", "img", "br", "hr"}
TOO_WIDE = "all => [...all].filter(e => e.getBoundingClientRect().right > innerWidth + 1).length"
LEAST_CONTRAST = """all => {
    const linear = v => v <= 0.03928 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4;
    const light = colour => colour.match(/[0-9.]+/g).slice(0, 3).map(v => linear(v / 255))
        .reduce((sum, v, i) => sum + v * [0.2126, 0.7152, 0.0722][i], 0);
    const back = light(getComputedStyle(document.body).backgroundColor);
    return Math.min(...[...all].map(e => light(getComputedStyle(e).color))
        .map(c => (Math.max(c, back) + 0.05) / (Math.min(c, back) + 0.05)));
}"""


def record(**changes: Any) -> BuildRecord:
    """The walk of `flat`, whose loops moved its end by a tenth of a metre."""
    trajectory = flat().trajectory
    assert trajectory is not None
    after = trajectory.T_map_camera.copy()
    after[25:, 1, 3] += np.linspace(0.0, 0.1, 26)
    facts: dict[str, Any] = {
        "recording": f"/bags/{HOSTILE}", "out": "flat.embmem", "n_frames": 51,
        "refused": {"pose_not_rigid": 3, HOSTILE: 1}, "repaired": {"depth_range": 7},
        "seconds": {"read": 1.0, "observe": 3.0, HOSTILE: 0.5}, "peak_bytes": 300 << 20,
        "stamps": trajectory.stamps, "T_map_camera": trajectory.T_map_camera, "T_map_camera_corrected": after,
        "loops": (LoopRecord(0.0, 100.0, True, 0.1, 0.02), LoopRecord(10.0, 60.0, False, 1.0, 0.5)),
        "map_hash": "0123456789abcdef", "settings": {"every": 1, "read": {"depth": HOSTILE}},
    }  # fmt: skip
    return BuildRecord(**{**facts, **changes})


def report(*, scene: Scene | None = None, built: BuildRecord | None = None, **changes: Any) -> Report:
    scene, built = scene or flat(), built or record()
    assert scene.trajectory is not None
    covered = None if scene.plan is None else coverage(scene.plan, scene.trajectory, scene.max_range)
    finding = Finding(
        "depth_unit", "error", HOSTILE, f"Depth is in metres. {HOSTILE}", {"median": 1.25}, {"depth_unit": 1.0}
    )
    facts: dict[str, Any] = {
        "things": scene.things, "pictures": Pictures((Shot(0.0, PIXEL), Shot(100.0, PIXEL)), {0: PIXEL}, HOSTILE),
        "covered": covered, "command": f"embmem build {HOSTILE}",
        "diagnosis": Diagnosis("bag", "MCAP", (Content(HOSTILE, "depth", HOSTILE, 51, 0.5, 0.0, 100.0),), (finding,)),
    }  # fmt: skip
    return Report(built, scene, **{**facts, **changes})


class Page(HTMLParser):
    """Elements, the text of the body, and what is open in the end."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.words: list[str] = []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if "style" not in self.open:
            self.words.append(data)

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.words).split())

    def all(self, tag: str, **attributes: str) -> list[dict[str, str | None]]:
        return [a for t, a in self.tags if t == tag and all(a.get(k) == v for k, v in attributes.items())]


@pytest.fixture(scope="module")
def page() -> Page:
    return Page(render(report()))


def test_every_element_that_was_opened_is_closed_again(page: Page) -> None:
    assert page.open == []


def test_texts_of_a_recording_make_no_element_and_run_nothing(page: Page) -> None:
    assert not page.all("script")
    assert all(image["src"] == PIXEL for image in page.all("img"))
    assert not [a for _, a in page.tags if any(name.startswith("on") for name in a)]
    assert page.text.count("window.hacked=1") >= 10  # it is there to be read
    policy = page.all("meta", **{"http-equiv": "Content-Security-Policy"})[0]["content"] or ""
    assert policy.startswith("default-src 'none'; img-src data:; style-src 'sha256-")


def test_nothing_points_outside_the_page(page: Page) -> None:
    targets = [a.get(name) for _, a in page.tags for name in ("href", "src", "xlink:href") if a.get(name)]
    assert all(target.startswith(("#", "data:")) for target in targets if target is not None)
    inside = {a["id"] for _, a in page.tags if "id" in a}
    assert {target[1:] for target in targets if target is not None and target.startswith("#")} <= inside


def test_it_says_what_the_record_says(page: Page) -> None:
    for words in (
        "51 frames", "1 min 40 s recorded", "4.5 s to build", "5 sure things", "1 loops closed",
        "4 of 55 frames were refused; the doctor has 1 finding", "3 frames refused: pose not rigid",
        "7 frames repaired: depth range", "10.0 cm moved at most", "10.0 cm at the end",
        "1 loop closed, 1 not believed",
        "6.0 m travelled", "11.3 frames a second", "300 MiB of RAM at most", "mapping 3.00 58.8", "0123456789abcdef",
        "mend it with read.depth_unit=1", "median 1.25", "on the counter",
    ):  # fmt: skip
        assert words in page.text, words


def test_things_are_numbered_alike_on_the_plan_and_in_the_table(page: Page) -> None:
    names = [thing.name for thing in flat().things]
    for number in range(1, len(names) + 1):
        assert page.all("a", href=f"#thing-{number}")
        assert len(page.all("div", id=f"thing-{number}")) == 1


def test_the_same_report_is_the_same_page_bit_for_bit() -> None:
    assert render(report()) == render(report())


def test_what_is_not_there_is_left_out() -> None:
    scene = flat(plan=None, things=(), rooms=(), graphs=(), left_out=(), title="")
    plain = record(
        T_map_camera_corrected=None, loops=(), refused={}, repaired={}, seconds={}, peak_bytes=0, settings={}
    )
    page = Page(render(report(scene=scene, built=plain, diagnosis=None, pictures=Pictures())))
    assert not page.all("img")
    assert "No loop was closed" in page.text
    assert "every frame was used" in page.text
    for heading in ("Things", "Coverage", "What needs a look", "What the camera saw", "Recording"):
        assert not page.all("h2", id=heading.split()[-1].lower()) or heading not in page.text


def test_a_build_of_nothing_still_has_a_page() -> None:
    nothing = BuildRecord("bag", "out", 0)
    page = Page(render(report(built=nothing, covered=None)))
    assert "0 frames" in page.text


def test_many_things_fold_away_and_a_plan_numbers_what_fits() -> None:
    things = tuple(thing(f"mug {i}", 1.0 + i % 6, 1.0 + i % 3) for i in range(150))
    page = Page(render(report(scene=flat(things=things), things=things)))
    assert "130 more" in page.text
    assert len([a for a in page.all("a") if (a.get("href") or "").startswith("#thing-")]) == 99
    assert len(render(report(scene=flat(things=things), things=things))) < 400_000


def test_a_page_that_is_there_is_replaced_only_if_asked(tmp_path: Path) -> None:
    path = tmp_path / "page.html"
    path.write_text("mine")
    with pytest.raises(OutputExistsError, match="exists"):
        write_page(path, report())
    assert path.read_text() == "mine"
    write_page(path, report(), overwrite=True)
    assert path.read_text("utf-8") == render(report())
    assert list(tmp_path.iterdir()) == [path]


@pytest.fixture(scope="module")
def shown(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    if BROWSER is None:
        pytest.skip("needs Chromium or Chrome")
    path = tmp_path_factory.mktemp("page") / "flat.html"
    write_page(path, report())
    with Browser() as browser:
        browser.open(path)
        yield browser
        assert browser.errors == []
        assert all(url == path.as_uri() or url.startswith("data:") for url in browser.requests)


def test_a_browser_runs_nothing_of_it(shown: Browser) -> None:
    assert shown.run("typeof window.hacked") == "undefined"
    assert shown.run("[...document.images].every(i => i.naturalWidth === 1)")


@pytest.mark.parametrize(("width", "is_dark"), [(1280, False), (820, True), (390, True), (320, False)])
def test_nothing_is_cut_off_in_any_window_or_light(shown: Browser, width: int, is_dark: bool) -> None:
    shown.resize(width, 800)
    shown.dim(is_dark)
    shown.settle()
    assert shown.run("document.documentElement.scrollWidth") <= width
    assert shown.run(f"({TOO_WIDE})(document.querySelectorAll('main *:not(svg *, .wide *, pre *)'))") == 0
    texts = "h1, h2, .soft, .note, .source, .verdict, .what small, td, th, .facts, .at, .legend, .badge, summary, dt"
    assert shown.run(f"({LEAST_CONTRAST})(document.querySelectorAll('{texts}'))") > 4.5
