"""``vitrine tune``: what merchants corrected, learnt by a model, as an engine revision of its own."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import click

from engines.adapters.llava import Llava, Options
from engines.declaration import Registration
from engines.devices import Device
from engines.models import Model, checked_options
from engines.registry import Engines
from engines.training.lora import Losses, Settings, tune_model
from engines.training.lora_card import card, checkpoint
from engines.training.pairs import Pair, Skipped, pairs_of
from pipeline.errors import ConfigurationError, RejectedInput
from workers.bootstrap import build_engines, build_runtime
from workers.commands.derived import check_empty, check_name, table_of
from workers.commands.models import models_file, pinned_folder, write_model
from workers.commands.terminal import harmless
from workers.corrections import read_corrections
from workers.settings import settings

_ROLES = {"caption": "captioner", "category": "tagger", "attributes": "tagger", "pitch": "pitcher"}
_SKIPPED_SHOWN = 20
_USUAL = Settings()


@click.command()
@click.argument("model")
@click.option("--out", type=click.Path(path_type=Path), help="Folder for the adapter, new or empty.")
@click.option("--name", default="", help="What the tuned model is called; MODEL-tuned by default.")
@click.option(
    "--epochs",
    type=click.IntRange(1),
    default=_USUAL.epochs,
    show_default=True,
    help="How often each pair is learnt.",
)
@click.option(
    "--rank",
    type=click.IntRange(1, 256),
    default=_USUAL.rank,
    show_default=True,
    help="How much the adapter can hold.",
)
@click.option(
    "--learning-rate",
    type=click.FloatRange(0, 1),
    default=_USUAL.learning_rate,
    show_default=True,
    help="How fast it learns.",
)
@click.option("--dry-run", is_flag=True, help="Only say what there is to learn from, and what is skipped.")
@click.option("--anyway", is_flag=True, help="Keep it although the loss on the held-out pairs did not fall.")
def tune(
    model: str,
    out: Path | None,
    name: str,
    epochs: int,
    rank: int,
    learning_rate: float,
    dry_run: bool,
    anyway: bool,
) -> None:
    """Tune MODEL, one of VITRINE_MODELS, on the corrections in the database, by LoRA.

    The adapter is pinned as a model of its own that serves nobody until a route names it. Which corrections
    count, and how it is rolled out and back: docs/tuning.md.

    \b
    Example:
      vitrine tune llava --dry-run
      vitrine tune llava --out tuned/2026-11 --name llava-november
    """
    engines = build_engines(settings(), Device.choose())
    registration, base = _tunable(engines, model)
    name = name or f"{model}-tuned"
    if not dry_run:
        if out is None:
            raise click.UsageError("say where the adapter goes: --out DIR")
        check_name(engines, name, "--name")
        check_empty(out)
    photos = checked_options(Options, base.options, model).photos
    pairs, skipped = _collect(photos)
    _tell(pairs, skipped)
    if dry_run:
        return
    assert out is not None
    chosen = Settings(epochs=epochs, rank=rank, learning_rate=learning_rate)
    learner: Llava = engines.get(model)
    tuned = tune_model(learner, pairs, chosen, lambda line: click.echo(line, err=True))
    _tell_losses(tuned.before, tuned.after, pairs)
    if not tuned.better and not anyway:
        raise RejectedInput(
            "not-better",
            f"the loss on held-out pairs did not fall ({tuned.before.held_out:.4f} to "
            f"{tuned.after.held_out:.4f}): nothing is kept; collect more corrections, try fewer --epochs or "
            "a lower --rank, or keep it with --anyway",
        )
    text = card(model, base, registration.licence, pairs, chosen, tuned)
    tuned.save(out, text, base.repo or model, base.revision)
    file = models_file()
    write_model(file, name, table_of(model, base, file) | {"lora": pinned_folder(out, file)})
    revision = build_engines(settings()).spec(name).revision
    click.echo(f"pinned {name}: {checkpoint(model, base)} with the adapter in {out}, revision {revision}")
    click.echo(_next(model, name, pairs))


def _collect(photos: int) -> tuple[list[Pair], list[Skipped]]:
    """What there is to learn. The photos are read later; no connection is kept for the hours that it may take."""
    runtime = build_runtime(settings().connected("database_url", "assets_url"))
    try:
        return pairs_of(read_corrections(runtime), photos)
    finally:
        runtime.ledger.engine.dispose()


def _tunable(engines: Engines, name: str) -> tuple[Registration, Model]:
    registration = engines.registered.get(name)
    able = sorted(key for key, item in engines.registered.items() if item.model and _learns(item))
    if registration is None or registration.model is None or not _learns(registration):
        raise ConfigurationError(
            f"{name!r} is no model of VITRINE_MODELS that can be tuned; these are: {', '.join(able) or 'none'}. "
            "Pin one with `vitrine models pin`"
        )
    if registration.model.lora is not None:
        raise ConfigurationError(
            f"model {name} is tuned already: tune the model that its adapter was trained on; what was corrected "
            "before is learnt again"
        )
    return registration, registration.model


def _learns(registration: Registration) -> bool:
    return issubclass(registration.adapter, Llava)


def _tell(pairs: Sequence[Pair], skipped: Sequence[Skipped]) -> None:
    learnt, apart = (Counter(p.kind for p in pairs if p.held_out is held) for held in (False, True))
    for kind in sorted({*learnt, *apart}):
        click.echo(f"{kind}: {learnt[kind]} pairs to learn, {apart[kind]} held out")
    click.echo(f"{len(pairs)} pairs, {len(skipped)} corrections skipped")
    for reason, count in Counter(one.reason for one in skipped).most_common():
        click.echo(f"skipped {count}: {harmless(reason)}")
    for one in skipped[:_SKIPPED_SHOWN]:
        click.echo(f"  {harmless(one.product)}: {harmless(one.field)}: {harmless(one.reason)}", err=True)


def _tell_losses(before: Losses, after: Losses, pairs: Sequence[Pair]) -> None:
    click.echo(f"loss a token on learnt pairs: {before.training:.4f} before, {after.training:.4f} after")
    if any(pair.held_out for pair in pairs):
        click.echo(
            f"loss a token on held-out pairs: {before.held_out:.4f} before, {after.held_out:.4f} after"
        )
    else:
        click.echo("no pair is held out of so few: nothing says whether it learnt or only remembers")


def _next(model: str, name: str, pairs: Sequence[Pair]) -> str:
    """What an engineer does now, for each role that learnt something."""
    roles = sorted({_ROLES[pair.kind] for pair in pairs})
    routes = "\n\n".join(
        f'[[routes]]\nrole = "{role}"\nengines = ["{model}"]\ncanary = {{ engine = "{name}", percent = 5 }}'
        for role in roles
    )
    return (
        f"It serves nobody yet. To try it on 5% of the products that {model} serves, give each of its routes this "
        f"canary and restart every process; where {model} serves a role without a route, add the route:\n\n"
        f"{routes}\n\nTo compare before: vitrine evaluate understanding --data DIR --engine tagger={name}"
    )
