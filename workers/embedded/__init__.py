"""A real Postgres and a real Valkey from wheels, as child processes that end with this one."""

from workers.embedded.postgres import PostgresServer
from workers.embedded.valkey import ValkeyServer

__all__ = ["PostgresServer", "ValkeyServer"]
