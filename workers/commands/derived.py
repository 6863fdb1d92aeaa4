"""A model made of another, tuned or optimised: whether it can be kept, and how the file of models has it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from engines.models import Model
from engines.registry import Engines
from pipeline.errors import ConfigurationError
from workers.commands.models import models_file, pinned_folder


def check_name(engines: Engines, name: str, option: str) -> None:
    """Whether the result can be kept is known before the hours that it takes, not after."""
    models_file()
    if name in engines.registered:
        raise ConfigurationError(
            f"there is an engine {name!r} already, and it stays: choose another {option}"
        )


def check_empty(out: Path) -> None:
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise ConfigurationError(
            f"{out} is not an empty folder: choose another --out, so that nothing is mixed"
        )


def table_of(name: str, base: Model, file: Path) -> dict[str, Any]:
    """All that the model ``base``, called ``name``, is, for the table of one that adds something to it."""
    table: dict[str, Any] = {"engine": base.engine or name}
    for key, folder in (("folder", base.folder), ("lora", base.lora)):
        if folder is not None:
            # As it was when it was pinned: that is what was loaded.
            table[key] = pinned_folder(folder.path, file) | {"sha256": folder.sha256}
    if base.folder is None:
        table |= {"repo": base.repo, "revision": base.revision}
    kept = {
        "needs": dict(base.needs),
        "options": dict(base.options),
        "memory_mb": base.memory_mb,
        "licence": base.licence,
    }
    return table | {key: value for key, value in kept.items() if value}
