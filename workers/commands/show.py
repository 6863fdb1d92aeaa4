"""``vitrine show``: everything known of one product."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import click
from rich.console import Console
from rich.table import Table

from storage.assets import Assets
from storage.presentations import Presentations
from storage.timeline import Timeline
from workers.bootstrap import build_ledger
from workers.commands.terminal import ago, cell, console, harmless, print_json, rows, state, table
from workers.settings import settings

_FACTS = ("title", "description", "category", "brand", "locale", "tier", "price", "tags")
# What a presentation holds beside what the models said.
_ENVELOPE = frozenset(
    {"source", "product_id", "revision", "generation", "updated_at", "images"}
    | {"provenance", "corrections", "candidate", *_FACTS} - {"tags"}
)


@click.command()
@click.argument("product")
@click.option("--source", help="Catalog it comes from, where several use the same id.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def show(product: str, source: str | None, as_json: bool) -> None:
    """Show a product: its facts, what the shop shows, each stage's timeline, events and verdicts.

    \b
    Example:
      vitrine show linen-shirt
      vitrine show linen-shirt --json | jq .presentation.tags
    """
    ledger = build_ledger(settings().connected("database_url"), "vitrine show")
    known = Timeline(ledger.engine, ledger.graph).show(product, source)
    served = Presentations(ledger.engine).read(product, known["source"])
    if as_json:
        print_json({**known, "presentation": served})
        return
    out = console()
    _print_facts(out, known)
    if served:
        _print_served(out, served)
    _print_stages(out, known)
    out.print()
    out.print(_events(known["events"]))


def _print_facts(out: Console, known: Mapping[str, Any]) -> None:
    standing = "live" if known["live"] else "withdrawn" if known["withdrawn_at"] else "not live"
    out.print(harmless(known["product_id"]), style="bold", end="")
    out.print(f"  {standing}, revision {known['revision']}, generation {known['generation']}")
    facts = known["facts"] or {}
    made = Table.grid(padding=(0, 2, 0, 0))
    made.add_row("source", cell(known["source"]))
    for name in _FACTS:
        if facts.get(name):
            made.add_row(name, cell(_plain(facts[name])))
    out.print(made)
    images = facts.get("images", ())
    if images:
        out.print()
        lines = ((i["id"], i["role"], i["url"]) for i in images)
        out.print(rows(table("photo", "role", "url"), lines))


def _print_served(out: Console, served: Mapping[str, Any]) -> None:
    out.print()
    out.print(f"Served, as of {served['updated_at']}", style="bold")
    fields = {name: value for name, value in served.items() if name not in _ENVELOPE}
    tags = fields.pop("tags", None)
    made = Table.grid(padding=(0, 2, 0, 0))
    for name, value in _flat(fields):
        made.add_row(f"  {name}", cell(value))
    for image in served["images"]:
        for name, value in _flat({k: v for k, v in image.items() if k not in ("id", "role")}):
            made.add_row(f"  {name}/{harmless(image['id'])}", cell(value))
    out.print(made)
    if isinstance(tags, list) and tags and isinstance(tags[0], Mapping):
        out.print()
        names = ("attribute", "en", "zh", "confidence", "evidence")
        lines = ([*(tag.get(name) for name in names[:-1]), _evidence(tag.get("evidence"))] for tag in tags)
        out.print(rows(table(*names, right=("confidence",)), lines))
    elif tags:
        out.print(f"  tags  {harmless(_plain(tags))}")
    for name, correction in served["corrections"].items():
        out.print(f"  {harmless(name)} was corrected by {harmless(correction['by'])} at {correction['at']}")
    for name in served["candidate"]:
        out.print(f"  {harmless(name)} has a candidate: see `vitrine replay list`", style="yellow")


def _print_stages(out: Console, known: Mapping[str, Any]) -> None:
    if known["plans"]:
        plan = known["plans"][0]
        out.print()
        verdict = plan["verdict"] or "open"
        out.print(
            f"Stages of the latest pass ({plan['cause']}, {ago(plan['created_at'])}, {verdict})", style="bold"
        )
    lines = (
        (
            run["stage"],
            run["target"],
            state(run["state"]),
            run["engine"],
            run["seconds"],
            run["attempts"] or "",
            run["reason"] or run["error"],
        )
        for run in known["runs"]
    )
    headings = ("stage", "photo", "state", "engine", "seconds", "tries", "reason")
    out.print(rows(table(*headings, right=("seconds", "tries")), lines))


def _events(events: Sequence[Mapping[str, Any]]) -> Table:
    lines = (
        (e["event_id"], e["type"], e["revision"], e["received_at"], state(e["verdict"] or "open"))
        for e in events
    )
    return rows(table("event", "type", "revision", "received", "verdict", right=("revision",)), lines)


def _flat(fields: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, str]]:
    """Nested objects as dotted names; a blob as its key in the asset store."""
    for name, value in fields.items():
        if isinstance(value, Mapping) and {"digest", "media_type"} <= value.keys():
            yield f"{prefix}{name}", Assets.key(value["digest"], value["media_type"])
        elif isinstance(value, Mapping):
            yield from _flat(value, f"{prefix}{name}.")
        elif value not in (None, [], {}):
            yield f"{prefix}{name}", _plain(value)


def _evidence(given: Any) -> str:
    """What a tag rests on, in words; a merchant's correction may carry anything."""
    if isinstance(given, list) and all(isinstance(item, Mapping) and "words" in item for item in given):
        return "; ".join(str(item["words"]) for item in given)
    return "" if given is None else _plain(given)


def _plain(value: Any) -> str:
    if isinstance(value, str):
        return value
    if isinstance(value, list) and all(isinstance(item, str) for item in value):
        return ", ".join(value)
    if isinstance(value, list) and all(
        isinstance(item, Mapping) and {"en", "zh"} <= item.keys() for item in value
    ):
        return " · ".join(f"{item['en']} / {item['zh']}" for item in value)
    if isinstance(value, list) and all(isinstance(item, Mapping) and "text" in item for item in value):
        return ", ".join(f"“{item['text']}”" for item in value)
    return json.dumps(value, ensure_ascii=False)
