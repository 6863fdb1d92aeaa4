"""A real Postgres, a real Valkey and Qdrant's local mode from wheels, as child processes that end with this one."""

from workers.embedded.postgres import PostgresServer
from workers.embedded.qdrant import QdrantServer
from workers.embedded.valkey import ValkeyServer

__all__ = ["PostgresServer", "QdrantServer", "ValkeyServer"]
