"""``vitrine optimise``: an image tower made smaller and faster, measured, and only then a model of its own."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path

import click

from engines.declaration import Registration
from engines.devices import Device
from engines.looks.towers import ImageTower, Towered
from engines.optimisation.retrieval import CLAIMED_LOSS, LEAST_PHOTOS
from engines.registry import Engines
from pipeline.errors import ConfigurationError, RejectedInput
from workers.bootstrap import build_engines
from workers.commands.derived import check_empty, check_name, table_of
from workers.commands.models import models_file, pinned_folder, write_model
from workers.commands.optimise_report import as_json, print_report
from workers.optimisation import Export, Photos, Run
from workers.settings import settings


@click.command()
@click.argument("engine")
@click.option("--int8", "in_int8", is_flag=True, help="Weights and arithmetic in 8 bits.")
@click.option(
    "--prune",
    type=click.FloatRange(0, 1, min_open=True, max_open=True),
    metavar="SHARE",
    help="Remove that share of the attention heads, the least important first.",
)
@click.option(
    "--device", "for_devices", is_flag=True, help="For small devices: fp16 with int8, and int4 weights."
)
@click.option(
    "--photos",
    required=True,
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="Folder of photographs to measure on; its subfolders are classes, if there are two or more.",
)
@click.option("--limit", type=click.IntRange(1), help="At most so many photographs, in the order of content.")
@click.option(
    "--out", required=True, type=click.Path(path_type=Path), help="Folder for the exports, new or empty."
)
@click.option(
    "--threads",
    type=click.IntRange(1),
    help="CPU threads to measure with, as a worker has them; all by default.",
)
@click.option("--activate", default="", metavar="NAME", help="Pin the export as a model of this name.")
def optimise(
    engine: str,
    in_int8: bool,
    prune: float | None,
    for_devices: bool,
    photos: Path,
    limit: int | None,
    out: Path,
    threads: int | None,
    activate: str,
) -> None:
    """Export the image tower of ENGINE to ONNX, smaller and faster, and measure what that costs.

    Speed, size and what retrieval loses are printed and kept in OUT/report.json. With --activate the export
    becomes a model of VITRINE_MODELS, unless it loses more than 0.3% of retrieval. How it is measured, and what was:
    docs/optimising.md.

    \b
    Example:
      vitrine optimise clip_embedder --int8 --photos photos/ --out optimised/clip
      vitrine optimise clip_embedder --prune 0.3 --photos photos/ --out optimised/pruned
    """
    chosen = sum((in_int8, prune is not None, for_devices))
    if not chosen:
        raise click.UsageError("say what to make: --int8, --prune SHARE or --device")
    if activate and (chosen > 1 or for_devices):
        raise click.UsageError("--activate goes with either --int8 or --prune, and with nothing else")
    device = Device("cpu", "float32", Device.choose(threads).threads)
    engines = build_engines(settings(), device)
    registration = _towered(engines, engine)
    found = Photos.of(photos, limit)
    if activate:
        _check_activation(engines, registration, activate, found)
    check_empty(out)
    _check_libraries()
    tower: ImageTower = engines.get(engine).image_tower()
    run = Run(registration, tower, found, out, device, lambda line: click.echo(line, err=True))
    if in_int8:
        run.make_int8()
    if prune is not None:
        run.make_pruned(prune)
    if for_devices:
        run.make_device()
    report = run.measured(engines.spec(engine).label)
    out.joinpath("report.json").write_text(json.dumps(as_json(report), indent=2) + "\n", "utf-8")
    print_report(report)
    if activate:
        _activate(registration, report.exports[-1], out, activate)


def _towered(engines: Engines, name: str) -> Registration:
    registration = engines.registered.get(name)
    able = sorted(key for key, item in engines.registered.items() if issubclass(item.adapter, Towered))
    if registration is None or not issubclass(registration.adapter, Towered):
        raise ConfigurationError(
            f"{name!r} is no engine with an image tower that can be taken out; these are: {', '.join(able)}"
        )
    if registration.model is not None and registration.model.tower is not None:
        raise ConfigurationError(
            f"model {name} runs an exported image tower already: optimise the model that it was exported from"
        )
    return registration


def _check_activation(engines: Engines, registration: Registration, name: str, photos: Photos) -> None:
    if registration.model is None:
        raise ConfigurationError(
            f"engine {registration.name} loads no checkpoint of VITRINE_MODELS, so that no model can be made of it: "
            "leave out --activate"
        )
    check_name(engines, name, "--activate")
    if len(photos.measured) < LEAST_PHOTOS:
        raise RejectedInput(
            "too-few-photos",
            f"{len(photos.measured)} photographs to measure on cannot show a loss of {CLAIMED_LOSS}%: "
            f"give {LEAST_PHOTOS} or more, beside every eighth that is looked at",
        )


def _check_libraries() -> None:
    for library in ("onnx", "onnxscript"):
        if importlib.util.find_spec(library) is None:
            raise ConfigurationError(
                f'exports need the library {library}, which is not installed: pip install "vitrine[optimise]"'
            )


def _activate(registration: Registration, made: Export, out: Path, name: str) -> None:
    assert registration.model is not None
    if made.cost.loss.value > CLAIMED_LOSS:
        raise RejectedInput(
            "loses-too-much",
            f"{made.name} loses {made.cost.loss.value:.2f}% of retrieval, over the limit of {CLAIMED_LOSS}%: it is "
            f"not activated; its file stays in {out}",
        )
    file = models_file()
    table = table_of(registration.name, registration.model, file)
    write_model(file, name, table | {"tower": pinned_folder((out / made.file).parent, file)})
    revision = build_engines(settings()).spec(name).revision
    click.echo(
        f"pinned {name}: {registration.name} with the image tower in {made.file.parent}, revision {revision}"
    )
    click.echo("It serves nobody yet. To put it in the place of the one that embeds:")
    click.echo(f"  vitrine models shadow embed={name}")
