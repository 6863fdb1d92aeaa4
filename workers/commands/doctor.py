"""``vitrine doctor``: every check with its remedy."""

from __future__ import annotations

from dataclasses import asdict

import click

from workers.commands.terminal import cell, console, print_json, rows, table
from workers.doctor import diagnose
from workers.settings import settings

_ANSWERS = {True: ("ok", "green"), False: ("WRONG", "bold red"), None: ("missing", "yellow")}


@click.command()
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def doctor(as_json: bool) -> int:
    """Check everything a deployment rests on; say what is wrong and what to do.

    Exits with 1 when a check fails. What is missing and not needed everywhere is no failure.

    \b
    Example:
      vitrine doctor
    """
    checks = diagnose(settings())
    if as_json:
        print_json([asdict(check) for check in checks])
    else:
        lines = (
            (cell(*_ANSWERS[check.ok]), check.name, check.detail, "" if check.ok else check.remedy)
            for check in checks
        )
        console().print(rows(table("", "check", "found", "do"), lines))
    return 1 if any(check.ok is False for check in checks) else 0
