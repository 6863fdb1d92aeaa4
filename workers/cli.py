"""The command ``vitrine``: finds the command's module, turns errors into one line and an exit code.

Importing this module costs click only; each command brings what it needs, so that publishing and ``--help``
work with the base install.
"""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Mapping, Sequence
from typing import Final

import click

from pipeline.errors import ConfigurationError, Transient, VitrineError
from workers.layout import guard_layout

_EX_SIGINT: Final = 130

# Heading to commands; command to its module and what it does.
SECTIONS: Final[Mapping[str, Mapping[str, tuple[str, str]]]] = {
    "Run": {
        "up": ("up", "Run everything on this machine: database, broker, workers, Flower."),
        "migrate": ("processes", "Bring the database's schema to this release."),
        "intake": ("processes", "Take events off the broker into the database."),
        "relay": ("processes", "Announce work, take back what died, let replays advance."),
        "worker": ("processes", "Compute the stages of some queues."),
        "flower": ("processes", "Serve the Flower page over the workers."),
    },
    "Products": {
        "publish": ("publish", "Publish events from JSON Lines, a folder of pictures or a CSV."),
        "show": ("show", "Show everything known of a product."),
        "search": ("search", "Find products by words, a photo, or both."),
        "scene": ("scene", "Render a scene of a product now, and open it."),
        "ask": ("ask", "Ask a question about a product."),
        "process": ("product", "Process a product now, ahead of any backfill."),
        "withdraw": ("product", "Withdraw a product, and follow until nothing is left of it."),
        "correct": ("product", "Put a merchant's word above the models'."),
    },
    "Operate": {
        "status": ("status", "Show on one screen how everything stands."),
        "review": ("review", "Judge pictures that could not be proven; accept or reject them."),
        "parked": ("parked", "List, explain and release what was set aside for a person."),
        "replay": ("replay", "Process many products again: quote, start, pause, promote."),
        "reconcile": ("reconcile", "Compare Postgres with the index and the assets, and mend."),
        "doctor": ("doctor", "Check everything a deployment rests on."),
    },
    "Know": {
        "graph": ("graph", "Print the stages and what each needs."),
        "engines": ("engines", "List the engines and the model kit, and fetch the kit."),
        "models": ("models", "Pin and fetch checkpoints; swap the model that embeds."),
        "tune": ("tune", "Tune a model on what merchants corrected."),
        "optimise": ("optimise", "Export an image tower to ONNX, smaller and faster, and measure it."),
        "schema": ("schema", "Print the contract of events or outcomes as JSON."),
        "evaluate": ("evaluate", "Measure the engines on labelled data."),
    },
}
_COMMANDS: Final = {name: entry for section in SECTIONS.values() for name, entry in section.items()}


class _Commands(click.Group):
    """Imports a command's module when the command is used, and not for a list of commands."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(_COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in _COMMANDS:
            return None
        guard_layout()
        module = importlib.import_module(f"workers.commands.{_COMMANDS[cmd_name][0]}")
        command: click.Command = getattr(module, cmd_name)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        for heading, commands in SECTIONS.items():
            with formatter.section(heading):
                formatter.write_dl([(name, summary) for name, (_, summary) in commands.items()])


@click.group(
    cls=_Commands, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100}
)
@click.option("--traceback", is_flag=True, help="Show where an error comes from.")
@click.version_option(package_name="vitrine", prog_name="vitrine")
@click.pass_obj
def cli(chosen: dict[str, bool], traceback: bool) -> None:
    """Vitrine turns a product upload into everything a shop shows with it.

    Settings come from the environment (VITRINE_...); without any, every command finds the stack that
    `vitrine up` runs in this folder.

    \b
    Exit codes: 0 yes or done, 1 no or failed, 2 wrong usage,
                69 database or broker unreachable, 78 wrong configuration.

    \b
    Example:
      vitrine up
      vitrine publish photos/
      vitrine status
    """
    chosen["traceback"] = traceback


def main() -> None:
    """Entry point of the distribution."""
    sys.exit(run(sys.argv[1:]))


def run(arguments: Sequence[str]) -> int:
    """Run one command; the process's exit code."""
    chosen = {"traceback": False}
    try:
        code = cli.main(list(arguments), prog_name="vitrine", standalone_mode=False, obj=chosen)
    except click.ClickException as error:
        error.show()
        return error.exit_code
    except click.Abort:
        return _EX_SIGINT
    except Exception as error:
        told = explain(error)
        if told is None or chosen["traceback"]:
            raise
        message, code = told
        print(f"vitrine: {message}", file=sys.stderr)
        return code
    return code if isinstance(code, int) else 0


def explain(error: Exception) -> tuple[str, int] | None:
    """One line for people and the exit code, or None for a defect, which keeps its traceback."""
    notes = "".join(f"; {note}" for note in getattr(error, "__notes__", ()))
    match error:
        case ConfigurationError():
            return f"{error}{notes}", os.EX_CONFIG
        case Transient():
            return f"{error}{notes}", os.EX_UNAVAILABLE
        case VitrineError():
            return f"{error}{notes}", 1
        case ModuleNotFoundError():
            return f"this needs the library {error.name}: pip install 'vitrine[worker]'", os.EX_CONFIG
    return _unavailable(error)


def _unavailable(error: Exception) -> tuple[str, int] | None:
    """Errors of libraries that are only looked at where something has imported them."""
    if "sqlalchemy" in sys.modules:
        from sqlalchemy.exc import InterfaceError, OperationalError, ProgrammingError

        if isinstance(error, OperationalError | InterfaceError):
            return (
                f"the database does not answer ({_first_line(error.orig)}): start it, "
                "or set VITRINE_DATABASE_URL to one that runs",
                os.EX_UNAVAILABLE,
            )
        if isinstance(error, ProgrammingError) and getattr(error.orig, "sqlstate", "") in ("42P01", "42703"):
            return "the database's schema is not that of this release: run `vitrine migrate`", os.EX_CONFIG
    if "kombu" in sys.modules:
        from kombu.exceptions import OperationalError as BrokerError

        if isinstance(error, BrokerError):
            return (
                f"the broker does not answer ({_first_line(error)}): start it, "
                "or set VITRINE_BROKER_URL to one that runs",
                os.EX_UNAVAILABLE,
            )
    return None


def _first_line(error: BaseException | None) -> str:
    return str(error).strip().partition("\n")[0]


if __name__ == "__main__":
    main()
