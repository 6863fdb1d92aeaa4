"""``vitrine evaluate``: how good the answers are, measured on labelled photographs."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import click
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from engines.evaluation.labels import Labelled, held_out, read_labels
from engines.evaluation.scores import AttributeScores, Case, Said, mistakes, score
from engines.words.vocabulary import vocabulary
from pipeline.errors import RejectedInput
from workers.bootstrap import build_kit
from workers.commands.evaluate_garments import garments
from workers.commands.evaluate_retrieval import retrieval
from workers.commands.evaluation_report import Report, print_report
from workers.commands.terminal import console, print_json
from workers.settings import Settings, settings
from workers.understanding import Understanding, Understood


@click.group()
def evaluate() -> None:
    """Measure the engines on labelled data.

    \b
    Example:
      vitrine evaluate understanding --data photos/
      vitrine evaluate retrieval
    """


evaluate.add_command(retrieval)
evaluate.add_command(garments)


@evaluate.command()
@click.option(
    "--data",
    required=True,
    type=click.Path(exists=True, path_type=Path),
    help="A CSV, a folder with labels.csv, or a folder of one folder a class.",
)
@click.option(
    "--photos", help="Folder of the CSV's photographs, or an artifact of the kit; beside it by default."
)
@click.option("--engine", "chosen", multiple=True, metavar="ROLE=NAME", help="Another engine for a role.")
@click.option("--attribute", "wanted", multiple=True, help="Measure this attribute only; may be repeated.")
@click.option("--held-out", "apart", is_flag=True, help="Only photographs that nothing is trained on.")
@click.option(
    "--facts/--no-facts", help="Give the merchant's title and category too; pixels alone otherwise."
)
@click.option("--limit", type=click.IntRange(1), help="At most so many photographs, in the order of content.")
@click.option("--details", is_flag=True, help="Each value's precision and recall, and the reliability too.")
@click.option("--errors", is_flag=True, help="List what was wrong, missed or needless, surest first.")
@click.option("--markdown", is_flag=True, help="Print Markdown, for docs/evaluation.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def understanding(
    data: Path,
    photos: str | None,
    chosen: tuple[str, ...],
    wanted: tuple[str, ...],
    apart: bool,
    facts: bool,
    limit: int | None,
    details: bool,
    errors: bool,
    markdown: bool,
    as_json: bool,
) -> None:
    """Measure attributes against labels: precision, recall, abstention, F1, calibration, with 95% intervals.

    The photographs go through the engines and rules of the stages photo, cutout, read_text and tag. What is
    measured how: docs/evaluation.md.

    \b
    Example:
      vitrine evaluate understanding --data photos/
      vitrine evaluate understanding --data labels.csv --photos photos/ --facts --errors
    """
    if markdown and as_json:
        raise click.UsageError("choose either --markdown or --json")
    here = settings()
    labelled = read_labels(vocabulary(), data, _folder(here, photos))
    examples = [one for one in labelled.examples if held_out(one.sha256) or not apart][:limit]
    if not examples:
        raise RejectedInput("no-photos", f"none of the {len(labelled.examples)} photographs is held out")
    if facts and not any(one.facts.title for one in examples):
        raise RejectedInput(
            "no-facts", f"{data} says no product's title: add a column `title`, or leave out --facts"
        )
    attributes = _attributes(labelled, wanted)
    engines = Understanding(here, _choices(chosen), facts=facts)
    understood = []
    with Progress(
        TextColumn("looking at photographs"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        console=console(stderr=True),
        disable=not sys.stderr.isatty(),
        transient=True,
    ) as bar:
        task = bar.add_task("", total=len(examples))
        for one in engines.read(examples):
            understood.append(one)
            bar.advance(task)
    cases = {name: _cases(understood, name) for name in attributes}
    report = Report(
        command=_command(data, photos, chosen, wanted, apart, facts, limit),
        facts=facts,
        engines=engines.engines(),
        photos=len(understood),
        unreadable={one.example.file: one.unreadable for one in understood if one.unreadable},
        missing=labelled.missing,
        set_aside={one.example.file: one.set_aside for one in understood if one.set_aside},
        unknown=labelled.unknown,
        flags=sum(len(one.reviewed.flags) for one in understood),
        scores=[
            *(score(vocabulary(), name, cases[name]) for name in attributes if cases[name]),
            *_garment_scores(understood if "product_type" in attributes else ()),
        ],
        mistakes=[one for name in attributes for one in mistakes(vocabulary(), name, cases[name])],
    )
    if as_json:
        print_json(report.as_json())
    else:
        print_report(report, details=details, errors=errors, markdown=markdown)


def _folder(here: Settings, photos: str | None) -> Path | None:
    if photos is None:
        return None
    folder = Path(photos)
    kit = build_kit(here)
    if not folder.is_dir() and photos in {artifact.name for artifact in kit.artifacts()}:
        return kit.path(photos)
    if not folder.is_dir():
        raise RejectedInput("no-photos", f"{photos} is neither a folder nor an artifact of the kit")
    return folder


def _choices(chosen: Sequence[str]) -> Mapping[str, str]:
    choices = {}
    for one in chosen:
        role, separator, name = one.partition("=")
        if not separator or not role or not name:
            raise click.UsageError(f"--engine {one}: write ROLE=NAME, as in tagger=imagenet_vocabulary")
        choices[role] = name
    return choices


def _attributes(labelled: Labelled, wanted: Sequence[str]) -> list[str]:
    known = labelled.attributes()
    if unknown := [name for name in wanted if name not in known]:
        raise click.UsageError(f"--attribute {unknown[0]} is not labelled; labelled are: {', '.join(known)}")
    if not known:
        raise RejectedInput("no-labels", "no column is an attribute of the vocabulary, and none is `class`")
    return list(wanted) or known


def _cases(understood: Sequence[Understood], attribute: str) -> list[Case]:
    """An unreadable photograph measures nothing; of one whose cut-out is set aside nothing is said."""
    return [
        Case(one.example.file, one.example.truth[attribute], _said(one, attribute))
        for one in understood
        if attribute in one.example.truth and not one.unreadable
    ]


def _garment_scores(understood: Sequence[Understood]) -> list[AttributeScores]:
    """The garment classifier asked alone and without a floor, as try-on asks it of what is worn."""
    words = vocabulary()
    cases = [
        Case(
            one.example.file,
            one.example.truth["product_type"],
            (Said(words.garment(one.garment.name)[1], one.garment.confidence),),
        )
        for one in understood
        if one.garment is not None
    ]
    return [replace(score(words, "product_type", cases), attribute="garment class")] if cases else []


def _said(one: Understood, attribute: str) -> tuple[Said, ...]:
    said = [Said(tag.value, tag.confidence) for tag in one.reviewed.tags if tag.attribute == attribute]
    return tuple(sorted(said, key=lambda answer: -answer.confidence))


def _command(
    data: Path,
    photos: str | None,
    chosen: Sequence[str],
    wanted: Sequence[str],
    apart: bool,
    facts: bool,
    limit: int | None,
) -> str:
    """How to measure this again, without where this machine keeps its files."""
    words = ["vitrine evaluate understanding --data", _portable(data)]
    words += ["--photos", _portable(Path(photos))] if photos else []
    words += [f"--engine {one}" for one in chosen] + [f"--attribute {one}" for one in wanted]
    words += ["--held-out"] * apart + ["--facts"] * facts + ([f"--limit {limit}"] if limit else [])
    return " ".join(words)


def _portable(path: Path) -> str:
    return path.name if path.is_absolute() else path.as_posix()
