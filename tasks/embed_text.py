"""Embed what is said of a product, by the merchant and by what was seen, for words to find it by."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from engines.protocols import Embedder
from pipeline.errors import VitrineError
from pipeline.events import Product
from pipeline.graph import Scope
from pipeline.outcomes import Outcome
from tasks._runtime import Runtime
from tasks._stage import Item, stage
from tasks.embed_image import Vector
from tasks.tag import Tagged, read_facts

_DESCRIPTION = 300
"""Characters of a description: a sentence encoder averages, so what comes later would only dilute."""


class EmbeddedText(Outcome):
    """The place of a product's words in the engine's space; None where there are none."""

    text: Vector | None


def _present(outcome: EmbeddedText) -> Mapping[str, Any]:
    return {} if outcome.text is None else {"text_embedding": {"dimension": outcome.text.dimension}}


@stage(
    version=1,
    scope=Scope.PRODUCT,
    produces=EmbeddedText,
    needs=(Tagged,),
    reads=read_facts,
    role="embedder",
    presents=_present,
)
def embed_text(items: Sequence[Item], run: Runtime) -> list[Outcome | VitrineError]:
    """Embed the words of a batch in one call."""
    embedder: Embedder = run.engine("embedder")
    rows = embedder.embed_texts([words_of(item.product, item.one(Tagged)) for item in items])
    return [EmbeddedText(text=Vector.of(row) if row.any() else None) for row in rows]


def words_of(product: Product, tagged: Tagged) -> str:
    """The sentence that is embedded: the title, what it is and looks like, and how the description begins."""
    seen = [keyword.en for keyword in tagged.keywords]
    parts = (product.title, product.category, ", ".join(seen), product.description[:_DESCRIPTION])
    return ". ".join(part.strip() for part in parts if part.strip())
