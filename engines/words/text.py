"""Text of strangers, made fit to be looked at: one line, nothing invisible, and in which script it is written."""

from __future__ import annotations

import re
import unicodedata

HAN = re.compile(r"[\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff]")
"""A Chinese character."""


def is_chinese(text: str) -> bool:
    """Whether there is a Chinese character in a text: whoever wrote it reads Chinese."""
    return bool(HAN.search(text))


def one_line(text: str, longest: int) -> str:
    """Composed (NFC), single spaces, without control, bidirectional or invisible characters, cut at ``longest``."""
    # White space first: a tab is a control character too, and taking it out would join two words.
    spaced = " ".join(unicodedata.normalize("NFC", text).split())
    return "".join(c for c in spaced if unicodedata.category(c)[0] != "C")[:longest].strip()


def holds_word(text: str) -> bool:
    """Whether there is a letter, a Chinese character or a digit in a text."""
    return any(c.isalnum() for c in text)
