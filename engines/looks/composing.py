"""A photo and words asked together: "this, but in red"."""

from __future__ import annotations

from typing import Protocol, runtime_checkable

import numpy as np

from engines.looks.heads import unit
from engines.looks.parts import Rows


@runtime_checkable
class QueryComposer(Protocol):
    """Makes one query of a photo and words, both already embedded in one space."""

    def compose(self, photos: Rows, texts: Rows) -> Rows:
        """(N, D) of length 1 from (N, D) photos and (N, D) texts, pair by pair."""
        ...


class LateFusion:
    """The sum of both, so that an item scores what the photo gives it and, weighed, what the words do.

    It works with any embedder. ``words`` is what the words weigh beside the photo.
    """

    def __init__(self, words: float = 1.0) -> None:
        self._words = np.float32(words)

    def compose(self, photos: Rows, texts: Rows) -> Rows:
        return unit(photos + self._words * texts)
