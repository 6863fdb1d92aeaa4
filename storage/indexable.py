"""What Postgres says the index must hold, and what was last written into it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import Connection, Engine, text

from pipeline.events import Product
from storage.ledger.statements import records
from storage.spaces import Space

EMBEDDINGS: Mapping[str, str] = {
    "embed_image": "photo",
    "shadow_image": "photo",
    "embed_text": "text",
    "shadow_text": "text",
}
"""The stages whose outcomes are vectors, and what of."""

# Against the planner's lock: what is read here is committed, and whoever changes it later draws a later version.
_LOCK = text("SELECT id FROM products WHERE id = ANY(:ids) ORDER BY id FOR SHARE")
_NOW = text("SELECT nextval('presentation_versions')")
_READ = text("""
SELECT p.id, p.live, p.source, p.facts, pr.version, pr.corrections, (
    SELECT jsonb_object_agg(f.key, f.value) FROM jsonb_each(pr.fields) f
    WHERE f.key = 'tags' OR starts_with(f.key, 'texts/') OR f.value->>'stage' = ANY(:stages)) AS fields
FROM products p LEFT JOIN presentations pr ON pr.product_id = p.id
WHERE p.id = ANY(:ids) ORDER BY p.id
""")
_OUTCOMES = text("""
SELECT encode(fingerprint, 'hex') AS fingerprint, outcome FROM jobs
WHERE fingerprint IN (SELECT decode(f, 'hex') FROM unnest(CAST(:fingerprints AS text[])) AS f)
  AND outcome IS NOT NULL
""")
# An older write may end later: what is known of a point never gets older. What was never there needs no deleting
# again, unless its product is withdrawn: then a write may be on its way.
_WRITTEN = text("""
INSERT INTO index_points AS i (space_id, product_id, version, removed_at)
SELECT s.id, u.product, u.version, CASE WHEN u.removed THEN CASE WHEN p.live THEN '-infinity' ELSE now() END END
FROM json_to_recordset(CAST(:rows AS json)) AS u (space bigint, product bigint, version bigint, removed boolean)
JOIN spaces s ON s.id = u.space JOIN products p ON p.id = u.product
ON CONFLICT (space_id, product_id) DO UPDATE SET version = EXCLUDED.version, removed_at = CASE
    WHEN EXCLUDED.removed_at IS NULL THEN NULL
    WHEN i.removed_at IS NULL THEN now()
    ELSE GREATEST(i.removed_at, EXCLUDED.removed_at) END
WHERE EXCLUDED.version >= i.version
""")
_KNOWN = text("""
SELECT product_id, version FROM index_points WHERE space_id = :space AND product_id = ANY(:products)
""")
_BEHIND = text("""
SELECT p.id FROM products p JOIN presentations pr ON pr.product_id = p.id
WHERE p.live AND p.id > :after AND EXISTS (
    SELECT FROM spaces s WHERE s.role <> 'retired' AND NOT EXISTS (
        SELECT FROM index_points i
        WHERE i.space_id = s.id AND i.product_id = p.id AND i.version >= pr.version))
  AND NOT EXISTS (SELECT FROM plans pl WHERE pl.product_id = p.id AND pl.verdict IS NULL)
ORDER BY p.id LIMIT :limit
""")
_REMOVED = text("""
SELECT i.product_id, i.version FROM index_points i
WHERE i.space_id = :space AND i.removed_at > now() - make_interval(secs => :grace_s) AND i.product_id > :after
ORDER BY i.product_id LIMIT :limit
""")
_PAST = text("""
DELETE FROM index_points i USING products p
WHERE p.id = i.product_id AND NOT p.live AND i.removed_at < now() - make_interval(secs => :grace_s)
""")
_UNWRITTEN = text("DELETE FROM index_points WHERE space_id = :space AND product_id = ANY(:products)")
_NOTHING_WRITTEN = text("DELETE FROM index_points WHERE space_id = :space AND removed_at IS NULL")
_EXPECTED = text("""
SELECT i.product_id, i.version FROM index_points i JOIN products p ON p.id = i.product_id
WHERE i.space_id = :space AND i.removed_at IS NULL AND p.live AND i.product_id > :after
ORDER BY i.product_id LIMIT :limit
""")


@dataclass(frozen=True, slots=True)
class Embedded:
    """Outcomes of the embedding stages of one product by one engine, as they were stored."""

    photos: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    """By photo id."""
    text: Mapping[str, Any] | None = None

    def __bool__(self) -> bool:
        return bool(self.photos) or self.text is not None


@dataclass(frozen=True, slots=True)
class Indexable:
    """A product as the index must know it; ``product`` is None for one that must not be in it.

    ``fields`` are what is served of it, by name, a merchant's corrections over the models' words.
    """

    id: int
    version: int
    source: str
    product: Product | None
    fields: Mapping[str, Any]
    embedded: Mapping[str, Embedded]
    """By engine, ``name@revision``."""


def read(database: Engine, ids: Sequence[int], engines: Sequence[str]) -> list[Indexable]:
    """How these products stand now, with the vectors that ``engines`` made of what is served of them.

    One that was never heard of stands as one that must not be in the index.
    """
    with database.begin() as connection:
        connection.execute(_LOCK, {"ids": sorted(ids)})
        now: int = connection.execute(_NOW).scalar_one()
        rows = connection.execute(_READ, {"ids": list(ids), "stages": list(EMBEDDINGS)}).all()
        chosen = {row.id: _chosen(row.fields or {}, engines) for row in rows if row.live}
        outcomes = _outcomes(connection, chosen)
    unknown = sorted(set(ids) - {row.id for row in rows})
    return [Indexable(number, now, "", None, {}, {}) for number in unknown] + [
        Indexable(
            id=row.id,
            version=row.version if row.live and row.version is not None else now,
            source=row.source,
            product=Product.model_validate(row.facts) if row.live and row.facts is not None else None,
            fields=_served(row),
            embedded={
                engine: _embedded(chosen.get(row.id, {}).get(engine, {}), outcomes) for engine in engines
            },
        )
        for row in rows
    ]


def _served(row: Any) -> Mapping[str, Any]:
    fields = {name: one["value"] for name, one in (row.fields or {}).items()}
    return fields | {name: one["value"] for name, one in (row.corrections or {}).items()}


_Chosen = dict[str, dict[tuple[str, str], str]]


def _chosen(fields: Mapping[str, Any], engines: Sequence[str]) -> _Chosen:
    """By engine, the fingerprint of the newest outcome for each (kind, photo)."""
    newest: dict[tuple[str, str, str], tuple[int, int, str]] = {}
    for one in fields.values():
        kind = EMBEDDINGS.get(one["stage"])
        if kind is not None and one["engine"] in engines:
            key = one["engine"], kind, one["target"]
            held = one["revision"], one["generation"], one["fingerprint"]
            newest[key] = max(newest.get(key, held), held)
    by_engine: _Chosen = {}
    for (engine, kind, target), (_, _, fingerprint) in newest.items():
        by_engine.setdefault(engine, {})[kind, target] = fingerprint
    return by_engine


def _outcomes(connection: Connection, chosen: Mapping[int, _Chosen]) -> Mapping[str, Mapping[str, Any]]:
    wanted = {f for by_engine in chosen.values() for kinds in by_engine.values() for f in kinds.values()}
    if not wanted:
        return {}
    rows = connection.execute(_OUTCOMES, {"fingerprints": sorted(wanted)})
    return {row.fingerprint: row.outcome for row in rows}


def _embedded(chosen: Mapping[tuple[str, str], str], outcomes: Mapping[str, Mapping[str, Any]]) -> Embedded:
    held = {key: outcomes[fingerprint] for key, fingerprint in chosen.items() if fingerprint in outcomes}
    return Embedded(
        photos={target: outcome for (kind, target), outcome in held.items() if kind == "photo"},
        text=next((outcome for (kind, _), outcome in held.items() if kind == "text"), None),
    )


class IndexedPoints:
    """What was last written of each product into each space."""

    def __init__(self, database: Engine) -> None:
        self._database = database

    def written(self, space: Space, points: Mapping[int, int], gone: Mapping[int, int]) -> None:
        """Remember what was written and removed, product row id to version."""
        rows = [
            {"space": space.id, "product": number, "version": version, "removed": removed}
            for several, removed in ((points, False), (gone, True))
            for number, version in sorted(several.items())
        ]
        with self._database.begin() as connection:
            connection.execute(_WRITTEN, {"rows": records(rows)})

    def behind(self, after: int, limit: int) -> list[int]:
        """Live products, by row id, of which the index holds less than is served, and on which nobody works."""
        with self._database.connect() as connection:
            return list(connection.execute(_BEHIND, {"after": after, "limit": limit}).scalars())

    def known(self, space: Space, products: Sequence[int]) -> dict[int, int]:
        """The version last written, or removed, of each of these products that the space knows."""
        with self._database.connect() as connection:
            rows = connection.execute(_KNOWN, {"space": space.id, "products": list(products)})
            return {row.product_id: row.version for row in rows}

    def removed(self, space: Space, grace_s: float, after: int, limit: int) -> dict[int, int]:
        """Products removed from the space within ``grace_s`` seconds, with the version of the removal."""
        values = {"space": space.id, "grace_s": grace_s, "after": after, "limit": limit}
        with self._database.connect() as connection:
            return {row.product_id: row.version for row in connection.execute(_REMOVED, values)}

    def expected(self, space: Space, after: int, limit: int) -> list[tuple[int, int]]:
        """Live products whose points the space must hold, in the order of row ids, with the version written."""
        values = {"space": space.id, "after": after, "limit": limit}
        with self._database.connect() as connection:
            return [(row.product_id, row.version) for row in connection.execute(_EXPECTED, values)]

    def forget_removed(self, grace_s: float) -> int:
        """Let go of removals so old that no write can still follow them."""
        with self._database.begin() as connection:
            return connection.execute(_PAST, {"grace_s": grace_s}).rowcount

    def forget(self, space: Space, products: Sequence[int] | None = None) -> None:
        """Take these products' points, or all of the space, for not written: they will be written again."""
        with self._database.begin() as connection:
            if products is None:
                connection.execute(_NOTHING_WRITTEN, {"space": space.id})
            else:
                connection.execute(_UNWRITTEN, {"space": space.id, "products": list(products)})
