"""The summary counts what happened; the page stands alone and shows only what it was given."""

from __future__ import annotations

import base64
import json
from html.parser import HTMLParser
from io import StringIO
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from rich.console import Console

from embmem.sim_envs.metrics.statistics import mcnemar
from embmem.sim_envs.report import print_summary, summarise, write_report
from embmem.sim_envs.report.page import key_sentence
from embmem.sim_envs.report.summary import METRICS
from embmem.sim_envs.report.tables import format_interval, format_p

VOID = {"meta", "img", "br", "path", "use", "rect"}
HOSTILE = "<script>alert(1)</script>"


def _rows(agents: dict[str, float], *, n_sessions: int = 6, per: int = 4, **extra: Any) -> list[dict[str, Any]]:
    """Rows of agents that succeed with a given chance; the walk is a straight line."""
    rng = np.random.default_rng(0)
    rows = []
    for session in range(n_sessions):
        for episode in range(per):
            luck = rng.random()
            for agent, chance in agents.items():
                success = bool(luck < chance)
                rows.append(
                    {
                        "agent": agent,
                        "task": "search_again",
                        "session": session,
                        "episode": episode,
                        "house_seed": 10_000 + session,
                        "goal": "mug",
                        "success": success,
                        "spl": 0.5 * success,
                        "distance_to_goal": 0.05 if success else None,
                        "steps": 40 + 10 * episode if success else 500,
                        "trajectory": [[0.0, 0.0, 0.0], [1.0, 1.0, 0.5], [2.0, 1.0, 0.5]],
                        "seconds": {"observe": 1.0, "act": 2.0},
                        **extra,
                    }
                )
    return rows


def _summary(rows: list[dict[str, Any]], **changes: Any) -> dict[str, Any]:
    return summarise(rows, rng=np.random.default_rng(0), **changes)


def test_means_are_means_and_pairs_are_compared_on_the_episodes_of_both() -> None:
    rows = _rows({"frontier": 0.4, "memory": 0.8})
    rows.remove(next(r for r in rows if r["agent"] == "memory"))
    summary = _summary(rows)
    outcome = {(r["agent"], r["session"], r["episode"]): r["success"] for r in rows}
    pairs = [(outcome["memory", s, e], outcome["frontier", s, e]) for a, s, e in outcome if a == "memory"]
    memory, frontier = (np.array(column) for column in zip(*pairs, strict=True))
    difference = summary["differences"]["memory"]
    assert summary["reference"] == "frontier"
    assert summary["agents"]["memory"]["metrics"]["success"]["mean"] == pytest.approx(memory.mean())
    assert difference["episodes"] == len(pairs) == 23
    assert difference["metrics"]["success"]["mean"] == pytest.approx(memory.mean() - frontier.mean())
    assert difference["mcnemar_p"] == mcnemar(memory, frontier)
    assert difference["only_this"] - difference["only_reference"] == memory.sum() - frontier.sum()


def test_unknown_distances_are_left_out_and_counted() -> None:
    rows = _rows({"a": 0.5})
    distance = _summary(rows)["agents"]["a"]["metrics"]["distance_to_goal"]
    assert distance["n"] == sum(r["success"] for r in rows) < len(rows)
    assert distance["mean"] == pytest.approx(0.05)


def test_success_over_steps_ends_at_the_success_rate_and_never_falls() -> None:
    rows = _rows({"a": 0.5})
    agent = _summary(rows)["agents"]["a"]
    curve = agent["success_over_steps"]
    assert curve["mean"] == sorted(curve["mean"])
    assert curve["mean"][-1] == pytest.approx(agent["metrics"]["success"]["mean"])
    within = {n: np.mean([r["success"] and r["steps"] <= n for r in rows]) for n in curve["steps"]}
    assert curve["mean"] == pytest.approx(list(within.values()))


def test_breakdowns_split_the_episodes() -> None:
    rows = _rows({"a": 0.5})
    for row in rows:
        row["moved"] = row["episode"] == 0
    groups = _summary(rows)["agents"]["a"]["breakdowns"]["moved"]
    assert {g["value"]: g["episodes"] for g in groups} == {"yes": 6, "no": 18}


def test_a_summary_is_plain_json_and_the_same_for_the_same_seed() -> None:
    rows = _rows({"a": 0.5, "b": 0.9}, n_sessions=1)  # one session: no intervals
    summary = _summary(rows)
    assert json.loads(json.dumps(summary, allow_nan=False)) == summary == _summary(rows)
    assert summary["agents"]["a"]["metrics"]["success"]["low"] is None


def test_rows_that_make_no_sense_are_refused() -> None:
    rows = _rows({"a": 0.5})
    with pytest.raises(ValueError, match="no rows"):
        _summary([])
    with pytest.raises(ValueError, match="twice"):
        _summary([*rows, rows[0]])
    with pytest.raises(ValueError, match="none of the agents"):
        _summary(rows, reference="b")


def test_the_terminal_shows_every_agent_with_interval_and_difference() -> None:
    summary = _summary(_rows({"frontier": 0.4, "mem[bold]ory": 0.9}))
    console = Console(file=StringIO(), width=200)
    print_summary(summary, console)
    text = console.file.getvalue()  # type: ignore[attr-defined]
    assert "mem[bold]ory" in text  # markup in a name is only text
    success = format_interval(summary["agents"]["frontier"]["metrics"]["success"], METRICS[0])
    gain = format_interval(summary["differences"]["mem[bold]ory"]["metrics"]["spl"], METRICS[1], signed=True)
    assert all(part in text for part in (*success.split(" ", 1), *gain.split(" ", 1)))


def test_numbers_are_shown_in_their_unit_or_as_nothing() -> None:
    value = {"mean": 0.5, "low": 0.25, "high": 0.75}
    assert format_interval(value, METRICS[0]) == "50.0 [25.0, 75.0]"
    assert format_interval({"mean": -0.5, "low": None, "high": None}, METRICS[0], signed=True) == "-50.0"
    assert format_interval(None, METRICS[0]) == "-"
    assert [format_p(p) for p in (None, 0.5, 1e-9)] == ["-", "0.5", "< 0.0001"]


class _Page(HTMLParser):
    """Checks that elements nest, and collects what could load something."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.seen: set[str] = set()
        self.links: list[str] = []
        self.text = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.add(tag)
        self.links += [value or "" for name, value in attrs if name in ("src", "href", "xlink:href", "srcset", "data")]
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)
        if tag not in VOID:
            self.open.pop()

    def handle_endtag(self, tag: str) -> None:
        if tag not in VOID:
            assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data


def _page(path: Path) -> tuple[_Page, str]:
    html = path.read_text(encoding="utf-8")
    page = _Page()
    page.feed(html)
    page.close()
    assert page.open == []
    return page, html


def test_the_page_stands_alone_and_hostile_text_stays_text(tmp_path: Path) -> None:
    rows = _rows({"frontier": 0.3, HOSTILE: 0.9}, goal=HOSTILE, outcome=HOSTILE)
    path = write_report(tmp_path, rows, _summary(rows), f"# {HOSTILE}", {HOSTILE: "1"})
    page, html = _page(path)
    assert not page.seen & {"script", "link", "iframe", "object", "embed"}
    assert all(link.startswith(("data:image/png;base64,", "#")) for link in page.links)
    assert "http" not in html
    assert "@import" not in html
    assert page.text.count(HOSTILE) >= 5
    assert [f.name for f in tmp_path.iterdir()] == ["report.html"]


def test_the_page_shows_the_numbers_curves_and_settings(tmp_path: Path) -> None:
    rows = _rows({"frontier": 0.3, "memory": 0.9}, moved=True)
    summary = _summary(rows)
    (tmp_path / "config.yaml").write_text("seed: 12345\n")
    (tmp_path / "versions.json").write_text('{"numpy": "9.8.7"}')
    page, html = _page(write_report(tmp_path, rows, summary))
    mean = summary["agents"]["memory"]["metrics"]["success"]["mean"]
    assert f"{100 * mean:.1f}" in page.text
    assert key_sentence(summary) in page.text
    assert html.count("<svg") == 3
    for text in ("seed: 12345", "numpy 9.8.7", "10005", "moved overnight"):
        assert text in page.text
    assert html == write_report(tmp_path, rows, summary).read_text(encoding="utf-8")


def test_a_run_without_walks_has_a_page_too(tmp_path: Path) -> None:
    rows = [
        {key: row[key] for key in ("agent", "task", "session", "episode", "success")} | {"kind": "where_is"}
        for row in _rows({"memory": 0.8}, n_sessions=1)
    ]
    page, html = _page(write_report(tmp_path, rows, _summary(rows)))
    assert "where_is" in page.text
    assert "SPL" not in page.text
    assert "<svg" not in html


def test_strips_come_from_their_folder_only(tmp_path: Path) -> None:
    rows = _rows({"frontier": 0.3, "../memory": 0.9}, n_sessions=1, per=1)
    picture = cv2.imencode(".png", np.zeros((4, 24, 3), np.uint8))[1].tobytes()
    (tmp_path / "strips").mkdir()
    (tmp_path / "strips" / "frontier_0_0.png").write_bytes(picture)
    (tmp_path / "memory_0_0.png").write_bytes(b"not to be shown")
    page, _ = _page(write_report(tmp_path, rows, _summary(rows)))
    pictures = [base64.b64decode(link.partition(",")[2]) for link in page.links if link.startswith("data:")]
    assert picture in pictures
    assert len(pictures) == 3  # two plans and one strip


def test_a_walk_is_drawn_on_the_plan_of_its_house(tmp_path: Path) -> None:
    from embmem.sim_envs.house import make_house

    room = make_house(10_000, 3).rooms[0]
    walk = [[room.x0 + 0.5, room.y0 + 0.5, 0.0], [room.x1 - 0.5, room.y1 - 0.5, 0.0]]
    scene = "house_10000_rooms_3_night_7.glb"
    bare = _rows({"a": 0.5}, n_sessions=1, per=1, trajectory=walk)
    at_home = _rows({"a": 0.5}, n_sessions=1, per=1, trajectory=walk, scene=scene)
    colours = []
    for name, rows in (("bare", bare), ("home", at_home)):
        (tmp_path / name).mkdir()
        page, _ = _page(write_report(tmp_path / name, rows, _summary(rows)))
        uri = next(link for link in page.links if link.startswith("data:"))
        picture = cv2.imdecode(np.frombuffer(base64.b64decode(uri.partition(",")[2]), np.uint8), cv2.IMREAD_COLOR)
        assert picture is not None
        colours.append(len(np.unique(picture.reshape(-1, 3), axis=0)))
    assert colours[1] > colours[0] > 3


def test_the_key_sentence_claims_a_difference_only_where_there_is_one() -> None:
    clear = _summary(_rows({"frontier": 0.2, "memory": 0.95}, n_sessions=30))
    same = _summary(_rows({"frontier": 0.5, "memory": 0.5}, n_sessions=30))
    single = _summary(_rows({"frontier": 0.2, "memory": 0.95}, n_sessions=1))
    assert "points more on the same episodes" in key_sentence(clear)
    assert "no clear difference" in key_sentence(same)
    assert "too few sessions" in key_sentence(single)
