"""Is a memory file as it was written? Every page, every record, and whether what was derived agrees with the log."""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from embmem.errors import InputError
from embmem.store.audit import Progress, names_of, read_all
from embmem.store.hidden import hidden_as_of
from embmem.store.pages import commits_behind_damage
from embmem.store.rows import document
from embmem.store.schema import VERSION, check_header, check_size, open_read_only
from embmem.store.snapshots import list_snapshots, read_state

MAX_NAMED = 100  # problems that SQLite names


class Problem(NamedTuple):
    """What is wrong and what can be done about it."""

    part: str
    detail: str
    remedy: str


@dataclass(frozen=True)
class Report:
    """What was found in a memory file."""

    path: Path
    n_bytes: int
    n_records: int
    problems: tuple[Problem, ...]
    damaged_ids: tuple[int, ...] = ()  # of records that say something else than what was written, or cannot be read

    @property
    def is_sound(self) -> bool:
        """True if nothing is wrong."""
        return not self.problems


def verify(path: str | Path, *, progress: Progress | None = None) -> Report:
    """Check a memory file without changing it; somebody else may go on writing to it.

    Args:
        path: the file.
        progress: called with how many ids are done, and of how many.

    Raises:
        InputError: if there is no such file.
        FileVersionError: if it is a database of somebody else, or of a newer version.
    """
    path = Path(path)
    if not path.is_file():
        raise InputError(f"{path} is not a file")
    recover = f"save what can be saved: embmem recover {path} to=NEW.embmem"
    size = path.stat().st_size

    def unreadable(part: str, error: Exception) -> Report:
        return Report(path, size, 0, (Problem(part, str(error), recover),))

    try:
        check_size(path)
        with contextlib.closing(open_read_only(path)) as db:
            try:
                if check_header(str(path), db) < VERSION:
                    return _old(path, size, db)
            except (sqlite3.DatabaseError, InputError) as error:
                if type(error) is InputError or isinstance(error, sqlite3.DatabaseError):
                    return unreadable("tables", error)
                raise
            db.execute("BEGIN")  # one state of the file for all checks
            return _check(path, size, db, recover, progress)
    except sqlite3.DatabaseError as error:
        return unreadable("file", error)
    except InputError as error:
        if type(error) is not InputError:  # a version or a foreign file is no damage
            raise
        return unreadable("size", error)


def _old(path: Path, size: int, db: sqlite3.Connection) -> Report:
    """Version 1 has no checksums: the pages are all that can be checked."""
    found = _pages(db, f"restore {path} from a backup")
    return Report(path, size, int(db.execute("SELECT count(*) FROM records").fetchone()[0]), tuple(found))


def _check(path: Path, size: int, db: sqlite3.Connection, recover: str, progress: Progress | None) -> Report:
    problems = list(_pages(db, recover))
    n_records, damaged = 0, list[int]()
    try:
        for rows in read_all(db, progress):
            if isinstance(rows, int):
                damaged.append(rows)
            else:
                n_records += len(rows)
                damaged += [found.id for found in rows if found.row is None]
    except sqlite3.DatabaseError as error:
        problems.append(Problem("records", str(error), recover))
    if damaged:
        named = names_of([str(i) for i in damaged])
        problems.append(Problem("records", f"not as they were written, or unreadable: {named}", recover))
    rebuild = f"the log is sound, what was derived from it is made anew: embmem recover {path} to=NEW.embmem"
    checks: dict[str, Callable[[sqlite3.Connection], str]] = {
        "rows without a record": _orphans, "places": _places, "texts": _texts, "hidden": _hidden,
        "embeddings": _dimensions, "names": _names,
    }  # fmt: skip
    for part, check in checks.items():
        try:
            detail = check(db)
        except sqlite3.DatabaseError as error:
            detail = str(error)
        if detail:
            problems.append(Problem(part, detail, recover if problems else rebuild))
    problems += _layers(path, db, recover)
    problems += _log(path, db.execute("PRAGMA page_size").fetchone()[0])
    return Report(path, size, n_records, tuple(problems), tuple(damaged))


def _pages(db: sqlite3.Connection, remedy: str) -> Iterator[Problem]:
    try:
        for (line,) in db.execute(f"PRAGMA integrity_check({MAX_NAMED})"):
            if line != "ok":
                yield Problem("pages", line.replace("\n", "; "), remedy)
    except sqlite3.DatabaseError as error:
        yield Problem("pages", str(error), remedy)


def _log(path: Path, page_size: int) -> Iterator[Problem]:
    log = path.with_name(path.name + "-wal")
    n = commits_behind_damage(log.read_bytes(), page_size) if log.is_file() else 0
    if n > 1:
        remedy = f"what is before it stays readable; the rest is lost, unless a backup of {log.name} has it"
        yield Problem("log", f"{n} transactions lie behind a damaged frame and are left out", remedy)


def _orphans(db: sqlite3.Connection) -> str:
    """What belongs to no record; links "from" of removed records are kept on purpose."""
    counts = {}
    for table in ("vectors", "blobs", "entities", "keys", "links"):
        kept = " AND relation <> 'from'" if table == "links" else ""
        sql = f"SELECT count(*) FROM {table} WHERE record_id NOT IN (SELECT id FROM records){kept}"
        counts[table] = db.execute(sql).fetchone()[0]
    return ", ".join(f"{n} of {table}" for table, n in counts.items() if n)


def _places(db: sqlite3.Connection) -> str:
    structure = db.execute("SELECT rtreecheck('places')").fetchone()[0]
    if structure != "ok":
        return str(structure).replace("\n", "; ")
    has, there, right = db.execute(
        """SELECT (SELECT count(*) FROM records WHERE x IS NOT NULL), (SELECT count(*) FROM places),
        (SELECT count(*) FROM places JOIN records USING (id)
         WHERE x BETWEEN x0 - :e AND x1 + :e AND y BETWEEN y0 - :e AND y1 + :e AND z BETWEEN z0 - :e AND z1 + :e)""",
        {"e": 1e-30},  # below which float32 has no numbers to round outwards to
    ).fetchone()
    return "" if has == there == right else f"{has} records have a place, the index has {there}, {right} of them right"


def _texts(db: sqlite3.Connection) -> str:
    """Compare the text index with one that is made anew."""
    tables = "CREATE VIRTUAL TABLE temp.words USING fts5vocab(main, texts, 'row')"
    with contextlib.closing(sqlite3.connect("", isolation_level=None)) as fresh:
        sql = db.execute("SELECT sql FROM sqlite_master WHERE name = 'texts'").fetchone()[0]
        fresh.execute("BEGIN")
        fresh.execute(sql)
        fresh.executemany("INSERT INTO texts (rowid, text, names) VALUES (?, ?, ?)", _documents(db))
        fresh.execute("COMMIT")
        db.execute("PRAGMA query_only = OFF")  # of a temporary table; the file was opened read only
        for one in (db, fresh):
            one.execute(tables)
        for what, order in (("texts_docsize", "SELECT id, sz FROM texts_docsize ORDER BY id"),
                            ("words", "SELECT term, doc, cnt FROM words ORDER BY term")):  # fmt: skip
            ours, theirs = (one.execute(order) for one in (db, fresh))
            for row in theirs:
                if ours.fetchone() != row:
                    return f"{what} of {row[0]!r} are not those of the log"
            if ours.fetchone() is not None:
                return f"{what} has more than the log"
    return ""


def _documents(db: sqlite3.Connection) -> Iterator[tuple[int, str, str]]:
    """What `insert` gave to the text index, from the log."""
    named = db.execute("SELECT record_id, name FROM entities ORDER BY record_id, name")
    ahead = named.fetchone()
    for i, text, place in db.execute("SELECT id, text, place FROM records ORDER BY id"):
        names: list[Any] = []
        while ahead is not None and ahead[0] <= i:
            if ahead[0] == i:
                names.append(ahead[1])
            ahead = named.fetchone()
        if not all(isinstance(word, str) for word in (text, *names, place or "")):
            raise sqlite3.DataError(f"the words of record {i} are not text")
        words = document(text, names, place)
        if words[0] or words[1]:
            yield (i, *words)


def _hidden(db: sqlite3.Connection) -> str:
    there = {row[0] for row in db.execute("SELECT DISTINCT record_id FROM hidden")}
    wrong = sorted(there ^ hidden_as_of(db))
    return f"wrong for records {names_of([str(i) for i in wrong])}" if wrong else ""


def _names(db: sqlite3.Connection) -> str:
    counts = {}
    for table in ("entities", "keys"):
        sql = f"SELECT count(*) FROM {table} JOIN records ON id = record_id WHERE {table}.t_event <> records.t_event"
        counts[table] = db.execute(sql).fetchone()[0]
    return ", ".join(f"{n} {table} with another time than their record" for table, n in counts.items() if n)


def _dimensions(db: sqlite3.Connection) -> str:
    lengths = [row[0] // 2 for row in db.execute("SELECT DISTINCT length(data) FROM vectors ORDER BY 1")]
    return f"of different lengths: {lengths}" if len(lengths) > 1 else ""


def _layers(path: Path, db: sqlite3.Connection, recover: str) -> Iterator[Problem]:
    remedies = {
        "base": f"it is part of the truth: restore it from a backup, or go on without it: {recover}",
        "latest": "it is derived: opening the memory for writing makes it anew",
    }
    for role, remedy in remedies.items():
        try:
            for snapshot in list_snapshots(db, role):
                try:
                    read_state(str(path), db, snapshot)
                except InputError as error:
                    yield Problem(f"layer {snapshot.kind} ({role})", str(error), remedy)
        except (sqlite3.DatabaseError, TypeError) as error:
            yield Problem(f"layers ({role})", str(error), remedy)
