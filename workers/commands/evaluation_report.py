"""An evaluation as tables for the terminal, as Markdown, and as JSON."""

from __future__ import annotations

import importlib.metadata
import os
import platform
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import click

from engines.evaluation.metrics import Interval
from engines.evaluation.scores import AttributeScores, Mistake
from workers.commands.terminal import console, rows, table

_LIBRARIES = ("torch", "onnxruntime", "numpy", "pillow")
_SHARES = (
    "precision",
    "recall",
    "abstention",
    "silence",
    "exact",
    "macro_f1",
    "agreement",
    "jaccard",
    "calibration_error",
)


@dataclass(frozen=True, slots=True)
class Report:
    """One run: what was measured, on what, and what came out."""

    command: str
    facts: bool
    engines: Mapping[str, str]
    photos: int
    unreadable: Mapping[str, str]
    missing: Sequence[str]
    set_aside: Mapping[str, str]
    unknown: Mapping[tuple[str, str], int]
    flags: int
    scores: Sequence[AttributeScores]
    mistakes: Sequence[Mistake]

    def as_json(self) -> Mapping[str, Any]:
        return {
            "command": self.command,
            "facts": self.facts,
            "engines": dict(self.engines),
            "photos": self.photos,
            "unreadable": dict(self.unreadable),
            "missing": list(self.missing),
            "set_aside": dict(self.set_aside),
            "unknown_labels": [
                {"attribute": attribute, "label": label, "photos": photos}
                for (attribute, label), photos in self.unknown.items()
            ],
            "flags": self.flags,
            "attributes": {one.attribute: asdict(one) for one in self.scores},
            "errors": [asdict(one) for one in self.mistakes],
        }


@dataclass(frozen=True, slots=True)
class _Table:
    title: str
    columns: Sequence[str]
    lines: Sequence[Sequence[Any]]


def print_report(report: Report, *, details: bool, errors: bool, markdown: bool) -> None:
    """The summary, on demand each value and the reliability, and the errors."""
    tables = [_summary(report)]
    if details:
        tables += [made for one in report.scores for made in (_values(one), _reliability(one)) if made.lines]
    if errors:
        tables.append(_mistakes(report))
    if markdown:
        click.echo(_as_markdown(report, tables))
        return
    out = console()
    for made in tables:
        numbers = made.columns[2:] if made is not tables[-1] or not errors else ("confidence",)
        out.print(rows(table(*made.columns, right=numbers, title=made.title), made.lines))
        out.print()
    for line in _notes(report):
        out.print(line)


def _summary(report: Report) -> _Table:
    """A column that no attribute has a figure for is left out."""
    shown = [name for name in _SHARES if any(getattr(one, name) for one in report.scores)]
    lines = [
        (
            one.attribute,
            one.labelled,
            one.not_applicable,
            one.said,
            *(interval(getattr(one, name)) for name in shown),
        )
        for one in report.scores
    ]
    columns = ("attribute", "labelled", "n/a", "said", *(name.replace("_", " ") for name in shown))
    return _Table("Attributes", columns, lines)


def _values(one: AttributeScores) -> _Table:
    lines = [
        (value, kind.photographs, f"{kind.precision:.2f}", f"{kind.recall:.2f}", f"{kind.f1:.2f}")
        for value, kind in one.values.items()
    ]
    return _Table(f"Values of {one.attribute}", ("value", "labelled", "precision", "recall", "F1"), lines)


def _reliability(one: AttributeScores) -> _Table:
    lines = [(f"{bin_.confidence:.2f}", bin_.answers, interval(bin_.right)) for bin_ in one.reliability]
    return _Table(f"Reliability of {one.attribute}", ("mean confidence", "answers", "right"), lines)


def _mistakes(report: Report) -> _Table:
    lines = [
        (
            one.file,
            one.attribute,
            one.kind,
            " | ".join(one.truth),
            one.said,
            "" if one.confidence is None else f"{one.confidence:.2f}",
        )
        for one in report.mistakes
    ]
    return _Table("Errors", ("file", "attribute", "kind", "truth", "answer", "confidence"), lines)


def _notes(report: Report) -> list[str]:
    told = "pixels and the merchant's words" if report.facts else "pixels alone"
    lines = [
        f"Engines: {', '.join(f'{role} {label}' for role, label in report.engines.items())}.",
        f"{report.photos} photographs, told from {told}; {report.flags} flags.",
    ]
    for what, files in (("cannot be read", report.unreadable), ("set aside without tags", report.set_aside)):
        lines += [
            f"{len(files)} {what}: {_listed(f'{file} ({why})' for file, why in files.items())}."
        ] * bool(files)
    if report.missing:
        lines.append(f"{len(report.missing)} labelled files are missing: {_listed(report.missing)}.")
    if report.unknown:
        lacking = (f"{attribute} {label} ({photos})" for (attribute, label), photos in report.unknown.items())
        lines.append(f"Labels that the vocabulary lacks, left out: {_listed(lacking)}.")
    return lines


def _as_markdown(report: Report, tables: Sequence[_Table]) -> str:
    parts = [
        f"# Understanding, measured\n\nWritten by the command below; do not edit.\n\n    {report.command}",
        "\n".join(f"- {line}" for line in [*_notes(report), f"Machine: {machine()}."]),
    ]
    for made in tables:
        rule = ["---", *("---:" for _ in made.columns[1:])]
        body = [made.columns, rule, *(tuple(map(str, line)) for line in made.lines)]
        parts.append(f"## {made.title}")
        parts.append(
            "\n".join(f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in line)} |" for line in body)
        )
    return "\n\n".join(parts)


def interval(measured: Interval | None) -> str:
    return "" if measured is None else f"{measured.value:.2f} ({measured.low:.2f}–{measured.high:.2f})"


def _listed(items: Iterable[str], most: int = 10) -> str:
    told = list(items)
    return "; ".join(told[:most]) + (f"; and {len(told) - most} more" if len(told) > most else "")


def machine() -> str:
    info = Path("/proc/cpuinfo")
    named = [
        line.partition(":")[2].strip()
        for line in info.read_text().splitlines()
        if line.startswith("model name")
    ]
    processor = named[0] if info.exists() and named else platform.machine()
    versions = ", ".join(f"{name} {importlib.metadata.version(name)}" for name in _LIBRARIES)
    return f"{os.cpu_count()} cores, {processor}, Python {platform.python_version()}, {versions}"
