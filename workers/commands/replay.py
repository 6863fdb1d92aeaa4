"""``vitrine replay``: watch and steer the processing of many products again."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import click

from pipeline.errors import RejectedInput
from storage.ledger import Ledger
from storage.presentations import Presentations
from storage.replays import Replays
from workers.bootstrap import build_ledger
from workers.commands.replay_start import start
from workers.commands.terminal import console, print_json, rows, state, table
from workers.settings import settings

_AS_JSON = click.option("--json", "as_json", is_flag=True, help="Print JSON.")


@click.group()
def replay() -> None:
    """Process many products again: a new model, a repair, a backfill.

    Only what would come out differently is computed. A replay goes behind live work, never takes back what
    is served for something older, and never revives a withdrawn product.

    \b
    Example:
      vitrine replay start --stage caption --dry-run
      vitrine replay start --category Clothing --rate 20 --yes
      vitrine replay list
    """


replay.add_command(start)


@replay.command("list")
@_AS_JSON
def list_replays(as_json: bool) -> None:
    """List the newest replays with their progress.

    \b
    Example:
      vitrine replay list
    """
    found = _replays().progress()
    if as_json:
        print_json(found)
        return
    if not found:
        click.echo("there is no replay")
        return
    made = table("replay", "state", "stages", "selection", "progress", "started", right=("replay",))
    lines = (
        (r["id"], state(r["state"]), ", ".join(r["stages"]) or "all", _chosen(r), _items(r), r["created_at"])
        for r in found
    )
    console().print(rows(made, lines))


@replay.command()
@click.argument("number", type=int, metavar="ID")
@_AS_JSON
def show(number: int, as_json: bool) -> None:
    """Show one replay: what it is about and how many products stand where.

    \b
    Example:
      vitrine replay show 3
    """
    found = _find(_replays(), number)
    if as_json:
        print_json(found)
        return
    done = sum(count for name, count in found["items"].items() if name not in ("pending", "planned"))
    total = sum(found["items"].values())
    shown = table("", "")
    shown.show_header = False
    lines: list[tuple[str, object]] = [
        ("replay", number),
        ("state", state(found["state"])),
        ("ended", f"{done} of {total} products"),
        ("products", _items(found)),
        ("selection", _chosen(found)),
        ("stages", ", ".join(found["stages"]) or "all"),
        ("options", ", ".join(name for name in ("force", "review") if found[name]) or "none"),
        ("rate", f"{found['rate']:g} a second" if found["rate"] else "as fast as the window allows"),
        ("window", found["window"]),
        ("started", found["created_at"].isoformat(timespec="seconds")),
        (
            "finished",
            found["finished_at"].isoformat(timespec="seconds") if found["finished_at"] else "not yet",
        ),
    ]
    console().print(rows(shown, lines))


@replay.command()
@click.argument("number", type=int, metavar="ID")
def pause(number: int) -> None:
    """Start no further products; those in progress end.

    \b
    Example:
      vitrine replay pause 3
    """
    _steer(number).pause(number)
    click.echo(f"replay {number} is paused: `vitrine replay resume {number}` goes on")


@replay.command()
@click.argument("number", type=int, metavar="ID")
def resume(number: int) -> None:
    """Go on where it was paused.

    \b
    Example:
      vitrine replay resume 3
    """
    _steer(number).resume(number)
    click.echo(f"replay {number} is running")


@replay.command()
@click.argument("number", type=int, metavar="ID")
def cancel(number: int) -> None:
    """Drop what has not begun; products in progress end.

    \b
    Example:
      vitrine replay cancel 3
    """
    _steer(number).cancel(number)
    click.echo(f"replay {number} is cancelled")


@replay.command()
@click.argument("number", type=int, metavar="ID")
def promote(number: int) -> None:
    """Serve what a replay with --review proposed.

    \b
    Example:
      vitrine replay promote 3
    """
    _settle(number, promoted=True)


@replay.command()
@click.argument("number", type=int, metavar="ID")
def discard(number: int) -> None:
    """Drop what a replay with --review proposed.

    \b
    Example:
      vitrine replay discard 3
    """
    _settle(number, promoted=False)


def _settle(number: int, *, promoted: bool) -> None:
    ledger = _ledger()
    _find(Replays(ledger.engine, ledger.graph), number)
    presentations = Presentations(ledger.engine)
    changed = presentations.promote(number) if promoted else presentations.discard(number)
    if not changed:
        raise RejectedInput("nothing-proposed", f"replay {number} has no proposal that waits")
    click.echo(f"{changed} products: the proposal is {'served' if promoted else 'dropped'}")


def _ledger() -> Ledger:
    return build_ledger(settings().connected("database_url"), "vitrine replay")


def _replays() -> Replays:
    ledger = _ledger()
    return Replays(ledger.engine, ledger.graph)


def _steer(number: int) -> Replays:
    replays = _replays()
    _find(replays, number)
    return replays


def _find(replays: Replays, number: int) -> Mapping[str, Any]:
    found: Sequence[Mapping[str, Any]] = replays.progress(number)
    if not found:
        raise RejectedInput("unknown-replay", f"there is no replay {number}: see `vitrine replay list`")
    return found[0]


def _items(found: Mapping[str, Any]) -> str:
    return ", ".join(f"{name} {count}" for name, count in sorted(found["items"].items())) or "none"


def _chosen(found: Mapping[str, Any]) -> str:
    told = []
    for name, value in sorted(found["selection"].items()):
        several = isinstance(value, list)
        told.append(f"{name}={','.join(value[:5]) + (' …' if len(value) > 5 else '') if several else value}")
    return " ".join(told) or "all"
