"""What an engine means by a tag it proposes, in keys of the vocabulary."""

from __future__ import annotations

from dataclasses import replace

from engines.protocols import Tag
from engines.words.vocabulary import Vocabulary

MOST_EVIDENCE = 8
"""Pieces of evidence that one tag keeps."""

_WORDS, _QUOTED = 300, 60
"""Characters kept of what evidence says, and of what an engine said in a note about it."""


def understood(words: Vocabulary, tag: Tag) -> Tag:
    """The tag by keys. Raises ValueError, saying why, for what is not in the vocabulary or no probability."""
    if not 0 <= tag.confidence <= 1:  # so neither is NaN
        raise ValueError("its confidence is no probability")
    attribute, value = _keys(words, tag.attribute, tag.value)
    if attribute is None:
        raise ValueError("there is no such attribute")
    if value is None:
        raise ValueError("is no value of it")
    # Grounds that are not understood stay as they are, and will not hold.
    because = tuple((a or pair[0], v or pair[1]) for pair in tag.because for a, v in [_keys(words, *pair)])
    evidence = tuple(replace(item, words=item.words[:_WORDS]) for item in tag.evidence[:MOST_EVIDENCE])
    return Tag(attribute, value, tag.confidence, evidence, because)


def quoted(text: str) -> str:
    """What an engine said, fit for a line of text: printable, short, without quotes or brackets."""
    shown = "".join(c if c.isprintable() and c not in "\"'<>`" else " " for c in text[: _QUOTED + 1])
    return shown if len(shown) <= _QUOTED else shown[:_QUOTED] + "…"


def _keys(words: Vocabulary, attribute: str, value: str) -> tuple[str | None, str | None]:
    """What is meant by "colour" "Red ", by "颜色" "红色", by "color" "colour: red"."""
    found = attribute if attribute in words.attributes else words.attribute_of(attribute)
    if found is None:
        return None, None
    label, colon, behind = value.replace("：", ":").partition(":")
    labelled = bool(colon) and words.attribute_of(label) == found
    return found, words.value_of(found, behind if labelled else value)
