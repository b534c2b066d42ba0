"""The tables of a fleet's memory, in one schema of a Postgres database with pgvector.

`head` has one row, and who writes locks it: the fleet takes records in one after the other, so that ids, ingest times
and commits are in the same order. A reader that has seen id n has seen all that is before it; there are no gaps that
are filled later. What was known as of a time is settled as soon as a record is there that was taken in later.

Names, words and the like are looked up as hashes of 64 bits (an index of Postgres holds no long text), then compared.

The log (records, vectors, links, origins, memories) is the truth; `hidden` and the counters in `head` are derived
from it.
"""

from __future__ import annotations

import re

from embmem.errors import FileVersionError, InputError, StoreError
from embmem.fleet.server import WRITE, Database, Server, set_path

VERSION = 1
FAR = 1e9  # [m]; the index of places ends here, what is beyond is found all the same
POINT = f"point(greatest(-{FAR}, least({FAR}, x)), greatest(-{FAR}, least({FAR}, y)))"
NAMES = "(names || words)"  # word for word that of the index
GRAPH = "vectors_by_cosine"  # an index that is there if somebody asked for it
MAX_GRAPH_DIM = 2000  # of pgvector
_LOCK = 0x656D6265  # of those who make tables

_TABLES = f"""
CREATE TABLE head (
    version int NOT NULL, uuid uuid NOT NULL, last_id bigint NOT NULL, last_ingest float8 NOT NULL, dim int NOT NULL,
    n_records bigint NOT NULL, n_documents bigint NOT NULL, n_words bigint NOT NULL
);
INSERT INTO head VALUES ({VERSION}, gen_random_uuid(), 0, '-Infinity', 0, 0, 0, 0);
CREATE TABLE memories (
    number int PRIMARY KEY, uuid uuid NOT NULL UNIQUE, robot text NOT NULL, last_local bigint NOT NULL,
    witness bigint
);
CREATE TABLE origins (
    id bigint PRIMARY KEY, memory int NOT NULL REFERENCES memories, local_id bigint NOT NULL, t_local float8,
    UNIQUE (memory, local_id)
);
CREATE TABLE records (
    id bigint PRIMARY KEY, kind text NOT NULL, t_event float8 NOT NULL, t_ingest float8 NOT NULL,
    source text NOT NULL, place text, x float8, y float8, z float8, pose bytea, text text NOT NULL,
    payload text NOT NULL, confidence float8 NOT NULL, valid_from float8 NOT NULL, valid_to float8 NOT NULL,
    checksum bigint NOT NULL, entities text[] NOT NULL, keys text[] NOT NULL, blob bytea,
    memory int NOT NULL, names bigint[] NOT NULL, words bigint[] NOT NULL, counts int[] NOT NULL, n_words int
);
CREATE TABLE vectors (record_id bigint PRIMARY KEY, embedding vector NOT NULL);
CREATE TABLE links (record_id bigint NOT NULL, relation text NOT NULL, target bigint NOT NULL);
CREATE TABLE hidden (record_id bigint NOT NULL, amendment bigint NOT NULL, PRIMARY KEY (record_id, amendment));
ALTER TABLE vectors SET (toast_tuple_target = 8160);
CREATE INDEX records_by_event ON records (t_event, id);
CREATE INDEX records_by_ingest ON records (t_ingest);
CREATE INDEX records_by_memory ON records (memory, t_event);
CREATE INDEX records_by_name ON records USING gin ({NAMES}) WITH (fastupdate = off);
CREATE INDEX records_by_place ON records USING gist (({POINT})) WHERE x IS NOT NULL;
CREATE INDEX links_by_record ON links (record_id);
CREATE INDEX links_by_target ON links (target);
CREATE INDEX links_that_amend ON links (record_id) WHERE relation IN ('withdraws', 'corrects');
CREATE INDEX hidden_by_amendment ON hidden (amendment);
"""


def checked_name(schema: str) -> str:
    """The name of a schema.

    Raises:
        ValueError: if it is not a plain one.
    """
    if not re.fullmatch(r"[a-z_][a-z0-9_]{0,62}", schema) or schema.startswith("pg_"):
        raise ValueError(f"a schema is named by a-z, 0-9 and _ (not pg_...), got {schema!r}")
    return schema


def prepare(dsn: str, schema: str) -> None:
    """Make the tables where there are none.

    Raises:
        StoreError: if the server cannot be reached, lacks pgvector, or does not let us.
        FileVersionError: if the tables are those of a newer embmem.
        InputError: if the schema holds something else.
    """
    server = Server(dsn, "", "setup")
    try:
        with server.transaction(WRITE) as db:
            db.execute("SELECT pg_advisory_xact_lock(%s)", (_LOCK,))
            names = {row[0] for row in db.execute("SELECT tablename FROM pg_tables WHERE schemaname = %s", (schema,))}
            if not names:
                _create(db, schema)
            elif "head" not in names:
                raise InputError(f"schema {schema!r} holds tables of somebody else: {', '.join(sorted(names)[:5])}")
            else:
                version = db.execute(f'SELECT version FROM "{schema}".head').fetchone()[0]
                if version != VERSION:
                    raise FileVersionError(f"schema {schema!r} is of version {version}, this embmem reads {VERSION}")
    finally:
        server.close()


def _create(db: Database, schema: str) -> None:
    asked = "SELECT EXISTS(SELECT 1 FROM pg_available_extensions WHERE name = 'vector')"
    if not db.execute(asked).fetchone()[0]:
        raise StoreError("this Postgres has no pgvector; install it on the server, e.g. postgresql-16-pgvector")
    db.execute("CREATE EXTENSION IF NOT EXISTS vector")
    db.execute(f'CREATE SCHEMA IF NOT EXISTS "{schema}"')
    set_path(db, schema)
    for statement in _TABLES.split(";\n"):
        if statement.strip():
            db.execute(statement)
