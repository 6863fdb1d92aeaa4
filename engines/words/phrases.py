"""What to look for in a product's photos: phrases of a few plain English words from the merchant's own."""

from __future__ import annotations

import re
import unicodedata

from engines.protocols import CatalogFacts
from engines.words.lexicon import lexicon
from engines.words.text import is_chinese
from engines.words.vocabulary import Vocabulary

_MOST_WORDS, _LONGEST_WORD = 8, 20

ANYTHING = "product"
"""What to look for where the merchant says nothing that can be looked for."""


def phrases(facts: CatalogFacts, words: Vocabulary) -> tuple[str, ...]:
    """One phrase from the title and one from the category, of lower-case letters, digits and spaces alone.

    A Chinese title is looked up in the vocabulary: its last and longest product type, by its English name.
    """
    # A category is a path: the last part of it is the narrowest.
    narrowest = re.split(r"[>/|›»]", facts.category)[-1]
    found = [_phrase(text, words) for text in (facts.title, narrowest)]
    return tuple(dict.fromkeys(phrase for phrase in found if phrase)) or (ANYTHING,)


def plain(text: str) -> str:
    """The English words of ``text``, at most eight: nothing in it can end a phrase or begin another."""
    folded = unicodedata.normalize("NFKD", text).casefold()
    unaccented = "".join(c for c in folded if not unicodedata.combining(c))
    # A number without a unit says nothing that can be seen.
    kept = [word for word in re.findall(r"[a-z0-9]+", unaccented) if not word.isdigit()]
    return " ".join(word[:_LONGEST_WORD] for word in kept[:_MOST_WORDS])


def _phrase(text: str, words: Vocabulary) -> str:
    types = [
        mention
        for mention in lexicon().find(text)
        if mention.attribute == "product_type" and is_chinese(mention.text)
    ]
    return plain(words.values("product_type")[types[-1].value].en if types else text)
