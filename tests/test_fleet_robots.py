"""Many robots at once, robots that were offline, processes that are killed: nothing is lost."""

from __future__ import annotations

import itertools
import json
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from postgres_server import NUMBERS, PostgresServer, opening_stores, start_server

from embmem.cli.main import main
from embmem.errors import InputError, StoreError
from embmem.fleet import PostgresStore, catch_up
from embmem.fleet.purge import purge
from embmem.records import Link, Query, Record
from embmem.store import RecordStore
from embmem.store.purge import forget

EVERYTHING = Query(k=100_000, with_hidden=True)
WRITER = """
import sys
from embmem.fleet import PostgresStore
from embmem.records import Record
dsn, schema, robot, n = sys.argv[1:]
with PostgresStore(dsn, robot, schema=schema, max_delay=0.002, max_batch=40) as fleet:
    for i in range(int(n)):
        fleet.write(Record(kind="note", t_event=float(i), source="camera", text=f"{robot} has {i}", payload={"i": i}))
"""
SENDER = """
import sys
from embmem.fleet import PostgresStore, catch_up
from embmem.fleet.purge import purge
from embmem.store import RecordStore
dsn, schema, path = sys.argv[1:]
with PostgresStore(dsn, "r1", schema=schema) as fleet, RecordStore(path, read_only=True) as local:
    catch_up(local, fleet, batch=5)
"""


@pytest.fixture(scope="module")
def server() -> Iterator[PostgresServer]:
    server = start_server()
    yield server
    server.remove()


Connect = Callable[..., PostgresStore]


@pytest.fixture
def connect(server: PostgresServer) -> Iterator[Connect]:
    with opening_stores(server) as connect:
        yield connect


def note(text: str = "", *links: tuple[str, int], **more: Any) -> Record:
    return Record(
        kind="note", t_event=0.0, source="camera", text=text, links=tuple(Link(*link) for link in links), **more
    )


def child(program: str, *arguments: object) -> subprocess.Popen[bytes]:
    return subprocess.Popen([sys.executable, "-c", program, *map(str, arguments)])


def test_four_robots_write_at_once_and_nothing_is_lost_doubled_or_out_of_order(
    server: PostgresServer, connect: Connect
) -> None:
    n, robots = 500, ["r1", "r2", "r3", "r4"]
    fleet = connect("base", schema="crowd")
    children = [child(WRITER, server.dsn, "crowd", robot, n) for robot in robots]
    newest, followed = 0, []  # a reader that follows the tail meanwhile
    while any(process.poll() is None for process in children):
        last = fleet.last_id
        followed += [record.id for record in fleet.get(range(newest + 1, last + 1))]
        newest = last
    assert [process.wait() for process in children] == [0] * 4
    records = fleet.read(EVERYTHING)
    assert len(fleet) == len(records) == len({record.id for record in records}) == n * len(robots)
    assert followed + list(range(newest + 1, fleet.last_id + 1)) == list(range(1, fleet.last_id + 1))
    for robot in robots:
        own = sorted(fleet.read(EVERYTHING, robots=[robot]), key=lambda record: record.id or 0)
        assert [record.payload["i"] for record in own] == list(range(n))
        stamps = [record.t_ingest or 0.0 for record in own]
        assert stamps == sorted(stamps)
    assert fleet.robots() == robots


def build(path: Path | str, *, n: int = 300, seed: int = 0) -> RecordStore:
    """A robot's memory with every kind of link, some of it withdrawn, some of it forgotten."""
    rng = np.random.default_rng(seed)
    store = RecordStore(path, clock=itertools.count(100).__next__)
    for i in range(1, n + 1):
        relations = rng.choice(["from", "from", "about", "withdraws", "corrects"], rng.integers(0, 3) if i > 1 else 0)
        links = [(str(relation), int(rng.integers(1, i))) for relation in relations]
        embedding = rng.normal(size=4).astype(np.float16) if i % 2 else None
        store.write(note(f"word{i % 7}", *links, embedding=embedding, entities=(f"thing{i % 5}",)))
        if i % 50 == 0:
            forget(store, rng.integers(1, i + 1, 10).tolist())
    store.flush()
    return store


def state(fleet: PostgresStore) -> list[object]:
    """All that a fleet holds but the times at which it took it in."""
    records = sorted(fleet.read(EVERYTHING), key=lambda record: record.id or 0)
    with fleet.reading() as db:
        hidden = db.execute("SELECT * FROM hidden ORDER BY 1, 2").fetchall()
        counters = db.execute("SELECT last_id, dim, n_records, n_documents, n_words FROM head").fetchall()
        links = db.execute('SELECT * FROM links ORDER BY 1, relation COLLATE "C", 3').fetchall()
    origins = fleet.origins([record.id or 0 for record in records])
    return [[(r.id, r.text, r.entities, r.links, r.t_event) for r in records], origins, hidden, counters, links]


def test_a_catch_up_that_is_killed_again_and_again_ends_as_one_that_is_not(
    server: PostgresServer, connect: Connect, tmp_path: Path
) -> None:
    path = tmp_path / "robot.embmem"
    build(path).close()
    fleet, whole = connect("r1", schema="killed"), connect("r1", schema="whole")
    n_kills = 0
    with RecordStore(path, read_only=True) as local:
        for goal in (1, 60, 140, 200):
            process = child(SENDER, server.dsn, "killed", path)
            while len(fleet) < goal and process.poll() is None:
                time.sleep(0.001)
            process.send_signal(signal.SIGKILL)
            n_kills += process.wait() == -signal.SIGKILL
        n_there = len(fleet)
        assert catch_up(local, fleet) == len(local) - n_there
        assert catch_up(local, whole) == len(local)
        assert catch_up(local, fleet) == 0
    assert n_kills >= 3
    assert state(fleet) == state(whole)


def test_the_fleet_believes_of_a_robots_memory_what_the_robot_believes(connect: Connect) -> None:
    local, fleet = build(":memory:"), connect("r1", schema="beliefs")
    connect("r0", schema="beliefs").write_all([note("somebody else's"), note("as well")])
    told: list[tuple[int, int]] = []
    assert catch_up(local, fleet, batch=70, on_progress=lambda n, total: told.append((n, total))) == len(local)
    assert told[-1] == (len(local), len(local))
    origins = fleet.origins(range(1, fleet.last_id + 1))
    local_of = {i: origin.local_id for i, origin in origins.items() if origin.robot == "r1"}
    believed = fleet.read(Query(k=1000), robots=["r1"])
    assert {local_of[r.id or 0] for r in believed} == {r.id for r in local.read(Query(k=1000))}
    sent = fleet.read(EVERYTHING, robots=["r1"])
    for theirs, ours in zip(sent, local.get([local_of[r.id or 0] for r in sent]), strict=True):
        assert sorted(Link(relation, local_of[to]) for relation, to in theirs.links) == list(ours.links)
        assert origins[theirs.id or 0].t_ingest == ours.t_ingest
        assert (theirs.text, theirs.entities, theirs.t_event) == (ours.text, ours.entities, ours.t_event)
    for word in range(7):
        query = Query(text=f"word{word}", entity="thing1", k=1000)
        found = {local_of[hit.record.id or 0] for hit in fleet.search(query, robots=["r1"]).hits if hit.record}
        assert found == {hit.record.id for hit in local.search(query).hits if hit.record}


STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("write"), st.lists(st.tuples(st.sampled_from(["from", "withdraws", "corrects", "about"]),
                                                       st.floats(0.0, 1.0)), max_size=3)),
        st.tuples(st.just("forget"), st.lists(st.floats(0.0, 1.0), min_size=1, max_size=4)),
        st.tuples(st.just("send"), st.integers(1, 3)),
    ), min_size=3, max_size=14,
)  # fmt: skip


@settings(max_examples=30)
@given(steps=STEPS)
def test_whatever_was_forgotten_before_it_was_sent_the_beliefs_are_the_same(
    server: PostgresServer, steps: list[tuple[str, Any]]
) -> None:
    local = RecordStore()
    with PostgresStore(server.dsn, "r1", schema=f"steps{next(NUMBERS)}") as fleet:
        for step, what in [*steps, ("send", 2)]:
            if step == "write":
                n = local.last_id
                local.write(note("", *((relation, 1 + int(part * (n - 1))) for relation, part in what if n)))
            elif step == "forget":
                forget(local, [1 + int(part * local.last_id) for part in what])
            else:
                catch_up(local, fleet, batch=what)
        origins = fleet.origins(range(1, fleet.last_id + 1))
        believed = {origins[record.id or 0].local_id for record in fleet.read(Query(k=1000))}
        there = {record.id for record in local.read(EVERYTHING)}
        assert believed & there == {record.id for record in local.read(Query(k=1000))}


def test_one_query_asks_all_robots_or_some(connect: Connect) -> None:
    memories = {robot: RecordStore(clock=lambda: 5.0) for robot in ("r1", "r2")}
    for robot, local in memories.items():
        local.write_all(
            [note("a red mug", place=robot), note("a blue cup", ("from", 1), embedding=np.ones(3, np.float32))]
        )
    fleets = {robot: connect(robot) for robot in memories}
    for robot, local in memories.items():
        catch_up(local, fleets[robot])
    base = connect("base")
    hits = base.search(Query(text="mug")).hits
    assert [hit.record and hit.record.place for hit in hits] == ["r2", "r1"]
    assert [hit.why.rpartition(", ")[2] for hit in hits] == ["robot r2", "robot r1"]
    assert [r.place for r in base.read(Query(text="mug"), robots=["r1"])] == ["r1"]
    assert len(base.search(Query(embedding=np.ones(3)), robots=["r2", "nobody"]).hits) == 1
    # One robot withdraws what another has seen; what was derived from it goes along, for all.
    before = time.time()
    withdrawal = fleets["r2"].write(note("wrong", ("withdraws", 1))).wait()
    assert {r.id for r in base.read(Query())} == {3, 4, withdrawal}
    assert {r.id for r in base.read(Query(as_of=before))} == {1, 2, 3, 4}
    assert base.origins([2])[2] == ("r1", memories["r1"].uuid, 2, 5.0)


def test_two_catch_ups_of_one_memory_at_once_send_it_once(connect: Connect, tmp_path: Path) -> None:
    path = tmp_path / "robot.embmem"
    build(path, n=200).close()
    fleets = [connect("r1") for _ in range(3)]

    def send(fleet: PostgresStore) -> None:
        with RecordStore(path, read_only=True) as local:
            catch_up(local, fleet, batch=7)

    threads = [threading.Thread(target=send, args=(fleet,)) for fleet in fleets]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    whole = connect("r1", schema=f"whole{next(NUMBERS)}")
    with RecordStore(path, read_only=True) as local:
        catch_up(local, whole)
    assert state(fleets[0]) == state(whole)


def test_a_copy_that_went_its_own_way_and_another_robots_memory_are_refused(connect: Connect, tmp_path: Path) -> None:
    path, copy = tmp_path / "robot.embmem", tmp_path / "copy.embmem"
    fleet = connect("r1")
    with RecordStore(path, clock=lambda: 1.0) as local:
        local.write_all([note("one"), note("two")])
        local.copy_to(copy)
        local.write(note("three"))
        catch_up(local, fleet)
        with pytest.raises(InputError, match="robot 'r1', not of 'r2'"):
            catch_up(local, connect("r2"))
        local.write(note("four"))
        with pytest.raises(InputError, match="robot 'r1', not of 'r2'"):
            catch_up(local, connect("r2"))
    with RecordStore(copy, clock=lambda: 1.0) as older:
        with pytest.raises(InputError, match="older copy"):
            catch_up(older, fleet)
        older.write(note("something else"))
        older.write(note("and more"))
        with pytest.raises(InputError, match="older copy"):
            catch_up(older, fleet)
    assert [r.text for r in fleet.read(EVERYTHING)] == ["three", "two", "one"]


def test_embeddings_of_a_fleet_have_one_length(connect: Connect) -> None:
    fleet, other = connect("r1"), connect("r2")
    with pytest.raises(ValueError, match="of one length"):
        fleet.write_all([note(embedding=np.ones(3, np.float32)), note(embedding=np.ones(4, np.float32))])
    fleet.write(note(embedding=np.ones(3, np.float32)))
    with pytest.raises(ValueError, match="of 3 numbers, got 4"):
        other.write(note(embedding=np.ones(4, np.float32)))
    local = RecordStore()
    local.write(note(embedding=np.ones(4, np.float32)))
    with pytest.raises(InputError, match="of 3 numbers, got 4"):
        catch_up(local, other)
    assert len(fleet) == 1
    assert fleet.search(Query(embedding=np.ones(4))).hits == []


def test_a_link_goes_to_a_record_that_is_there_whoever_wrote_it(connect: Connect) -> None:
    fleet, other = connect("r1"), connect("r2")
    first = fleet.write(note("seen")).id
    assert other.write(note("confirmed", ("from", first))).wait() == first + 1
    with pytest.raises(ValueError, match="link"):
        fleet.write(note("", ("from", first + 2)))
    assert len(fleet) == 2


def test_what_cannot_be_reached_or_is_not_ours_is_refused_with_why(server: PostgresServer, connect: Connect) -> None:
    with pytest.raises(StoreError, match="host=/nowhere"):
        PostgresStore("host=/nowhere password=secret", "r1")
    with pytest.raises(ValueError, match="connection string") as told:
        PostgresStore("no connection string; password=secret", "r1")
    assert "secret" not in str(told.value)
    for schema in ("", "a b", 'x"; DROP TABLE records', "pg_catalog", "Upper"):
        with pytest.raises(ValueError, match="schema"):
            PostgresStore(server.dsn, "r1", schema=schema)
    with pytest.raises(ValueError, match="name"):
        PostgresStore(server.dsn, "")
    with connect("r1", schema="newer").changing() as db:
        db.execute("UPDATE head SET version = 99")
    with pytest.raises(InputError, match="version 99"):
        PostgresStore(server.dsn, "r1", schema="newer")
    with connect("r1").changing() as db:
        db.execute("CREATE SCHEMA foreign_one; CREATE TABLE foreign_one.t (a int)")
    with pytest.raises(InputError, match="somebody else: t"):
        PostgresStore(server.dsn, "r1", schema="foreign_one")
    closed = connect("r1")
    closed.close()
    for use in (lambda: closed.write(note()), lambda: len(closed), lambda: closed.read(Query())):
        with pytest.raises(StoreError, match="closed"):
            use()


def test_a_purge_takes_a_source_and_what_came_of_it_for_ever(
    server: PostgresServer, connect: Connect, tmp_path: Path
) -> None:
    local = RecordStore()
    local.write_all([replace(note("a secret mug"), source="spy"), note("a lamp"), replace(note("more"), source="spy")])
    fleet, other = connect("r1"), connect("r2")
    catch_up(local, fleet)
    derived = other.write(note("so there is a mug", ("from", 1))).wait()
    other.write(replace(note("seen too"), source="spy")).wait()
    restored = other.write(note("", ("withdraws", other.write(note("", ("withdraws", 2))).wait()))).wait()
    assert purge(fleet, "spy", robots=["r1"], reason="asked") == 3
    texts = [(r.source, r.text) for r in fleet.read(EVERYTHING)]
    assert ("spy", "seen too") in texts
    assert purge(fleet, "spy", reason="asked") == 1
    assert purge(fleet, "spy") == 0
    left = fleet.read(EVERYTHING)
    assert len(left) == len(fleet) == 5
    assert [r.payload for r in left if r.kind == "purge"] == [
        {"purged": "spy", "n": 1, "reason": "asked"}, {"purged": "spy", "n": 3, "reason": "asked", "robots": ["r1"]}
    ]  # fmt: skip
    assert fleet.get([1, 3, derived]) == []
    assert {r.id for r in fleet.read(Query())} >= {2, restored}
    assert fleet.search(Query(text="mug")).hits == []
    with fleet.reading() as db:
        sql = "SELECT count(*), count(n_words), coalesce(sum(n_words), 0) FROM records"
        counters = "SELECT n_records, n_documents, n_words FROM head"
        assert db.execute(sql).fetchone() == db.execute(counters).fetchone()
        name = db.execute("SELECT pg_relation_filepath('records')").fetchone()[0]
    assert b"secret" not in (server.folder / "data" / name).read_bytes()
    local.write(note("later", ("from", 1)))
    assert catch_up(local, fleet) == 1
    assert fleet.read(Query(k=1))[0].links[0].to == 1


def test_the_command_sends_what_is_new(
    server: PostgresServer, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "room.embmem"
    with RecordStore(path) as local:
        local.write_all([note("one"), note("two")])
    uri = f"postgresql://postgres@/postgres?host={server.folder}"
    assert main(["sync", str(path), uri, "robot=r1", "schema=command"]) == 0
    assert capsys.readouterr().out == "2 records of r1 sent, the fleet has 2\n"
    monkeypatch.setenv("PGHOST", str(server.folder))
    monkeypatch.setenv("PGUSER", "postgres")
    assert main(["sync", str(path), "robot=r1", "schema=command", "json=true"]) == 0
    assert json.loads(capsys.readouterr().out) == {"sent": 0, "fleet": 2}
    assert main(["sync", str(path), "robot=r2", "schema=command"]) == 1
    assert "robot 'r1', not of 'r2'" in capsys.readouterr().err
    assert main(["sync", str(path), "postgresql:///?host=/nowhere", "robot=r1"]) == 1
    assert capsys.readouterr().err.startswith("embmem: the server host=/nowhere")
