"""``vitrine parked``: what was set aside for a person, why, and another chance for it."""

from __future__ import annotations

import click

from pipeline.errors import RejectedInput
from storage.parked import Parked
from workers.bootstrap import build_ledger
from workers.commands.terminal import cell, console, harmless, print_json, rows, table
from workers.settings import settings

_SHOWN_PRODUCTS = 4


@click.group(invoke_without_command=True)
@click.pass_context
def parked(ctx: click.Context) -> None:
    """List, explain and release what was set aside for a person.

    \b
    Example:
      vitrine parked
      vitrine parked explain 1234
      vitrine parked release --stage photo --reason outside-file-roots
    """
    if ctx.invoked_subcommand is None:
        ctx.invoke(list_parked)


@parked.command("list")
@click.option("--stage", help="Only jobs of this stage.")
@click.option("--reason", help="Only jobs parked for this reason.")
@click.option(
    "--limit", default=20, show_default=True, type=click.IntRange(1), help="How many of the newest."
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def list_parked(
    stage: str | None = None, reason: str | None = None, limit: int = 20, as_json: bool = False
) -> None:
    """Count what is parked by stage and reason, then list the newest.

    \b
    Example:
      vitrine parked list --stage photo --limit 100
    """
    open_parked = _open()
    summary = open_parked.summary()
    jobs = open_parked.jobs(stage=stage, reason=reason, limit=limit)
    if as_json:
        print_json({"summary": summary, "jobs": jobs})
        return
    out = console()
    if not summary:
        out.print("nothing is parked")
        return
    counts = table("stage", "reason", "jobs", "latest", right=("jobs",))
    out.print(rows(counts, ((s["stage"], s["reason"], s["jobs"], s["latest"]) for s in summary)))
    out.print()
    newest = table("job", "stage", "reason", "products", "photo", "parked", right=("job",))
    lines = (
        (
            job["id"],
            job["stage"],
            job["reason"],
            _products(job["products"]),
            job["target"],
            job["finished_at"],
        )
        for job in jobs
    )
    out.print(rows(newest, lines))
    out.print(
        "\n`vitrine parked explain JOB` tells why, `vitrine parked release …` tries again.", style="dim"
    )


@parked.command()
@click.argument("job", type=int)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def explain(job: int, as_json: bool) -> None:
    """Tell why a job was parked, with the traceback where a defect parked it.

    \b
    Example:
      vitrine parked explain 1234
    """
    open_parked = _open()
    found = open_parked.jobs([job])
    if not found:
        raise RejectedInput("not-parked", f"no job {job} is parked: see `vitrine parked list`")
    trace = open_parked.trace(job)
    if as_json:
        print_json({**found[0], "trace": trace})
        return
    out = console()
    made = table("", "")
    made.show_header = False
    order = (
        "id",
        "stage",
        "engine",
        "target",
        "reason",
        "error",
        "attempts",
        "deaths",
        "worker",
        "finished_at",
    )
    lines: list[tuple[str, object]] = [(name, found[0][name]) for name in order if found[0][name] is not None]
    lines.insert(1, ("products", ", ".join(found[0]["products"] or ())))
    out.print(rows(made, lines))
    if trace:
        out.print()
        out.print(harmless(trace))
    out.print(f"\nWhen its cause is mended: vitrine parked release {job}", style="dim")


@parked.command()
@click.argument("jobs", type=int, nargs=-1, metavar="[JOB]...")
@click.option("--stage", help="Every job of this stage.")
@click.option("--reason", help="Every job parked for this reason.")
@click.option("--all", "everything", is_flag=True, help="Every parked job.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def release(
    jobs: tuple[int, ...], stage: str | None, reason: str | None, everything: bool, as_json: bool
) -> None:
    """Try parked jobs again, and what was skipped because of them.

    \b
    Example:
      vitrine parked release 1234 1235
      vitrine parked release --stage caption
      vitrine parked release --all
    """
    if everything == bool(jobs or stage or reason):
        raise click.UsageError("name jobs, --stage or --reason, or give --all")
    products = _open().release(jobs or None, stage, reason)
    if as_json:
        print_json({"products": products})
    elif products:
        click.echo(f"{products} products are processed again: the relay announces the work")
    if not products:
        raise RejectedInput("not-parked", "nothing that is parked matches: see `vitrine parked list`")


@parked.command()
@click.option(
    "--limit", default=20, show_default=True, type=click.IntRange(1), help="How many of the newest."
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def quarantine(limit: int, as_json: bool) -> None:
    """List messages that broke the event contract; they have to be published again, mended.

    \b
    Example:
      vitrine parked quarantine --json
    """
    found = _open().quarantined(limit)
    if as_json:
        print_json(found)
        return
    out = console()
    if not found:
        out.print("no message is in quarantine")
        return
    made = table("product", "event", "reason", "field", "times", "last", "message", right=("times",))
    names = ("product_id", "event_id", "reason", "field", "times", "last_at", "message")
    out.print(rows(made, ([q[name] for name in names] for q in found)))


def _open() -> Parked:
    ledger = build_ledger(settings().connected("database_url"), "vitrine parked")
    return Parked(ledger.engine, ledger.graph)


def _products(names: list[str] | None) -> object:
    names = names or []
    more = f" and {len(names) - _SHOWN_PRODUCTS} more" if len(names) > _SHOWN_PRODUCTS else ""
    return cell(", ".join(names[:_SHOWN_PRODUCTS]) + more)
