"""What was said of labelled photographs, held against what is right: the measures of one attribute."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import zip_longest

import numpy as np

from engines.evaluation.metrics import (
    Bin,
    Integers,
    Interval,
    bootstrap,
    calibration_interval,
    macro_f1_interval,
    per_kind,
    reliability,
    wilson,
)
from engines.evaluation.metrics import Scores as KindScores
from engines.words.vocabulary import ProductType, Vocabulary


@dataclass(frozen=True, slots=True)
class Said:
    """A value that was given, and how sure the engine was of it."""

    value: str
    confidence: float


@dataclass(frozen=True, slots=True)
class Case:
    """One photograph and one attribute: what is right, main first, and what was said, surest first.

    Nothing is right where the attribute does not apply or the vocabulary has no word for it.
    """

    file: str
    truth: tuple[str, ...]
    said: tuple[Said, ...]


@dataclass(frozen=True, slots=True)
class Mistake:
    """``wrong``: said, and not right. ``missed``: right, and nothing said. ``needless``: said where nothing
    is right."""

    file: str
    attribute: str
    kind: str
    truth: tuple[str, ...]
    said: str
    confidence: float | None


@dataclass(frozen=True, slots=True)
class AttributeScores:
    """The measures of one attribute; None where there is nothing to measure it on.

    ``labelled`` and ``not_applicable`` count photographs on which something, or nothing, is right to say.
    ``precision`` is of what was said anywhere, ``recall`` of what is right, ``abstention`` the share of the
    labelled with no answer, ``silence`` that of the not applicable. ``exact`` is the share of right answers that
    are the label itself, not a wider or narrower kind. ``agreement`` (attributes of several values) is the share
    of the labelled whose surest answer is among the labels, ``jaccard`` the mean overlap of the two sets.
    """

    attribute: str
    labelled: int
    not_applicable: int
    said: int
    precision: Interval | None
    recall: Interval | None
    abstention: Interval | None
    silence: Interval | None
    exact: Interval | None
    macro_f1: Interval | None
    agreement: Interval | None
    jaccard: Interval | None
    calibration_error: Interval | None
    reliability: tuple[Bin, ...]
    values: Mapping[str, KindScores]


class Kinds:
    """Which values are wider or narrower kinds of one another; in most attributes none is."""

    def __init__(self, words: Vocabulary, attribute: str) -> None:
        self._wider = {
            key: frozenset(term.kind_of)
            for key, term in words.values(attribute).items()
            if isinstance(term, ProductType)
        }

    def __bool__(self) -> bool:
        return any(self._wider.values())

    def wider(self, value: str) -> frozenset[str]:
        return self._wider.get(value, frozenset())

    def agree(self, said: str, truth: str) -> bool:
        """Jeans are trousers and trousers may be jeans: neither contradicts the other."""
        return said == truth or truth in self.wider(said) or said in self.wider(truth)


def score(words: Vocabulary, attribute: str, cases: Sequence[Case]) -> AttributeScores:
    """The measures of one attribute over photographs that are labelled with it."""
    several = words.attributes[attribute].many > 1
    kinds = Kinds(words, attribute)
    labelled = [case for case in cases if case.truth]
    empty = [case for case in cases if not case.truth]
    right = [right_ones(kinds, case) for case in cases]
    flags = np.array([flag for row in right for flag in row], bool)
    confidence = np.array([one.confidence for case in cases for one in case.said], np.float64)
    hits = np.array([sum(row) for row in right], np.int64)
    named = np.array([len(case.said) for case in cases], np.int64)
    wanted = np.array([len(case.truth) for case in cases], np.int64)
    found = np.array([_found(kinds, case) for case in cases], np.int64)
    values, truth, answer = _indices(kinds, cases)
    return AttributeScores(
        attribute=attribute,
        labelled=len(labelled),
        not_applicable=len(empty),
        said=int(named.sum()),
        precision=_ratio(hits, named) if several else _share(int(hits.sum()), int(named.sum())),
        recall=_ratio(found, wanted) if several else _share(int(found.sum()), len(labelled)),
        abstention=_share(sum(not case.said for case in labelled), len(labelled)),
        silence=_share(sum(not case.said for case in empty), len(empty)),
        exact=_exact(cases, right) if kinds else None,
        macro_f1=macro_f1_interval(truth, answer, len(values)) if values and not several else None,
        agreement=_agreement(kinds, labelled) if several else None,
        jaccard=_jaccard(labelled) if several and labelled else None,
        calibration_error=calibration_interval(confidence, flags) if len(flags) else None,
        reliability=tuple(reliability(confidence, flags)) if len(flags) else (),
        values=dict(zip(values, per_kind(truth, answer, len(values)), strict=True)),
    )


def right_ones(kinds: Kinds, case: Case) -> list[bool]:
    """Of each answer, whether a label agrees with it."""
    return [any(kinds.agree(one.value, truth) for truth in case.truth) for one in case.said]


def mistakes(words: Vocabulary, attribute: str, cases: Sequence[Case]) -> list[Mistake]:
    """Everything to look at, what the engine was surest of first, what was missed last."""
    kinds = Kinds(words, attribute)
    found = [one for case in cases for one in _mistakes(kinds, attribute, case)]
    return sorted(found, key=lambda one: (-(one.confidence or 0.0), one.file, one.said))


def _mistakes(kinds: Kinds, attribute: str, case: Case) -> Iterator[Mistake]:
    for one, right in zip(case.said, right_ones(kinds, case), strict=True):
        if not right:
            kind = "wrong" if case.truth else "needless"
            yield Mistake(case.file, attribute, kind, case.truth, one.value, one.confidence)
    # Of one label, the wrong answer already tells that it was missed.
    if not case.said or len(case.truth) > 1:
        for truth in case.truth:
            if not any(kinds.agree(one.value, truth) for one in case.said):
                yield Mistake(case.file, attribute, "missed", (truth,), "", None)


def _found(kinds: Kinds, case: Case) -> int:
    return sum(any(kinds.agree(one.value, truth) for one in case.said) for truth in case.truth)


def _share(part: int, whole: int) -> Interval | None:
    return wilson(part, whole) if whole else None


def _ratio(part: Integers, whole: Integers) -> Interval | None:
    """A share of values, drawn anew by photograph: the values of one photograph are not independent."""

    def measure(draw: Integers) -> float:
        total = whole[draw].sum()
        return float(part[draw].sum() / total) if total else float("nan")

    return bootstrap(measure, len(whole)) if whole.sum() else None


def _exact(cases: Sequence[Case], right: Sequence[Sequence[bool]]) -> Interval | None:
    agreeing = [
        one.value in case.truth
        for case, row in zip(cases, right, strict=True)
        for one, good in zip(case.said, row, strict=True)
        if good
    ]
    return _share(sum(agreeing), len(agreeing))


def _agreement(kinds: Kinds, labelled: Sequence[Case]) -> Interval | None:
    return _share(sum(right_ones(kinds, case)[:1] == [True] for case in labelled), len(labelled))


def _jaccard(labelled: Sequence[Case]) -> Interval:
    overlaps = []
    for case in labelled:
        said = {one.value for one in case.said}
        overlaps.append(len(said & set(case.truth)) / len(said | set(case.truth)))
    rows = np.array(overlaps, np.float64)
    return bootstrap(lambda draw: float(rows[draw].mean()), len(rows))


def _indices(kinds: Kinds, cases: Sequence[Case]) -> tuple[list[str], Integers, Integers]:
    """The labels that occur, and each (photograph, label or answer) as a pair of their indices.

    An answer that agrees with a label stands for it; another counts against the label that it is, or is a kind
    of. Labels that nothing answers and answers that nothing asked for are paired with an index beyond.
    """
    values = sorted({value for case in cases for value in case.truth})
    index = {value: number for number, value in enumerate(values)}
    beyond = len(values)
    pairs: list[tuple[int, int]] = []
    for case in cases:
        answers = [one.value for one in case.said]
        unmatched = []
        for truth in case.truth:
            agreeing = next((one for one in answers if kinds.agree(one, truth)), None)
            if agreeing is None:
                unmatched.append(index[truth])
            else:
                answers.remove(agreeing)
                pairs.append((index[truth], index[truth]))
        stood_for = [
            next((index[v] for v in (one, *sorted(kinds.wider(one))) if v in index), beyond)
            for one in answers
        ]
        rest = list(zip_longest(unmatched, stood_for, fillvalue=None))
        if not case.truth and not answers:
            rest = [(None, None)]  # a photograph that a bootstrap may draw all the same
        pairs += [(beyond + 1 if t is None else t, beyond if a is None else a) for t, a in rest]
    rows = np.array(pairs, np.int64).reshape(-1, 2)
    return values, rows[:, 0], rows[:, 1]
