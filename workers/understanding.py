"""What the stages would say of photographs on disk: the same engines and rules, without ledger or queue."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any

import numpy as np

from engines.devices import Device
from engines.evaluation.labels import Example
from engines.protocols import (
    RGB,
    Alpha,
    CatalogFacts,
    GarmentClassifier,
    Label,
    Printed,
    Segmenter,
    Subject,
    Tagger,
    TextReader,
)
from engines.words.trust import Reviewed, review
from engines.words.vocabulary import ProductType, vocabulary
from pipeline.errors import RejectedInput
from storage.pictures import decode, encode
from tasks._batch import halved
from tasks._stage import load_stages
from tasks.caption import whole
from tasks.cutout import judge
from workers.bootstrap import build_engines, build_federation
from workers.settings import Settings

_ROLES = ("segmenter", "text_reader", "tagger", "garment_classifier")


@dataclass(frozen=True, slots=True)
class Understood:
    """What is said of one photograph. ``unreadable`` and ``set_aside`` say why its photo, or its cut-out, was
    refused: then the shop shows no tag of it. ``garment`` is the garment classifier's first word where the
    photograph is labelled as one of its kinds: asked without a floor, as it is asked of what is known to be worn."""

    example: Example
    reviewed: Reviewed
    garment: Label | None = None
    unreadable: str = ""
    set_aside: str = ""


_NOTHING = Reviewed((), (), (), ())


class Understanding:
    """The stages photo, cutout, read_text and tag of a deployment, a photograph being a product of its own."""

    def __init__(
        self, settings: Settings, choices: Mapping[str, str], *, facts: bool, roles: Sequence[str] = _ROLES
    ) -> None:
        chosen = settings.model_copy(update={"engines": settings.engines | dict(choices)})
        self._engines = build_engines(chosen, Device.choose())
        federated = build_federation(chosen, self._engines).roles()
        self._names = {role: name for role, name in federated.items() if role in roles}
        self._facts = facts
        stages = load_stages()
        self._params = {
            name: dict(stages[name].spec.params) | settings.params.get(name, {})
            for name in ("photo", "cutout")
        }

    def engines(self) -> Mapping[str, str]:
        """The engine of each role, by name and revision."""
        return {role: self._engines.spec(name).label for role, name in self._names.items()}

    def read(self, examples: Sequence[Example]) -> Iterator[Understood]:
        """What is said of each, in order; computed in the tagger's batches."""
        rest = iter(examples)
        while batch := list(islice(rest, self._engines.spec(self._names["tagger"]).batch)):
            yield from self._batch(batch)

    def engine(self, role: str) -> Any:
        """The engine of a role, loaded."""
        return self._get(role)

    def subjects(self, examples: Sequence[Example], *, printed: bool = True) -> list[Subject | RejectedInput]:
        """Each photograph as the stages photo, cutout and read_text hand it on, or why it cannot be read.

        One whose cut-out is refused comes with an alpha of ones, as a whole. Reading takes the most time:
        without ``printed`` it is left out.
        """
        answers: dict[int, Subject | RejectedInput] = {}
        pictures: dict[int, RGB] = {}
        for number, example in enumerate(examples):
            try:
                pictures[number] = self._photo(example)
            except RejectedInput as error:
                answers[number] = error
        alphas: dict[int, Alpha] = {}
        segmenter: Segmenter = self._get("segmenter")
        told = [self._said(examples[number], "segmenter") for number in pictures]
        for number, alpha in zip(pictures, segmenter.segment(list(pictures.values()), told), strict=True):
            try:
                judge(alpha, self._params["cutout"])
                alphas[number] = _stored_mask(alpha)
            except RejectedInput:
                # As the stages do it: what a photo shows as a whole can still be told.
                alphas[number] = whole(pictures[number])
        shown = [pictures[number] for number in alphas]
        read = self._printed(shown) if printed else [()] * len(shown)
        for (number, alpha), lines in zip(alphas.items(), read, strict=True):
            facts = self._said(examples[number], "tagger") if "tagger" in self._names else CatalogFacts()
            answers[number] = Subject(pictures[number], alpha, lines, facts)
        return [answers[number] for number in range(len(examples))]

    def tagged(self, read: Sequence[tuple[Example, Subject]]) -> list[Reviewed]:
        """What holds of photographs that were read already, of what is refused nothing."""
        tagger: Tagger = self._get("tagger")
        return [
            _NOTHING if isinstance(tags, RejectedInput) else review(vocabulary(), tags, self._given(example))
            for (example, _), tags in zip(
                read, halved(tagger.tag, [[subject] for _, subject in read], RejectedInput), strict=True
            )
        ]

    def _batch(self, examples: Sequence[Example]) -> list[Understood]:
        answers: dict[int, Understood] = {}
        read: dict[int, Subject] = {}
        for number, (example, subject) in enumerate(zip(examples, self.subjects(examples), strict=True)):
            if isinstance(subject, RejectedInput):
                answers[number] = Understood(example, _NOTHING, unreadable=str(subject))
            else:
                read[number] = subject
        kinds = self._garments(read, examples)
        tagger: Tagger = self._get("tagger")
        tagged = halved(tagger.tag, [[subject] for subject in read.values()], RejectedInput)
        for number, tags in zip(read, tagged, strict=True):
            example = examples[number]
            if isinstance(tags, RejectedInput):
                answers[number] = Understood(example, _NOTHING, set_aside=str(tags))
            else:
                reviewed = review(vocabulary(), tags, self._given(example))
                answers[number] = Understood(example, reviewed, kinds.get(number))
        return [answers[number] for number in range(len(examples))]

    def _garments(self, subjects: Mapping[int, Subject], examples: Sequence[Example]) -> Mapping[int, Label]:
        asked = {n: one for n, one in subjects.items() if is_garment(examples[n])}
        if not asked:
            return {}
        classifier: GarmentClassifier = self._get("garment_classifier")
        found = classifier.classify_garments(list(asked.values()))
        return {number: labels[0] for number, labels in zip(asked, found, strict=True)}

    def _get(self, role: str) -> Any:
        return self._engines.get(self._names[role])

    def _given(self, example: Example) -> CatalogFacts:
        return example.facts if self._facts else CatalogFacts()

    def _said(self, example: Example, role: str) -> CatalogFacts:
        """What an engine may know of it: the fields that it declares it reads."""
        return self._given(example).only(self._engines.spec(self._names[role]).reads)

    def _printed(self, pictures: Sequence[RGB]) -> list[tuple[Printed, ...]]:
        if "text_reader" not in self._names:
            return [() for _ in pictures]
        reader: TextReader = self._get("text_reader")
        return [tuple(lines) for lines in reader.read_text(pictures)]

    def _photo(self, example: Example) -> RGB:
        """As the stage photo stores it: scaled, and through JPEG once more."""
        params = self._params["photo"]
        picture = decode(
            example.path.read_bytes(), max_pixels=params["max_pixels"], long_edge=params["long_edge"]
        )
        media_type = "image/jpeg" if picture.alpha is None else "image/png"
        return decode(encode(picture.pixels, media_type=media_type)).pixels


def is_garment(example: Example) -> bool:
    """Whether a photograph is labelled as one of the kinds that the garment classifier tells apart."""
    types = vocabulary().values("product_type")
    labels = (types[key] for key in example.truth.get("product_type", ()))
    return any(isinstance(label, ProductType) and label.garment for label in labels)


def _stored_mask(alpha: Alpha) -> Alpha:
    """As the stage cutout stores it, with 256 levels."""
    return (alpha * 255.0 + 0.5).astype(np.uint8).astype(np.float32) / np.float32(255.0)
