"""``vitrine evaluate garments``: how far the places of garments are from those that a person placed."""

from __future__ import annotations

from pathlib import Path

import click

from engines.evaluation.garments import NEAR, measure, read_labelled, table
from workers.bootstrap import build_engines, build_federation, build_kit
from workers.settings import settings


@click.command()
@click.option(
    "--clothing",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="Folder of the photographs named clothing, left out without it.",
)
def garments(clothing: Path | None) -> None:
    """Measure where the places of garments are found.

    \b
    Example:
      vitrine evaluate garments
    """
    here = settings()
    kit, engines = build_kit(here), build_engines(here)
    federation = build_federation(here, engines)
    kit.fetch(["photos-openvto"])
    folders = {"openvto": kit.path("photos-openvto") / "clothes"}
    if clothing:
        folders["clothing"] = clothing
    segmenter, mapper = (engines.get(federation.engine(role)) for role in ("segmenter", "garment_mapper"))
    errors = measure(read_labelled(), folders, segmenter, mapper)
    click.echo(table(errors))
    for error in errors:
        if error.off is None or error.off > NEAR:
            off = "not found" if error.off is None else f"{error.off:.1%}"
            click.echo(f"{error.photos} {error.file} {error.landmark}: {off}")
