"""The store of a fleet: many robots write to one Postgres server, one query asks all, offline robots catch up."""

from embmem.fleet.catch_up import catch_up
from embmem.fleet.postgres import PostgresStore

__all__ = ["PostgresStore", "catch_up"]
