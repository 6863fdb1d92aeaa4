"""Everything that a model which follows instructions does for a shop, whichever model it is.

A subclass says how one is asked (``generate``); what is asked, how a reply is read, and what becomes of one that
cannot be read is the same for a LLaVA on the next card and a server far away. A reply that cannot be read is
asked for once more, with what was wrong with it; after that its product alone is refused.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Generic, TypeVar

from engines.dialogue import interpretation, prompts
from engines.dialogue.interpretation import Shown
from engines.dialogue.prompts import Instruction
from engines.dialogue.replies import Malformed
from engines.protocols import (
    RGB,
    Answer,
    Answerer,
    Bilingual,
    Brief,
    Captioner,
    Pitcher,
    Question,
    SellingPoint,
    Subject,
    Tag,
    Tagger,
)
from engines.words.text import is_chinese
from engines.words.vocabulary import FILE as VOCABULARY
from engines.words.vocabulary import vocabulary
from pipeline.errors import RejectedInput

A = TypeVar("A")

CAPABILITIES = (Captioner, Tagger, Pitcher, Answerer)

READS = ("title", "description", "category", "brand", "tags")
"""The fields of CatalogFacts that a model is shown; what its engine declares that it reads."""

DATA = (prompts.FILE, VOCABULARY)
"""The files that shape the answers beside the model; what its engine declares as its data."""

VERSION = 2
"""Of all that this module and those it builds on make of a reply; part of every such engine's version."""


@dataclass(frozen=True, slots=True)
class _Asked(Generic[A]):
    """An instruction and how its reply is read; ``read`` raises Malformed."""

    instruction: Instruction
    read: Callable[[str], A]


class Instructed(ABC):
    """Captions, tags, selling points and answers from one model.

    ``name`` is the engine's; ``photos`` how many of a product's photos, the first ones, it is shown at most.
    The confidence is what the model says of itself: it is not calibrated.
    """

    def __init__(self, name: str, photos: int) -> None:
        self._name = name
        self._photos = photos
        self._vocabulary = vocabulary()

    @abstractmethod
    def generate(self, instructions: Sequence[Instruction]) -> Sequence[str | RejectedInput]:
        """The model's replies as they come, one an instruction; a RejectedInput where it refuses to reply.

        Raises Transient for what time may heal: it concerns all of them.
        """

    def caption(self, subjects: Sequence[Subject]) -> list[Bilingual | RejectedInput]:
        return self._ask([_Asked(prompts.caption([one.picture]), interpretation.caption) for one in subjects])

    def tag(self, products: Sequence[Sequence[Subject]]) -> list[list[Tag] | RejectedInput]:
        """Category first, then only the attributes that apply within it; values are passed on as said."""
        found: list[list[Tag] | RejectedInput] = [[] for _ in products]
        shown = {at: Shown.of(subjects[: self._photos]) for at, subjects in enumerate(products) if subjects}
        categories = self._ask([self._category(one) for one in shown.values()])
        told: dict[int, Tag] = {}
        for at, category in zip(shown, categories, strict=True):
            if isinstance(category, RejectedInput):
                found[at] = category
            elif category is not None:
                told[at] = category
        details = self._ask([self._attributes(shown[at], category) for at, category in told.items()])
        for (at, category), tags in zip(told.items(), details, strict=True):
            found[at] = tags if isinstance(tags, RejectedInput) else [category, *tags]
        return found

    def pitch(self, briefs: Sequence[Brief]) -> list[list[SellingPoint] | RejectedInput]:
        return self._ask([self._pitch(brief) for brief in briefs])

    def answer(self, questions: Sequence[Question]) -> list[Answer | RejectedInput]:
        return self._ask([self._answer(question) for question in questions])

    def _category(self, shown: Shown) -> _Asked[Tag | None]:
        instruction = prompts.category(self._vocabulary, shown.pictures, shown.data)
        return _Asked(instruction, shown.category)

    def _attributes(self, shown: Shown, category: Tag) -> _Asked[list[Tag]]:
        key = self._vocabulary.value_of("category", category.value)
        return _Asked(prompts.attributes(self._vocabulary, key, shown.pictures, shown.data), shown.tags)

    def _pitch(self, brief: Brief) -> _Asked[list[SellingPoint]]:
        facts = {f"{tag.attribute}={tag.value}": (tag.attribute, tag.value) for tag in brief.tags}
        facts |= {f"catalog={field}": ("catalog", field) for field in prompts.written(brief.facts)}
        data = prompts.material(brief.facts, brief.printed)
        given = [*facts, *prompts.written(brief.facts).values(), *prompts.read_off(brief.printed)]
        numbers = interpretation.numbers_in("\n".join(given))
        read = partial(interpretation.points, facts=facts, numbers=numbers)
        return _Asked(prompts.pitch(facts, self._pictures(brief), data), read)

    def _answer(self, question: Question) -> _Asked[Answer]:
        brief, chinese = question.brief, is_chinese(question.text)
        data = prompts.material(brief.facts, brief.printed, question.text)
        read = partial(interpretation.answer, chinese=chinese)
        return _Asked(prompts.question(chinese, self._pictures(brief), data), read)

    def _pictures(self, brief: Brief) -> Sequence[RGB]:
        return [subject.picture for subject in brief.subjects()[: self._photos]]

    def _ask(self, asked: Sequence[_Asked[A]]) -> list[A | RejectedInput]:
        """The answers; those that could not be read are asked for once more, together."""
        first = self._read(asked)
        bad = {at: one for at, one in enumerate(first) if isinstance(one, Malformed)}
        repeated = self._read([_again(asked[at], problem) for at, problem in bad.items()])
        answers = dict(enumerate(first)) | dict(zip(bad, repeated, strict=True))
        return [self._refused(one) if isinstance(one, Malformed) else one for one in answers.values()]

    def _read(self, asked: Sequence[_Asked[A]]) -> list[A | RejectedInput | Malformed]:
        answers: list[A | RejectedInput | Malformed] = []
        replies = self.generate([one.instruction for one in asked]) if asked else []
        for one, reply in zip(asked, replies, strict=True):
            try:
                answers.append(reply if isinstance(reply, RejectedInput) else one.read(reply))
            except Malformed as problem:
                answers.append(problem)
        return answers

    def _refused(self, problem: Malformed) -> RejectedInput:
        message = f"engine {self._name} twice gave no answer that can be used: {problem}"
        return RejectedInput("malformed-answer", message)


def _again(asked: _Asked[A], problem: Malformed) -> _Asked[A]:
    text = prompts.again(asked.instruction.text, str(problem))
    return replace(asked, instruction=replace(asked.instruction, text=text))
