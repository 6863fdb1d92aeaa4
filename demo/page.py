"""The demo's page: static, self-contained, every picture and document beside it, every text escaped."""

from __future__ import annotations

import hashlib
import io
import json
import os
import shutil
import sys
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from PIL import Image

from demo.cards import Card, Shown, card, shown
from demo.photographs import LeftOut, Photographs
from demo.searches import Asked
from demo.watch import Standing
from engines.devices import Device
from engines.kit import Artifact, Kit
from engines.registry import Engines, EngineSpec
from pipeline.events import ProductEvent
from pipeline.graph import StageGraph
from pipeline.outcomes import Blob
from storage.assets import EXTENSIONS, Assets
from storage.presentations import Presentations
from storage.timeline import Timeline
from tasks._stage import load_stages

THUMBNAIL_EDGE: Final = 512
"""The longest side of a picture on the page, in pixels."""

VERDICTS: Final[Mapping[str, str]] = MappingProxyType(
    {
        "done": "complete",
        "degraded": "in part",
        "rejected": "rejected",
        "superseded": "superseded",
        "withdrawn": "withdrawn",
        "open": "in work",
    }
)


@dataclass(frozen=True, slots=True)
class About:
    """What the page says beside the products."""

    stages: Mapping[str, str]
    engines: tuple[EngineSpec, ...]
    artifacts: Mapping[str, Artifact]
    packages: tuple[Artifact, ...]
    left_out: tuple[LeftOut, ...]


def about(graph: StageGraph, kit: Kit, shots: Photographs) -> About:
    """The stages in their order, the engines that serve them with what they build on, the photographs."""
    stages = load_stages()
    engines = Engines(kit, Device("cpu", "float32", 1))
    names: dict[str, None] = {}
    waiting = [recipe.engine for recipe in graph.recipes.values() if recipe.engine]
    while waiting:
        names[waiting[0]] = None
        waiting = [*waiting[1:], *(need for need in engines.spec(waiting[0]).needs if need not in names)]
    return About(
        stages={name: _duty(stages[name].compute) for name in graph.stages},
        engines=tuple(engines.spec(name) for name in names),
        artifacts={artifact.name: artifact for artifact in kit.artifacts()},
        packages=shots.packages,
        left_out=shots.left_out,
    )


class Page:
    """Writes ``index.html`` into a folder, as often as asked; what did not change is not made again."""

    def __init__(
        self,
        folder: Path,
        events: Iterable[ProductEvent],
        about: About,
        presentations: Presentations,
        timeline: Timeline,
        assets: Assets,
    ) -> None:
        self.file = folder / "index.html"
        self._folder = folder
        self._events = {(event.source, event.product_id): event for event in events}
        self._about = about
        self._presentations = presentations
        self._timeline = timeline
        self._assets = assets
        self._cards: dict[tuple[str, str], tuple[str, Card]] = {}
        self._written: set[Path] = {self.file}
        self._templates = {engine.name for engine in about.engines if engine.template}

    def write(
        self,
        standing: Standing,
        seconds: float | None,
        asked: Sequence[Asked] = (),
        waiting: Sequence[Mapping[str, Any]] = (),
    ) -> None:
        """Write the page of the products that have their verdict; ``seconds`` is None while more is to come.

        ``waiting`` are the reviews that are open.
        """
        cards = self._read({(product.source, product.product_id) for product in standing.finished})
        blobs = [blob for item in cards for shot in item.shots for blob in (shot.photo, shot.cutout) if blob]
        with ThreadPoolExecutor() as pool:
            list(pool.map(self._thumbnail, blobs))
        self._place(
            self.file,
            render(
                cards,
                standing,
                self._about,
                seconds=seconds,
                asked=asked,
                waiting=[
                    (", ".join(one["products"]), shown(one["outcome"], one["engine"])) for one in waiting
                ],
                keys={name: made.key for name, (_, made) in self._cards.items()},
                picture=self._thumbnail,
                original=self._original,
            ).encode(),
        )
        if seconds is not None:
            self._tidy()

    def _read(self, finished: set[tuple[str, str]]) -> list[Card]:
        """The cards of finished products, in the catalog's order; a withdrawn product has none."""
        found: dict[tuple[str, str], Card] = {}
        for source in sorted({source for source, _ in finished}):
            for document in self._presentations.all(source=source):
                name = (source, document["product_id"])
                if name in finished:
                    found[name] = self._card(name, document)
        return [found[name] for name in self._events if name in found]

    def _card(self, name: tuple[str, str], document: Mapping[str, Any]) -> Card:
        updated, made = self._cards.get(name, ("", None))
        if made is None or updated != document["updated_at"]:
            key = hashlib.sha256("\0".join(name).encode()).hexdigest()[:16]
            history = self._timeline.show(name[1], name[0])
            made = card(key, document, history, lambda label: label.partition("@")[0] in self._templates)
            products = self._folder / "products"
            shown = json.dumps(document, ensure_ascii=False, indent=2, default=str)
            self._place(products / f"{key}.json", shown.encode())
            event = json.dumps(json.loads(self._events[name].to_json()), ensure_ascii=False, indent=2)
            self._place(products / f"{key}.event.json", event.encode())
            self._cards[name] = (document["updated_at"], made)
        return made

    def _thumbnail(self, blob: Mapping[str, Any]) -> str:
        """Where the page finds a picture small enough for it, made on first use."""
        path = self._folder / "assets" / f"{blob['digest']}.{THUMBNAIL_EDGE}.webp"
        if path not in self._written:
            if not path.exists():
                self._place(path, thumbnail(self._assets.get(_blob(blob))))
            self._written.add(path)
        return path.relative_to(self._folder).as_posix()

    def _original(self, blob: Mapping[str, Any]) -> str:
        """Where the page finds the whole picture: a hard link into the asset store where that is possible."""
        path = self._folder / "assets" / f"{blob['digest']}.{EXTENSIONS[blob['media_type']]}"
        if path not in self._written:
            path.parent.mkdir(parents=True, exist_ok=True)
            stored = self._assets.local_path(blob["digest"], blob["media_type"])
            if not path.exists():
                assert stored is not None, "the embedded stack keeps its assets on the local disk"
                try:
                    os.link(stored, path)
                except OSError:
                    shutil.copyfile(stored, path)
            self._written.add(path)
        return path.relative_to(self._folder).as_posix()

    def _place(self, path: Path, content: bytes) -> None:
        """Write a file that a browser may be reading."""
        path.parent.mkdir(parents=True, exist_ok=True)
        scratch = path.with_name(f".{path.name}")
        scratch.write_bytes(content)
        scratch.replace(path)
        self._written.add(path)

    def _tidy(self) -> None:
        """Remove what an earlier page showed and this one does not: its product may have been withdrawn."""
        for name in ("assets", "products"):
            for path in (self._folder / name).glob("*"):
                if path not in self._written:
                    path.unlink()


def thumbnail(data: bytes) -> bytes:
    """One of our own pictures at most ``THUMBNAIL_EDGE`` pixels long, as WebP with its transparency.

    Not through ``storage.pictures``, which lays see-through pixels over white and so gives a cut-out a seam.
    """
    with Image.open(io.BytesIO(data), formats=("JPEG", "PNG", "WEBP")) as image:
        image.thumbnail((THUMBNAIL_EDGE, THUMBNAIL_EDGE))
        out = io.BytesIO()
        image.save(out, "WEBP", quality=82, method=2)
    return out.getvalue()


def render(
    cards: list[Card],
    standing: Standing,
    about: About,
    *,
    seconds: float | None,
    asked: Sequence[Asked] = (),
    waiting: Sequence[tuple[str, Shown]] = (),
    keys: Mapping[tuple[str, str], str] = MappingProxyType({}),
    picture: Any,
    original: Any,
) -> str:
    """The page as HTML; ``picture`` and ``original`` give a blob's relative URL, small and whole."""
    folder = Path(__file__).parent
    environment = Environment(
        loader=FileSystemLoader(folder),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template("page.html.j2").render(
        cards=cards,
        standing=standing,
        about=about,
        seconds=seconds,
        asked=asked,
        waiting=waiting,
        keys=keys,
        picture=picture,
        original=original,
        verdicts=VERDICTS,
        counts=Counter(item.verdict for item in cards),
        groups=sorted({item.group for item in cards if item.group}),
        hues={name: number % 8 for number, name in enumerate(about.stages)},
    )


def _duty(compute: Callable[..., Any]) -> str:
    """The first line of the module that a stage lives in."""
    return (sys.modules[compute.__module__].__doc__ or "").strip().partition("\n")[0]


def _blob(value: Mapping[str, Any]) -> Blob:
    return Blob(digest=value["digest"], media_type=value["media_type"], size=value["size"])
