"""A photo and words asked together: "this, but in red"."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Protocol, TypeVar, runtime_checkable

import numpy as np

from engines.looks.heads import unit
from engines.looks.parts import Rows
from engines.protocols import Embedder, Subject

Query = tuple[Subject, str]
"""What a query begins with, and the words that change it."""

WORDS = 2.0

_BATCH = 8

_Answer = TypeVar("_Answer")


@runtime_checkable
class QueryComposer(Protocol):
    """Makes one row of a photo and words, in the space of its embedder."""

    def compose(self, queries: Sequence[Query]) -> Rows:
        """(N, D) of length 1; the photo's own row where the words say nothing."""
        ...


class LateFusion:
    """The sum of both rows, so that an item scores what the photo gives it and, weighed, what the words do.

    It works with any embedder. ``words`` is what the words weigh beside the photo; the default was chosen on the
    training photographs of engines/training/query_composer.py. It is what search composes with: the encoder trained
    there finds no more on a shop's photographs (docs/model-cards/query-composer.md).
    """

    def __init__(self, embedder: Embedder, words: float = WORDS) -> None:
        self._embedder, self._words = embedder, np.float32(words)

    def compose(self, queries: Sequence[Query]) -> Rows:
        photos, texts = rows(self._embedder, queries)
        return unit(photos + self._words * texts)


def rows(embedder: Embedder, queries: Sequence[Query]) -> tuple[Rows, Rows]:
    """(N, D) of the photos and (N, D) of the words."""
    photos: list[Rows] = photos_once(queries, embedder.embed_photos)
    texts = embedder.embed_texts([text for _, text in queries])
    return np.stack(photos) if photos else np.zeros((0, embedder.dimension), np.float32), texts


def photos_once(
    queries: Sequence[Query], ask: Callable[[Sequence[Subject]], Iterable[_Answer]]
) -> list[_Answer]:
    """An answer a query about its photo; the same photo is looked at once, however many words go with it."""
    subjects = {id(subject): subject for subject, _ in queries}
    several = list(subjects.values())
    found = [one for at in range(0, len(several), _BATCH) for one in ask(several[at : at + _BATCH])]
    answers = dict(zip(subjects, found, strict=True))
    return [answers[id(subject)] for subject, _ in queries]
