"""From a model's reply to tags, sentences, selling points and answers; what may not be shown raises Malformed."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from engines.dialogue import prompts
from engines.dialogue.prompts import AnswerForm, AttributesForm, CaptionForm, CategoryForm, PitchForm, Told
from engines.dialogue.replies import Malformed, read, sentence, speaks
from engines.protocols import RGB, Answer, Bilingual, Evidence, SellingPoint, Subject, Tag, Witness
from engines.words.text import one_line

_CAPTION, _POINT, _ANSWER = 300, 200, 400
_LABEL, _WORDS = 60, 200
"""Characters."""

_TAGS = 40

_UNKNOWN = {
    *("", "null", "none", "unknown", "unclear", "not known", "n/a"),
    *("未知", "不知道", "不清楚", "无法判断", "无法确定"),
}
_NUMBER = re.compile(r"\d+(?:[.,]\d+)*")


@dataclass(frozen=True, slots=True)
class Shown:
    """What a model is shown of a product when it tags it, and how its replies are read against that."""

    pictures: Sequence[RGB]
    data: str
    printed: Sequence[str]
    written: Mapping[str, str]

    @classmethod
    def of(cls, subjects: Sequence[Subject]) -> Shown:
        """Of one product's photos, at least one."""
        printed = [line for subject in subjects for line in subject.printed]
        facts = subjects[0].facts
        return cls(
            pictures=[subject.picture for subject in subjects],
            data=prompts.material(facts, printed),
            printed=prompts.read_off(printed),
            written=prompts.written(facts),
        )

    def category(self, reply: str) -> Tag | None:
        """The category as it was said, or None where no product is seen."""
        form = read(reply, CategoryForm)
        said = one_line(form.category or "", _LABEL)
        if said.casefold() in _UNKNOWN:
            return None
        return Tag("category", said, form.confidence, (self._evidence(form.evidence),))

    def tags(self, reply: str) -> list[Tag]:
        """The attributes as they were said, each value once; the category was asked before."""
        told = [self._tag(one) for one in read(reply, AttributesForm).attributes[:_TAGS]]
        surest: dict[tuple[str, str], Tag] = {}
        for tag in sorted(told, key=lambda tag: -tag.confidence):
            surest.setdefault((tag.attribute, tag.value), tag)
        return [tag for tag in surest.values() if tag.attribute != "category"]

    def _tag(self, told: Told) -> Tag:
        because = tuple((one_line(r.attribute, _LABEL), one_line(r.value, _LABEL)) for r in told.because)
        evidence = self._evidence(told.evidence)
        if because:
            evidence = Evidence(Witness.ATTRIBUTES, evidence.words)
        attribute, value = one_line(told.attribute, _LABEL), one_line(told.value, _LABEL)
        return Tag(attribute, value, told.confidence, (evidence,), because)

    def _evidence(self, said: str) -> Evidence:
        """What the model says it saw; where it says words that are printed or written, those are the witness.

        With several photos it cannot be believed on which of them it saw something.
        """
        words = one_line(said, _WORDS)
        photo = 0 if len(self.pictures) == 1 else None
        if any(_quotes(words, line) for line in self.printed):
            return Evidence(Witness.PRINTED, words, photo)
        if any(_quotes(words, text) for text in self.written.values()):
            return Evidence(Witness.CATALOG, words)
        return Evidence(Witness.PHOTO, words, photo)


def caption(reply: str) -> Bilingual:
    """A sentence in both languages."""
    form = read(reply, CaptionForm)
    return _bilingual(form.en, form.zh, _CAPTION)


def points(reply: str, facts: Mapping[str, tuple[str, str]], numbers: set[str]) -> list[SellingPoint]:
    """The points that may be shown: none that cites what is not a fact, or a number that nobody gave."""
    found, problem = [], None
    for point in read(reply, PitchForm).points[: prompts.MOST_POINTS]:
        try:
            text = _bilingual(point.en, point.zh, _POINT)
            rests_on = tuple(facts[one_line(one, 2 * _LABEL)] for one in point.rests_on)
        except Malformed as error:
            problem = str(error)
            continue
        except KeyError:
            problem = "a point rests on what is not among the listed facts"
            continue
        if not rests_on:
            problem = "a point rests on nothing"
        elif not numbers_in(text.en + " " + text.zh) <= numbers:
            problem = "a point gives a number that the data does not"
        else:
            found.append(SellingPoint(text, rests_on))
    if problem and not found:
        raise Malformed(problem)
    return found


def answer(reply: str, *, chinese: bool) -> Answer:
    """An answer in the question's language; one that declines is an answer too."""
    form = read(reply, AnswerForm)
    because = one_line(form.because, _ANSWER)
    if not speaks(because, chinese=chinese):
        because = ""
    if form.answer.strip(" .。!！\"'").casefold() in _UNKNOWN:
        return Answer(None, because, 0.0)
    return Answer(sentence(form.answer, chinese=chinese, longest=_ANSWER), because, form.confidence)


def numbers_in(text: str) -> set[str]:
    """Every number of a text, as it is written."""
    return set(_NUMBER.findall(text))


def _bilingual(en: str, zh: str, longest: int) -> Bilingual:
    return Bilingual(
        en=sentence(en, chinese=False, longest=longest), zh=sentence(zh, chinese=True, longest=longest)
    )


def _quotes(words: str, source: str) -> bool:
    """Whether words are taken from a source: they are in it, or a line of some length is in them."""
    bare, whole = words.strip("\"'“”‘’「」.。 ").casefold(), source.casefold()
    return (len(bare) >= 2 and bare in whole) or (len(whole) >= 4 and whole in bare)
