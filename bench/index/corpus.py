"""Made-up products for the index: vectors that lie as embeddings do, payloads and words as the pipeline makes them."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

from pipeline.events import Product
from storage.hybrid import HybridQuery
from storage.vectors import TEXT, Point, Sparse
from tasks._indexing import payload

Rows = npt.NDArray[np.float32]

DIMENSION = 512
PHOTOS_A_PRODUCT = 2

_KINDS = 500
_SHARED, _OWN = 48, 16
_COLOURS = ("black", "white", "red", "blue", "green", "beige", "grey", "brown")
_VOCABULARY, _WORDS = 20_000, 24


class Mixture:
    """Unit vectors of ``DIMENSION`` numbers, in kinds of very different sizes.

    Every kind lies in a cone around one common direction, as the vectors of a dual encoder do (Liang et al. 2022,
    "Mind the Gap"); kinds differ along 48 directions, products of a kind along 16 of its own with falling spread,
    and noise of length ``noise``, where the cone's is 1.2 and a kind's 1, fills the rest. White noise alone would have
    no near neighbours worth finding.
    """

    def __init__(self, noise: float = 0.15) -> None:
        random = np.random.default_rng(20_261_123)
        self._noise = noise
        self._cone = _unit(random.normal(size=(1, DIMENSION)))
        shared = np.linalg.qr(random.normal(size=(DIMENSION, _SHARED)))[0]
        self._centres = _unit(random.normal(size=(_KINDS, _SHARED)) @ shared.T)
        self._own = random.normal(size=(_KINDS, _OWN, DIMENSION)) / np.sqrt(DIMENSION)
        self._spread = 0.5 * np.arange(1, _OWN + 1) ** -0.3
        share = np.arange(1, _KINDS + 1) ** -0.7
        self._share = share / share.sum()

    def draw(self, count: int, seed: int) -> Rows:
        """(count, DIMENSION)"""
        random = np.random.default_rng(seed)
        kinds = random.choice(_KINDS, size=count, p=self._share)
        rows = np.empty((count, DIMENSION), np.float32)
        for start in range(0, count, 1000):
            some = kinds[start : start + 1000]
            own = random.normal(size=(len(some), 1, _OWN)) * self._spread @ self._own[some]
            noise = random.normal(size=(len(some), DIMENSION)) * (self._noise / np.sqrt(DIMENSION))
            rows[start : start + 1000] = _unit(1.2 * self._cone + self._centres[some] + own[:, 0] + noise)
        return rows


def _unit(rows: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    lengths: npt.NDArray[np.float64] = np.linalg.norm(rows, axis=1, keepdims=True)
    return rows / lengths


def intrinsic_dimension(rows: Rows) -> float:
    """By the ratio of the distances to the two nearest (Facco et al. 2017, "TwoNN")."""
    squares = np.maximum(2 - 2 * rows[:2000] @ rows.T, 0)
    squares.sort(axis=1)
    ratios = np.sqrt(squares[:, 2] / np.maximum(squares[:, 1], 1e-12))
    return float(len(ratios) / np.log(ratios).sum())


class Catalog:
    """Products by number, each always the same: two photos, a text, words, and the payload of the pipeline."""

    def __init__(self, count: int) -> None:
        mixture = Mixture()
        self.photos = mixture.draw(count * PHOTOS_A_PRODUCT, 1).reshape(count, PHOTOS_A_PRODUCT, DIMENSION)
        self.texts = mixture.draw(count, 2)
        self._product = Product.model_validate(
            {
                "product_id": "p",
                "revision": 1,
                "title": "Running shoe",
                "category": "footwear/shoes",
                "price": {"amount": "89.90", "currency": "EUR"},
                "images": [{"id": "front", "url": "https://cdn.shop.example/front.jpg"}],
            }
        )

    def __len__(self) -> int:
        return len(self.texts)

    def point(self, number: int, version: int = 1) -> Point:
        """The point of a product, ``number`` from 0."""
        random = np.random.default_rng(number)
        colour = _COLOURS[number % len(_COLOURS)]
        tags = [("colour", colour), ("type", f"type-{number % 40}"), ("style", f"style-{number % 12}")]
        fields = {"tags": [{"attribute": attribute, "value": value} for attribute, value in tags]}
        product = self._product.model_copy(update={"product_id": f"product-{number}"})
        return Point(
            number + 1,
            version,
            payload("urn:shop:1", product, fields),
            {"image": self.photos[number], TEXT: self.texts[number : number + 1]},
            _words(random),
        )

    def batches(self, size: int, first: int = 0, last: int | None = None) -> Iterator[list[Point]]:
        """The points in order."""
        last = len(self) if last is None else last
        for start in range(first, last, size):
            yield [self.point(number) for number in range(start, min(start + size, last))]


def queries(count: int) -> list[HybridQuery]:
    """Photos with words, none of them in a catalog."""
    mixture, random = Mixture(), np.random.default_rng(7)
    seen, said = mixture.draw(count, 8), mixture.draw(count, 9)
    return [
        HybridQuery({"image": seen[number]}, said[number], _words(random, 4), prefer={"colour:red": 0.1})
        for number in range(count)
    ]


def _words(random: np.random.Generator, count: int = _WORDS) -> Sparse:
    # A few words are everywhere and most are rare.
    drawn = np.unique(random.zipf(1.3, size=count * 2) % _VOCABULARY)[:count]
    return Sparse(tuple(drawn.tolist()), tuple(1.0 + random.random(len(drawn))))
