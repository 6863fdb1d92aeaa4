"""A graph whose embedder is a table of words, for tests of the index: everything else in it is real."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt
from sqlalchemy import Engine

from engines.declaration import Loading, Registration
from engines.devices import Device
from engines.federation import Federation
from engines.kit import Kit
from engines.protocols import Subject
from engines.registry import Engines
from pipeline.graph import Scope, StageGraph, StageSpec
from pipeline.keys import Recipe
from pipeline.outcomes import Lane, Outcome
from pipeline.routing import Rule
from storage.ledger import Claimed, Ledger, Result
from storage.spaces import Embedders, Spaces
from storage.vectors import VectorIndex
from tasks._indexing import synchronise
from tasks._stage import load_stages
from tasks.embed_image import EmbeddedImage, Vector
from tasks.embed_text import EmbeddedText
from tasks.index import Indexed
from tasks.shadow import ShadowIndexed
from tests.factories import Fetched

DIMENSION = 16


class _Table:
    """Embeds a text as a random row of its own: only the same words are near."""

    version: ClassVar[int] = 1

    def __init__(self, loading: Loading) -> None:
        self._name = loading.registration.name

    def warm_up(self) -> None: ...

    @property
    def dimension(self) -> int:
        return DIMENSION

    def embed_texts(self, texts: Sequence[str]) -> npt.NDArray[np.float32]:
        return np.stack([_row(text, self._name) for text in texts])

    def embed_photos(self, subjects: Sequence[Subject]) -> npt.NDArray[np.float32]:
        return np.stack([_row(str(subject.picture.tobytes()), self._name) for subject in subjects])


def _row(word: str, name: str) -> npt.NDArray[np.float32]:
    seed = int.from_bytes(hashlib.sha256(f"{name} {word}".encode()).digest()[:8])
    row = np.random.default_rng(seed).normal(size=DIMENSION).astype(np.float32)
    return row / np.linalg.norm(row) if word.strip() else np.zeros(DIMENSION, np.float32)


def _registered(name: str) -> Registration:
    return Registration(
        name=name,
        adapter=_Table,
        capabilities=("Embedder",),
        artifacts=(),
        needs=(),
        data=(),
        parts=(),
        reads=(),
        licence="none",
        batch=8,
        memory_mb=1,
        template=False,
        remote=False,
        hub="",
        extra="kit",
    )


ENGINES = Engines(
    Kit(),
    Device("cpu", "float32", 1),
    registered={name: _registered(name) for name in ("old_table", "new_table")},
)
FEDERATION = Federation(ENGINES, {"embedder": "old_table"})
OLD, NEW = ENGINES.spec("old_table").label, ENGINES.spec("new_table").label


def vector(word: str, engine: str = OLD) -> Vector:
    """The engine's unit vector for a word."""
    return Vector.of(_row(word, engine.partition("@")[0]))


def graph(embedders: Embedders) -> StageGraph:
    """fetch → embed_image, embed_text → index, and the shadow's where there is one."""
    real = {name: stage.spec for name, stage in load_stages().items()}
    fetch = StageSpec(
        "fetch",
        1,
        Scope.IMAGE,
        Fetched,
        reads=lambda p, i: i.sha256 or [i.url, p.revision] if i else None,
        queue="fetch",
    )
    specs = [fetch]
    rules: dict[str, tuple[Rule, ...]] = {}
    for prefix, label in (("embed", embedders.serving), ("shadow", embedders.shadow)):
        if not label:
            continue
        specs += [
            replace(real[f"{prefix}_image"], needs=(Fetched,), uses=()),
            replace(real[f"{prefix}_text"], needs=(Fetched,), uses=(), reads=lambda p, i: p.title),
        ]
        kinds = (real[f"{prefix}_image"].produces, real[f"{prefix}_text"].produces)
        specs.append(replace(real["index" if prefix == "embed" else "shadow_index"], uses=kinds))
        for kind in ("image", "text"):
            recipe = Recipe(f"embed_{kind}", 1)
            rules[f"{prefix}_{kind}"] = FEDERATION.only("embedder", label, recipe)
    return StageGraph(specs, {}, rules)


@dataclass
class Shop:
    """A ledger, an index, and workers that do what is ready when asked."""

    database: Engine
    index: VectorIndex
    ledger: Ledger = field(init=False)

    def __post_init__(self) -> None:
        self.spaces = Spaces(self.database)
        self.spaces.found(OLD)
        self.ledger = Ledger(self.database, graph(self.spaces.embedders()), self._follow)

    def _follow(self, _: bool) -> StageGraph:
        return graph(self.spaces.embedders())

    def publish(self, *events: Any) -> None:
        """Accept the events and plan them."""
        self.ledger.refresh()
        self.ledger.accept(list(events))
        self.ledger.plan()

    def work(self, stages: Sequence[str] | None = None) -> int:
        """Do all that is ready, of some stages or of all; returns how many jobs were done."""
        self.ledger.refresh()
        count = 0
        while True:
            done = 0
            for name, spec in self.ledger.graph.stages.items():
                if stages is not None and name not in stages:
                    continue
                claimed, _ = self.ledger.claim(spec, [], lane=Lane.LIVE, limit=50, worker="test")
                more, _ = self.ledger.claim(spec, [], lane=Lane.BACKFILL, limit=50, worker="test")
                results = [
                    Result(item.job_id, item.token, self.compute(item, name)) for item in claimed + more
                ]
                if results:
                    self.ledger.settle(results)
                done += len(results)
            if not done:
                return count
            count += done

    def compute(self, item: Claimed, stage: str) -> Outcome:
        """What the stage makes of the item."""
        if stage == "fetch":
            assert item.image is not None
            return Fetched(content=item.image.sha256 or item.image.url)
        if stage in ("index", "shadow_index"):
            synchronise(self.database, self.index, [item.product_row])
            return Indexed(collections=()) if stage == "index" else ShadowIndexed(collections=())
        serving = stage.startswith("embed")
        embedders = self.spaces.embedders()
        engine = embedders.serving if serving else embedders.shadow
        if stage.endswith("text"):
            return EmbeddedText(text=vector(item.product.title, engine))
        [(_, fetched)] = item.inputs["fetch"]
        assert isinstance(fetched, Fetched)
        # A photo without a digest shows what the title says.
        shows = fetched.content if len(fetched.content) == 64 else item.product.title
        return EmbeddedImage(image=vector(shows, engine), cutout=None)

    def points(self, engine: str = OLD) -> dict[str, dict[str, Any]]:
        """The payloads of the engine's collection by product id, with the stored photo vectors."""
        [space] = [space for space in self.spaces.all() if space.engine == engine]
        if not self.index.exists(space.collection):
            return {}
        found, _ = self.index.client.scroll(
            space.collection, limit=1000, with_payload=True, with_vectors=True
        )
        return {
            record.payload["product_id"]: record.payload | {"vectors": record.vector}
            for record in found
            if record.payload
        }
