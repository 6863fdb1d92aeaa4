"""What the certificate catches and what it refuses, as Markdown."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from engines.evaluation.metrics import wilson
from engines.scenes.certificate import bars_for, failed
from engines.training.scene_damages import DAMAGES

GOOD, JPEG, UNUSABLE = "good", "good, as a JPEG of quality 90", "unusable cut-out"


@dataclass(frozen=True, slots=True)
class Row:
    """The scores of one picture; ``chosen_on`` where its product is of the half that bars are chosen on."""

    file: str
    chosen_on: bool
    what: str
    plate: str
    kinds: tuple[str, ...]
    scores: Mapping[str, float]

    @property
    def past(self) -> tuple[str, ...]:
        """The scores past their bars."""
        bars = bars_for(self.kinds)
        return tuple(name for name in self.scores if failed({name: self.scores[name]}, bars))


def report(rows: Sequence[Row], settings: str) -> str:
    """The tables of ``docs/evaluation/identity.md``."""
    good = sorted({row.file for row in rows if row.what == GOOD})
    lines = [
        "# The identity certificate, measured",
        "",
        f"Settings: {settings}. {len(good)} photographs of the kit with a good cut-out "
        f"({sum('/' in file for file in good)} garments), each in two settings and shapes, and spoilt in "
        "each of the ways below in one of them. Bars were chosen on the products whose hash begins with a byte under "
        "128, and are reported on the others; 95% intervals are Wilson's, and too narrow, since pictures of one "
        "product are alike. Written by "
        f"`python -m engines.training.identity_bar --engine {settings} --choose --out docs/evaluation/identity.md`.",
        "",
        "## Good pictures that are refused",
        "",
        "| pictures | chosen on | refused | reported on | refused |",
        "|---|---:|---:|---:|---:|",
    ]
    lines += [_halves(name, [row for row in rows if row.what == name]) for name in (GOOD, JPEG)]
    lines += [
        "",
        "Of JPEGs only what pixels tell was measured: models see no difference.",
        "",
        "## Damages that are caught",
        "",
        "| damage | chosen on | caught | reported on | caught | by |",
        "|---|---:|---:|---:|---:|---|",
    ]
    for name in DAMAGES:
        mine = [row for row in rows if row.what == name]
        by = Counter(score for row in mine for score in row.past)
        said = ", ".join(f"{score} {count}" for score, count in by.most_common(4))
        lines.append(f"{_halves(name, mine)} {said} |")
    lines.append(f"{_halves('**all**', [row for row in rows if row.what in DAMAGES])} |")
    lines += ["", "A picture may be caught by several scores.", "", "## Scores", ""]
    lines += [
        "| score | bar | good: worst 5%, median, best 5% | good pictures past it |",
        "|---|---|---:|---:|",
    ]
    lines += _scores([row for row in rows if row.what == GOOD])
    return "\n".join([*lines, "", *_cutouts(rows), *_missed(rows)]) + "\n"


def _halves(name: str, rows: Sequence[Row]) -> str:
    cells = [name]
    for chosen_on in (True, False):
        half = [row for row in rows if row.chosen_on == chosen_on]
        cells += [str(len(half)), str(wilson(sum(bool(row.past) for row in half), len(half))) if half else ""]
    return f"| {' | '.join(cells)} |"


def _scores(good: Sequence[Row]) -> list[str]:
    lines = []
    for name, bar in bars_for(()).items():
        values = np.array([row.scores[name] for row in good if name in row.scores])
        if len(values):
            marks = np.quantile(values, [0.05, 0.5, 0.95])
            if bar.least is None:
                marks = marks[::-1]
            past = sum(name in row.past for row in good)
            lines.append(
                f"| {name} | {bar} | {marks[0]:.3f}, {marks[1]:.3f}, {marks[2]:.3f} | {past} of {len(values)} |"
            )
    return lines


def _cutouts(rows: Sequence[Row]) -> list[str]:
    bad = [row for row in rows if row.what == UNUSABLE]
    files = sorted({row.file for row in bad})
    if not files:
        return []
    let_through = [file for file in files if not all(row.past for row in bad if row.file == file)]
    return [
        "## Cut-outs that are bad by nature",
        "",
        f"Of {len(files)} photographs whose cut-out is no good by eye (`engines/evaluation/cutouts.csv`), pictures of "
        f"{len(files) - len(let_through)} are all refused: {wilson(len(files) - len(let_through), len(files))}.",
        *([f"Let through at least once: {', '.join(let_through)}."] if let_through else []),
        "",
    ]


def _missed(rows: Sequence[Row]) -> list[str]:
    def names(what: Collection[str], past: bool) -> list[str]:
        return [
            f"- {row.what}, {row.plate}: {row.file}{' (' + ', '.join(row.past) + ')' if past else ''}"
            for row in rows
            if row.what in what and bool(row.past) == past
        ]

    return [
        "## Where it is wrong",
        "",
        "Good pictures refused:",
        "",
        *(names((GOOD,), past=True) or ["- none"]),
        "",
        "Damages let through:",
        "",
        *(names(tuple(DAMAGES), past=False) or ["- none"]),
    ]
