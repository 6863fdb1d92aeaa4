"""What the demo searches for, in both languages, by words, by a photo, and by a photo changed by words."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from engines.words.vocabulary import vocabulary
from pipeline.outcomes import Blob
from storage.assets import Assets
from storage.pictures import decode
from storage.presentations import Presentations
from workers.search import Hit, Results, Search

WORDS: Final = (
    "white sneakers",
    "something to sit on",
    "a plant for the living room",
    "camera under 500",
    "blue shirt, not striped",
    "gloves for boxing",
    "白色运动鞋",
    "沙发",
    "复古相机",
    "牛仔夹克",
    "跑步穿的鞋，不要黑色",
    "红色的花",
)
PHOTOS: Final = (
    ("Reflex Camera", ""),
    ("Light Shade", ""),
    ("蓝色佩斯利短袖衬衫", "in black"),
    ("Modern Cafe Chair", "换成黑色的"),
)
"""Titles of products whose photo is the query, and the words beside it."""

SHOWN: Final = 6


@dataclass(frozen=True, slots=True)
class Found:
    """A hit as the page shows it."""

    title: str
    photo: Mapping[str, Any] | None
    key: tuple[str, str]
    reasons: str


@dataclass(frozen=True, slots=True)
class Asked:
    """A query and its hits. ``photo`` is the query's own, ``understood`` what was read from its words."""

    words: str
    photo: Mapping[str, Any] | None
    understood: str
    hits: tuple[Found, ...]


def ask(search: Search, presentations: Presentations, assets: Assets) -> Iterator[Asked]:
    """Every query with its hits; a query by the photo of a product that is not there is left out."""
    for words in WORDS:
        yield _asked(words, None, search.find(words, limit=SHOWN))
    documents = {document["title"]: document for document in presentations.all()}
    for title, words in PHOTOS:
        photo = _photo(documents.get(title, {"images": ()}))
        if photo is not None:
            stored = Blob(digest=photo["digest"], media_type=photo["media_type"], size=photo["size"])
            results = search.find(words, decode(assets.get(stored)).pixels, limit=SHOWN)
            yield _asked(words, photo, results)


def _asked(words: str, photo: Mapping[str, Any] | None, results: Results) -> Asked:
    wish = results.wish
    values = {
        "wished for": [_name(*pair) for pair in wish.wanted],
        "excluded": [*(_name(*pair) for pair in wish.unwanted), *wish.without],
        "price": [str(wish.price)] if str(wish.price) else [],
    }
    understood = "; ".join(f"{name}: {', '.join(found)}" for name, found in values.items() if found)
    return Asked(words, photo, understood, tuple(_found(hit) for hit in results.hits))


def _found(hit: Hit) -> Found:
    reasons = "; ".join(
        one.words + (f" {one.value:.2f}" if one.value is not None else "") for one in hit.reasons
    )
    return Found(hit.document["title"], _photo(hit.document), hit.name, reasons)


def _photo(document: Mapping[str, Any]) -> Mapping[str, Any] | None:
    images: Sequence[Mapping[str, Any]] = document["images"]
    return next((image["photo"] for image in images if image.get("photo")), None)


def _name(attribute: str, value: str) -> str:
    return vocabulary().values(attribute)[value].en
