"""``vitrine models``: which checkpoints a deployment pins, and the way they come here."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click

from engines.checkpoints import safe_folder
from engines.declaration import Registration
from engines.kit import Kit
from engines.models import Deployment, Model, listing_digest, read_deployment
from engines.registry import load_adapters, with_models
from pipeline.errors import ConfigurationError
from workers.bootstrap import build_kit
from workers.commands.swap import compare, cutover, plan, retire, rollback, shadow
from workers.commands.terminal import cell, console, print_json, rows, table
from workers.hub import commit_of, download
from workers.settings import settings


@click.group()
def models() -> None:
    """Pin, fetch and list the checkpoints that engines load, and swap the one that embeds.

    They are named in the file of VITRINE_MODELS, which is part of a deployment as code is: every process must
    read the same.

    \b
    Example:
      vitrine models pin grounding_dino
      vitrine models pin clip-tuned --engine clip --folder checkpoints/clip
      vitrine models fetch
      vitrine models shadow embed=siglip2_embedder
    """


for _step in (plan, shadow, compare, cutover, rollback, retire):
    models.add_command(_step)


@models.command()
@click.argument("name")
@click.option("--engine", default="", help="The engine that loads it; by default the one of this name.")
@click.option("--repo", default="", help="Repository of the hub; by default the engine's own.")
@click.option("--revision", default="main", show_default=True, help="Branch, tag or commit to pin.")
@click.option(
    "--folder", type=click.Path(path_type=Path), help="A checkpoint on disk, in place of a repository."
)
@click.option("--lora", type=click.Path(path_type=Path), help="A LoRA adapter on disk, on top of it.")
def pin(name: str, engine: str, repo: str, revision: str, folder: Path | None, lora: Path | None) -> None:
    """Write down exactly which checkpoint a model is: a commit, or the SHA-256 of a folder's files.

    What else the file says of the model stays. Without options what is pinned is pinned anew as it is now.

    \b
    Example:
      vitrine models pin blip2
      vitrine models pin blip2 --repo Salesforce/blip2-opt-6.7b --revision main
      vitrine models pin blip2-ours --engine blip2 --lora tuned/captions
    """
    if repo and folder:
        raise click.UsageError("a model is either a repository or a folder")
    file = models_file()
    known = (read_deployment(file) if file.exists() else Deployment()).models.get(name, Model())
    base = _base(engine or known.engine or name)
    table: dict[str, Any] = {"engine": base.name} if base.name != name else {}
    if folder is None and not repo and known.folder is not None:
        folder = known.folder.path
    if folder is not None:
        safe_folder(folder, base.name, base.parts)
        table["folder"] = pinned_folder(folder, file)
    elif repo or lora is None or not known.repo:
        chosen = repo or known.repo or base.hub
        table |= {"repo": chosen, "revision": commit_of(chosen, revision)}
    if lora is not None:
        safe_folder(lora, base.name)
        table["lora"] = pinned_folder(lora, file)
    write_model(file, name, table)
    click.echo(f"pinned {name}: {_where(read_deployment(file).models[name])}")
    if "repo" in table:
        click.echo(f"to bring it here: vitrine models fetch {name}", err=True)


@models.command()
@click.argument("names", nargs=-1, metavar="[NAME]...")
def fetch(names: tuple[str, ...]) -> None:
    """Bring the pinned commits of the named models, or of all, into the cache.

    \b
    Example:
      vitrine models fetch
      vitrine models fetch blip2
    """
    known = read_deployment(models_file()).models
    for name in names:
        if name not in known:
            raise ConfigurationError(
                f"there is no model {name!r} in {models_file()}: pin it with `vitrine models pin`"
            )
    kit = build_kit(settings())
    for name in names or sorted(known):
        model = known[name]
        if model.repo:
            parts = _base(model.engine or name).parts
            download(model, kit.hub, parts, quiet=not console(stderr=True).is_terminal)
            click.echo(f"{name}: {_where(model)} is here", err=True)


@models.command("list")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def list_models(as_json: bool) -> None:
    """List the models of the deployment and which are here.

    \b
    Example:
      vitrine models list --json
    """
    kit = build_kit(settings())
    registered = with_models(load_adapters(), read_deployment(settings().models).models)
    lines = [
        {
            "name": item.name,
            "engine": item.model.engine or item.name,
            "checkpoint": _where(item.model),
            "lora": str(item.model.lora.path) if item.model.lora else "",
            "licence": item.licence,
            "state": _state(item, item.model, kit),
        }
        for item in registered.values()
        if item.model is not None
    ]
    if as_json:
        print_json(lines)
        return
    shown = rows(
        table("model", "engine", "checkpoint", "LoRA", "licence", "state", title="Models"),
        (
            (*list(line.values())[:-1], cell(line["state"], "green" if line["state"] == "here" else "yellow"))
            for line in lines
        ),
    )
    console().print(shown)


def models_file() -> Path:
    """The file of VITRINE_MODELS, new or not."""
    file = settings().models
    if file is None:
        raise ConfigurationError(
            "VITRINE_MODELS is not set: set it to the file that names the models, new or not"
        )
    return file


def _base(name: str) -> Registration:
    loading = {key: item for key, item in load_adapters().items() if item.hub}
    if name not in loading:
        raise ConfigurationError(
            f"there is no engine {name!r} that loads a checkpoint: choose one with --engine "
            f"({', '.join(sorted(loading))})"
        )
    return loading[name]


def pinned_folder(folder: Path, file: Path) -> dict[str, str]:
    """As the file keeps it: from beside it where the folder lies there, so that both can move."""
    whole, beside = folder.resolve(), file.resolve().parent
    path = whole.relative_to(beside) if whole.is_relative_to(beside) else whole
    return {"path": path.as_posix(), "sha256": listing_digest(whole)}


def write_model(file: Path, name: str, changes: dict[str, Any]) -> None:
    """Put the changes into the file's table of the model; everything else stays, comments too."""
    import tomlkit

    document = tomlkit.parse(file.read_text("utf-8")) if file.exists() else tomlkit.document()
    if "models" not in document:
        document["models"] = tomlkit.table(is_super_table=True)
    held = document["models"]
    if name not in held:
        held[name] = tomlkit.table()
    entry = held[name]
    for key in _replaced_by(changes):
        entry.pop(key, None)
    for key, value in changes.items():
        if isinstance(value, dict):
            inline = tomlkit.inline_table()
            inline.update(value)
            entry[key] = inline
        else:
            entry[key] = value
    file.parent.mkdir(parents=True, exist_ok=True)
    descriptor, scratch = tempfile.mkstemp(dir=file.parent, prefix=f".{file.name}-")
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8") as stream:
            stream.write(tomlkit.dumps(document))
        with_models(load_adapters(), read_deployment(Path(scratch)).models)
        Path(scratch).replace(file)
    finally:
        Path(scratch).unlink(missing_ok=True)


def _replaced_by(changes: dict[str, Any]) -> Sequence[str]:
    """A repository takes the place of a folder, and a folder that of a repository."""
    if "folder" in changes:
        return ("repo", "revision")
    return ("folder",) if "repo" in changes else ()


def _where(model: Model) -> str:
    if model.folder is not None:
        return f"{model.folder.path} ({model.folder.sha256[:12]})"
    if model.repo:
        return f"{model.repo}@{model.revision[:12]}"
    return str(model.connection.get("url", "a server"))


def _state(item: Registration, model: Model, kit: Kit) -> str:
    """``here``, or what must be done."""
    if not model.repo and model.folder is None:
        return "remote"
    try:
        model.checkpoint(kit.hub, item.parts)
        model.lora_folder()
        model.tower_folder()
    except ConfigurationError as error:
        return str(error)
    return "here"
