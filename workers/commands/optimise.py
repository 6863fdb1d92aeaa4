"""``vitrine optimise``: an image tower made smaller and faster, measured, and only then a model of its own."""

from __future__ import annotations

import hashlib
import importlib.util
import json
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import click

from engines.declaration import Registration
from engines.devices import Device
from engines.evaluation.labels import PICTURES
from engines.looks.towers import FILE, ImageTower, OnnxTower, Pixels, Towered
from engines.optimisation.exports import export, fp16_int8, int4, int8
from engines.optimisation.heads import Importance, attentions, importance, least_important, pruned
from engines.optimisation.measuring import TIMED, Way, in_onnx, in_torch, rows_of, speeds
from engines.optimisation.retrieval import CLAIMED_LOSS, LEAST_PHOTOS, cost
from engines.registry import Engines
from pipeline.errors import ConfigurationError, RejectedInput
from storage.pictures import decode
from workers.bootstrap import build_engines
from workers.commands.derived import check_empty, check_name, table_of
from workers.commands.models import models_file, pinned_folder, write_model
from workers.commands.optimise_report import Export, Report, print_report
from workers.settings import settings

_APART, _MOST_APART = 8, 64
"""Every eighth photograph, and no more than so many, is looked at while a tower is changed; none of these is
measured."""


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

    Speed, size and what retrieval loses are printed and kept in FOLDER/report.json. With --activate the export
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
    found = _Photos.of(photos, limit)
    if activate:
        _check_activation(engines, registration, activate, found)
    check_empty(out)
    _check_libraries()
    tower: ImageTower = engines.get(engine).image_tower()
    run = _Run(registration, tower, found, out, device)
    if in_int8:
        run.make_int8()
    if prune is not None:
        run.make_pruned(prune)
    if for_devices:
        run.make_device()
    report = run.measured(engines.spec(engine).label)
    out.joinpath("report.json").write_text(json.dumps(report.as_json(), indent=2) + "\n", "utf-8")
    print_report(report)
    if activate:
        _activate(registration, report.exports[-1], out, activate)


@dataclass(frozen=True, slots=True)
class _Photos:
    """Files in the order of their content; ``apart`` are those that are looked at, ``measured`` the others."""

    folder: Path
    apart: Sequence[Path]
    measured: Sequence[Path]

    @classmethod
    def of(cls, folder: Path, limit: int | None) -> _Photos:
        files = [path for path in folder.rglob("*") if path.suffix.lower() in PICTURES and path.is_file()]
        by_content = {
            hashlib.sha256(path.read_bytes()).hexdigest(): path for path in sorted(files, reverse=True)
        }
        ordered = [path for _, path in sorted(by_content.items())][:limit]
        if not ordered:
            raise RejectedInput(
                "no-photos",
                f"{folder} holds no photograph ({', '.join(sorted(PICTURES))}): name another folder",
            )
        apart = ordered[::_APART][:_MOST_APART]
        return cls(folder, apart, [path for path in ordered if path not in set(apart)])

    def classes(self) -> list[str] | None:
        """Of the measured ones; None where the folder does not sort them."""
        parts = [path.relative_to(self.folder).parts for path in self.measured]
        names = [part[0] for part in parts if len(part) > 1]
        return names if len(names) == len(parts) and len(set(names)) > 1 else None


class _Run:
    """One tower, its exports as they are made, and their measure."""

    def __init__(
        self, registration: Registration, tower: ImageTower, photos: _Photos, out: Path, device: Device
    ) -> None:
        self._tower, self._photos, self._out, self._device = tower, photos, out, device
        self._apart = list(self._pixels(photos.apart))
        self._origin = registration.model.origin if registration.model else registration.name
        self._files: dict[str, Path] = {}
        self._removed: list[list[int]] = []
        self._plain = out / "fp32" / FILE
        _say("exporting the tower as it is")
        export(tower, self._apart[0], self._plain, self._origin)

    def make_int8(self) -> None:
        _say("quantising to int8")
        file = self._out / "int8" / FILE
        self._files[f"int8, {int8(self._plain, file, self._apart)}"] = file

    def make_pruned(self, share: float) -> None:
        attentions(self._tower)
        _say("weighing the attention heads")
        importances: Importance = importance(self._tower, self._apart)
        self._removed = least_important(importances, share)
        file = self._out / "pruned" / FILE
        export(pruned(self._tower, self._removed), self._apart[0], file, self._origin)
        gone, heads = sum(map(len, self._removed)), sum(map(len, importances))
        self._files[f"pruned, {gone} of {heads} heads"] = file

    def make_device(self) -> None:
        _say("quantising for small devices")
        mixed, small = self._out / "fp16-int8" / FILE, self._out / "int4" / FILE
        fp16_int8(self._plain, mixed, self._apart[:TIMED], self._device)
        self._files["fp16 with int8"] = mixed
        int4(self._plain, small)
        self._files["int4 weights"] = small

    def measured(self, label: str) -> Report:
        files = {"fp32": self._plain, **self._files}
        _say(f"measuring on {len(self._photos.measured)} photographs")
        torch = in_torch(self._tower, batched=False)
        ways: dict[str, Way] = {name: in_onnx(OnnxTower(file, self._device)) for name, file in files.items()}
        rows = rows_of({"torch": torch, **ways}, self._pixels(self._photos.measured))
        classes = self._photos.classes()
        costs = {name: cost(rows["torch"], rows[name], classes) for name in ways}
        timed = {"torch, batches of 8": in_torch(self._tower, batched=True), "torch": torch, **ways}
        paces = speeds(timed, (self._apart * TIMED)[:TIMED])
        return Report(
            engine=label,
            threads=self._device.threads,
            photos=len(self._photos.measured),
            looked_at=len(self._apart),
            classes=len(set(classes or ())),
            torch={name: paces[name] for name in paces if name.startswith("torch")},
            removed=self._removed,
            exports=[
                Export(name, file.relative_to(self._out), file.stat().st_size, paces[name], costs[name])
                for name, file in files.items()
            ],
        )

    def _pixels(self, files: Sequence[Path]) -> Iterator[Pixels]:
        """Each (1, 3, H, W)."""
        for file in files:
            try:
                picture = decode(file.read_bytes()).pixels
            except RejectedInput as error:
                raise RejectedInput(error.reason, f"{file}: {error}: take it out of the folder") from error
            yield self._tower.prepared([picture])


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


def _check_activation(engines: Engines, registration: Registration, name: str, photos: _Photos) -> None:
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


def _say(line: str) -> None:
    click.echo(line, err=True)
    sys.stderr.flush()
