"""``vitrine review``: pictures that could not be proven, shown to a person who accepts or rejects them."""

from __future__ import annotations

import getpass
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click

from pipeline.errors import RejectedInput
from pipeline.graph import slot_of
from pipeline.outcomes import Blob
from storage.assets import Assets
from storage.reviews import Reviews
from workers.bootstrap import build_ledger
from workers.commands.terminal import cell, console, harmless, print_json, rows, table
from workers.settings import settings

_SHOWN_PRODUCTS = 3
_why = click.option("--why", required=True, help="What decides it; kept with the decision.")
_by = click.option("--by", default=getpass.getuser, show_default="the user's name", help="Who decides.")


@click.group(invoke_without_command=True)
@click.pass_context
def review(ctx: click.Context) -> None:
    """Judge pictures that could not be proven to show the product as it is.

    Nothing of it is served before somebody accepts it.

    \b
    Example:
      vitrine review
      vitrine review show 1234
      vitrine review accept 1234 --why "the label is folded, not erased"
      vitrine review reject 1234 --why "a second cup"
    """
    if ctx.invoked_subcommand is None:
        ctx.invoke(list_reviews)


@review.command("list")
@click.option("--decided", is_flag=True, help="Also what was decided, by whom and why.")
@click.option(
    "--limit", default=50, show_default=True, type=click.IntRange(1), help="How many of the oldest."
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def list_reviews(decided: bool = False, limit: int = 50, as_json: bool = False) -> None:
    """List what waits for a person, the oldest first.

    \b
    Example:
      vitrine review list --decided
    """
    found = _open().pending(decided=decided, limit=limit)
    if as_json:
        print_json(found)
        return
    out = console()
    if not found:
        out.print("nothing waits for review")
        return
    columns = (
        "job",
        "stage",
        "shown",
        "products",
        "made",
        "why it waits",
        *(("decided",) if decided else ()),
    )
    lines = (
        (
            one["id"],
            one["stage"],
            slot_of(one["target"] or ""),
            _products(one["products"]),
            one["asked_at"],
            one["error"] or "",
            *((_decision(one),) if decided else ()),
        )
        for one in found
    )
    out.print(rows(table(*columns, right=("job",)), lines))
    out.print("\n`vitrine review show JOB` writes its picture, `accept` and `reject` decide.", style="dim")


@review.command()
@click.argument("job", type=int)
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    help="Where to write the picture; here by default.",
    default=None,
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def show(job: int, out: Path | None, as_json: bool) -> None:
    """Write a picture to look at, and say what was measured of it.

    \b
    Example:
      vitrine review show 1234 --out look.png
    """
    found = _one(job)
    master = Blob.model_validate(found["outcome"]["master"]["picture"])
    path = out or Path(f"review-{job}.png")
    path.write_bytes(Assets(settings().connected("database_url", "assets_url").assets_url).get(master))
    if as_json:
        print_json({**found, "picture": str(path)})
        return
    scores = found["outcome"]["proof"]["scores"]
    lines: list[tuple[str, object]] = [
        ("products", ", ".join(found["products"] or ())),
        ("shown", f"{found['outcome']['preset']}, {found['outcome']['aspect']}"),
        ("engine", found["engine"]),
        *(
            (f"falls short {number}", why)
            for number, why in enumerate(found["outcome"]["proof"]["failures"], 1)
        ),
        ("scores", ", ".join(f"{name} {score:.3g}" for name, score in scores.items())),
        ("picture", str(path)),
    ]
    made = table("", "")
    made.show_header = False
    console().print(rows(made, lines))


@review.command()
@click.argument("job", type=int)
@_why
@_by
def accept(job: int, why: str, by: str) -> None:
    """Serve the picture as it is.

    \b
    Example:
      vitrine review accept 1234 --why "the label is folded, not erased"
    """
    products = _open().accept(job, by=by, why=why)
    click.echo(f"accepted by {harmless(by)}: served for {products} products")


@review.command()
@click.argument("job", type=int)
@_why
@_by
def reject(job: int, why: str, by: str) -> None:
    """Never serve the picture; it is made again only where something that it follows from changes.

    \b
    Example:
      vitrine review reject 1234 --why "a second cup"
    """
    _open().reject(job, by=by, why=why)
    click.echo(f"rejected by {harmless(by)}: it stays parked")


def _open() -> Reviews:
    ledger = build_ledger(settings().connected("database_url"), "vitrine review")
    return Reviews(ledger.engine, ledger.graph)


def _one(job: int) -> Mapping[str, Any]:
    found = _open().pending([job], decided=True)
    if not found:
        raise RejectedInput("nothing-to-review", f"job {job} does not wait for review: see `vitrine review`")
    return found[0]


def _products(names: list[str] | None) -> object:
    names = names or []
    more = f" and {len(names) - _SHOWN_PRODUCTS} more" if len(names) > _SHOWN_PRODUCTS else ""
    return cell(", ".join(names[:_SHOWN_PRODUCTS]) + more)


def _decision(one: Mapping[str, Any]) -> str:
    if one["accepted"] is None:
        return "waits"
    verdict = "accepted" if one["accepted"] else "rejected"
    return f"{verdict} by {one['decided_by']}: {one['why']}"
