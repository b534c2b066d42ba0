"""Save what can be saved of a damaged memory file into a new one."""

from __future__ import annotations

import contextlib
import shutil
import sqlite3
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from embmem.errors import FileVersionError, InputError
from embmem.records import Link
from embmem.store import hidden
from embmem.store.audit import Found, Progress, given_ids, last_id, read_all
from embmem.store.maintenance import replacing
from embmem.store.rows import insert
from embmem.store.scan import scan
from embmem.store.schema import VERSION, check_header, open_read_only, prepare
from embmem.store.snapshots import list_snapshots, read_state

MAX_IDS = 1 << 28  # of which lost ones are told one by one
BATCH = 500  # records that are written at once
_AMENDS = ("withdraws", "corrects")


@dataclass
class Recovery:
    """What was saved and what was not."""

    n_saved: int = 0
    lost_ids: tuple[int, ...] = ()  # that were there, or may have been: a removed record leaves a gap as well
    n_scanned: int = 0  # of the saved, those that only a scan of the pages found
    layers: tuple[str, ...] = ()  # that were saved
    lost_layers: tuple[str, ...] = ()  # of the base, which no log can replace
    notes: list[str] = field(default_factory=list)


def recover(damaged: str | Path, to: str | Path, *, progress: Progress | None = None) -> Recovery:
    """Write every record of a damaged file whose checksum holds to a new file, with its id, clocks and links.

    The damaged file is only read. What is derived from the log is made anew; layers are kept if they are sound.

    Args:
        damaged: the file; the write-ahead log beside it counts.
        to: a new file.
        progress: called with how many ids are done, and of how many.

    Raises:
        InputError: if there is no such file, or nothing in it can be saved.
        FileVersionError: if it is a database of somebody else, or of another version.
        OutputExistsError: if `to` exists.
    """
    damaged, to = Path(damaged), Path(to)
    if not damaged.is_file():
        raise InputError(f"{damaged} is not a file")
    with replacing(to) as part, tempfile.TemporaryDirectory(prefix=f"{to.name}.", dir=to.parent) as folder:
        copy = Path(folder) / "damaged.embmem"  # SQLite would change files beside the damaged one
        for suffix in ("", "-wal"):
            if Path(f"{damaged}{suffix}").is_file():
                shutil.copyfile(f"{damaged}{suffix}", f"{copy}{suffix}")
        with contextlib.closing(sqlite3.connect(part, isolation_level=None)) as new:
            prepare(str(part), new)
            report = _save(copy, damaged, new, progress)
            if not report.n_saved and not report.layers:
                raise InputError(f"nothing in {damaged} can be saved; restore it from a backup")
    return report


def _save(copy: Path, damaged: Path, new: sqlite3.Connection, progress: Progress | None) -> Recovery:
    report, missing = Recovery(), None
    new.execute("BEGIN")
    saved: set[int] = set()
    with _readable(copy, damaged, report) as db:
        if db is not None:
            missing = _save_by_sql(db, new, saved, progress, report)
        if missing is None or missing:
            before = len(saved)
            _insert(new, scan(copy, missing), saved)
            report.n_scanned = len(saved) - before
        if db is not None:
            _save_the_rest(db, copy, new, report)
            _save_lineage(db, new)
    highest = max(saved, default=0)
    if missing is None:
        missing = set(range(1, highest)) if highest <= MAX_IDS else set()
        report.notes.append("the tables are gone: records after the last that was found cannot be told")
    report.lost_ids = tuple(sorted(missing - saved))
    report.n_saved = len(saved)
    hidden.rebuild(new)
    if report.lost_ids:  # what was derived may know records that are gone
        for table in ("layers", "layer_chunks"):
            new.execute(f"DELETE FROM {table} WHERE role = 'latest'")
    new.execute("COMMIT")
    if any(link.relation in _AMENDS for link in _dangling(new)):
        report.notes.append("some corrections or withdrawals point at records that were not saved")
    return report


@contextlib.contextmanager
def _readable(copy: Path, damaged: Path, report: Recovery) -> Iterator[sqlite3.Connection | None]:
    """A connection, if SQLite finds the tables."""
    with contextlib.ExitStack() as held:
        db: sqlite3.Connection | None = None
        try:
            db = held.enter_context(contextlib.closing(open_read_only(copy)))
            version = check_header(str(damaged), db)
            if version != VERSION:
                raise FileVersionError(f"{damaged} is of version {version}, which has no checksums to tell what holds")
        except FileVersionError as error:
            if db is None or not _is_header_damaged(copy):
                raise
            report.notes.append(str(error))
            db = None
        except (sqlite3.DatabaseError, InputError) as error:
            report.notes.append(str(error))
            db = None
        yield db


def _is_header_damaged(path: Path) -> bool:
    """True if the first page is not one of a database, so that what it says of its owner means nothing."""
    with path.open("rb") as file:
        return file.read(16) != b"SQLite format 3\0"


def _save_by_sql(
    db: sqlite3.Connection, new: sqlite3.Connection, saved: set[int], progress: Progress | None, report: Recovery
) -> set[int] | None:
    """Save what SQLite can read; returns the ids that are missing, or None if it cannot tell which there were."""
    is_whole = True
    try:
        for rows in read_all(db, progress):
            if isinstance(rows, int):
                is_whole = False
            else:
                is_whole &= all(found.row is not None for found in rows)
                _insert(new, rows, saved)
    except sqlite3.DatabaseError as error:
        report.notes.append(str(error))
        return None
    if is_whole and db.execute("PRAGMA quick_check(1)").fetchone()[0] == "ok":
        return set()  # a gap is a record that was removed
    given = max(last_id(db), given_ids(db))
    if given > MAX_IDS:
        report.notes.append(f"the file tells of {given} ids, which is not believed")
        return None
    return set(range(1, given + 1)) - saved


def _insert(new: sqlite3.Connection, found: Sequence[Found] | Iterator[Found], saved: set[int]) -> None:
    rows = []
    for one in found:
        if one.row is not None and one.id not in saved:
            saved.add(one.id)
            rows.append(one.row)
        if len(rows) == BATCH:
            insert(new, rows)
            rows = []
    insert(new, rows)


def _save_the_rest(db: sqlite3.Connection, copy: Path, new: sqlite3.Connection, report: Recovery) -> None:
    """Names and counters of the memory, which ids were given, how removed records hung together, uses, and layers."""
    for table in ("meta", "uses"):
        with contextlib.suppress(sqlite3.DatabaseError):
            rows = db.execute(f"SELECT * FROM {table}").fetchall()
            marks = ", ".join("?" * len(rows[0])) if rows else ""
            new.executemany(f"INSERT OR REPLACE INTO {table} VALUES ({marks})", rows)
    with contextlib.suppress(sqlite3.DatabaseError):
        new.execute("UPDATE sqlite_sequence SET seq = max(seq, ?) WHERE name = 'records'", (given_ids(db),))
    kept, lost = [], []
    for role in ("base", "latest"):
        with contextlib.suppress(sqlite3.DatabaseError, TypeError):
            for snapshot in list_snapshots(db, role):
                try:
                    read_state(str(copy), db, snapshot)
                except (InputError, sqlite3.DatabaseError):
                    lost += [snapshot.kind] if role == "base" else []
                    continue
                kept.append(f"{snapshot.kind} ({role})")
                for table in ("layers", "layer_chunks"):
                    asked = (role, snapshot.kind)
                    rows = db.execute(f"SELECT * FROM {table} WHERE role = ? AND kind = ?", asked).fetchall()
                    new.executemany(f"INSERT INTO {table} VALUES ({', '.join('?' * len(rows[0]))})", rows)
    report.layers, report.lost_layers = tuple(kept), tuple(lost)


def _save_lineage(db: sqlite3.Connection, new: sqlite3.Connection) -> None:
    """How removed records hung together: links "from" that stayed without the record that holds them."""
    with contextlib.suppress(sqlite3.DatabaseError):
        rows = db.execute("SELECT * FROM links WHERE relation = 'from'").fetchall()
        there = {row[0] for row in new.execute("SELECT id FROM records")}
        new.executemany("INSERT INTO links VALUES (?, ?, ?)", [row for row in rows if row[0] not in there])


def _dangling(new: sqlite3.Connection) -> list[Link]:
    sql = "SELECT relation, target FROM links WHERE target NOT IN (SELECT id FROM records)"
    return [Link(*row) for row in new.execute(sql)]
