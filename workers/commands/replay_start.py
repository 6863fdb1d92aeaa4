"""``vitrine replay start``: which products to process again, at what price, and go."""

from __future__ import annotations

import sys
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Any

import click

from pipeline.errors import RejectedInput
from pipeline.events import UPDATED, UPLOADED
from pipeline.outcomes import Verdict
from storage.quotes import Quote, Request, Selection
from storage.replays import Replays
from workers.bootstrap import build_ledger
from workers.commands.terminal import console, print_json, rows, span, table
from workers.settings import settings


class _Moment(click.ParamType[datetime]):
    """ISO 8601; without an offset UTC."""

    name = "time"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> datetime:
        try:
            moment = datetime.fromisoformat(str(value))
        except ValueError:
            self.fail(f"{value!r} is no time such as 2026-03-01 or 2026-03-01T09:30+08:00", param, ctx)
        return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


@click.command()
@click.option("--product", "products", multiple=True, help="This product; may be given several times.")
@click.option("--source", help="Products of this catalog.")
@click.option("--since", type=_Moment(), help="Products with an event at or after this time.")
@click.option("--until", type=_Moment(), help="Products with an event before this time.")
@click.option(
    "--type", "types", multiple=True, type=click.Choice([UPLOADED, UPDATED]), help="... with such an event."
)
@click.option(
    "--verdict",
    "verdicts",
    multiple=True,
    type=click.Choice([verdict.value for verdict in Verdict]),
    help="... with an event that ended so.",
)
@click.option("--category", help="Products whose category begins with this.")
@click.option("--engine", help="Products that this engine had a part in.")
@click.option("--stage", "stages", multiple=True, help="Products where this stage is missing or stale.")
@click.option("--all", "everything", is_flag=True, help="Every live product.")
@click.option("--force", is_flag=True, help="Compute again although nothing changed (of --stage, or of all).")
@click.option("--review", is_flag=True, help="Keep results beside the served ones until `replay promote`.")
@click.option("--rate", type=click.FloatRange(0, min_open=True), help="Products a second, at most.")
@click.option(
    "--window", default=100, show_default=True, type=click.IntRange(1), help="Products in progress at once."
)
@click.option("--dry-run", is_flag=True, help="Print what it would cost, start nothing.")
@click.option("--yes", is_flag=True, help="Do not ask.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def start(
    products: tuple[str, ...],
    source: str | None,
    since: datetime | None,
    until: datetime | None,
    types: tuple[str, ...],
    verdicts: tuple[str, ...],
    category: str | None,
    engine: str | None,
    stages: tuple[str, ...],
    everything: bool,
    force: bool,
    review: bool,
    rate: float | None,
    window: int,
    dry_run: bool,
    yes: bool,
    as_json: bool,
) -> None:
    """Quote a replay and start it. All conditions must hold of a product.

    \b
    Example:
      vitrine replay start --stage caption --dry-run
      vitrine replay start --since 2026-03-01 --verdict degraded --yes
      vitrine replay start --all --force --stage tag --review
    """
    selection = Selection(products, source, since, until, types, category, engine, verdicts)
    if everything == (selection != Selection()) and not (stages and not everything):
        raise click.UsageError(
            "say which products (--product, --stage, --category, ...), or --all of them, not both"
        )
    request = Request(selection, stages, force, review, rate, window)
    ledger = build_ledger(settings().connected("database_url"), "vitrine replay")
    replays = Replays(ledger.engine, ledger.graph)
    quote = replays.quote(request)
    if not as_json or dry_run:
        _show_quote(quote, as_json)
    if dry_run:
        return
    if quote.products == 0:
        raise RejectedInput("nothing-selected", "no live product fits: nothing was started")
    if not yes:
        if as_json or not sys.stdin.isatty():
            raise click.UsageError("nobody can answer here: give --yes, or --dry-run for the quote only")
        click.confirm(f"Start this replay of {quote.products} products?", abort=True)
    number = replays.create(request)
    if as_json:
        print_json({"id": number, **_quoted(quote)})
    else:
        click.echo(f"replay {number} is running: `vitrine replay show {number}` tells how far it is")


def _quoted(quote: Quote) -> dict[str, Any]:
    return {
        "products": quote.products,
        "stages": [asdict(stage) for stage in quote.stages],
        "seconds_by_queue": quote.seconds_by_queue(),
    }


def _show_quote(quote: Quote, as_json: bool) -> None:
    if as_json:
        print_json(_quoted(quote))
        return
    out = console()
    right = ("compute at most", "reuse", "estimate")
    made = table("stage", "queue", *right, title=f"{quote.products} products", right=right)
    lines = (
        (
            stage.stage,
            stage.queue,
            stage.compute,
            stage.reuse,
            "no history" if stage.seconds is None else span(stage.seconds),
        )
        for stage in quote.stages
    )
    out.print(rows(made, lines))
    for queue, seconds in sorted(quote.seconds_by_queue().items()):
        out.print(f"queue {queue}: about {span(seconds)} of computing, one process, one by one")
