"""What a query composer learns: changes of photos, how people would say them, and what they should find."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from engines.adapters.garment_head_classifier import KINDS
from engines.looks.parts import Rows
from engines.training.composer_album import Look, Page
from engines.words.vocabulary import ProductType, vocabulary

HELD_OUT_KINDS = ("hat", "outwear", "skirt")
"""Never asked for in training, so that the held-out measurement tells words it was taught from others."""

COLOUR = ("in {en}", "but {en}", "the same in {en}", "换成{zh}", "{zh}的", "要{zh}")
KIND = ("but a {en}", "a {en} instead", "{en} like this", "换成{zh}", "要{zh}", "这样的{zh}")
SAME = ("the same", "like this", "similar", "一样的", "同款", "类似的")

_AKIN = 0.05
"""Of a kind, what is so little further from the photo's colour than the nearest is right as well."""


@dataclass(frozen=True, slots=True)
class Example:
    """A page's photo and a text, and which rows of the gallery it should find (rows,)."""

    page: int
    text: str
    right: npt.NDArray[np.bool_]


class Lessons:
    """The pages' gallery, and every query that can be made of them."""

    def __init__(self, pages: Sequence[Page]) -> None:
        looks: list[Look] = [page.own for page in pages]
        self.pages = pages
        self._dyed: list[dict[str, int]] = []
        kinds = [page.kind for page in pages]
        for page in pages:
            self._dyed.append({name: len(looks) + at for at, name in enumerate(page.dyed)})
            looks += page.dyed.values()
            kinds += [page.kind] * len(page.dyed)
        self.gallery: Rows = np.stack([look.row for look in looks])
        self._colours, self._kinds = np.stack([look.colours for look in looks]), np.array(kinds)
        words = vocabulary()
        self._colour_words = words.values("colour")
        self._kind_words = {
            KINDS.index(item.garment): item
            for item in words.values("product_type").values()
            if isinstance(item, ProductType) and item.garment and item.garment not in HELD_OUT_KINDS
        }

    def examples(self, choose: Callable[[Sequence[str]], Sequence[str]]) -> list[Example]:
        """Every change of every photo, each in those of its wordings that ``choose`` takes."""
        found = []
        for number, page in enumerate(self.pages):
            changes = [(SAME, "", "", self._only(number))]
            for name, at in self._dyed[number].items():
                colour = self._colour_words[name]
                changes.append((COLOUR, colour.en, colour.zh, self._only(at)))
            for kind, item in self._kind_words.items():
                if kind != page.kind:
                    changes.append((KIND, item.en, item.zh, self._of_kind(number, kind)))
            found += [
                Example(number, wording.format(en=en, zh=zh), right)
                for wordings, en, zh, right in changes
                for wording in choose(wordings)
            ]
        return found

    def _only(self, at: int) -> npt.NDArray[np.bool_]:
        row: npt.NDArray[np.bool_] = np.arange(len(self.gallery)) == at
        return row

    def _of_kind(self, number: int, kind: int) -> npt.NDArray[np.bool_]:
        near = np.where(self._kinds == kind, self._colours @ self._colours[number], -1.0)
        row: npt.NDArray[np.bool_] = near >= near.max() - _AKIN
        return row
