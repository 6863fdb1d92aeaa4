"""What the vocabulary file is made of: words of the shop, and what is known of each."""

from __future__ import annotations

import re
import unicodedata

from pydantic import BaseModel, ConfigDict, Field

from engines.protocols import Bilingual


class Term(BaseModel):
    """A word of the shop in English and Chinese; ``words`` are what merchants call it besides, in either."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    en: str = Field(min_length=1)
    zh: str = Field(min_length=1)
    words: tuple[str, ...] = ()

    @property
    def text(self) -> Bilingual:
        return Bilingual(self.en, self.zh)


class Sentence(BaseModel):
    """A sentence in both languages."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    en: str = Field(min_length=1)
    zh: str = Field(min_length=1)


class AttributeValue(Term):
    """A value of an attribute. ``like`` are values that light or a camera make of it, either way round.

    ``when`` are the rules that it follows from: each maps attributes to values, and holds where all that is
    known of every one of these attributes is among its values. ``phrase`` is the English in a sentence.
    ``sells`` says what follows for a buyer from the value alone, in a sentence that is true by definition.
    """

    like: tuple[str, ...] = ()
    when: tuple[dict[str, tuple[str, ...]], ...] = ()
    phrase: str = ""
    sells: Sentence | None = None


class Attribute(Term):
    """Something that can be told of a product, and the values it can take.

    ``only_for`` and ``not_for`` are categories or product types in which alone, or never, it means something.
    ``many`` is how many values a product may have, ``floor`` the least confidence of one that is shown.
    ``from_words`` marks what no photo can tell. ``by_rule`` marks what follows from other attributes, and is
    the factor from their confidence to its own. The values of ``category`` and ``product_type`` are the
    categories and their types.
    """

    values: dict[str, AttributeValue] = Field(default_factory=dict)
    only_for: tuple[str, ...] = ()
    not_for: tuple[str, ...] = ()
    many: int = Field(default=1, ge=1)
    floor: float = Field(default=0.5, ge=0, le=1)
    from_words: bool = False
    by_rule: float = Field(default=0, ge=0, le=1)


class ProductType(Term):
    """What a product is. ``article`` is false for English plurals and mass nouns (jeans, bread).

    ``garment`` is the garment head's word for it, ``kind_of`` the wider types of which it is one. A type with
    neither classes nor a garment is told by the merchant's words, or by a model that knows any word.
    """

    article: bool = True
    classes: tuple[str, ...] = ()
    garment: str = ""
    kind_of: tuple[str, ...] = ()


class Category(Term):
    """A department of the shop. ``classes`` testify for it without naming a product type."""

    classes: tuple[str, ...] = ()
    types: dict[str, ProductType]


def spelling(text: str) -> str:
    """A word as it is compared: width, case, hyphens, the space around it and its end mark do not count."""
    folded = unicodedata.normalize("NFKC", text).casefold().replace("’", "'")
    return re.sub(r"[\s_-]+", " ", folded).strip(" .,;:!。，；：！\"'“”")
