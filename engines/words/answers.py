"""What models write, made fit to print: one plain sentence, whatever chatter came around it."""

from __future__ import annotations

import re

from engines.protocols import Bilingual
from engines.words.lexicon import lexicon
from engines.words.text import one_line
from engines.words.vocabulary import Vocabulary
from pipeline.errors import RejectedInput

LONGEST = 200
"""Characters of a sentence; what is longer is cut at the end of a word."""

_READ = 4000
"""Characters of an answer that are read at all."""

_CHATTER = re.compile(
    r"""^(?:
        (?:sure|certainly|of\ course|okay|ok)\b[\s,.!:]*
      | (?:here\ is|here's|this\ is|the\ following\ is)\ [^.:]{0,60}
        \b(?:description|caption|sentence)\b[^.:]{0,60}:\s*
      | (?:description|caption|answer|assistant|question)\s*:\s*
      | (?:the|this)\ (?:image|picture|photo|photograph)\ (?:shows|depicts|features|displays|is\ of|contains)\s+
      | there\ (?:is|are)\s+
      | (?:an?\ |the\ )?(?:close[\s-]*up\ )?(?:image|picture|photograph(?:y)?|photo)\ of\s+
    )""",
    re.IGNORECASE | re.VERBOSE,
)
"""Openings that say nothing of the product; BLIP's "a photography of" among them."""

_ARAFED = re.compile(r"\b(?:arafed|araffed|araffe|arafe)\b\s*", re.IGNORECASE)
"""A word that BLIP learned from nobody knows where and puts before nouns."""

_ADDRESS = re.compile(r"(?:https?://|www\.)\S*", re.IGNORECASE)
_MARKUP = re.compile(r"<[^<>]*>|[<>`*_#|{}\[\]\\]")
_SENTENCE_END = re.compile(r"(?<=[.!?。！？])\s+|(?<=[。！？])")
_ECHO = re.compile(r"\b(\w+(?: \w+){0,3})(?: \1\b){2,}", re.IGNORECASE)
"""Words said three times running: where a small model has lost its thread."""


def cleaned(text: str, longest: int = LONGEST) -> str:
    """The first sentence of ``text`` without chatter, markup, addresses and control characters.

    Raises RejectedInput where nothing is left.
    """
    plain = one_line(text, _READ).strip("\"'“”‘’").strip()
    before = None
    while plain != before:
        before, plain = plain, _CHATTER.sub("", plain, count=1)
    plain = _ARAFED.sub("", _MARKUP.sub(" ", _ADDRESS.sub(" ", plain)))
    plain = _ECHO.sub(r"\1", " ".join(plain.split()))
    plain = _SENTENCE_END.split(plain, maxsplit=1)[0].strip(" ,;:-\"'“”").strip()
    if len(plain) > longest:
        cut = plain[: longest + 1]
        plain = (cut.rpartition(" ")[0] or cut[:longest]).rstrip(" ,;:-")
    if not any(letter.isalnum() for letter in plain):
        raise RejectedInput("empty-answer", "the model wrote no word about the picture: look at it yourself")
    plain = plain[0].upper() + plain[1:]
    return plain if plain[-1] in ".!?。！？" else f"{plain}."


def bilingual(english: str, words: Vocabulary) -> Bilingual:
    """An English sentence with a Chinese one of the vocabulary's words found in it.

    For models that write English only. The Chinese is a list of words, and does not pass for a translation.
    """
    # A category is a department, which no sentence names; and jeans are named as jeans, not as denim.
    read = [mention for mention in lexicon().find(english) if mention.attribute != "category"]
    types = {mention.start for mention in read if mention.attribute == "product_type"}
    found = [one for one in read if one.attribute == "product_type" or one.start not in types]
    listed = "、".join(dict.fromkeys(words.values(one.attribute)[one.value].zh for one in found))
    return Bilingual(en=english, zh=f"图中可见：{listed}。" if listed else "一张商品照片。")
