"""The embedding stages once more, for the space that a new model fills before it serves, and after the switch for
the old one's, so that the way back stays open. They are in the graph while there is such a space."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from pipeline.errors import VitrineError
from pipeline.graph import Scope
from pipeline.outcomes import Outcome
from tasks._runtime import Runtime
from tasks._stage import Item, stage
from tasks.cutout import CutOut
from tasks.embed_image import EmbeddedImage, embed_image
from tasks.embed_text import EmbeddedText, embed_text
from tasks.index import index
from tasks.photo import Photo
from tasks.read_text import ReadText
from tasks.screen import Screened
from tasks.tag import Tagged, read_facts

_QUEUE = "shadow"
"""Its own: what serves never waits for it."""


class ShadowImage(EmbeddedImage):
    """A photo's place in the shadow space."""


class ShadowText(EmbeddedText):
    """The place of a product's words in the shadow space."""


class ShadowIndexed(Outcome):
    """The shadow space's collection agrees with Postgres."""


def _present_image(outcome: ShadowImage) -> Mapping[str, Any]:
    return {"shadow_embedding": {"dimension": outcome.image.dimension}}


def _present_text(outcome: ShadowText) -> Mapping[str, Any]:
    return {} if outcome.text is None else {"shadow_text_embedding": {"dimension": outcome.text.dimension}}


@stage(
    version=1,
    scope=Scope.IMAGE,
    produces=ShadowImage,
    needs=(Photo, Screened),
    uses=(CutOut, ReadText),
    role="embedder",
    computes_as="embed_image",
    queue=_QUEUE,
    presents=_present_image,
)
def shadow_image(items: Sequence[Item], run: Runtime) -> Sequence[Outcome | VitrineError]:
    """As ``embed_image``, by the shadow's engine."""
    return embed_image(items, run)


@stage(
    version=1,
    scope=Scope.PRODUCT,
    produces=ShadowText,
    needs=(Tagged,),
    reads=read_facts,
    role="embedder",
    computes_as="embed_text",
    queue=_QUEUE,
    presents=_present_text,
)
def shadow_text(items: Sequence[Item], run: Runtime) -> Sequence[Outcome | VitrineError]:
    """As ``embed_text``, by the shadow's engine."""
    return embed_text(items, run)


@stage(
    version=1,
    scope=Scope.PRODUCT,
    produces=ShadowIndexed,
    uses=(ShadowImage, ShadowText),
    effect=True,
    computes_as="index",
    queue=_QUEUE,
)
def shadow_index(items: Sequence[Item], run: Runtime) -> list[Outcome | VitrineError]:
    """As ``index``: it writes every space."""
    index(items, run)
    return [ShadowIndexed() for _ in items]
