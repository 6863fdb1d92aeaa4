"""Write a product's point into the index, or delete it: an effect, driven by how the product stands now."""

from __future__ import annotations

from collections.abc import Sequence

from pipeline.errors import VitrineError
from pipeline.graph import Scope
from pipeline.outcomes import Outcome
from tasks._indexing import synchronise
from tasks._runtime import Runtime
from tasks._stage import Item, stage
from tasks.embed_image import EmbeddedImage
from tasks.embed_text import EmbeddedText
from tasks.tag import Tagged


class Indexed(Outcome):
    """The index agrees with Postgres: the collections that were brought up to date."""

    collections: tuple[str, ...]


@stage(
    version=1,
    scope=Scope.PRODUCT,
    produces=Indexed,
    uses=(EmbeddedImage, EmbeddedText, Tagged),
    effect=True,
    queue="index",
    batch=64,
)
def index(items: Sequence[Item], run: Runtime) -> list[Outcome | VitrineError]:
    """Bring the products of a batch up to date together."""
    spaces = synchronise(run.ledger.engine, run.index, [item.claimed.product_row for item in items])
    outcome = Indexed(collections=tuple(space.collection for space in spaces))
    return [outcome for _ in items]
