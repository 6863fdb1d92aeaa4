"""Which bars catch most damages while few good pictures are refused: chosen greedily on one half of the products."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from engines.scenes.certificate import Bar

Scores = Mapping[str, float]

_LEAST_WANTED = ("edges", "contact", "surrounding", "silhouette", "likeness", "text")
"""Scores that are the better the higher; of the others a low one is good."""


@dataclass(frozen=True, slots=True)
class Choice:
    """How a bar came about: refusing so many good pictures it catches so many damages nothing before it did."""

    name: str
    bar: Bar
    refused: int
    caught: int


def chosen(
    good: Sequence[Scores], damaged: Sequence[Scores], names: Sequence[str], most_refused: int
) -> list[Choice]:
    """A bar for each of ``names``, together refusing at most ``most_refused`` of ``good``.

    Every bar begins just past the worst good score. Then again and again the bar is tightened that catches the most
    damages not yet caught for each good picture refused, while the sum allows it. At last each is put half-way
    between the worst good score that it admits and the next damage that only it must catch.
    """
    bars = {name: _edge(name, good, 0) for name in names}
    refused: set[int] = set()
    caught = {index for index, scores in enumerate(damaged) if _past(scores, bars)}
    while True:
        best: tuple[float, str, float, set[int], set[int]] | None = None
        for name in names:
            values = sorted({_badness(name, one[name]) for one in good if name in one}, reverse=True)
            for value in values:
                if value >= bars[name]:
                    continue
                trial = {**bars, name: value}
                out = {index for index, scores in enumerate(good) if _past(scores, trial)}
                if len(out) > most_refused:
                    break
                found = {index for index, scores in enumerate(damaged) if _past(scores, trial)}
                more, cost = len(found - caught), len(out - refused)
                if more and (best is None or more / max(cost, 0.5) > best[0]):
                    best = more / max(cost, 0.5), name, value, out, found
        # Of a hundred damages of all kinds, one more caught is no reason to refuse a good picture.
        if best is None or best[0] < max(1.0, 0.004 * len(damaged)):
            break
        _, name, bars[name], refused, caught = best
    return [_choice(name, bars, good, damaged) for name in names]


def _choice(
    name: str, bars: Mapping[str, float], good: Sequence[Scores], damaged: Sequence[Scores]
) -> Choice:
    others = {key: value for key, value in bars.items() if key != name}
    only = [
        _badness(name, one[name])
        for one in damaged
        if name in one and _badness(name, one[name]) > bars[name] and not _past(one, others)
    ]
    every = [_badness(name, one[name]) for one in damaged if name in one]
    beyond = [value for value in only or every if value > bars[name]]
    middle = (bars[name] + min(beyond)) / 2 if beyond else bars[name]
    value = float(f"{middle:.3g}")
    bar = Bar(least=-value) if name in _LEAST_WANTED else Bar(most=value)
    return Choice(name, bar, sum(_past(one, {name: bars[name]}) for one in good), len(only))


def _edge(name: str, good: Sequence[Scores], spared: int) -> float:
    values = sorted((_badness(name, one[name]) for one in good if name in one), reverse=True)
    return values[min(spared, len(values) - 1)] if values else 0.0


def _past(scores: Scores, bars: Mapping[str, float]) -> bool:
    return any(name in scores and _badness(name, scores[name]) > bar for name, bar in bars.items())


def _badness(name: str, score: float) -> float:
    return -score if name in _LEAST_WANTED else score
