"""Read a product's attributes off all its photos, each with its confidence and what it rests on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from engines.protocols import CatalogFacts, Subject, Tagger
from pipeline.events import ImageRef, Product
from pipeline.graph import Scope
from pipeline.outcomes import Outcome, Value
from tasks._runtime import Runtime
from tasks._stage import Item, stage
from tasks.caption import Captioned, subject
from tasks.cutout import CutOut
from tasks.photo import Photo


class TagValue(Value):
    """One attribute's value in both languages."""

    attribute: str
    value: str
    en: str
    zh: str
    confidence: float
    evidence: str


class Tagged(Outcome):
    """What could be told of a product; an attribute that could not is not in it."""

    tags: tuple[TagValue, ...]


def _present(outcome: Tagged) -> Mapping[str, Any]:
    return {"tags": [tag.model_dump() for tag in outcome.tags]}


def _facts(product: Product) -> dict[str, Any]:
    return {
        "title": product.title,
        "description": product.description,
        "category": product.category,
        "brand": product.brand,
        "tags": list(product.tags),
    }


def _reads(product: Product, _: ImageRef | None) -> Any:
    return _facts(product)


@stage(
    version=1,
    scope=Scope.PRODUCT,
    produces=Tagged,
    needs=(CutOut, Photo),
    uses=(Captioned,),
    reads=_reads,
    role="tagger",
    presents=_present,
)
def tag(items: Sequence[Item], run: Runtime) -> list[Outcome]:
    """Tag the products of a batch together, each from all its photos."""
    tagger: Tagger = run.engine("tagger")
    answers = tagger.tag([(_subjects(item, run), _catalog_facts(item.product)) for item in items])
    return [
        Tagged(
            tags=tuple(
                TagValue(
                    attribute=tag.attribute,
                    value=tag.value,
                    en=tag.text.en,
                    zh=tag.text.zh,
                    confidence=round(tag.confidence, 4),
                    evidence=tag.evidence,
                )
                for tag in tags
            )
        )
        for tags in answers
    ]


def _subjects(item: Item, run: Runtime) -> list[Subject]:
    photos = dict(item.all(Photo))
    return [subject(run, photos[target], cut) for target, cut in item.all(CutOut) if target in photos]


def _catalog_facts(product: Product) -> CatalogFacts:
    return CatalogFacts(
        title=product.title,
        description=product.description,
        category=product.category,
        brand=product.brand,
        tags=product.tags,
    )
