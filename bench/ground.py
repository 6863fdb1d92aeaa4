"""The ground a measurement stands on: real servers with fsync, made-up products, canned outcomes."""

from __future__ import annotations

import hashlib
import itertools
import json
import platform
import shutil
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from rich.table import Table
from sqlalchemy import Engine, text

from engines.protocols import Witness
from pipeline.events import Event, parse_event
from pipeline.graph import StageGraph
from pipeline.outcomes import Blob, Outcome
from storage.database import open_database
from storage.ledger import Ledger
from storage.migrations import upgrade
from tasks._runtime import Runtime
from tasks._stage import Item, Stage, load_stages
from tasks.caption import Captioned
from tasks.cutout import CutOut
from tasks.embed_image import EmbeddedImage, Vector
from tasks.embed_text import EmbeddedText
from tasks.garment import GarmentMapped
from tasks.index import Indexed
from tasks.photo import Photo
from tasks.pitch import Pitched, PointValue, Rest
from tasks.read_text import LineValue, ReadText
from tasks.screen import Screened
from tasks.tag import EvidenceValue, Tagged, TagValue, Words
from workers.bootstrap import build_graph
from workers.embedded import PostgresServer
from workers.settings import Settings

_numbers = itertools.count()


@dataclass(frozen=True, slots=True)
class Row:
    """One line of the table: what was measured, against what, and what it was meant to be."""

    name: str
    value: str
    aim: str
    met: bool | None
    notes: str = ""


def table(rows: Sequence[Row]) -> Table:
    """The rows as they are printed."""
    made = Table(
        title=f"{platform.machine()}, Python {platform.python_version()}, Postgres with fsync",
        show_lines=True,
    )
    for column in ("measured", "value", "meant to be", "", "notes"):
        made.add_column(column)
    for row in rows:
        verdict = {True: "yes", False: "NO", None: ""}[row.met]
        made.add_row(row.name, row.value, row.aim, verdict, row.notes)
    return made


@dataclass(slots=True)
class Ground:
    """Servers and a folder for one bench run."""

    folder: Path
    postgres: PostgresServer
    rows: list[Row] = field(default_factory=list)

    def ledger(self) -> Ledger:
        """A ledger on a fresh, migrated database, over the real graph."""
        engine = open_database(self.postgres.create_database(f"bench_{next(_numbers)}"))
        upgrade(engine)
        return Ledger(engine, graph())


@contextmanager
def prepared() -> Iterator[Ground]:
    """Servers that are gone afterwards."""
    folder = Path(tempfile.mkdtemp(prefix="vb-"))
    folder.chmod(0o755)
    server = PostgresServer(folder / "pg")
    try:
        with server:
            yield Ground(folder, server)
    finally:
        server.remove()
        shutil.rmtree(folder, ignore_errors=True)


def graph() -> StageGraph:
    """The graph of this release with the default settings."""
    return build_graph(Settings())


def messages(count: int, first: int = 0, prefix: str = "p") -> list[bytes]:
    """Uploads as a catalog system writes them: two photos, a price, a description."""
    return [
        json.dumps(
            {
                "specversion": "1.0",
                "id": f"{prefix}{n}-1",
                "source": f"urn:shop:{n % 7}",
                "type": "product.uploaded.v1",
                "time": "2026-03-01T12:00:00+00:00",
                "data": {
                    "product_id": f"{prefix}{n}",
                    "revision": 1,
                    "title": f"Running shoe number {n}",
                    "description": "Light, and made for long distances on hard ground. " * 4,
                    "category": "footwear/shoes",
                    "brand": "Vitrine",
                    "price": {"amount": "89.90", "currency": "EUR"},
                    "images": [{"id": "front", "url": f"https://cdn.shop.example/{prefix}{n}/front.jpg"}],
                },
            }
        ).encode()
        for n in range(first, first + count)
    ]


def events(count: int, first: int = 0, prefix: str = "p") -> list[tuple[Event, bytes]]:
    """The same, parsed."""
    return [(parse_event(raw), raw) for raw in messages(count, first, prefix)]


def stub_stages(item_s: float = 0.0) -> dict[str, Stage]:
    """The stages of this release, answered from memory after ``item_s`` seconds an item."""

    def answer(name: str, items: Sequence[Item]) -> list[Outcome]:
        return [canned(name, item.claimed.product_id, item.claimed.target) for item in items]

    def function(name: str) -> Stage:
        spec = load_stages()[name].spec

        def compute(items: Sequence[Item], _: Runtime) -> list[Outcome]:
            time.sleep(item_s * len(items))
            return answer(name, items)

        return Stage(spec, compute)

    return {name: function(name) for name in load_stages()}


def canned(stage: str, product: str, target: str) -> Outcome:
    """An outcome of the usual size, different for every photo."""
    key = f"{product}/{target}"
    match stage:
        case "photo":
            return Photo(
                original=_blob(key),
                image=_blob(key),
                width=1600,
                height=1200,
                dhash="0" * 16,
                transparent=False,
            )
        case "screen":
            return Screened(unsafe=0.01, unsafe_from=0.8, image=_blob(key), width=1600, height=1200)
        case "read_text":
            return ReadText(lines=(LineValue(text=key, confidence=0.9, box=(0.2, 0.2, 0.6, 0.3)),))
        case "cutout":
            return CutOut(
                mask=_blob(key),
                picture=_blob(key),
                box=(10, 10, 900, 900),
                coverage=0.4,
                edge_softness=0.05,
                sureness=0.9,
                width=1600,
                height=1200,
            )
        case "caption":
            return Captioned(en=f"A red shoe, seen from the side: {key}", zh=f"一只红色的鞋，侧面：{key}")
        case "tag":
            return Tagged(
                tags=tuple(
                    TagValue(
                        attribute=a,
                        value="v",
                        name=Words(en="name", zh="名"),
                        en="value",
                        zh="值",
                        confidence=0.8,
                        evidence=(EvidenceValue(witness=Witness.CATALOG, words=key),),
                        reason=None,
                    )
                    for a in ("category", "type", "colour", "colour_share", "style")
                ),
                keywords=(),
                flags=(),
                dropped=(),
            )
        case "pitch":
            rests_on = (Rest(attribute="category", value="v"),)
            return Pitched(
                points=(PointValue(en=f"A red shoe: {key}.", zh=f"红色的鞋：{key}。", rests_on=rests_on),)
            )
        case "garment":
            return GarmentMapped(kind=None, types=(), photos=())
        case "embed_image":
            return EmbeddedImage(image=_vector(key), cutout=_vector(f"{key}/cutout"))
        case "embed_text":
            return EmbeddedText(text=_vector(key))
        case "index":
            return Indexed(collections=("bench",))
    raise ValueError(f"no canned outcome for stage {stage}: add one")


def _vector(key: str) -> Vector:
    seed = int.from_bytes(hashlib.sha256(key.encode()).digest()[:8])
    return Vector.of(np.random.default_rng(seed).normal(size=512).astype(np.float32))


def _blob(key: str) -> Blob:
    return Blob(digest=hashlib.sha256(key.encode()).hexdigest(), media_type="image/jpeg", size=123_456)


def store_blobs(engine: Engine, count: int, prefix: str = "p", first: int = 0) -> None:
    """The rows of the blobs that the canned outcomes name: asset writes are not part of the measurement."""
    digests = [_blob(f"{prefix}{n}/front").digest for n in range(first, first + count)]
    with engine.begin() as connection:
        connection.execute(
            text(
                "INSERT INTO assets (digest, media_type, size) "
                "SELECT d, 'image/jpeg', 123456 FROM unnest(CAST(:digests AS text[])) d ON CONFLICT DO NOTHING"
            ),
            {"digests": digests},
        )


@contextmanager
def clock() -> Iterator[list[float]]:
    """Seconds of wall time, in the list's only item once the block ends."""
    taken = [0.0]
    started = time.perf_counter()
    yield taken
    taken[0] = time.perf_counter() - started
