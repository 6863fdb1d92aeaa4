"""``vitrine process``, ``withdraw`` and ``correct``: what is asked of one product."""

from __future__ import annotations

import json
import time
import uuid
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import click

from pipeline.errors import RejectedInput
from pipeline.events import WITHDRAWN, Withdrawal, WithdrawalEvent
from pipeline.outcomes import RunState, Verdict
from storage.presentations import Presentations
from storage.timeline import Timeline
from tasks._stage import announce
from workers.app import make_app
from workers.bootstrap import build_ledger
from workers.commands.terminal import harmless
from workers.publisher import Publisher
from workers.settings import settings

_POLL_S = 0.3
_FROM_SOURCE = click.option("--source", help="Catalog it comes from, where several use the same id.")
_ENDED = frozenset(RunState) - {RunState.WAITING, RunState.READY}


@click.command()
@click.argument("product")
@_FROM_SOURCE
@click.option("--wait/--no-wait", default=True, show_default=True, help="Follow it to its verdict.")
def process(product: str, source: str | None, wait: bool) -> None:
    """Process a product now, ahead of any backfill. What has not changed is reused.

    Exits with 1 unless every stage is done.

    \b
    Example:
      vitrine process linen-shirt
    """
    here = settings().connected("database_url", "broker_url")
    ledger = build_ledger(here, "vitrine process")
    timeline = Timeline(ledger.engine, ledger.graph)
    app = make_app(here.broker_url)
    for queue in sorted(timeline.process(product, source)):
        announce(app, ledger.admit(queue, here.window))
    if not wait:
        click.echo(f"{harmless(product)} is being processed: `vitrine show` tells how far it is")
        return
    verdict = _follow_plan(timeline, product, source)
    if verdict != Verdict.DONE:
        raise RejectedInput(verdict, f"{product} was not fully processed: see `vitrine show`")


def _follow_plan(timeline: Timeline, product: str, source: str | None) -> str:
    """Print each stage as it ends; the plan's verdict."""
    plan: int | None = None
    told: set[tuple[str, str]] = set()
    while True:
        known = timeline.show(product, source)
        newest = known["plans"][0]
        plan = plan or newest["id"]
        mine: Mapping[str, Any] = next((p for p in known["plans"] if p["id"] == plan), newest)
        if newest["id"] == plan:
            for run in known["runs"]:
                key = (run["stage"], run["target"])
                if run["state"] in _ENDED and key not in told:
                    told.add(key)
                    target = f" {harmless(run['target'])}" if run["target"] else ""
                    reason = f": {harmless(run['reason'])}" if run["reason"] else ""
                    click.echo(f"{run['stage']}{target} {run['state']}{reason}")
        if mine["verdict"]:
            click.echo(mine["verdict"])
            return str(mine["verdict"])
        time.sleep(_POLL_S)


@click.command()
@click.argument("product")
@_FROM_SOURCE
@click.option("--revision", type=click.IntRange(1), help="Withdraw this revision and older ones only.")
@click.option("--wait/--no-wait", default=True, show_default=True, help="Follow it to its verdict.")
def withdraw(product: str, source: str | None, revision: int | None, wait: bool) -> None:
    """Withdraw a product: publishes a withdrawal event, as the catalog would.

    Without --revision it blocks the product until the catalog relists it. With --source and --no-wait only
    the broker is needed.

    \b
    Example:
      vitrine withdraw linen-shirt
    """
    here = settings().connected("broker_url", *(() if source and not wait else ("database_url",)))
    timeline: Timeline | None = None
    if wait or not source:
        ledger = build_ledger(here, "vitrine withdraw")
        timeline = Timeline(ledger.engine, ledger.graph)
        source = source or str(timeline.show(product)["source"])
    assert source is not None
    event = WithdrawalEvent(
        source=source,
        id=str(uuid.uuid4()),
        type=WITHDRAWN,
        time=datetime.now(UTC),
        data=Withdrawal(product_id=product, revision=revision),
    )
    with Publisher(here.broker_url) as publisher:
        publisher.publish([event])
    if timeline is None or not wait:
        click.echo(f"the withdrawal of {harmless(product)} is published as event {event.id}")
        return
    verdict = _follow_event(timeline, product, source, event.id)
    click.echo(f"{harmless(product)}: {verdict}")
    if verdict != Verdict.DONE:
        raise RejectedInput(verdict, f"{product} was not withdrawn: see `vitrine show`")


def _follow_event(timeline: Timeline, product: str, source: str, event_id: str) -> str:
    """The event's verdict, once it has one."""
    while True:
        try:
            events = timeline.show(product, source)["events"]
        except RejectedInput as error:
            if error.reason != "unknown-product":
                raise
            events = []
        verdict = next((event["verdict"] for event in events if event["event_id"] == event_id), None)
        if verdict:
            return str(verdict)
        time.sleep(_POLL_S)


@click.command()
@click.argument("product")
@click.argument("field")
@click.argument("value", required=False)
@click.option("--by", help="Who corrects it; kept with the correction.")
@click.option("--remove", is_flag=True, help="Take the correction back: the model's word is served again.")
@_FROM_SOURCE
def correct(
    product: str, field: str, value: str | None, by: str | None, remove: bool, source: str | None
) -> None:
    """Put a merchant's word on a field above every model's; it survives every replay.

    FIELD is named as `vitrine show PRODUCT --json` names it under provenance, with the photo's id where it
    belongs to one. VALUE is JSON, or text.

    \b
    Example:
      vitrine correct linen-shirt caption/front '{"en": "A linen shirt.", "zh": "亚麻衬衫。"}' --by ana
      vitrine correct linen-shirt caption/front --remove
    """
    if remove == (value is not None):
        raise click.UsageError("give either a VALUE or --remove")
    if not remove and not by:
        raise click.UsageError("say who corrects it: --by NAME")
    ledger = build_ledger(settings().connected("database_url"), "vitrine correct")
    presentations = Presentations(ledger.engine)
    # Named exactly, so that no other catalog's product of the same id is touched.
    source = str(Timeline(ledger.engine, ledger.graph).show(product, source)["source"])
    if remove:
        presentations.uncorrect(product, field, source)
        click.echo(f"{harmless(field)} of {harmless(product)} is the model's again")
        return
    assert value is not None
    assert by is not None
    chosen = _parsed(value)
    _check_form(presentations.read(product, source) or {}, field, chosen)
    presentations.correct(product, field, chosen, by=by, at=datetime.now(UTC), source=source)
    click.echo(f"{harmless(field)} of {harmless(product)} is now {json.dumps(chosen, ensure_ascii=False)}")


def _parsed(value: str) -> Any:
    try:
        return json.loads(value, parse_constant=_no_constant)
    except ValueError:
        return value


def _no_constant(name: str) -> Any:
    raise ValueError(f"{name} is not JSON")


def _check_form(served: Mapping[str, Any], field: str, value: Any) -> None:
    """A correction has the form of what it corrects: the storefront reads both alike."""
    name, _, image = field.partition("/")
    holders = [i for i in served.get("images", ()) if i["id"] == image] if image else [served]
    current = next((holder[name] for holder in holders if name in holder), None)
    if current is None:
        known = ", ".join(sorted(served.get("provenance", ()))) or "none"
        raise RejectedInput("unknown-field", f"no model wrote {field!r} of this product; its fields: {known}")
    if type(current) is not type(value) or (
        isinstance(current, Mapping) and not current.keys() <= value.keys()
    ):
        held = json.dumps(current, ensure_ascii=False)
        raise RejectedInput("wrong-form", f"{field} now is {held[:300]}: give JSON of the same form")
