"""The little grammar that sentences filled in by a template need."""

from __future__ import annotations

from collections.abc import Sequence


def with_article(phrase: str) -> str:
    """ "an orange tent", "a unicycle", "an hourglass": by sound, not by letter."""
    vowel = phrase[:1].lower() in tuple("aeiou") and not phrase.lower().startswith(("uni", "one"))
    return f"an {phrase}" if vowel or phrase.startswith("hour") else f"a {phrase}"


def listed(words: Sequence[str]) -> str:
    """English: "black, white and red"."""
    return " and ".join(filter(None, (", ".join(words[:-1]), *words[-1:])))


def listed_zh(words: Sequence[str]) -> str:
    """Chinese: 黑色、白色和红色."""
    return "和".join(filter(None, ("、".join(words[:-1]), *words[-1:])))


def capitalised(sentence: str) -> str:
    """With a capital first letter, the others as they are: "TV cabinet", "iPad" keep theirs."""
    return sentence[:1].upper() + sentence[1:]
