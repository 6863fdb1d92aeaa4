"""What an adapter declares of itself with ``@engine``, and what its constructor may reach."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Protocol, TypeVar

from engines.devices import Device
from engines.kit import Kit
from pipeline.errors import ConfigurationError


class Engine(Protocol):
    """What the registry asks of an adapter, besides the methods of its capability."""

    version: ClassVar[int]
    """Raise it whenever the adapter's code changes what it answers."""

    def __init__(self, loading: Loading) -> None: ...

    def warm_up(self) -> None:
        """Run once on a small input, so that the first product does not pay for it."""
        ...


@dataclass(frozen=True, slots=True)
class Registration:
    """What ``@engine`` says of an adapter, known without loading anything."""

    name: str
    adapter: type[Engine]
    capability: str
    artifacts: tuple[str, ...]
    needs: tuple[str, ...]
    data: tuple[str, ...]
    licence: str
    batch: int
    memory_mb: int
    template: bool
    extra: str


@dataclass(frozen=True, slots=True)
class EngineSpec:
    """An engine as planners and people see it.

    ``revision`` changes whenever answers may change: with the SHA-256 of its artifacts, its data files, its
    adapter's version, and the revisions of the engines it needs. ``batch`` is in items, ``memory_mb`` in MiB.
    """

    name: str
    capability: str
    revision: str
    licence: str
    artifacts: tuple[str, ...]
    needs: tuple[str, ...]
    batch: int
    memory_mb: int
    template: bool
    doc: str


@dataclass(frozen=True, slots=True)
class Loading:
    """What an adapter's constructor may reach: exactly what its registration declares."""

    registration: Registration
    device: Device
    _kit: Kit
    _get: Callable[[str], Any]

    def path(self, artifact: str) -> Path:
        """The file or folder of a declared artifact."""
        if artifact not in self.registration.artifacts:
            raise ConfigurationError(
                f"engine {self.registration.name} does not declare artifact {artifact!r}"
            )
        return self._kit.path(artifact)

    def engine(self, name: str) -> Any:
        """A declared engine that this one builds on, loaded."""
        if name not in self.registration.needs:
            raise ConfigurationError(
                f"engine {self.registration.name} does not declare that it needs {name!r}"
            )
        return self._get(name)


REGISTERED: dict[str, Registration] = {}
"""Every adapter imported so far; ``load_adapters`` fills it."""

_Adapter = TypeVar("_Adapter", bound=type[Engine])


def engine(
    name: str,
    *,
    capability: type,
    licence: str,
    memory_mb: int,
    artifacts: tuple[str, ...] = (),
    needs: tuple[str, ...] = (),
    data: tuple[str, ...] = (),
    batch: int = 32,
    template: bool = False,
    extra: str = "kit",
) -> Callable[[_Adapter], _Adapter]:
    """Register an adapter under ``name``.

    ``needs`` are engines it builds on, ``data`` files beside this module that shape its answers. ``template``
    marks an engine whose sentences are filled in, not written by a model. ``extra`` is the extra of the
    distribution that brings its libraries.
    """

    def register(adapter: _Adapter) -> _Adapter:
        if not issubclass(adapter, capability):
            raise ConfigurationError(
                f"{adapter.__name__} lacks the methods of a {capability.__name__}: engine {name!r}"
            )
        known = REGISTERED.get(name)
        if known is not None and known.adapter.__module__ != adapter.__module__:
            raise ConfigurationError(
                f"engine {name!r} is defined twice: in {known.adapter.__module__} and {adapter.__module__}"
            )
        REGISTERED[name] = Registration(
            name,
            adapter,
            capability.__name__,
            artifacts,
            needs,
            data,
            licence,
            batch,
            memory_mb,
            template,
            extra,
        )
        return adapter

    return register
