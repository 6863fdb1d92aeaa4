"""``python -m demo.gallery``: every product of the demo in every setting that suits it and in every shape.

The stages' own functions without the pipeline around them: cut out, tagged, rendered, proven. What could not be
shown, or not proven, is on the page with its reason.
"""

from __future__ import annotations

import hashlib
import multiprocessing
import os
import sys
from collections.abc import Iterator, Mapping
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Final
from urllib.parse import unquote, urlsplit

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from PIL import Image
from rich.console import Console
from rich.progress import track

from demo.photographs import photographs
from engines.devices import Device
from engines.federation import Federation
from engines.protocols import Subject, Tag
from engines.registry import Engines
from engines.scenes.certificate import Judges
from engines.scenes.making import Order, make
from engines.scenes.placement import Aspect
from engines.scenes.presets import Preset, read_presets, suited
from engines.scenes.standing import stands
from engines.words.trust import review
from engines.words.vocabulary import vocabulary
from pipeline.errors import RejectedInput, VitrineError
from pipeline.products import Product
from storage.pictures import decode
from tasks._runtime import catalog_facts
from tasks._stage import load_stages
from tasks.cutout import judge
from workers.bootstrap import build_engines, build_federation, build_kit
from workers.settings import settings

_FOLDER: Final = Path("build/gallery")


@dataclass(frozen=True, slots=True)
class Picture:
    """One of a product's pictures on the page; ``why`` says what keeps it from being served."""

    preset: str
    aspect: str
    file: str
    why: tuple[str, ...]
    attempts: int


@dataclass(frozen=True, slots=True)
class Shelf:
    """A product with all its pictures, or why there are none."""

    product: str
    title: str
    pictures: tuple[Picture, ...]
    why: str = ""


def main() -> int:
    """Render everything and write the page; the exit code."""
    console = Console(highlight=False)
    try:
        shots = photographs(build_kit(settings()), console.print)
    except VitrineError as error:
        Console(stderr=True, highlight=False).print(str(error), markup=False, soft_wrap=True)
        return 1
    products = [event.data for event in shots.events]
    (_FOLDER / "pictures").mkdir(parents=True, exist_ok=True)
    # Spawned: a forked child of a process that has run torch hangs.
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(os.cpu_count(), mp_context=context) as pool:
        shelves = list(track(pool.map(shelf, products), "rendering", len(products), console=console))
    page = _FOLDER / "index.html"
    page.write_text(render(shelves), "utf-8")
    made = [picture for one in shelves for picture in one.pictures]
    proven = sum(not picture.why for picture in made)
    console.print(
        f"{len(made)} pictures of {sum(bool(s.pictures) for s in shelves)} products, {proven} proven"
    )
    console.print(f"Look at {page.absolute().as_uri()}", soft_wrap=True)
    return 0


@cache
def _engines() -> tuple[Engines, Federation]:
    engines = build_engines(settings(), Device.choose(threads=1))
    return engines, build_federation(settings(), engines)


def shelf(product: Product) -> Shelf:
    """All pictures of one product."""
    engines, federation = _engines()
    try:
        subject, tags = _seen(product)
        presets = suited(read_presets(settings().presets), tags, stands(subject.alpha))
    except RejectedInput as error:
        return Shelf(product.product_id, product.title, (), str(error))
    judges = Judges(
        *(engines.get(federation.engine(role)) for role in ("segmenter", "image_encoder", "text_reader"))
    )
    orders = list(_orders(subject, tags, presets))
    pictures = []
    for order, made in zip(
        orders, make(orders, engines.get(federation.engine("scene_renderer")), judges), strict=True
    ):
        if isinstance(made, RejectedInput):
            pictures.append(Picture(order.preset.en, order.aspect, "", (str(made),), 0))
            continue
        name = hashlib.sha256(product.product_id.encode()).hexdigest()[:12]
        file = f"pictures/{name}-{order.preset.name}-{order.aspect}.webp"
        Image.fromarray(made.picture).save(_FOLDER / file, "WEBP", quality=88, method=2)
        pictures.append(
            Picture(order.preset.en, order.aspect, file, made.certificate.failures, made.attempts)
        )
    return Shelf(product.product_id, product.title, tuple(pictures))


def _seen(product: Product) -> tuple[Subject, tuple[Tag, ...]]:
    """The first photo cut out, and what the tagger says of it."""
    engines, federation = _engines()
    first = min(product.images, key=lambda image: (image.position, image.id))
    picture = decode(Path(unquote(urlsplit(first.url).path)).read_bytes()).pixels
    facts = catalog_facts(product)
    [alpha] = engines.get(federation.engine("segmenter")).segment([picture], [facts])
    judge(alpha, load_stages()["cutout"].spec.params)
    subject = Subject(picture, alpha, facts=facts)
    [tags] = engines.get(federation.engine("tagger")).tag([[subject]])
    if isinstance(tags, RejectedInput):
        raise tags
    return subject, review(vocabulary(), tags, facts).tags


def _orders(subject: Subject, tags: tuple[Tag, ...], presets: list[Preset]) -> Iterator[Order]:
    for preset in presets:
        for number, aspect in enumerate(Aspect):
            yield Order("", subject, tags, preset, aspect, number)


def render(shelves: list[Shelf]) -> str:
    """The page as HTML."""
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    counted: Mapping[str, Any] = {
        "made": sum(len(one.pictures) for one in shelves),
        "proven": sum(not picture.why for one in shelves for picture in one.pictures),
    }
    return environment.get_template("gallery.html.j2").render(shelves=shelves, counted=counted)


if __name__ == "__main__":
    sys.exit(main())
