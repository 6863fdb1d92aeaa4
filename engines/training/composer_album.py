"""The photographs that a query composer is trained and measured on: as they are, and in other colours."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from engines.evaluation.recolour import TARGETS, dyed
from engines.looks.colours import palette
from engines.looks.coordinates import Colours
from engines.looks.cutouts import shows_subject
from engines.looks.parts import Rows
from engines.protocols import Subject, TokenEmbedder
from engines.registry import Engines
from engines.training.colour_confidence import subject
from engines.training.garment_head import Photograph
from engines.words.vocabulary import vocabulary

_EMBEDDER, _SEGMENTER = "conse", "u2netp"

DYES = {
    **TARGETS,
    "yellow": (85.0, 80.0, 95.0),
    "orange": (68.0, 80.0, 62.0),
    "purple": (38.0, 60.0, 315.0),
    "pink": (76.0, 38.0, 0.0),
    "brown": (36.0, 32.0, 58.0),
    "black": (12.0, 0.0, 0.0),
    "white": (95.0, 0.0, 0.0),
}
"""Lightness, chroma and hue of CIE LCh. A cut-out dyed so has that colour by engines/looks/colours.py."""


_DYES_EACH = 3


@dataclass(frozen=True, slots=True)
class Look:
    """A photograph as the index has it: its row (D,), and how much of it has which colour (colours,)."""

    row: npt.NDArray[np.float32]
    colours: npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Page:
    """A photograph, its tokens (T, d), and the same product dyed, by colour."""

    kind: int
    own: Look
    tokens: Rows
    dyed: dict[str, Look]


class Album:
    """Makes the pages, each kept under ``cache`` by its content and the engines' revisions."""

    def __init__(self, engines: Engines, cache: Path) -> None:
        self._engines = engines
        revisions = "-".join(engines.spec(name).revision for name in (_SEGMENTER, _EMBEDDER))
        self._folder, self._alphas = cache / revisions, cache / engines.spec(_SEGMENTER).revision
        for folder in (self._folder, self._alphas):
            folder.mkdir(parents=True, exist_ok=True)
        self._colours = Colours(vocabulary())

    @property
    def embedder(self) -> TokenEmbedder:
        found: TokenEmbedder = self._engines.get(_EMBEDDER)
        return found

    @property
    def space(self) -> str:
        """The embedder and its revision, which the rows are of."""
        return self._engines.spec(_EMBEDDER).label

    def subject(self, photo: Photograph) -> Subject:
        return subject(photo.path, self._engines.get(_SEGMENTER), self._alphas)

    def pages(self, photos: Sequence[Photograph]) -> list[Page]:
        """Those of the photographs whose cut-out shows something, each in three colours."""
        found = [self._page(photo, _dyes(photo.sha256)) for photo in photos]
        return [page for page in found if page is not None]

    def _page(self, photo: Photograph, dyes: Sequence[str]) -> Page | None:
        kept = self._folder / f"{photo.sha256}-{'-'.join(dyes)}.npz"
        if not kept.exists():
            np.savez(kept, **self._measured(photo, dyes))  # type: ignore[arg-type]
        with np.load(kept) as read:
            held = dict(read)
        if not held:
            return None
        looks = [Look(row, colours) for row, colours in zip(held["rows"], held["colours"], strict=True)]
        return Page(photo.kind, looks[0], held["tokens"], dict(zip(dyes, looks[1:], strict=True)))

    def _measured(self, photo: Photograph, dyes: Sequence[str]) -> dict[str, npt.NDArray[np.generic]]:
        """Nothing where the cut-out shows nothing."""
        own = self.subject(photo)
        if not shows_subject(own.alpha):
            return {}
        embedder = self.embedder
        shown: list[Subject] = [own, *(dyed(own, *DYES[name]) for name in dyes)]
        return {
            "rows": embedder.embed_photos(shown),
            "colours": np.stack([self._colours.photo(palette(one)) for one in shown]),
            "tokens": embedder.photo_tokens([own])[0].astype(np.float16),
        }


def _dyes(sha256: str) -> list[str]:
    """Three colours for a photograph, by its content."""
    return sorted(DYES, key=lambda name: hashlib.sha256(f"{name} {sha256}".encode()).hexdigest())[:_DYES_EACH]
