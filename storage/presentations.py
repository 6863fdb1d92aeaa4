"""What the storefront reads: one document a product, corrections over models, nothing of a withdrawn one."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import Engine, text

from pipeline.errors import RejectedInput
from pipeline.graph import slot_of

_READ = text("""
SELECT p.source, p.product_id, p.facts, pr.revision, pr.generation, pr.fields, pr.candidate, pr.corrections,
       pr.updated_at, p.id
FROM presentations pr JOIN products p ON p.id = pr.product_id
WHERE p.live AND (CAST(:source AS text) IS NULL OR p.source = :source)
  AND (CAST(:product AS text) IS NULL OR p.product_id = :product) AND p.id > :after
  AND (CAST(:rows AS bigint[]) IS NULL OR p.id = ANY(:rows))
ORDER BY p.id LIMIT :limit
""")
_CORRECT = text("""
UPDATE presentations pr SET corrections = pr.corrections || CAST(:correction AS jsonb), updated_at = now()
FROM products p WHERE p.id = pr.product_id AND p.live AND p.product_id = :product
  AND (CAST(:source AS text) IS NULL OR p.source = :source)
""")
_RETRACT = text("""
UPDATE presentations pr SET corrections = pr.corrections - CAST(:field AS text), updated_at = now()
FROM products p WHERE p.id = pr.product_id AND p.product_id = :product
  AND (CAST(:source AS text) IS NULL OR p.source = :source)
""")
_PROMOTE = text("""
UPDATE presentations pr SET fields = pr.fields || pr.candidate, candidate = '{}', updated_at = now(),
    generation = GREATEST(pr.generation, p.generation)
FROM products p JOIN replay_items i ON i.product_id = p.id
WHERE p.id = pr.product_id AND i.replay_id = :replay AND pr.candidate <> '{}' AND p.live
""")
_DISCARD = text("""
UPDATE presentations pr SET candidate = '{}', updated_at = now() FROM replay_items i
WHERE i.product_id = pr.product_id AND i.replay_id = :replay AND pr.candidate <> '{}'
""")


_ANY = {"source": None, "product": None, "rows": None, "after": 0}


class Presentations:
    """Reads and corrects presentations; only the ledger writes what models say."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def read(self, product: str, source: str | None = None) -> Mapping[str, Any] | None:
        """The document of one product, None when there is none or it is withdrawn."""
        return next(self.all(source=source, product=product), None)

    def all(
        self, *, source: str | None = None, product: str | None = None, page: int = 200
    ) -> Iterator[Mapping[str, Any]]:
        """Every document, in bounded memory."""
        after = 0
        while True:
            with self._engine.connect() as connection:
                values = {**_ANY, "source": source, "product": product, "after": after, "limit": page}
                rows = connection.execute(_READ, values).all()
            for row in rows:
                yield document(row)
            if len(rows) < page:
                return
            after = rows[-1].id

    def of(self, rows: Sequence[int]) -> dict[int, Mapping[str, Any]]:
        """The documents of live products by row id; those that are withdrawn are left out."""
        with self._engine.connect() as connection:
            found = connection.execute(_READ, {**_ANY, "rows": list(rows), "limit": len(rows)}).all()
        return {row.id: document(row) for row in found}

    def correct(
        self, product: str, field: str, value: Any, *, by: str, at: datetime, source: str | None = None
    ) -> None:
        """A merchant's word on a field: it outranks every model's and survives every replay."""
        correction = {field: {"value": value, "by": by, "at": at.isoformat()}}
        self._write(
            _CORRECT, product, {"correction": json.dumps(correction, ensure_ascii=False), "source": source}
        )

    def uncorrect(self, product: str, field: str, source: str | None = None) -> None:
        """Take a correction back; the model's word is served again."""
        self._write(_RETRACT, product, {"field": field, "source": source})

    def promote(self, replay: int) -> int:
        """Serve what a reviewed replay proposed; returns how many products changed."""
        with self._engine.begin() as connection:
            return connection.execute(_PROMOTE, {"replay": replay}).rowcount

    def discard(self, replay: int) -> int:
        """Drop what a reviewed replay proposed; returns how many products had something."""
        with self._engine.begin() as connection:
            return connection.execute(_DISCARD, {"replay": replay}).rowcount

    def _write(self, statement: Any, product: str, values: Mapping[str, Any]) -> None:
        with self._engine.begin() as connection:
            if connection.execute(statement, {"product": product, **values}).rowcount == 0:
                raise RejectedInput("unknown-product", f"no presentation of {product!r}: see `vitrine show`")


def document(row: Any) -> dict[str, Any]:
    """One presentation as the storefront gets it; ``provenance`` says of each field where it came from."""
    facts = row.facts or {}
    fields = dict(row.fields)
    images: list[dict[str, Any]] = []
    for image in sorted(facts.get("images", ()), key=lambda i: (i["position"], i["id"])):
        own = {key.split("/", 1)[0]: f["value"] for key, f in fields.items() if f["target"] == image["id"]}
        own |= {
            key.split("/", 1)[0]: c["value"]
            for key, c in row.corrections.items()
            if key.partition("/")[2] == image["id"]
        }
        images.append({"id": image["id"], "role": image["role"], **own})
    whole: dict[str, Any] = {key: f["value"] for key, f in fields.items() if not f["target"]}
    for key, field in fields.items():
        if slot := slot_of(field["target"]):
            whole.setdefault(key.split("/", 1)[0], {})[slot] = field["value"]
    whole |= {key: c["value"] for key, c in row.corrections.items() if "/" not in key}
    return {
        "source": row.source,
        "product_id": row.product_id,
        "revision": row.revision,
        "generation": row.generation,
        "updated_at": row.updated_at.isoformat(),
        **{
            key: facts.get(key)
            for key in ("title", "brand", "category", "locale", "price", "availability", "tier")
        },
        **whole,
        "images": images,
        "provenance": {
            key: {k: f[k] for k in ("stage", "engine", "revision", "generation", "fingerprint")}
            for key, f in fields.items()
        },
        "corrections": row.corrections,
        "candidate": {key: f["value"] for key, f in row.candidate.items()},
    }
