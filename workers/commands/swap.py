"""``vitrine models plan``, ``shadow``, ``compare``, ``cutover``, ``rollback`` and ``retire``: a model swap."""

from __future__ import annotations

import math
import time
from pathlib import Path

import click

from engines.devices import Device
from pipeline.errors import RejectedInput
from storage.searches import Searches
from storage.vectors import VectorIndex
from workers.bootstrap import build_engines, build_federation, build_ledger
from workers.commands.search import open_search
from workers.commands.terminal import console, print_json, rows, table
from workers.settings import settings
from workers.swap import Comparison, Fill, Swap

_ROLE = "embed"
_POLL_S = 2.0


def _open() -> Swap:
    here = settings().connected("database_url", "qdrant_url")
    engines = build_engines(here, Device.choose())
    ledger = build_ledger(here, "vitrine models")
    return Swap(ledger, VectorIndex(here.qdrant_url), engines, build_federation(here, engines))


def _named(choice: str) -> str:
    role, _, name = choice.partition("=")
    if role != _ROLE or not name:
        raise click.BadParameter(f"say which engine is to embed: {_ROLE}=NAME", param_hint="'CHOICE'")
    return name


_choice = click.argument("choice", metavar="embed=NAME")


@click.command()
@_choice
def plan(choice: str) -> None:
    """What it would take to fill a new space with an engine's vectors. Changes nothing.

    \b
    Example:
      vitrine models plan embed=siglip2_embedder
    """
    found = _open().plan(_named(choice))
    lines = [
        ("serving now", found.serving),
        ("new", found.new),
        ("numbers a vector", found.dimension),
        ("products, photos", f"{found.products:,}, {found.photos:,}"),
        ("one process computes", _duration(found.seconds)),
        ("memory in Qdrant, about", f"{found.bytes / 2**20:,.0f} MiB"),
    ]
    console().print(rows(table("what", "how much", title="Swap"), lines))


@click.command()
@_choice
@click.option("--rate", type=click.FloatRange(min=0, min_open=True), help="Products a second, at most.")
@click.option("--window", default=100, show_default=True, type=click.IntRange(1), help="Products at a time.")
@click.option("--wait", is_flag=True, help="Return when it is filled.")
def shadow(choice: str, rate: float | None, window: int, wait: bool) -> int:
    """Fill a new space in the background, or go on filling it.

    From now on every upload lands in both spaces; searches still ask the old one. It may be called again at any
    time, after an interruption too, and says how far it is.

    \b
    Example:
      vitrine models shadow embed=siglip2_embedder --rate 5
    """
    swap = _open()
    missing = math.inf
    while True:
        fill, quote = swap.shadow(_named(choice), rate=rate, window=window)
        if quote is not None and quote.products:
            if fill.missing >= missing:
                _tell(fill)
                click.echo("a whole replay brought nothing more: vitrine parked", err=True)
                return 1
            missing = fill.missing
            seconds = sum(quote.seconds_by_queue().values())
            told = f"{quote.products:,} products to embed, about {_duration(seconds)} of computing"
            click.echo(told, err=True)
        if not wait or not fill.missing:
            _tell(fill)
            return 0
        time.sleep(_POLL_S)


@click.command()
@click.option("--queries", type=click.Path(exists=True, path_type=Path), help="File with a query a line.")
@click.option("--limit", default=200, show_default=True, type=click.IntRange(1), help="Queries at most.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def compare(queries: Path | None, limit: int, as_json: bool) -> None:
    """Answer queries from both spaces and say how far the answers differ.

    Without --queries those that people searched for are asked, the most frequent first.

    \b
    Example:
      vitrine models compare --queries queries.txt
    """
    here = settings().connected("database_url", "qdrant_url")
    ledger = build_ledger(here, "vitrine models")
    asked = (
        [line.strip() for line in queries.read_text("utf-8").splitlines() if line.strip()][:limit]
        if queries
        else Searches(ledger.engine).often(limit)
    )
    if not asked:
        raise RejectedInput("no-queries", "nobody has searched yet: give a file of queries with --queries")
    swap = _open()
    comparison = swap.compare(open_search(here, record=False), asked)
    if as_json:
        print_json(_as_json(comparison))
        return
    lines = [
        (one.query, f"{one.overlap:.0%}", f"{one.moved:.1f}", *(f"{s * 1000:.0f}" for s in one.seconds))
        for one in sorted(comparison.queries, key=lambda one: one.overlap)
    ]
    columns = ("query", "in both", "moved by", "ms now", "ms new")
    console().print(rows(table(*columns, right=columns[1:], title="The first ten of each query"), lines))
    click.echo(
        f"{len(asked)} queries: {comparison.overlap:.0%} of the first ten in both, "
        f"{comparison.same_first:.0%} with the same first hit; "
        f"p50 {comparison.seconds(0, 50) * 1000:.0f} → {comparison.seconds(1, 50) * 1000:.0f} ms, "
        f"p99 {comparison.seconds(0, 99) * 1000:.0f} → {comparison.seconds(1, 99) * 1000:.0f} ms"
    )


@click.command()
@click.option("--incomplete", is_flag=True, help="Even if products are missing in the new space.")
def cutover(incomplete: bool) -> None:
    """Let the new space serve, atomically. The old one is filled on, so that `rollback` loses nothing.

    \b
    Example:
      vitrine models cutover
    """
    serving, shadow_space = _open().switch(incomplete=incomplete)
    click.echo(f"{serving.engine} serves; {shadow_space.engine} is kept up to date beside it")
    click.echo("back: vitrine models rollback; for good: vitrine models retire", err=True)


@click.command()
def rollback() -> None:
    """Let the space before serve again, atomically.

    \b
    Example:
      vitrine models rollback
    """
    serving, shadow_space = _open().switch(incomplete=True)
    click.echo(f"{serving.engine} serves again; {shadow_space.engine} is kept up to date beside it")


@click.command()
def retire() -> None:
    """Give up the space that does not serve, and delete its collection.

    \b
    Example:
      vitrine models retire
    """
    click.echo(f"{_open().retire().engine} is filled no more, and its collection is deleted")


def _tell(fill: Fill) -> None:
    there = fill.products - fill.missing
    click.echo(f"{fill.space.engine}: {there:,} of {fill.products:,} products")
    if fill.missing:
        click.echo(f"replay {fill.replay} fills it: vitrine replay show {fill.replay}", err=True)
    else:
        click.echo("filled: vitrine models compare, then vitrine models cutover", err=True)


def _as_json(comparison: Comparison) -> object:
    return {
        "overlap": comparison.overlap,
        "same_first": comparison.same_first,
        "seconds": {
            name: {f"p{p}": comparison.seconds(which, p) for p in (50, 99)}
            for which, name in enumerate(("serving", "shadow"))
        },
        "queries": [
            {"query": one.query, "overlap": one.overlap, "moved": one.moved, "serving": list(one.serving),
             "shadow": list(one.shadow)}
            for one in comparison.queries
        ],
    }  # fmt: skip


def _duration(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return (
        f"{hours} h {minutes} min" if hours else f"{minutes} min {rest} s" if minutes else f"{seconds:.1f} s"
    )
