"""What a question about a product asks for, in the vocabulary's words, in English or Chinese.

A question is understood whole or not at all: one word that is not accounted for and it is declined, since "is the
red one waterproof?" must not be answered with a yes to red.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from engines.words.text import is_chinese
from engines.words.vocabulary import Term, Vocabulary

BRAND, PRINTED = "brand", "printed"
"""What can be asked for besides the vocabulary's attributes."""

Pair = tuple[str, str]
"""An attribute and one of its values, by key."""

# How people ask for an attribute, besides the vocabulary's own words for it.
_CUES: Mapping[str, tuple[str, ...]] = {
    "category": ("department", "哪一类", "什么类", "类别", "分类"),
    "product_type": ("what is", "what's", "what kind of", "what type of", "type", "kind", "是什么", "什么东西", "类型"),
    "colour": ("color", "colors", "colours", "什么色"),
    "pattern": ("patterned", "花纹", "纹样"),
    "material": ("made of", "made from", "fabric", "materials", "材料", "面料", "什么做的"),
    "style": ("styles", "feel", "什么风"),
    "scene": ("occasion", "occasions", "where can i use", "where can i wear", "哪里用", "适合场合", "场合", "适合什么"),
    BRAND: ("brand", "make", "maker", "who makes", "who made", "品牌", "牌子", "什么牌子", "谁生产"),
    PRINTED: (
        *("printed on", "printed", "written on", "written", "what does it say", "text", "words", "label say"),
        *("印着", "印的", "印了", "写着", "写的", "写了", "文字", "字"),
    ),
}  # fmt: skip

# No negation is among them: "isn't it red?" is declined rather than answered the wrong way round.
_FILLERS = re.compile(
    r"\b(?:is|are|was|does|do|has|have|can|you|tell|me|please|know|its|it's|it|this|these|that|they|them|the|a|an|of|"
    r"in|on|for|to|with|by|any|some|there|what|which|who|whose|product|item|thing|come|comes|be|i|see|and|or|from|"
    r"made|used for|suitable|good for|say|there's)\b"
    r"|这个|这件|这款|这双|这条|这只|这台|这张|那个|商品|产品|宝贝|请问|告诉我|有没有|是不是|属于|适合|什么|哪种|哪些|哪个|"
    r"哪里|多少|一下|一个|一件|一款|一双|一条|还是|或者|[它这是的吗呢么啊吧有用在做和与或为上面哪]"
    r"|[\s\W_]+"
)
_YES_NO = re.compile(
    r"^\s*(?:please tell me,? )?(?:is|are|does|do|has|have|can)\b|吗\s*[？?。]*\s*$|是不是|有没有",
    re.IGNORECASE,
)
_EITHER_OR = re.compile(r"\bor\b|还是|或者", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Asked:
    """``attribute`` is asked for; or, without one, whether all of ``values`` are true of the product.

    Beside an attribute, ``values`` are what the question takes for granted: that it is a sofa, in "what colour is
    the sofa". ``unclear`` is what could not be understood, and then nothing else counts.
    """

    attribute: str | None
    values: tuple[Pair, ...]
    unclear: str


def understand(words: Vocabulary, text: str, title: str = "") -> Asked:
    """What a question asks; ``title`` is the product's, by which it may be called."""
    rest = f" {text.casefold()} "
    if title:
        # As the subject only: of a product called "Red dress" it may be asked whether it is a red dress.
        rest = rest.replace(f" the {title.casefold()}", " it ").replace(f" {title.casefold()}是", " 它是")
    values: list[Pair] = []
    attributes: list[str] = []
    # Longest first, so that a T-shirt is no shirt and 运动鞋 no 鞋; what is taken is not read twice.
    for phrase, pair in sorted(_phrases(words), key=lambda item: (-len(item[0]), item[0], item[1])):
        found = _pattern(phrase).search(rest)
        if found:
            rest = _pattern(phrase).sub(" \0 ", rest)
            attribute, value = pair
            if value:
                values.append((attribute, value))
            else:
                attributes.append(attribute)
    unclear = " ".join(_FILLERS.sub(" ", rest.replace("\0", " ")).split())
    asked = list(dict.fromkeys(attributes))
    if unclear:
        return Asked(None, (), unclear)
    if not asked and values and _EITHER_OR.search(text):
        # Of "red or blue" the attribute is asked for.
        kinds = {attribute for attribute, _ in values}
        return Asked(kinds.pop(), (), "") if len(kinds) == 1 else Asked(None, (), text)
    if values and _YES_NO.search(text):
        return Asked(None, tuple(values), "")
    if len(asked) > 1 and "product_type" in asked:
        # "what is" leads many questions: "what is the colour" asks for the colour.
        asked.remove("product_type")
    if len(asked) != 1:
        return Asked(None, (), text)
    return Asked(asked[0], tuple(values), "")


def _phrases(words: Vocabulary) -> Iterator[tuple[str, Pair]]:
    """Every phrase that names an attribute (with no value) or a value. A word of two values names neither."""
    for attribute, term in words.attributes.items():
        for phrase in {*_names(term), *_CUES.get(attribute, ())}:
            yield phrase, (attribute, "")
    for attribute in {BRAND, PRINTED} - words.attributes.keys():
        for phrase in _CUES[attribute]:
            yield phrase, (attribute, "")
    named: dict[str, set[Pair]] = {}
    for attribute in words.attributes:
        for key, value in words.values(attribute).items():
            for phrase in _names(value):
                named.setdefault(phrase, set()).add((attribute, key))
    for phrase, pairs in named.items():
        # Of a category and a type of the same name the type is the narrower word.
        chosen = {pair for pair in pairs if pair[0] != "category"} or pairs
        if len(chosen) == 1:
            yield phrase, next(iter(chosen))


def _names(term: Term) -> set[str]:
    return {name.casefold() for name in (term.en, term.zh, *term.words)}


def _pattern(phrase: str) -> re.Pattern[str]:
    """English by whole words, a plural too; Chinese anywhere."""
    if is_chinese(phrase):
        return re.compile(re.escape(phrase))
    return re.compile(rf"(?<![\w-]){re.escape(phrase)}(?:s|es)?(?![\w-])")
