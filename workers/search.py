"""Search: words, a photo, or both, in English and Chinese, over the index, with the reasons for every hit.

Every hit is looked up in Postgres before it is returned: what was withdrawn is never shown, whatever the index says.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import structlog
from sqlalchemy import Engine

from engines.looks.composing import LateFusion
from engines.protocols import RGB, Alpha, Embedder, Segmenter, Subject
from engines.registry import Engines
from engines.words import sparse
from engines.words.queries import Wish, understand
from engines.words.vocabulary import vocabulary
from pipeline.errors import ConfigurationError, RejectedInput
from storage.hybrid import Found, HybridQuery, Narrow, Row, search
from storage.presentations import Presentations
from storage.searches import Searches
from storage.spaces import Space, Spaces
from storage.vectors import PHOTOS, Sparse, VectorIndex
from tasks._stage import load_stages
from tasks.cutout import judge

_log = structlog.get_logger("vitrine.search")

_MOST = 200
_LONGEST = 10_000
_SPARE = 5
"""Hits asked for beyond those wanted, for the place of such as are gone."""

_LIFTS: Mapping[str, float] = {"colour": 0.05, "product_type": 0.05, "category": 0.03, "pattern": 0.03}
_LIFT = 0.02
"""What bearing a wished-for value adds to a score. Wishes are in the vectors too: these settle what is close."""


@dataclass(frozen=True, slots=True)
class Reason:
    """Why a hit stands where it does. ``kind`` is photo, text, words, wish or availability."""

    kind: str
    words: str
    value: float | None = None


@dataclass(frozen=True, slots=True)
class Hit:
    """A product that was found, as it is served now."""

    score: float
    document: Mapping[str, Any]
    reasons: tuple[Reason, ...]

    @property
    def name(self) -> tuple[str, str]:
        """The product's identity: source and product id."""
        return self.document["source"], self.document["product_id"]


@dataclass(frozen=True, slots=True)
class Results:
    """The hits, best first, how the query was understood, and by which engine it was embedded."""

    hits: tuple[Hit, ...]
    wish: Wish
    engine: str


class Search:
    """Searches one deployment's index. Not for several threads at once: engines are not."""

    def __init__(
        self, database: Engine, index: VectorIndex, engines: Engines, segmenter: str, *, record: bool = False
    ) -> None:
        self._spaces = Spaces(database)
        self._presentations = Presentations(database)
        self._searches = Searches(database) if record else None
        self._index = index
        self._engines = engines
        self._segmenter = segmenter

    def find(
        self,
        text: str = "",
        photo: RGB | None = None,
        *,
        narrow: Narrow = Narrow(),  # noqa: B008 -- immutable
        limit: int = 10,
        space: Space | None = None,
        locale: str = "",
    ) -> Results:
        """The best hits for words, a photo, or a photo changed by words.

        ``space`` is searched in the place of the one that serves. Raises RejectedInput for a query without
        anything to look for, and IndexDown where Qdrant does not answer.
        """
        text = text.strip()[:_LONGEST]
        if not text and photo is None and narrow == Narrow():
            raise RejectedInput("empty-query", "give words, a photo, or something to narrow by")
        limit = min(limit, _MOST)
        space = space or self._serving()
        wish = understand(text, locale)
        query = self._query(space, wish, photo, narrow)
        hits = self._hits(space, query, wish, limit) if space is not None else []
        if self._searches is not None and photo is None:
            self._searches.record(text)
        return Results(tuple(hits), wish, space.engine if space else "")

    def _serving(self) -> Space | None:
        """The space behind the alias; None while nothing was ever indexed."""
        collection = self._index.serving()
        return self._spaces.of_collection(collection) if collection else None

    def _embedder(self, space: Space) -> Embedder:
        name = space.engine.partition("@")[0]
        here = self._engines.spec(name)
        if here.label != space.engine:
            raise ConfigurationError(
                f"the index was filled by {space.engine}, this release has {here.label}: search with the release "
                f"that filled it, and here fill a new space with `vitrine models shadow embed={name}`"
            )
        embedder: Embedder = self._engines.get(name)
        return embedder

    def _query(self, space: Space | None, wish: Wish, photo: RGB | None, narrow: Narrow) -> HybridQuery:
        if space is None:
            return HybridQuery(narrow=narrow)
        embedder = self._embedder(space)
        look = self._look(embedder, photo, wish.text) if photo is not None else {}
        return query_of(embedder, wish, narrow, look)

    def _look(self, embedder: Embedder, photo: RGB, text: str) -> Mapping[str, Row]:
        """The photo as a whole, and the product in it where it can be cut out, changed by the words."""
        segmenter: Segmenter = self._engines.get(self._segmenter)
        [alpha] = segmenter.segment([photo])
        whole: Alpha = np.ones(photo.shape[:2], np.float32)
        subjects = Subject(photo, whole), Subject(photo, alpha if _usable(alpha) else whole)
        rows = LateFusion(embedder).compose([(subject, text) for subject in subjects])
        return dict(zip(PHOTOS, rows, strict=True))

    def _hits(self, space: Space, query: HybridQuery, wish: Wish, limit: int) -> list[Hit]:
        """Ask for a few more than wanted, and for more still where many are gone."""
        asked = limit + _SPARE
        while True:
            found = search(self._index, space.collection, query, asked)
            documents = self._presentations.of([one.id for one in found])
            hits = [
                Hit(round(one.score, 4), documents[one.id], _reasons(one, query, wish, documents[one.id]))
                for one in found
                if one.id in documents and not _bears(documents[one.id], wish.without)
            ]
            if len(hits) >= limit or len(found) < asked or asked > 4 * _MOST:
                return hits[:limit]
            asked *= 2


def query_of(
    embedder: Embedder,
    wish: Wish,
    narrow: Narrow = Narrow(),  # noqa: B008 -- immutable
    look: Mapping[str, Row] | None = None,
) -> HybridQuery:
    """What to ask the index for: words alone, or a photo that they have changed, a row for each named vector."""
    narrow = replace(
        narrow,
        none_of=(*narrow.none_of, *(f"{attribute}:{value}" for attribute, value in wish.unwanted)),
        price_from=_number(wish.price.lowest, narrow.price_from),
        price_to=_number(wish.price.highest, narrow.price_to),
        currency=narrow.currency or wish.price.currency,
    )
    prefer = {f"{attribute}:{value}": _LIFTS.get(attribute, _LIFT) for attribute, value in wish.wanted}
    if look:
        return HybridQuery(seen=look, narrow=narrow, prefer=prefer)
    [said] = embedder.embed_texts([wish.text])
    words = sparse.query(wish.text)
    return HybridQuery(
        seen=dict.fromkeys(PHOTOS, said) if said.any() else {},
        said=said if said.any() else None,
        words=Sparse(tuple(words.indices), tuple(words.values)),
        narrow=narrow,
        prefer=prefer,
    )


def _usable(alpha: Alpha) -> bool:
    """Whether the stage cutout would keep it."""
    try:
        judge(alpha, load_stages()["cutout"].spec.params)
    except RejectedInput:
        return False
    return True


def _number(bound: Any, given: float | None) -> float | None:
    """What was given apart from the words outranks them."""
    return given if given is not None or bound is None else float(bound)


def _bears(document: Mapping[str, Any], refused: Sequence[str]) -> bool:
    """Whether a title or a tag holds all words of a refused phrase. A description may be there to say the same."""
    tags = [word for tag in document.get("tags") or () for word in (tag["en"], tag["zh"])]
    held = set(sparse.tokens(" ".join([document["title"] or "", *tags])))
    phrases = [set(sparse.tokens(phrase)) for phrase in refused]
    return any(phrase and phrase <= held for phrase in phrases)


def _reasons(found: Found, query: HybridQuery, wish: Wish, document: Mapping[str, Any]) -> tuple[Reason, ...]:
    reasons: list[Reason] = []
    if found.photos:
        name, (cosine, _) = max(found.photos.items(), key=lambda item: item[1][0])
        what = "the product in its photo" if name == "cutout" else "its photo"
        reasons.append(Reason("photo", what, round(cosine, 3)))
    if found.text is not None:
        reasons.append(Reason("text", "its words in meaning", round(found.text, 3)))
    if found.shared:
        said = sparse.spelled(wish.text)
        reasons.append(Reason("words", ", ".join(sorted({said[one] for one in found.shared if one in said}))))
    tags = set(found.payload.get("tags") or ())
    reasons += [Reason("wish", _spoken(tag), by) for tag, by in query.prefer.items() if tag in tags]
    if document.get("availability") == "out_of_stock":
        reasons.append(Reason("availability", "sold out"))
    return tuple(reasons)


def _spoken(tag: str) -> str:
    attribute, _, value = tag.partition(":")
    term = vocabulary().values(attribute).get(value)
    return term.en if term else tag
