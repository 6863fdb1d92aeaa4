"""A model swap without an outage: fill a new space beside the one that serves, compare, switch, keep the way back.

Every step can be taken again after an interruption: what it does is decided by how the spaces and the alias stand.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from sqlalchemy import Engine, text

from engines.federation import Federation
from engines.protocols import Embedder, Subject
from engines.registry import Engines
from pipeline.errors import ConfigurationError, RejectedInput
from storage.ledger import Ledger
from storage.quotes import Quote, Request, Selection
from storage.replays import Replays
from storage.spaces import Role, Space, Spaces
from storage.vectors import VectorIndex
from workers.bootstrap import EMBEDDER
from workers.keeper import SHADOW_STAGES, end
from workers.search import Search

_TOP = 10
_BYTES_PER_NUMBER = 1.5 * 4
"""Qdrant's rule of thumb for vectors in memory: 1.5 · n · d · 4 bytes."""

_COUNTS = text("""
SELECT count(*) FILTER (WHERE s.written AND (d.version IS NULL OR d.version < pr.version)) AS missing,
       count(*) FILTER (WHERE s.written) AS products
FROM products p JOIN presentations pr ON pr.product_id = p.id
JOIN LATERAL (SELECT EXISTS (SELECT FROM index_points i WHERE i.space_id = :serving AND i.product_id = p.id
    AND i.removed_at IS NULL) AS written) s ON true
LEFT JOIN index_points d ON d.space_id = :shadow AND d.product_id = p.id AND d.removed_at IS NULL
WHERE p.live
""")
_PHOTOS = text("""
SELECT COALESCE(sum(jsonb_array_length(facts->'images')), 0) AS photos, count(*) AS products FROM products WHERE live
""")


@dataclass(frozen=True, slots=True)
class Plan:
    """What a swap would take. ``seconds`` are of one process, from a measured batch; ``bytes`` are of memory."""

    serving: str
    new: str
    dimension: int
    products: int
    photos: int
    seconds: float
    bytes: int


@dataclass(frozen=True, slots=True)
class Fill:
    """How far the shadow space is filled."""

    space: Space
    products: int
    missing: int
    replay: int | None


@dataclass(frozen=True, slots=True)
class Compared:
    """One query answered by both spaces."""

    query: str
    serving: tuple[str, ...]
    shadow: tuple[str, ...]
    seconds: tuple[float, float]

    @property
    def overlap(self) -> float:
        """The share of the longer answer that both have."""
        longest = max(len(self.serving), len(self.shadow))
        return len(set(self.serving) & set(self.shadow)) / longest if longest else 1.0

    @property
    def moved(self) -> float:
        """The mean change of rank of the products that both found."""
        both = set(self.serving) & set(self.shadow)
        return (
            sum(abs(self.serving.index(one) - self.shadow.index(one)) for one in both) / len(both)
            if both
            else 0.0
        )


@dataclass(frozen=True, slots=True)
class Comparison:
    """Many queries answered by both spaces."""

    queries: tuple[Compared, ...]

    @property
    def overlap(self) -> float:
        return float(np.mean([one.overlap for one in self.queries]))

    @property
    def same_first(self) -> float:
        """The share of queries with the same first hit."""
        return float(np.mean([one.serving[:1] == one.shadow[:1] for one in self.queries]))

    def seconds(self, which: int, percentile: float) -> float:
        """Latency of the serving space (0) or its shadow (1)."""
        return float(np.percentile([one.seconds[which] for one in self.queries], percentile))


class Swap:
    """The steps, over one deployment."""

    def __init__(self, ledger: Ledger, index: VectorIndex, engines: Engines, federation: Federation) -> None:
        self._ledger = ledger
        self._database: Engine = ledger.engine
        self._index = index
        self._engines = engines
        self._federation = federation
        self._spaces = Spaces(ledger.engine)

    def plan(self, name: str, photos: int = 8) -> Plan:
        """What it would take to fill a space with the engine's vectors. Changes nothing."""
        label = self._label(name)
        serving = self._spaces.embedders().serving
        if label == serving:
            raise RejectedInput("already-serving", f"{label} serves searches already")
        embedder: Embedder = self._engines.get(label.partition("@")[0])
        each = _seconds_each(embedder, photos)
        with self._database.connect() as connection:
            counts = connection.execute(_PHOTOS).one()
        rows = 2 * int(counts.photos) + int(counts.products)
        return Plan(
            serving=serving,
            new=label,
            dimension=embedder.dimension,
            products=counts.products,
            photos=counts.photos,
            seconds=each * 2 * int(counts.photos),
            bytes=int(rows * embedder.dimension * _BYTES_PER_NUMBER),
        )

    def shadow(self, name: str, *, rate: float | None, window: int) -> tuple[Fill, Quote | None]:
        """Fill the engine's space in the background, or go on filling it; every upload lands in both from now on."""
        space = self._spaces.shadow(self._label(name))
        self._ledger.refresh(now=True)
        replays = Replays(self._database, self._ledger.graph)
        quoted = None
        if space.replay_id is None or not replays.is_active(space.replay_id):
            request = Request(Selection(), stages=SHADOW_STAGES, rate=rate, window=window)
            quoted = replays.quote(request)
            if quoted.products:
                self._spaces.remember_replay(space, replays.create(request))
        return self.fill(), quoted

    def fill(self) -> Fill:
        """How far the shadow is. Raises RejectedInput where there is none."""
        serving, shadow = self._pair()
        values = {"serving": serving.id, "shadow": shadow.id}
        with self._database.connect() as connection:
            row = connection.execute(_COUNTS, values).one()
        return Fill(shadow, row.products, row.missing, shadow.replay_id)

    def compare(self, search: Search, queries: Sequence[str], top: int = _TOP) -> Comparison:
        """Answer the queries from both spaces."""
        serving, shadow = self._pair()
        compared = []
        for query in queries:
            answers, seconds = [], []
            for space in (serving, shadow):
                began = time.perf_counter()
                results = search.find(query, limit=top, space=space)
                seconds.append(time.perf_counter() - began)
                answers.append(tuple("/".join(hit.name) for hit in results.hits))
            compared.append(Compared(query, answers[0], answers[1], (seconds[0], seconds[1])))
        return Comparison(tuple(compared))

    def switch(self, *, incomplete: bool = False) -> tuple[Space, Space]:
        """The shadow serves; what served is filled on as its shadow. Returns both, the serving one first.

        The alias moves first: a search asks it which space to look in, so every search sees one whole space.
        Raises RejectedInput where products are missing in the shadow, unless that is ``incomplete`` on purpose.
        """
        fill = self.fill()
        if fill.missing and not incomplete:
            raise RejectedInput(
                "not-filled",
                f"{fill.missing} of {fill.products} products are not in {fill.space.engine} yet: wait, or see "
                "`vitrine parked`; --incomplete switches all the same",
            )
        if not self._federation.offers(EMBEDDER, fill.space.engine):
            raise ConfigurationError(
                f"this release cannot embed queries with {fill.space.engine}: run the release that can"
            )
        if not self._index.exists(fill.space.collection):
            raise RejectedInput("nothing-filled", f"{fill.space.collection} holds nothing yet")
        self._index.serve(fill.space.collection)
        swapped = self._spaces.swap()
        self._ledger.refresh(now=True)
        return swapped

    def retire(self) -> Space:
        """Give up the shadow: nothing is filled into it any more, and its collection is deleted."""
        serving, shadow = self._pair()
        if self._index.serving() == shadow.collection:
            # A switch was interrupted between alias and table: the alias goes back first.
            self._index.serve(serving.collection)
        retired = self._spaces.retire()
        end(self._ledger, self._index, retired)
        return retired

    def _label(self, name: str) -> str:
        """``name@revision`` of an engine of this release that embeds."""
        return self._federation.spec(EMBEDDER, name).label

    def _pair(self) -> tuple[Space, Space]:
        by_role = {space.role: space for space in self._spaces.active()}
        if Role.SERVING not in by_role or Role.SHADOW not in by_role:
            raise RejectedInput(
                "no-shadow", "no model is in the shadow: begin with `vitrine models shadow embed=NAME`"
            )
        return by_role[Role.SERVING], by_role[Role.SHADOW]


def _seconds_each(embedder: Embedder, photos: int) -> float:
    """Seconds a photo, of one warm batch of noise: what a picture shows does not change what it costs."""
    noise = np.random.default_rng(0).integers(0, 255, (512, 512, 3), dtype=np.uint8)
    batch = [Subject(noise, np.ones(noise.shape[:2], np.float32))] * photos
    embedder.embed_photos(batch[:1])
    began = time.perf_counter()
    embedder.embed_photos(batch)
    return (time.perf_counter() - began) / photos
