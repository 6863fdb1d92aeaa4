"""What merchants corrected, read from the database with what the shop knows of each product."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import partial
from typing import Any

from engines.training.pairs import Corrected, Photograph
from pipeline.products import Product
from storage.presentations import Presentations
from storage.timeline import Timeline
from tasks._runtime import Runtime, catalog_facts
from tasks.photo import Photo
from tasks.read_text import ReadText
from tasks.screen import Screened


def read_corrections(runtime: Runtime) -> Iterator[Corrected]:
    """Every product with corrections that is shown now, as the shop shows it: corrections included."""
    timeline = Timeline(runtime.ledger.engine, runtime.ledger.graph)
    for shown in Presentations(runtime.ledger.engine).all():
        if shown["corrections"]:
            known = timeline.show(shown["product_id"], shown["source"])
            yield Corrected(
                name=f"{shown['source']} {shown['product_id']}",
                facts=catalog_facts(Product.model_validate(known["facts"])),
                tags=_tags(shown),
                photos=tuple(_photographs(runtime, known)),
                words={name: entry["value"] for name, entry in shown["corrections"].items()},
            )


def _tags(shown: Mapping[str, Any]) -> tuple[tuple[str, str], ...]:
    """The tags of a product; a merchant's may have any form, and what is none is passed over."""
    held = shown.get("tags") or ()
    return tuple(
        (tag["attribute"], tag["value"])
        for tag in held
        if isinstance(tag, Mapping)
        and isinstance(tag.get("attribute"), str)
        and isinstance(tag.get("value"), str)
    )


def _photographs(runtime: Runtime, known: Mapping[str, Any]) -> Iterator[Photograph]:
    """The photos that may be shown, in their order, as far as their files are there."""
    done: dict[str, dict[str, Any]] = {"photo": {}, "screen": {}, "read_text": {}}
    for run in known["runs"]:
        if run["stage"] in done and run["outcome"] is not None:
            done[run["stage"]][run["target"]] = run["outcome"]
    images = Product.model_validate(known["facts"]).images
    for image in sorted(images, key=lambda one: (one.position, one.id)):
        if image.id not in done["photo"] or image.id not in done["screen"]:
            continue
        if Screened.model_validate(done["screen"][image.id]).blocks():
            continue
        blob = Photo.model_validate(done["photo"][image.id]).image
        if runtime.holds(blob):
            text = done["read_text"].get(image.id)
            printed = ReadText.model_validate(text).printed() if text else ()
            yield Photograph(image.id, blob.digest, printed, partial(runtime.pixels, blob))
