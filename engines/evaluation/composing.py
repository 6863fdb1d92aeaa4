"""Photos changed by words: what a composer finds for "this, but in red" and "this, but a chair", and who finds more."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from engines.evaluation.metrics import Booleans, Floats, Integers, Interval, bootstrap
from engines.evaluation.ranking import measure, ranks
from engines.evaluation.recolour import TARGETS, recoloured
from engines.evaluation.retrieval import Line, dots, photos
from engines.looks.composing import Query, QueryComposer, rows
from engines.looks.cutouts import shows_subject
from engines.looks.parts import Rows
from engines.protocols import Embedder, Subject
from engines.words.vocabulary import Vocabulary

_EXCLUDED = -np.inf


@dataclass(frozen=True, slots=True)
class Asked:
    """Queries with what is right for each: ``right`` is (queries, rows), ``among`` the rows that are searched,
    ``asking`` (queries,) which of them is the query's own photo: it is no part of the query's gallery."""

    task: str
    queries: tuple[Query, ...]
    asking: Integers
    among: Rows
    right: Booleans

    def only(self, queries: Booleans, task: str) -> Asked:
        """Some of the queries, by another name."""
        kept = tuple(one for one, keep in zip(self.queries, queries, strict=True) if keep)
        return Asked(task, kept, self.asking[queries], self.among, self.right[queries])

    def scores(self, composed: Rows) -> Floats:
        """(queries, rows)."""
        found = dots(composed, self.among)
        found[np.arange(len(found)), self.asking] = _EXCLUDED
        return found


@dataclass(frozen=True, slots=True)
class Difference:
    """By how much one composer is better than another on the very same queries; intervals by bootstrap over the
    photos that ask, whose queries are not independent."""

    task: str
    better: str
    than: str
    recall_1: Interval
    recall_5: Interval
    recall_10: Interval
    mrr: Interval


def changed_colours(embedder: Embedder, subjects: Sequence[Subject], words: Vocabulary) -> Asked:
    """Each photo and "in red" or 换成红色 find the same product dyed red, among all products in all colours; both
    languages' queries are one sample."""
    shown = [one for one in subjects if shows_subject(one.alpha)]
    among = [*shown, *(recoloured(one, target) for one in shown for target in TARGETS)]
    colours = words.values("colour")
    queries, asking, right = [], [], []
    for number, subject in enumerate(shown):
        for place, target in enumerate(TARGETS):
            for text in (f"in {colours[target].en}", f"换成{colours[target].zh}"):
                queries.append((subject, text))
                asking.append(number)
                right.append(len(shown) + number * len(TARGETS) + place)
    truth = np.zeros((len(right), len(among)), np.bool_)
    truth[np.arange(len(right)), right] = True
    task = "photo and a colour → the product in it"
    return Asked(task, tuple(queries), np.array(asking), photos(embedder, among), truth)


def changed_kinds(
    embedder: Embedder,
    subjects: Sequence[Subject],
    kinds: Sequence[str],
    colours: Sequence[str],
    words: Vocabulary,
    task: str = "photo and a kind → one of that kind in its colour",
) -> Asked:
    """Each photo and "but a chair" or 换成椅子 find a chair of the photo's main colour, where there is one.

    ``kinds`` and ``colours`` are of each photo, by key; empty where not known.
    """
    types = words.values("product_type")
    queries, asking, right = [], [], []
    for number, (kind, colour) in enumerate(zip(kinds, colours, strict=True)):
        for wanted in sorted(set(kinds) - {kind, ""}):
            fits = [one == wanted and its == colour for one, its in zip(kinds, colours, strict=True)]
            if not (kind and colour and any(fits)):
                continue
            for text in (f"but a {types[wanted].en}", f"换成{types[wanted].zh}"):
                queries.append((subjects[number], text))
                asking.append(number)
                right.append(fits)
    return Asked(task, tuple(queries), np.array(asking), photos(embedder, subjects), np.array(right))


def lines(asked: Asked, embedder: Embedder, composers: Mapping[str, QueryComposer]) -> list[Line]:
    """What the photo and the words find alone, then what each composer does."""
    alone = dict(zip(("photo alone", "words alone"), rows(embedder, asked.queries), strict=True))
    ways = alone | {name: one.compose(asked.queries) for name, one in composers.items()}
    return [Line(asked.task, name, measure(asked.scores(its), asked.right)) for name, its in ways.items()]


def difference(asked: Asked, composers: Mapping[str, QueryComposer], better: str, than: str) -> Difference:
    """Of two of the composers."""
    one, other = (ranks(asked.scores(composers[name].compose(asked.queries)), asked.right)
                  for name in (better, than))  # fmt: skip

    def paired(first: Floats, second: Floats) -> Interval:
        several = [(first - second)[asked.asking == photo] for photo in np.unique(asked.asking)]
        return bootstrap(
            lambda draw: float(np.concatenate([several[at] for at in draw]).mean()), len(several)
        )

    def within(most: int) -> Interval:
        return paired((one <= most).astype(np.float64), (other <= most).astype(np.float64))

    return Difference(asked.task, better, than, within(1), within(5), within(10), paired(1 / one, 1 / other))
