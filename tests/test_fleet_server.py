"""A server that crashes or restarts while a robot writes: what was acknowledged is there, the rest is told."""

from __future__ import annotations

import threading
import time

import pytest
from postgres_server import start_server

from embmem.errors import StoreError
from embmem.fleet import PostgresStore
from embmem.protocols import Ticket
from embmem.records import Query, Record


def note(text: str) -> Record:
    return Record(kind="note", t_event=0.0, source="camera", text=text)


EVERYTHING = Query(k=100_000)


def test_a_server_that_crashes_loses_nothing_that_was_acknowledged() -> None:
    server = start_server()
    try:
        fleet = PostgresStore(server.dsn, "r1", max_delay=0.001, max_batch=10, patience=0.2)
        tickets: list[Ticket] = []
        crash = threading.Timer(0.3, server.stop)
        crash.start()
        while len(tickets) < 20_000 and not (tickets and crash.finished.is_set()):
            tickets.append(fleet.write(note(str(len(tickets)))))
        crash.join()
        tickets += [fleet.write(note(str(len(tickets)))) for _ in range(3)]
        with pytest.raises(StoreError, match="could not be written"):
            tickets[-1].wait()
        for ask in (lambda: len(fleet), lambda: fleet.read(Query()), lambda: fleet.search(Query(text="1"))):
            with pytest.raises(StoreError, match="server"):
                ask()
        acknowledged = [i for i, ticket in enumerate(tickets) if ticket.is_acknowledged]
        assert 0 < len(acknowledged) < len(tickets)
        server.start()
        after = fleet.write(note("after")).wait()
        texts = [record.text for record in sorted(fleet.read(EVERYTHING), key=lambda record: record.id or 0)]
        assert len(set(texts)) == len(texts)
        assert {str(i) for i in acknowledged} <= set(texts)
        assert [record.text for record in fleet.get([tickets[i].wait() for i in acknowledged] + [after])] == [
            *map(str, acknowledged), "after"
        ]  # fmt: skip
        fleet.close()
    finally:
        server.remove()


def test_a_server_that_restarts_within_the_patience_is_waited_for() -> None:
    server = start_server()
    try:
        with PostgresStore(server.dsn, "r1", patience=30.0) as fleet:
            fleet.write(note("before")).wait()
            server.stop()
            ticket = fleet.write(note("meanwhile"))
            time.sleep(0.3)
            server.start()
            assert ticket.wait(60.0) == 2
            assert [record.text for record in fleet.read(Query())] == ["meanwhile", "before"]
    finally:
        server.remove()
