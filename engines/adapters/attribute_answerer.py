"""Answers to questions from the tags that hold and the merchant's facts: it sees nothing and writes no prose."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from engines.declaration import Loading, engine
from engines.protocols import Answer, Answerer, Bilingual, Brief, Question, Tag
from engines.words.questions import BRAND, PRINTED, Pair, understand
from engines.words.text import is_chinese
from engines.words.vocabulary import FILE, ProductType, Vocabulary, vocabulary


@engine(
    "attributes",
    capability=Answerer,
    data=(FILE,),
    reads=("title", "brand"),
    licence="Apache-2.0",
    memory_mb=1,
    template=True,
)
class AttributeAnswerer:
    """Answers what the tags cover: which colour, what kind, is it striped. It declines everything else."""

    version: ClassVar[int] = 1

    def __init__(self, loading: Loading) -> None:
        self._vocabulary = vocabulary()

    def warm_up(self) -> None:
        """Nothing is loaded."""

    def answer(self, questions: Sequence[Question]) -> list[Answer]:
        return [_answer(self._vocabulary, question) for question in questions]


def _answer(words: Vocabulary, question: Question) -> Answer:
    brief, zh = question.brief, is_chinese(question.text)
    asked = understand(words, question.text, brief.facts.title)
    if asked.attribute is None and not asked.values:
        return _declined(
            f"it was not understood: {asked.unclear[:80]}", f"没有听懂：{asked.unclear[:80]}", zh
        )
    if asked.attribute is None:
        return _whether(words, brief, asked.values, zh)
    for pair in asked.values:
        if not _standing(words, brief, pair)[0]:
            named = _term(words, pair)
            return _declined(f"nothing says that it is: {named.en}", f"没有依据说明它是{named.zh}", zh)
    if asked.attribute == BRAND:
        return _brand(brief, zh)
    if asked.attribute == PRINTED:
        return _printed(brief, zh)
    return _which(words, brief, asked.attribute, zh)


def _which(words: Vocabulary, brief: Brief, attribute: str, zh: bool) -> Answer:
    term, tags = words.attributes[attribute], _held(brief, attribute)
    if not tags:
        return _declined(f"nothing is known of its {term.en}", f"没有关于{term.zh}的信息", zh)
    values = [_term(words, (tag.attribute, tag.value)) for tag in tags]
    en = f"The {term.en} is {_and([value.en for value in values])}."
    return _told(en, f"{term.zh}是{'、'.join(value.zh for value in values)}。", zh, tags, words)


def _whether(words: Vocabulary, brief: Brief, values: Sequence[Pair], zh: bool) -> Answer:
    """Yes where all hold, no where one is contradicted by what holds, declined where one cannot be told."""
    because: list[Tag] = []
    for pair in values:
        holds, resting = _standing(words, brief, pair)
        if holds is False:
            said = [_term(words, (tag.attribute, tag.value)) for tag in resting]
            term = words.attributes[pair[0]]
            en = f"No, the {term.en} is {_and([value.en for value in said])}."
            return _told(
                en, f"不是，{term.zh}是{'、'.join(value.zh for value in said)}。", zh, resting, words
            )
        if holds is None:
            term, wanted = words.attributes[pair[0]], _term(words, pair)
            return _declined(
                f"what is known of its {term.en} does not tell: {wanted.en}",
                f"已知的{term.zh}信息无法判断是否为{wanted.zh}",
                zh,
            )
        because += resting
    named = [_term(words, pair) for pair in values]
    en = f"Yes: {_and([value.en for value in named])}."
    return _told(en, f"是的，{'、'.join(value.zh for value in named)}。", zh, because, words)


def _standing(words: Vocabulary, brief: Brief, pair: Pair) -> tuple[bool | None, list[Tag]]:
    """Whether a value is true of the product, None where that cannot be told, and the tags that say so."""
    attribute, value = pair
    tags = _held(brief, attribute)
    own = [tag for tag in tags if tag.value == value or value in _wider(words, tag)]
    if own:
        return True, own[:1]
    if not tags or any(value in narrower for narrower in (_narrower(words, tag) for tag in tags)):
        return None, []
    return False, tags


def _wider(words: Vocabulary, tag: Tag) -> tuple[str, ...]:
    term = words.values(tag.attribute)[tag.value]
    return term.kind_of if isinstance(term, ProductType) else ()


def _narrower(words: Vocabulary, tag: Tag) -> set[str]:
    """Trousers may be jeans: that nothing says so does not make it false."""
    values = words.values(tag.attribute).items()
    return {key for key, term in values if isinstance(term, ProductType) and tag.value in term.kind_of}


def _brand(brief: Brief, zh: bool) -> Answer:
    if not brief.facts.brand:
        return _declined("the merchant names no brand", "商家没有注明品牌", zh)
    brand = brief.facts.brand
    text = f"品牌是{brand}。" if zh else f"The brand is {brand}."
    return Answer(text, "商家注明的品牌" if zh else "the merchant names the brand", 1.0)


def _printed(brief: Brief, zh: bool) -> Answer:
    if not brief.printed:
        return _declined("no text was read in its photos", "照片中没有识别到文字", zh)
    read = " / ".join(line.text for line in brief.printed)
    because = (
        f"照片中识别到{len(brief.printed)}行文字" if zh else f"lines read in its photos: {len(brief.printed)}"
    )
    text = f"上面的文字是：{read}" if zh else f"It reads: {read}"
    return Answer(text, because, min(line.confidence for line in brief.printed))


def _held(brief: Brief, attribute: str) -> list[Tag]:
    return sorted((tag for tag in brief.tags if tag.attribute == attribute), key=lambda tag: -tag.confidence)


def _told(en: str, zh: str, chinese: bool, tags: Sequence[Tag], words: Vocabulary) -> Answer:
    """As sure as the least sure tag that it rests on."""
    seen = []
    for tag in tags:
        value = _term(words, (tag.attribute, tag.value))
        evidence = ", ".join(item.words for item in tag.evidence if item.words)
        seen.append(
            f"{value.zh if chinese else value.en} {tag.confidence:.2f}{f' ({evidence})' if evidence else ''}"
        )
    return Answer(zh if chinese else en, "; ".join(seen), min(tag.confidence for tag in tags))


def _declined(en: str, zh: str, chinese: bool) -> Answer:
    return Answer(None, zh if chinese else en, 0.0)


def _term(words: Vocabulary, pair: Pair) -> Bilingual:
    return words.values(pair[0])[pair[1]].text


def _and(items: Sequence[str]) -> str:
    return " and ".join(filter(None, [", ".join(items[:-1]), items[-1]]))
