"""Which bars catch most damages while few good pictures are refused."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from engines.scenes.certificate import Bar

Scores = Mapping[str, float]
Limits = Mapping[str, float]
"""By score, the worst that is let through, as ``_badness`` counts."""

_ROOM = 4
"""A bar goes a quarter of the way from the worst good score to the first damage: faults in nature are milder."""

_HIGH_IS_GOOD = ("contact", "surrounding", "shade", "silhouette")


def chosen(
    good: Sequence[Scores], damaged: Sequence[Scores], names: Sequence[str], most_refused: int
) -> dict[str, Bar]:
    """A bar for each of ``names``, the least telling first; together they refuse at most ``most_refused`` of ``good``.

    Each begins at the worst good score. Then again and again the one is tightened that catches the most damages not
    caught yet for each good picture it refuses. At last each in turn is loosened, a part of the way to where a damage
    would escape: where two scores tell of the same damage, the more telling one carries it.
    """
    tight = _tightened(good, damaged, names, most_refused)
    caught = [scores for scores in damaged if _past(scores, tight)]
    bars = dict(tight)
    for name in names:
        # What the others let through, of the damages that are to stay caught.
        others = {key: limit for key, limit in bars.items() if key != name}
        needed = [_badness(name, one[name]) for one in caught if not _past(one, others)]
        reached = needed or [
            max((_badness(name, one[name]) for one in damaged if name in one), default=tight[name])
        ]
        bars[name] = tight[name] + max(0.0, min(reached) - tight[name]) / _ROOM
    return {name: _bar(name, limit) for name, limit in bars.items()}


def _tightened(
    good: Sequence[Scores], damaged: Sequence[Scores], names: Sequence[str], most_refused: int
) -> dict[str, float]:
    values = {name: sorted({_badness(name, one[name]) for one in good if name in one}) for name in names}
    bars = {name: values[name][-1] if values[name] else 0.0 for name in names}
    while True:
        caught = sum(_past(one, bars) for one in damaged)
        refused = sum(_past(one, bars) for one in good)
        best: tuple[float, dict[str, float]] | None = None
        for name in names:
            for limit in (value for value in reversed(values[name]) if value < bars[name]):
                trial = {**bars, name: limit}
                cost = sum(_past(one, trial) for one in good) - refused
                if refused + cost > most_refused:
                    break
                gain = (sum(_past(one, trial) for one in damaged) - caught) / max(1, cost)
                if gain > (best[0] if best else 0):
                    best = gain, trial
        # One damage more, of hundreds, is no reason to refuse a good picture.
        if best is None or best[0] < 2:
            return bars
        bars = best[1]


def _past(scores: Scores, bars: Limits) -> bool:
    return any(name in scores and _badness(name, scores[name]) > limit for name, limit in bars.items())


def _badness(name: str, score: float) -> float:
    return -score if name in _HIGH_IS_GOOD else score


def _bar(name: str, limit: float) -> Bar:
    rounded = float(f"{abs(limit):.2g}")
    return Bar(least=rounded) if name in _HIGH_IS_GOOD else Bar(most=rounded)
