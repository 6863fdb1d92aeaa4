"""``vitrine scene``: one picture of a product in a setting, made now and looked at."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click

from engines.scenes.making import make
from engines.scenes.placement import Aspect
from engines.scenes.presets import read_presets
from pipeline.errors import RejectedInput
from pipeline.products import Product
from storage.timeline import Timeline
from tasks.cutout import CutOut
from tasks.photo import Photo
from tasks.read_text import ReadText
from tasks.scene import Known, judges, order_of, record
from tasks.tag import Tagged
from workers.bootstrap import build_federation, build_runtime
from workers.commands.terminal import harmless, print_json
from workers.settings import settings

_ROLE = "scene_renderer"


@click.command()
@click.argument("product")
@click.option("--preset", default="", help="Setting; by default the one that suits the product best.")
@click.option("--engine", default="", help="Engine that renders; by default the one that serves.")
@click.option(
    "--aspect",
    default="square",
    show_default=True,
    type=click.Choice([one.value for one in Aspect]),
    help="Shape of the picture.",
)
@click.option("--source", help="Catalog it comes from, where several use the same id.")
@click.option(
    "--out", type=click.Path(path_type=Path, dir_okay=False), help="File to write; here by default."
)
@click.option("--open/--no-open", "show", default=True, show_default=True, help="Open the picture.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.pass_context
def scene(
    context: click.Context,
    product: str,
    preset: str,
    engine: str,
    aspect: str,
    source: str | None,
    out: Path | None,
    show: bool,
    as_json: bool,
) -> None:
    """Render a scene of a product now, from its photo and tags, and open it. The shop's own is not touched.

    Exits with 1 where the picture could not be proven to show the product as it is.

    \b
    Example:
      vitrine scene leather-sofa --preset sunny-room --aspect wide
    """
    # Also where the deployment renders none, or other shapes.
    here = settings().connected().model_copy(update={"scenes": (aspect,)})
    presets = read_presets(here.presets)
    if preset and preset not in presets:
        raise click.BadParameter(f"{preset!r} is none of {', '.join(presets)}", param_hint="--preset")
    run = build_runtime(here)
    told = Timeline(run.ledger.engine, run.ledger.graph).show(product, source)
    known = _known(product, told)
    recipe = run.ledger.graph.rule("scene", known.product).recipe
    if engine:
        [rule] = build_federation(here, run.engines).only(_ROLE, engine, recipe)
        recipe = rule.recipe
    run = run.serving(recipe)
    order = order_of(run, known, Aspect(aspect), preset)
    [made] = make([order], run.engine(_ROLE), judges(run))
    if isinstance(made, RejectedInput):
        raise made
    outcome = record(run, order, made)
    path = out or Path(f"scene-{_file_name(product)}-{order.preset.name}-{aspect}.png")
    path.write_bytes(run.load(outcome.master.picture))
    if as_json:
        print_json({"picture": str(path), "engine": recipe.label, **outcome.model_dump(mode="json")})
    else:
        click.echo(f"{order.preset.en}, {aspect}, {recipe.label}, {made.attempts} attempts: {path}")
        for why in made.certificate.failures:
            click.echo(f"not proven: {harmless(why)}")
    if show:
        click.launch(str(path))
    context.exit(0 if made.certificate.passes else 1)


def _known(product: str, told: Mapping[str, Any]) -> Known:
    if told["facts"] is None:
        raise RejectedInput("withdrawn", f"{product} is withdrawn: nothing of it is left")
    photos, cuts, read, tagged = (
        {
            run["target"]: run["outcome"]
            for run in told["runs"]
            if run["stage"] == stage and run["outcome"] is not None
        }
        for stage in ("photo", "cutout", "read_text", "tag")
    )
    if not cuts or not tagged:
        raise RejectedInput(
            "not-ready",
            f"{product} has no cut-out and tags yet, which a scene is made from: see `vitrine show`",
        )
    return Known(
        Product.model_validate(told["facts"]),
        {target: Photo.model_validate(one) for target, one in photos.items()},
        {target: CutOut.model_validate(one) for target, one in cuts.items()},
        {target: ReadText.model_validate(one) for target, one in read.items()},
        Tagged.model_validate(tagged[""]),
    )


def _file_name(product: str) -> str:
    return "".join(letter if letter.isalnum() or letter in "-_" else "-" for letter in product)
