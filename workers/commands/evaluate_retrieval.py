"""``vitrine evaluate retrieval``: how well photos are found by words, by photos, and by both."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import click
import numpy as np

import engines.evaluation
from engines.evaluation.composing import Difference
from engines.evaluation.labels import Example, Labelled, held_out, read_labels
from engines.evaluation.metrics import Interval
from engines.evaluation.retrieval import (
    FirstHits,
    Gallery,
    Line,
    Way,
    colour_queries,
    colours_first,
    gallery,
    photos,
    photos_to_photos,
    ways_of_words,
    words_to_photos,
)
from engines.looks.parts import Rows
from engines.protocols import CatalogFacts, Embedder, Subject
from engines.words.vocabulary import vocabulary
from pipeline.errors import RejectedInput
from workers.bootstrap import build_kit
from workers.commands.evaluate_composing import changed, composers
from workers.commands.evaluation_report import interval, machine
from workers.commands.terminal import console, print_json, rows, table
from workers.hybrid_ways import hybrid_way
from workers.settings import settings
from workers.understanding import Understanding

_ROLES = ("segmenter", "text_reader", "tagger", "embedder")
_MEASURES = ("recall_1", "recall_5", "recall_10", "mrr", "precision_10", "ndcg_10")
_COLUMNS = ("way", "R@1", "R@5", "R@10", "MRR", "P@10", "nDCG@10")
_LABELS = Path(engines.evaluation.__file__).with_name("vendure.csv")


@dataclass(frozen=True, slots=True)
class _Report:
    command: str
    engines: dict[str, str]
    dimension: int
    lines: Sequence[Line]
    firsts: Sequence[FirstHits]
    differences: Sequence[Difference]


@click.command()
@click.option(
    "--engine", "chosen", default="", metavar="NAME", help="Another embedder than the deployment's."
)
@click.option(
    "--clothing",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="A folder of one folder a class: its held-out photographs find their class. Left out without.",
)
@click.option(
    "--composer",
    "weights",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="Weights of engines.training.query_composer, measured beside late fusion.",
)
@click.option("--errors", is_flag=True, help="List the colour queries whose first hit has another colour.")
@click.option("--markdown", is_flag=True, help="Print Markdown, for docs/evaluation.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def retrieval(
    chosen: str, clothing: Path | None, weights: Path | None, errors: bool, markdown: bool, as_json: bool
) -> None:
    """Measure an embedder: recall, MRR and nDCG by exact cosine, with 95% intervals.

    The photographs are the kit's: `vitrine engines --fetch --photos`. Their titles, descriptions and facets are
    queries only, but in the line "as users have it"; nothing of them is in what the other lines search. What is
    measured how: docs/evaluation.md.

    \b
    Example:
      vitrine evaluate retrieval
      vitrine evaluate retrieval --engine siglip2_embedder --clothing photos/
    """
    if markdown and as_json:
        raise click.UsageError("choose either --markdown or --json")
    choices = {"embedder": chosen} if chosen else {}
    seen = Understanding(settings(), choices, facts=False, roles=_ROLES)
    embedder: Embedder = seen.engine("embedder")
    shop = _readable(seen, _labelled().examples)
    among = gallery(embedder, [subject for _, subject in shop])
    tagged = seen.tagged(shop)
    with (
        hybrid_way(
            "hybrid, nothing of the merchant's", embedder, shop, tagged, among, told=False
        ) as withheld,
        hybrid_way("hybrid, as users have it", embedder, shop, tagged, among, told=True) as whole,
    ):
        lines, firsts = _shop(shop, among, embedder, [*ways_of_words(embedder), withheld, whole])
    garments = _garments(seen)
    ways = composers(embedder, seen.engines()["embedder"], weights)
    told, differences = changed(shop, garments, embedder, ways)
    lines += [*told, *_backs(garments, embedder, among.cutouts)]
    if clothing is not None:
        lines += _classes(seen, embedder, clothing)
    command = " ".join(
        ["vitrine evaluate retrieval"]
        + [f"--engine {chosen}"] * bool(chosen)
        # Not where this machine keeps it.
        + ([f"--clothing {clothing.name}"] if clothing else [])
        + ([f"--composer {weights.name}"] if weights else [])
    )
    report = _Report(command, dict(seen.engines()), embedder.dimension, lines, firsts, differences)
    if as_json:
        print_json(asdict(report))
    elif markdown:
        click.echo(_markdown(report))
    else:
        _print(report, errors)


def _labelled() -> Labelled:
    return read_labels(vocabulary(), _LABELS, build_kit(settings()).path("photos-vendure"))


def _shop(
    shop: Sequence[tuple[Example, Subject]], among: Gallery, embedder: Embedder, ways: Sequence[Way]
) -> tuple[list[Line], list[FirstHits]]:
    with _LABELS.open(encoding="utf-8", newline="") as text:
        chinese = {row["file"]: row["product_zh"] for row in csv.DictReader(text)}
    examples = [one for one, _ in shop]
    itself = np.eye(len(examples), dtype=np.bool_)
    asked = {
        "English names → photos": [one.facts.title for one in examples],
        "Chinese names → photos": [chinese[one.file] for one in examples],
        "English descriptions → photos": [one.facts.description for one in examples],
    }
    lines = [
        line for task, texts in asked.items() for line in words_to_photos(task, texts, itself, ways, among)
    ]
    named = [one.truth.get("colour", ()) for one in examples]
    files = [one.facts.title for one in examples]
    firsts = [
        one
        for task, texts in colour_queries(vocabulary(), [one.truth for one in examples]).items()
        for one in colours_first(task, texts, named, ways, among, files)
    ]
    return lines, firsts


def _garments(seen: Understanding) -> list[tuple[Example, Subject]]:
    files = sorted((build_kit(settings()).path("photos-openvto") / "clothes").rglob("*_*.jpg"))
    examples = [Example(path.name, path, "", {}, CatalogFacts()) for path in files]
    return _readable(seen, examples, printed=False)


def _backs(read: Sequence[tuple[Example, Subject]], embedder: Embedder, others: Rows) -> list[Line]:
    """Fronts find backs, among all garments and the shop's photographs."""
    vectors = np.concatenate([photos(embedder, [subject for _, subject in read]), others])
    garments = [(one.path.parent.name, one.path.stem.partition("_")[0]) for one, _ in read]
    right = np.zeros((len(vectors), len(vectors)), np.bool_)
    for one, garment in enumerate(garments):
        for other, its in enumerate(garments):
            right[one, other] = garment == its and one != other
    fronts = [number for number, (one, _) in enumerate(read) if one.path.stem.endswith("_front")]
    return photos_to_photos("front of a garment → its back", embedder, vectors, right, fronts)


def _classes(seen: Understanding, embedder: Embedder, folder: Path) -> list[Line]:
    labelled = read_labels(vocabulary(), folder)
    read = _readable(seen, [one for one in labelled.examples if held_out(one.sha256)], printed=False)
    kinds = np.array([one.truth["product_type"][0] for one, _ in read])
    right = (kinds[:, np.newaxis] == kinds) & ~np.eye(len(read), dtype=np.bool_)
    vectors = photos(embedder, [subject for _, subject in read])
    return photos_to_photos("phone photograph of clothes → its class", embedder, vectors, right)


def _readable(
    seen: Understanding, examples: Sequence[Example], *, printed: bool = True
) -> list[tuple[Example, Subject]]:
    found = []
    for start in range(0, len(examples), 8):
        several = examples[start : start + 8]
        for one, subject in zip(several, seen.subjects(several, printed=printed), strict=True):
            if isinstance(subject, RejectedInput):
                raise subject
            found.append((one, subject))
    return found


def _cells(line: Line) -> list[str]:
    return [line.way, *(interval(getattr(line.scores, name)) for name in _MEASURES)]


def _tasks(report: _Report) -> dict[str, list[Line]]:
    tasks: dict[str, list[Line]] = {}
    for line in report.lines:
        tasks.setdefault(line.task, []).append(line)
    return tasks


def _title(task: str, lines: Sequence[Line]) -> str:
    return f"{task} ({lines[0].scores.queries} queries, {lines[0].scores.gallery} photographs)"


def _first(one: FirstHits) -> list[str]:
    right: Interval = one.right
    return [one.task, one.way, str(one.queries), interval(right)]


def _difference(one: Difference) -> list[str]:
    told = (one.recall_1, one.recall_5, one.recall_10, one.mrr)
    return [one.task, f"{one.better} less {one.than}", *map(interval, told)]


_DIFFERENCE_COLUMNS = ("task", "difference", *_COLUMNS[1:5])
_FIRST_COLUMNS = ("query", "way", "queries", "first hit has the colour")


def _print(report: _Report, errors: bool) -> None:
    out = console()
    for task, lines in _tasks(report).items():
        out.print(
            rows(
                table(*_COLUMNS, right=_COLUMNS[1:], title=_title(task, lines)),
                [_cells(one) for one in lines],
            )
        )
    if report.differences:
        shown = table(*_DIFFERENCE_COLUMNS, right=_DIFFERENCE_COLUMNS[2:], title="On the same queries")
        out.print(rows(shown, [_difference(one) for one in report.differences]))
    shown = table(*_FIRST_COLUMNS, right=_FIRST_COLUMNS[2:], title="Colours")
    out.print(rows(shown, [_first(one) for one in report.firsts]))
    if errors and report.firsts:
        out.print(
            rows(
                table("query", "first hit", title="Another colour first"),
                [one for last in report.firsts if last.way == report.firsts[-1].way for one in last.wrong],
            )
        )


def _markdown(report: _Report) -> str:
    told = ", ".join(f"{role} {label}" for role, label in report.engines.items())
    parts = [
        f"# Retrieval, measured\n\nWritten by the command below; do not edit.\n\n    {report.command}",
        f"- Engines: {told}; {report.dimension} numbers a vector.\n- Machine: {machine()}.\n"
        "- What is searched are photographs alone. What each line means: docs/evaluation.md.",
    ]
    for task, lines in _tasks(report).items():
        parts += [f"## {_title(task, lines)}", _as_table(_COLUMNS, [_cells(one) for one in lines])]
    if report.differences:
        told = _as_table(_DIFFERENCE_COLUMNS, [_difference(one) for one in report.differences])
        parts += ["## On the same queries", told]
    parts += ["## Colour queries", _as_table(_FIRST_COLUMNS, [_first(one) for one in report.firsts])]
    return "\n\n".join(parts)


def _as_table(columns: Sequence[str], cells: Sequence[Sequence[Any]]) -> str:
    lines = [columns, ["---", *("---:" for _ in columns[1:])], *cells]
    return "\n".join(f"| {' | '.join(map(str, line))} |" for line in lines)
