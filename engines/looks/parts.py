"""One vector made of parts that each say something else, so that its cosine is a weighted sum of theirs."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from engines.looks.heads import unit

Row = npt.NDArray[np.float64]
Rows = npt.NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Part:
    """``share`` is the part's in the cosine of two photos, all together 1; ``said`` what it weighs between a
    photo and a text, beside the others. 0 where texts have nothing of it."""

    name: str
    size: int
    share: float
    said: float


class Parts:
    """Where each part lies in the vector.

    Of a photo every part has length 1: one with nothing to say points in a direction of its own, which no text
    has, so that silence about one thing makes nothing else louder.
    """

    def __init__(self, parts: Sequence[Part]) -> None:
        self._parts = tuple(parts)
        ends = np.cumsum([part.size for part in parts]).tolist()
        self.slices: Mapping[str, slice] = {
            part.name: slice(end - part.size, end) for part, end in zip(parts, ends, strict=True)
        }
        self.dimension = int(ends[-1])

    def photos(self, rows: Sequence[Mapping[str, Row]]) -> Rows:
        """(N, dimension), a row a photo, of length 1."""
        return self._joined(rows, {part.name: np.sqrt(part.share) for part in self._parts})

    def texts(self, rows: Sequence[Mapping[str, Row]]) -> Rows:
        """(N, dimension), a row a text, of length 1, or of zeros where no part says anything."""
        return self._joined(rows, {part.name: part.said / np.sqrt(part.share) for part in self._parts})

    def only(self, rows: Rows, names: Iterable[str]) -> Rows:
        """The same rows without the other parts, of length 1 again; for measuring what a part adds."""
        kept = np.zeros_like(rows)
        for name in names:
            kept[:, self.slices[name]] = rows[:, self.slices[name]]
        return unit(kept)

    def _joined(self, rows: Sequence[Mapping[str, Row]], weights: Mapping[str, float]) -> Rows:
        joined = np.zeros((len(rows), self.dimension))
        for number, row in enumerate(rows):
            for name, values in row.items():
                joined[number, self.slices[name]] = weights[name] * values
        return unit(joined).astype(np.float32)
