"""What the merchant says of a product, in the words of the vocabulary, each with the words quoted.

Text is data: whatever a title says, only values of the vocabulary come out of it. A title names its thing in
its last noun (English) or its last word (Chinese): a camera lens is a lens, and an iPhone case is no phone.
Where the last noun is unknown, nothing is guessed.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from engines.protocols import CatalogFacts, Evidence, Tag, Witness
from engines.words.lexicon import Lexicon, Mention, lexicon, tokenise
from engines.words.text import is_chinese
from engines.words.vocabulary import Vocabulary, vocabulary

FACT = 0.8
"""From this confidence on, a merchant's word is a fact that no photo overrules; under it, a mention."""

# Of the 54 titles of the Vendure catalog 52 name a type, every one of them right; a tag or a path is a shelf
# mark rather than a name. A colour or material before an unknown noun may be the noun's (wood polish).
_TITLE, _TAG, _PATH, _BESIDE_UNKNOWN, _KEYWORD_TYPE, _DESCRIBED = 0.95, 0.9, 0.85, 0.6, 0.6, 0.3

_CLAUSE = re.compile(r"[,;:|/()\[\]{}!?。，；：、（）【】！？\n]|\s[-–—]\s|\.\s")
_PATH_STEP = re.compile(r"\s*[/>›»|]\s*")
_ONE_OF_PATH = re.compile(r"\s*(?:&|,|\+|、|和|与|\band\b)\s*")
_SET_OF = re.compile(r"^\W*(?:an?\s+)?(?:set|pair|pack|lot)s?\s+of\s+(?:\d+\s+)?", re.IGNORECASE)
_CUTS = frozenset(
    (
        "with",
        "for",
        "from",
        "of",
        "on",
        "by",
        "to",
        "without",
        "and",
        "or",
        "fits",
        "compatible",
        "like",
        "at",
    )
)
_IN = frozenset(("in", "made"))
_BEHIND = frozenset(
    ("xs", "s", "m", "l", "xl", "xxl", "set", "pack", "pair", "piece", "unisex", "new", "inch", "cm", "mm")
)
_FITS = re.compile(r"适用于?|兼容|for", re.IGNORECASE)
_PARTS = frozenset("壳套膜架垫罩带盒包链绳贴扣布刷腿纸券卡模")
_NOT = re.compile(
    r"\b(?:not|no|non|never|without|isn't|aren't|doesn't|won't)\b|不|非|无法|没有", re.IGNORECASE
)

_NAMES = ("category", "product_type")


def said(words: Vocabulary, facts: CatalogFacts) -> list[Tag]:
    """What title, category, tags and description say, a tag for each value, the surest words first.

    A title's type decides over the category path, which may be a shelf ("Furniture" of a lampshade). The
    description is evidence for what is seen, never a fact; only features are taken from it as claims.
    """
    index = lexicon() if words is vocabulary() else Lexicon(words)
    found = [
        *_from_title(index, facts.title),
        *_from_tags(words, facts.tags),
        *_from_category(words, index, facts.category),
        *_from_description(words, index, facts.description),
    ]
    named = next((tag for tag in found if tag.attribute == "product_type" and tag.confidence >= FACT), None)
    if named is not None:
        category = words.category_of(named.value)
        own = Tag("category", category, named.confidence, named.evidence)
        # The path still counts where it agrees, and gives way where it does not.
        found = [own, *(tag for tag in found if _fits(tag, named.value, category))]
    return _one_a_value(found)


def _fits(tag: Tag, product_type: str, category: str) -> bool:
    if tag.attribute == "category":
        return tag.value == category
    return tag.attribute != "product_type" or tag.value == product_type


def _from_title(index: Lexicon, title: str) -> Iterator[Tag]:
    clauses = [clause for clause in _CLAUSE.split(_SET_OF.sub("", title)) if clause.strip()]
    head: Mention | None = None
    for clause in clauses:
        head = _head(index, clause)
        if head is not None:
            yield _tag(head, _TITLE, "title")
            break
    sure = _TITLE if head is not None else _BESIDE_UNKNOWN
    for clause in clauses:
        for mention in index.find(_own_words(clause, index)):
            if mention.attribute not in _NAMES and not _is_head(mention, head):
                yield _tag(mention, sure, "title")


def _is_head(mention: Mention, head: Mention | None) -> bool:
    """Whether a colour is the noun itself: an orange is no orange thing, though jeans are of denim."""
    return mention.attribute == "colour" and head is not None and mention.text == head.text


def _head(index: Lexicon, clause: str) -> Mention | None:
    """What a clause names, None where its last noun is unknown."""
    return _last_word(index, clause) or _last_noun(index, clause)


def _last_noun(index: Lexicon, clause: str) -> Mention | None:
    """The type at the end of an English clause, sizes, colours and the like behind it left aside."""
    zone = _before_preposition(clause, index, _CUTS | _IN)
    mentions = index.find(zone)
    types = [m for m in mentions if m.attribute == "product_type" and not is_chinese(m.text)]
    if not types:
        return None
    last = types[-1]
    covered = [m for m in mentions if m.start >= last.end and m.attribute not in _NAMES]
    for word in tokenise(zone):
        known = word.key in _BEHIND or any(character.isdigit() for character in word.key)
        if word.start >= last.end and not known and not any(m.start <= word.start < m.end for m in covered):
            return None
    return last


def _last_word(index: Lexicon, clause: str) -> Mention | None:
    """The last type of a Chinese clause, unless the character behind makes a part of it: 手机壳, 沙发套."""
    zone = _FITS.split(clause)[0] or _FITS.sub("", clause)
    for mention in reversed(index.find(zone)):
        if mention.attribute != "product_type" or not is_chinese(mention.text):
            continue
        behind = zone[mention.end :].strip()
        part = behind[:1] in _PARTS
        return None if part or (len(mention.text) == 1 and behind) else mention
    return None


def _own_words(clause: str, index: Lexicon) -> str:
    """The words of a clause that describe the thing itself: of "sofa with oak legs" only "sofa"."""
    return _before_preposition(clause, index, _CUTS)


def _before_preposition(clause: str, index: Lexicon, cuts: frozenset[str]) -> str:
    inside = [(m.start, m.end) for m in index.find(clause)]
    tokens = tokenise(clause)
    for number, word in enumerate(tokens):
        part = any(start <= word.start < end for start, end in inside)
        made_of = word.key in ("of", "from") and number > 0 and tokens[number - 1].key == "made"
        if number > 0 and word.key in cuts and not part and not made_of:
            return clause[: word.start]
    return clause


def _from_tags(words: Vocabulary, tags: Sequence[str]) -> Iterator[Tag]:
    for text in tags:
        for attribute in words.attributes:
            if value := words.value_of(attribute, text):
                confidence = _KEYWORD_TYPE if attribute in _NAMES else _TAG
                yield Tag(attribute, value, confidence, (_quote("tags", text),))


def _from_category(words: Vocabulary, index: Lexicon, path: str) -> Iterator[Tag]:
    """The narrowest step of the path that names a category or a type, as a whole or as one in a list."""
    for step in reversed(_PATH_STEP.split(path)):
        parts = _ONE_OF_PATH.split(step)
        whole = words.value_of("category", step)
        kinds = set() if whole else {head.value for part in parts if (head := _head(index, part))}
        named = {whole} if whole else {words.value_of("category", part) for part in parts} - {None}
        named = named or {words.category_of(kind) for kind in kinds}
        if len(kinds) == 1:
            yield Tag("product_type", kinds.copy().pop(), _PATH, (_quote("category", step),))
        for mention in index.find(step):
            if mention.attribute == "audience":
                yield _tag(mention, _PATH, "category")
            elif mention.attribute == "category" and not named and mention.end == len(step.rstrip()):
                named = {mention.value}
        if len(named) == 1:
            yield Tag("category", str(named.pop()), _PATH, (_quote("category", step),))
            return


def _from_description(words: Vocabulary, index: Lexicon, description: str) -> Iterator[Tag]:
    for mention in index.find(description):
        if mention.attribute == "category" or _NOT.search(
            description[max(0, mention.start - 20) : mention.start]
        ):
            continue
        claimed = mention.attribute == "feature"
        yield _tag(mention, FACT if claimed else _DESCRIBED, "description")


def _tag(mention: Mention, confidence: float, field: str) -> Tag:
    return Tag(mention.attribute, mention.value, confidence, (_quote(field, mention.text),))


def _quote(field: str, text: str) -> Evidence:
    return Evidence(Witness.CATALOG, f"{field}: “{text.strip()[:100]}”")


def _one_a_value(tags: Sequence[Tag]) -> list[Tag]:
    """The merchant is one witness however often he says it: the surest of his words counts, all are quoted."""
    by_value: dict[tuple[str, str], list[Tag]] = {}
    for tag in tags:
        by_value.setdefault((tag.attribute, tag.value), []).append(tag)
    return [
        Tag(
            *key,
            max(tag.confidence for tag in several),
            tuple(dict.fromkeys(item for tag in several for item in tag.evidence))[:3],
        )
        for key, several in by_value.items()
    ]
