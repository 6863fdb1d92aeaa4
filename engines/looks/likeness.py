"""Tags by likeness of photos to sentences: which sentences stand for a value, and what the likenesses mean."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from engines.looks.heads import softmax
from engines.words.vocabulary import Vocabulary

Likenesses = Mapping[str, npt.NDArray[np.float32]]
"""By attribute (photos, values): the scaled likeness of each photo of one product to each value, in the order of
``asked``. Product types have one more column a sentence of ``NOTHING``, in its order."""

NOTHING = (
    "an empty white background.",
    "a photo of a person's face.",
    "a screenshot of text.",
    "a photo of a landscape.",
)
"""What a photo may show instead of a product."""

_SENTENCES: Mapping[str, tuple[str, ...]] = {
    "product_type": ("a photo of {value}.", "a shop's photo of {value} on a plain background."),
    "colour": ("a photo of a {value} product.", "a {value} thing."),
    "pattern": ("a product with a {value} pattern.", "{value} cloth."),
    "material": ("a product made of {value}.", "a close-up photo of {value}."),
    "sleeve_length": ("a garment with {value} sleeves.",),
}
_ANY = ("a photo of a product, {attribute}: {value}.",)


def asked(words: Vocabulary) -> dict[str, list[str]]:
    """The values asked for of each attribute, by key; departments are the sum of their product types.

    What no photo can tell is not asked for, nor what must rest on other attributes: likeness gives no grounds.
    """
    seen = [key for key, item in words.attributes.items() if not (item.from_words or item.by_rule)]
    found = {attribute: list(words.values(attribute)) for attribute in seen if attribute != "category"}
    return {attribute: values for attribute, values in found.items() if values}


def sentences(words: Vocabulary, attribute: str, value: str) -> list[str]:
    """The sentences that stand for a value, in English."""
    term = words.values(attribute)[value]
    name = words.attributes[attribute].en
    return [
        form.format(value=term.en.casefold(), attribute=name.casefold())
        for form in _SENTENCES.get(attribute, _ANY)
    ]


@dataclass(frozen=True, slots=True)
class Told:
    """A value with its probability in [0, 1], the photo that shows it best, and what came next."""

    attribute: str
    value: str
    confidence: float
    photo: int
    next: str
    next_confidence: float


@dataclass(frozen=True, slots=True)
class Reading:
    """How likenesses become probabilities.

    ``exclusive`` values share one (softmax, as CLIP was trained), else each has its own (sigmoid, as SigLIP
    was). ``temperature`` divides the likenesses; ``least_lead`` is by which share of its own probability the
    best value must lead the next for anything to be told.
    """

    exclusive: bool
    temperature: float
    least_lead: float

    def probabilities(self, likenesses: npt.NDArray[np.float32]) -> npt.NDArray[np.float64]:
        """(photos, values), of each photo by itself."""
        scaled = likenesses.astype(np.float64) / self.temperature
        if self.exclusive:
            return softmax(scaled)
        return np.asarray(1.0 / (1.0 + np.exp(-np.clip(scaled, -60, 60))))


def told(words: Vocabulary, reading: Reading, likenesses: Likenesses) -> list[Told]:
    """What the photos of one product say: the department first, then only what applies to it."""
    by_type = reading.probabilities(likenesses["product_type"])
    types = list(words.values("product_type"))
    members = {
        category: [types.index(key) for key in entry.types] for category, entry in words.categories.items()
    }
    # Kinds that share one probability add up to their department; else the surest speaks for it.
    join = np.sum if reading.exclusive else np.max
    departments = np.stack([join(by_type[:, at], axis=1) for at in members.values()], axis=1)
    instead = by_type[:, len(types) :]
    category = _best(reading, "category", [*members, *NOTHING], np.hstack([departments, instead]))
    if category is None or category.value in NOTHING:
        return []
    own = members[category.value]
    kind = _best(reading, "product_type", [types[at] for at in own], by_type[:, own])
    found = [category, *([kind] if kind else [])]
    for attribute, values in asked(words).items():
        if attribute == "product_type" or not words.applies(
            attribute, category.value, kind.value if kind else None
        ):
            continue
        heard = reading.probabilities(likenesses[attribute])
        several = (
            [] if reading.exclusive else _likely(attribute, values, heard, words.attributes[attribute].many)
        )
        best = _best(reading, attribute, values, heard)
        found += several or ([best] if best else [])
    return found


def _best(
    reading: Reading, attribute: str, values: Sequence[str], heard: npt.NDArray[np.float64]
) -> Told | None:
    """The most probable value, its probability the mean over the photos; None where it does not lead enough."""
    mean = heard.mean(axis=0)
    order = np.argsort(-mean, kind="stable")
    first, second = int(order[0]), int(order[1]) if len(order) > 1 else None
    following = 0.0 if second is None else float(mean[second])
    if float(mean[first]) - following < reading.least_lead * float(mean[first]):
        return None
    return Told(
        attribute,
        values[first],
        float(mean[first]),
        int(heard[:, first].argmax()),
        "" if second is None else values[second],
        following,
    )


def _likely(attribute: str, values: Sequence[str], heard: npt.NDArray[np.float64], many: int) -> list[Told]:
    """The values of an attribute that may have many, each more probable than not by itself; best first."""
    if many == 1:
        return []
    mean = heard.mean(axis=0)
    order = [int(at) for at in np.argsort(-mean, kind="stable")[:many] if mean[at] > 0.5]
    return [Told(attribute, values[at], float(mean[at]), int(heard[:, at].argmax()), "", 0.0) for at in order]
