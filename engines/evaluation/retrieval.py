"""What an embedder finds: words to photos, photos to photos, and photos with words, by exact cosine."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from engines.evaluation.metrics import Booleans, Floats, Interval, wilson
from engines.evaluation.ranking import RankingScores, measure
from engines.looks.parts import Parts, Rows
from engines.protocols import Embedder, Subject
from engines.words.vocabulary import Vocabulary

_BATCH = 8
_EXCLUDED = -np.inf


@dataclass(frozen=True, slots=True)
class Gallery:
    """Photos as the index holds them: (N, D) by the product alone, and (N, D) as a whole. Nothing of what the
    merchant says of them is in it."""

    cutouts: Rows
    wholes: Rows


@dataclass(frozen=True, slots=True)
class Way:
    """Someone who ranks: (queries, photos) scores of texts, higher first. A search of another kind is one too."""

    name: str
    scores: Callable[[Sequence[str], Gallery], Floats]


@dataclass(frozen=True, slots=True)
class Line:
    """What was asked, who ranked, and how well."""

    task: str
    way: str
    scores: RankingScores


@dataclass(frozen=True, slots=True)
class FirstHits:
    """Of so many queries the share whose first hit is right."""

    task: str
    way: str
    queries: int
    right: Interval
    wrong: tuple[tuple[str, str], ...]


def gallery(embedder: Embedder, subjects: Sequence[Subject]) -> Gallery:
    """Embed the photos as the stage does: each by its cut-out, and as a whole."""
    wholes = [replace(one, alpha=np.ones_like(one.alpha)) for one in subjects]
    return Gallery(photos(embedder, subjects), photos(embedder, wholes))


def photos(embedder: Embedder, subjects: Sequence[Subject]) -> Rows:
    """(N, D), a few at a time."""
    rows = [
        embedder.embed_photos(subjects[start : start + _BATCH]) for start in range(0, len(subjects), _BATCH)
    ]
    return np.concatenate(rows) if rows else np.zeros((0, embedder.dimension), np.float32)


def steps(embedder: Embedder) -> list[tuple[str, tuple[str, ...]]]:
    """The parts of an embedder that has some, one more each time; one step of all where it has none."""
    parts = getattr(embedder, "parts", None)
    if not isinstance(parts, Parts):
        return [("embedder", ())]
    names = list(parts.slices)
    return [
        (name if count == 0 else f"+ {name}", tuple(names[: count + 1])) for count, name in enumerate(names)
    ]


def reduced(embedder: Embedder, names: tuple[str, ...], rows: Rows) -> Rows:
    """The rows with these parts alone; as they are where none is named."""
    parts = getattr(embedder, "parts", None)
    return parts.only(rows, names) if isinstance(parts, Parts) and names else rows


def ways_of_words(embedder: Embedder) -> list[Way]:
    """By the cut-out, part by part; by the whole photo; and by the better of the two, as the index has both."""

    def cosine(names: tuple[str, ...]) -> Callable[[Sequence[str], Gallery], Floats]:
        def scores(texts: Sequence[str], among: Gallery) -> Floats:
            said = reduced(embedder, names, embedder.embed_texts(texts))
            return dots(said, among.cutouts)

        return scores

    def better(texts: Sequence[str], among: Gallery) -> Floats:
        said = embedder.embed_texts(texts)
        return np.maximum(dots(said, among.cutouts), dots(said, among.wholes))

    texts_have = [(name, parts) for name, parts in steps(embedder) if name != "+ looks"]
    return [
        *(Way(name, cosine(parts)) for name, parts in texts_have),
        Way("whole photo", lambda texts, among: dots(embedder.embed_texts(texts), among.wholes)),
        Way("better of cut-out and whole", better),
    ]


def words_to_photos(
    task: str, texts: Sequence[str], right: Booleans, ways: Iterable[Way], among: Gallery
) -> list[Line]:
    """``right`` is (queries, photos)."""
    return [Line(task, way.name, measure(way.scores(texts, among), right)) for way in ways]


def photos_to_photos(
    task: str,
    embedder: Embedder,
    rows: Rows,
    right: Booleans,
    asking: Sequence[int] | None = None,
) -> list[Line]:
    """Every photo, or those asking, against all others; ``right`` is (photos, photos)."""
    chosen = np.arange(len(rows)) if asking is None else np.asarray(asking)
    alone = [(name.removeprefix("+ ") + " alone", parts[-1:]) for name, parts in steps(embedder)[1:]]
    lines = []
    for name, parts in [*steps(embedder), *alone]:
        kept = reduced(embedder, parts, rows)
        scores = dots(kept, kept)
        np.fill_diagonal(scores, _EXCLUDED)
        lines.append(Line(task, name, measure(scores[chosen], right[chosen])))
    return lines


def colours_first(
    task: str,
    texts: Sequence[tuple[str, str]],
    named: Sequence[Sequence[str]],
    ways: Iterable[Way],
    among: Gallery,
    files: Sequence[str],
) -> list[FirstHits]:
    """Whether the first hit of each (text, colour) is labelled with that colour; ``named`` are the photos' labels."""
    found = []
    for way in ways:
        first = way.scores([text for text, _ in texts], among).argmax(axis=1)
        wrong = [
            (text, files[photo])
            for (text, colour), photo in zip(texts, first.tolist(), strict=True)
            if colour not in named[photo]
        ]
        share = wilson(len(texts) - len(wrong), len(texts))
        found.append(FirstHits(task, way.name, len(texts), share, tuple(wrong)))
    return found


def colour_queries(
    words: Vocabulary, labels: Sequence[Mapping[str, tuple[str, ...]]]
) -> Mapping[str, list[tuple[str, str]]]:
    """(text, colour) by kind of query, in both languages: every main colour alone, and with its product type."""
    colours, types = words.values("colour"), words.values("product_type")
    mains = [(truth.get("colour", ()), truth.get("product_type", ())) for truth in labels]
    alone = sorted({its[0] for its, _ in mains if its})
    pairs = sorted({(its[0], kinds[0]) for its, kinds in mains if its and kinds})
    return {
        "a colour": [
            *((colours[key].en, key) for key in alone),
            *((colours[key].zh + "的", key) for key in alone),
        ],
        "a colour and a type": [
            *((f"{colours[key].en} {types[kind].en}", key) for key, kind in pairs),
            *((colours[key].zh + types[kind].zh, key) for key, kind in pairs),
        ],
    }


def dots(queries: Rows, among: Rows) -> Floats:
    """(queries, photos) in double precision: equal scores stay equal."""
    scores: npt.NDArray[np.float64] = queries.astype(np.float64) @ among.astype(np.float64).T
    return scores
