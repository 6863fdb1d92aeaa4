"""``vitrine schema``: the contracts as JSON."""

from __future__ import annotations

from typing import Any

import click

from workers.commands.terminal import print_json
from workers.contract import asyncapi, event_schema


@click.command()
@click.argument("what", type=click.Choice(["event", "asyncapi", "outcomes"]), default="event")
def schema(what: str) -> None:
    """Print a contract as JSON.

    event: JSON Schema of what a catalog publishes (the default). asyncapi: the channel it publishes on.
    outcomes: JSON Schema of what each stage leaves behind.

    \b
    Example:
      vitrine schema event > events.schema.json
    """
    match what:
        case "event":
            print_json(event_schema())
        case "asyncapi":
            print_json(asyncapi())
        case _:
            print_json(_outcomes())


def _outcomes() -> dict[str, Any]:
    # Imported here: the other two need the base install only.
    from tasks._stage import load_stages

    return {name: stage.spec.produces.model_json_schema() for name, stage in sorted(load_stages().items())}
