"""The boot guard against a stray module that shadows one of ours; imports nothing of ours itself."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

PACKAGES = ("pipeline", "engines", "storage", "tasks", "workers")


def guard_layout() -> None:
    """End the process when the five packages do not share one parent folder.

    ``celery -A`` puts the current folder first on the path, so a ``tasks.py`` lying there would be imported
    instead of ours, and fail in ways that do not say so.
    """
    homes: dict[str, Path] = {}
    for name in PACKAGES:
        spec = importlib.util.find_spec(name)
        if spec is None or spec.origin is None or Path(spec.origin).name != "__init__.py":
            found = spec.origin if spec else "nothing"
            sys.exit(f"vitrine: the package {name!r} is shadowed by {found}: remove it or run elsewhere")
        homes[name] = Path(spec.origin).resolve().parent.parent
    if len(set(homes.values())) > 1:
        places = ", ".join(f"{name} in {home}" for name, home in homes.items())
        sys.exit(f"vitrine: its packages come from different folders ({places}): run elsewhere")
