"""The store of a fleet, on a real Postgres server, keeps the contract and answers as the store in a file does."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from postgres_server import PostgresServer, start_server

from embmem.fleet import PostgresStore
from embmem.protocols import Store
from embmem.testing import StoreContract

NUMBERS = itertools.count()


@pytest.fixture(scope="module")
def server() -> Iterator[PostgresServer]:
    server = start_server()
    yield server
    server.remove()


@pytest.fixture
def connect(server: PostgresServer) -> Iterator[Callable[..., PostgresStore]]:
    """Opens a store for a robot; in the schema that the test has to itself."""
    schema, stores = f"test{next(NUMBERS)}", []

    def connect(robot: str = "r1", *, schema: str = schema, **settings: Any) -> PostgresStore:
        stores.append(PostgresStore(server.dsn, robot, schema=schema, **settings))
        return stores[-1]

    yield connect
    for store in stores:
        store.close()


class TestPostgres(StoreContract):
    @pytest.fixture
    def make_store(self, connect: Callable[..., PostgresStore]) -> Callable[[], Store]:
        return lambda: connect(schema=f"contract{next(NUMBERS)}")
