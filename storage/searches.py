"""What was searched for in words: the questions that a new model is compared by."""

from __future__ import annotations

from sqlalchemy import Engine, text

_LONGEST = 300
_KEPT = 10_000

_RECORD = text("""
INSERT INTO searches AS s (text) VALUES (:text)
ON CONFLICT (text) DO UPDATE SET times = s.times + 1, last_at = now()
""")
_PRUNE = text("""
DELETE FROM searches WHERE text IN (
    SELECT text FROM searches ORDER BY last_at DESC OFFSET :kept LIMIT 1000)
""")
_OFTEN = text("SELECT text FROM searches ORDER BY times DESC, last_at DESC, text LIMIT :limit")


class Searches:
    """The recorded queries, the latest ten thousand. Photos are never recorded."""

    def __init__(self, database: Engine) -> None:
        self._database = database

    def record(self, query: str) -> None:
        """Count a query; a very long one is no question that anybody asks twice."""
        query = " ".join(query.replace("\0", "").split())
        if query and len(query) <= _LONGEST:
            with self._database.begin() as connection:
                connection.execute(_RECORD, {"text": query})
                connection.execute(_PRUNE, {"kept": _KEPT})

    def often(self, limit: int) -> list[str]:
        """The most frequent queries."""
        with self._database.connect() as connection:
            return list(connection.execute(_OFTEN, {"limit": limit}).scalars())
