"""What a photo shows and what a text names, as numbers of the same meaning: things, garments, colours, print."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence

import numpy as np

from engines.looks.colours import ColourShare
from engines.looks.heads import softmax, unit
from engines.looks.hearing import hear
from engines.looks.parts import Row
from engines.looks.sights import Sight
from engines.protocols import Printed
from engines.words.lexicon import Mention, tokenise
from engines.words.vocabulary import ProductType, Vocabulary

_SHARPNESS = 50.0
"""The softmax over classes of a text's cosines to their names: half as likely for 0.014 less."""

_NAMED = 1.4
"""What a type that the vocabulary finds in a text weighs beside the classes that the encoder finds near."""

_CATEGORY = 0.3
"""What the category weighs beside the classes, which say the same more finely."""

_UNSEEN = 0.5
"""Of a text that names what no class shows: what a photo without any known thing weighs beside the category."""

_BESIDE, _WIDER = 0.25, 0.7
"""A type that is not the last named (a *camera* lens), and the wider type of the one that is."""

_AKIN = 0.15
"""A colour that light makes of the named one; of 290 phone photos more brings up too many of the other."""

_TOKEN_BITS = 4
_LEAST_READ = 0.7
"""The confidence of a line of print, under which letters are often wrong."""


class Things:
    """The vocabulary's ImageNet classes, then its categories, then how little of either a photo shows.

    A text is taken to the classes by the encoder's cosine to their names, and by the types it names. A photo without
    any known thing is likelier than others to be what no class shows: a skateboard, a cable.
    """

    def __init__(self, words: Vocabulary) -> None:
        self._words = words
        self.classes = tuple(dict.fromkeys(words.classes()))
        self._class = {name: number for number, name in enumerate(self.classes)}
        self._category = {key: number for number, key in enumerate(words.categories)}
        self._types: Mapping[str, ProductType] = {
            key: item for category in words.categories.values() for key, item in category.types.items()
        }
        self.size = len(self.classes) + len(self._category) + 1

    def photo(self, sight: Sight) -> Row:
        """(size,), of length 1."""
        classes = np.array([sight.by_class.get(name, 0.0) for name in self.classes])
        heard = hear(self._words, sight).categories
        categories = np.array([min(1.0, heard[key].support) for key in self._category])
        known = min(1.0, max(categories.max(), classes.max()))
        return unit(
            np.concatenate([unit(np.sqrt(classes)), _CATEGORY * unit(categories), [1 - known]]).astype(float)
        )

    def text(self, mentions: Sequence[Mention], nearness: Row) -> Row:
        """(size,); ``nearness`` (classes,) are the cosines of the text to every class."""
        classes, categories = np.zeros(len(self.classes)), np.zeros(len(self._category))
        types = [mention.value for mention in mentions if mention.attribute == "product_type"]
        for number, key in enumerate(types):
            weight = 1.0 if number == len(types) - 1 else _BESIDE
            categories[self._category[self._words.category_of(key)]] += weight
            for name, part in self._testifying(key):
                classes[self._class[name]] += weight * part
        for mention in mentions:
            if mention.attribute == "category":
                categories[self._category[mention.value]] += _BESIDE if types else 1.0
        unseen = bool(types) and not any(True for _ in self._testifying(types[-1]))
        unseen = unseen and not self._types[types[-1]].garment
        near = unit(np.sqrt(softmax(_SHARPNESS * nearness)))
        return np.concatenate(
            [
                near + _NAMED * unit(classes),
                (1.0 if unseen else _CATEGORY) * unit(categories),
                [_UNSEEN if unseen else 0.0],
            ]
        )

    def _testifying(self, key: str) -> Iterable[tuple[str, float]]:
        """The classes that speak for a type: its own, its narrower types', and less for its wider ones'."""
        for name in self._types[key].classes:
            yield name, 1.0
        for item in self._types.values():
            if key in item.kind_of:
                yield from ((name, 1.0) for name in item.classes)
        for wider in self._types[key].kind_of:
            yield from ((name, _WIDER) for name in self._types[wider].classes)


class Garments:
    """The garment head's kinds, then how little something worn is shown."""

    def __init__(self, words: Vocabulary) -> None:
        types = words.values("product_type")
        self._kinds = {
            item.garment: key for key, item in types.items() if isinstance(item, ProductType) and item.garment
        }
        self._types = {key: item for key, item in types.items() if isinstance(item, ProductType)}
        self.size = len(self._kinds) + 1

    def photo(self, sight: Sight) -> Row:
        """(size,), of length 1: square roots of shares."""
        worn = min(1.0, sight.worn) if sight.garments else 0.0
        shares = [worn * (sight.garments or {}).get(kind, 0.0) for kind in self._kinds]
        return _with_rest(np.array(shares))

    def text(self, mentions: Sequence[Mention]) -> Row:
        """(size,), of length 1: the kinds that a named type is, or is a kind of; zeros where none is named."""
        named = {mention.value for mention in mentions if mention.attribute == "product_type"}
        wanted = [
            any(
                key == one or key in self._types[one].kind_of or one in self._types[key].kind_of
                for one in named
            )
            for key in self._kinds.values()
        ]
        return unit(np.array([*wanted, False], np.float64))


class Colours:
    """The vocabulary's colours, then how little of the surface has one that is known."""

    def __init__(self, words: Vocabulary) -> None:
        self._words = words
        self._names = tuple(words.values("colour"))
        self.size = len(self._names) + 1

    def photo(self, palette: Sequence[ColourShare]) -> Row:
        """(size,), of length 1: square roots of shares."""
        shares = {colour.name: colour.share for colour in palette}
        return _with_rest(np.array([shares.get(name, 0.0) for name in self._names]))

    def text(self, mentions: Sequence[Mention]) -> Row:
        """(size,), of length 1: the named colours, and a little of what light makes of them."""
        named = [mention.value for mention in mentions if mention.attribute == "colour"]
        wanted = [
            max(
                (
                    1.0 if name == one else _AKIN * self._words.akin("colour", name, one)
                    for one in dict.fromkeys(named)
                ),
                default=0.0,
            )
            for name in self._names
        ]
        return unit(np.array([*wanted, 0.0]))


class Print:
    """The words printed on a product, each a few signs at places by its hash (Achlioptas 2003), then their lack.

    Two words fall on the same place and sign seldom: of 128 places with four signs a word, unequal words have a
    cosine of 0 most often, and of 0.25 or less nearly always.
    """

    size = 129

    def photo(self, printed: Sequence[Printed]) -> Row:
        """(size,), of length 1."""
        words = [word for line in printed if line.confidence >= _LEAST_READ for word in _spelled(line.text)]
        row = self._hashed(words)
        return row if row.any() else np.eye(1, self.size, self.size - 1)[0]

    def text(self, text: str) -> Row:
        """(size,), of length 1, or of zeros where a text has no word that could be printed in Latin letters."""
        return self._hashed(_spelled(text))

    def _hashed(self, words: Iterable[str]) -> Row:
        row = np.zeros(self.size)
        for word in dict.fromkeys(words):
            digest = hashlib.blake2b(word.encode(), digest_size=2 * _TOKEN_BITS).digest()
            for place, sign in zip(digest[::2], digest[1::2], strict=True):
                row[place % (self.size - 1)] += 1.0 if sign & 1 else -1.0
        return unit(row)


def _spelled(text: str) -> list[str]:
    """The words of three letters or figures and more, which are a name rather than noise."""
    return [word.key for word in tokenise(text) if len(word.key) >= 3]


def _with_rest(shares: Row) -> Row:
    """Square roots of shares and of what they lack to 1: of length 1."""
    total = float(shares.sum())
    return unit(np.sqrt(np.append(shares, max(0.0, 1.0 - total))))
