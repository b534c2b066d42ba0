"""A real Postgres server for the tests: the programs that the package `pgserver` carries, on a folder of their own."""

from __future__ import annotations

import importlib.util
import itertools
import os
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from embmem.fleet import PostgresStore

NUMBERS = itertools.count()  # of schemas; each test has its own
NOBODY = 65534  # Postgres refuses to run as root


class PostgresServer:
    """A server that listens on a socket in its own folder."""

    def __init__(self, programs: Path) -> None:
        self._programs = programs
        self.folder = Path(tempfile.mkdtemp(prefix="embmem-postgres-"))
        self._who: dict[str, Any] = {}
        if os.geteuid() == 0:
            os.chown(self.folder, NOBODY, NOBODY)
            self._who = {"user": NOBODY, "group": NOBODY, "extra_groups": []}
        self.dsn = f"host={self.folder} user=postgres dbname=postgres"
        self._run("initdb", "--username=postgres", "--auth=trust", "--encoding=utf8", "--locale=C", "--no-sync")
        with (self.folder / "data" / "postgresql.conf").open("a") as settings:
            settings.write(f"listen_addresses = ''\nunix_socket_directories = '{self.folder}'\nmax_connections = 60\n")
        self.start()

    def start(self) -> None:
        self._run("pg_ctl", "--wait", f"--log={self.folder / 'log'}", "start")

    def stop(self) -> None:
        """As good as a crash: the server comes back from its log."""
        self._run("pg_ctl", "--wait", "--mode=immediate", "stop")

    def remove(self) -> None:
        self.stop()
        shutil.rmtree(self.folder)

    def _run(self, program: str, *arguments: str) -> None:
        command = [str(self._programs / program), f"--pgdata={self.folder / 'data'}", *arguments]
        # Its output to a file: a pipe would be held open by the server.
        with (self.folder / "output").open("wb") as output:
            done = subprocess.run(
                command, check=False, cwd=self.folder, stdout=output, stderr=subprocess.STDOUT, timeout=120, **self._who
            )
        if done.returncode != 0:
            raise RuntimeError(f"{program} failed: {(self.folder / 'output').read_text(errors='replace')}")


def start_server() -> PostgresServer:
    """A fresh server; skips the test where there can be none."""
    pytest.importorskip("psycopg", reason="psycopg is not installed (extra fleet)")
    found = importlib.util.find_spec("pgserver")
    if found is None or found.origin is None:
        pytest.skip("pgserver, which carries a Postgres with pgvector, is not installed (extra fleet)")
    return PostgresServer(Path(found.origin).parent / "pginstall" / "bin")


@contextmanager
def opening_stores(server: PostgresServer) -> Iterator[Callable[..., PostgresStore]]:
    """Opens a store for a robot; in a schema that the caller has to itself. All are closed in the end."""
    from embmem.fleet import PostgresStore

    own = f"test{next(NUMBERS)}"
    with ExitStack() as stores:

        def connect(robot: str = "r1", *, schema: str = own, **settings: Any) -> PostgresStore:
            return stores.enter_context(PostgresStore(server.dsn, robot, schema=schema, **settings))

        yield connect
