"""What an adapter declares of itself with ``@engine``, and what its constructor may reach."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, ClassVar, Protocol, TypeVar

from engines.devices import Device
from engines.kit import Kit
from engines.models import Model
from engines.protocols import CatalogFacts
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
    capabilities: tuple[str, ...]
    artifacts: tuple[str, ...]
    needs: tuple[str, ...]
    data: tuple[str, ...]
    parts: tuple[str, ...]
    reads: tuple[str, ...]
    licence: str
    batch: int
    memory_mb: int
    template: bool
    remote: bool
    hub: str
    extra: str
    model: Model | None = None


@dataclass(frozen=True, slots=True)
class EngineSpec:
    """An engine as planners and people see it.

    ``revision`` changes whenever answers may change: with the SHA-256 of its artifacts, its data files, its
    checkpoint, its adapter's version, and the revisions of the engines it needs. ``reads`` are the fields of
    CatalogFacts that shape its answers. ``batch`` is in items, ``memory_mb`` in MiB. ``lacks`` says what must
    be done before it can be used, empty where nothing.
    """

    name: str
    capabilities: tuple[str, ...]
    revision: str
    licence: str
    artifacts: tuple[str, ...]
    needs: tuple[str, ...]
    reads: tuple[str, ...]
    batch: int
    memory_mb: int
    template: bool
    remote: bool
    lacks: str
    doc: str

    @property
    def label(self) -> str:
        """As it is recorded beside every answer."""
        return f"{self.name}@{self.revision}"


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

    def checkpoint(self) -> Path:
        """The folder of the model's checkpoint, as its files were when it was pinned.

        Raises ConfigurationError where it is not pinned, not fetched, or has changed.
        """
        return self._model().checkpoint(self._kit.hub, self.registration.parts)

    @property
    def pinned(self) -> str:
        """Which checkpoint it is, for the record: a commit of a repository, or the SHA-256 of a folder."""
        model = self._model()
        return f"{model.repo}@{model.revision}" if model.folder is None else f"sha256:{model.folder.sha256}"

    def lora(self) -> Path | None:
        """The folder of the LoRA adapter that was trained on top of the checkpoint, if there is one."""
        return self._model().lora_folder()

    def tower(self) -> Path | None:
        """The folder of the image tower that was exported from the checkpoint, if there is one; None of an engine
        that no deployment names."""
        model = self.registration.model
        return model.tower_folder() if model else None

    @property
    def options(self) -> Mapping[str, Any]:
        """What a deployment says of the model that shapes its answers; the adapter checks it."""
        return self._model().options

    @property
    def connection(self) -> Mapping[str, Any]:
        """How a deployment reaches the model's server; the adapter checks it."""
        return self._model().connection

    def _model(self) -> Model:
        model = self.registration.model
        if model is None:
            raise ConfigurationError(unpinned(self.registration))
        return model

    def engine(self, name: str) -> Any:
        """A declared engine that this one builds on, loaded; or the model that a deployment put in its place."""
        model = self.registration.model
        chosen = model.needs.get(name, name) if model else name
        if chosen not in self.registration.needs:
            raise ConfigurationError(
                f"engine {self.registration.name} does not declare that it needs {name!r}"
            )
        return self._get(chosen)


REGISTERED: dict[str, Registration] = {}
"""Every adapter imported so far; ``load_adapters`` fills it."""

_Adapter = TypeVar("_Adapter", bound=type[Engine])


def engine(
    name: str,
    *,
    capability: type | tuple[type, ...],
    licence: str,
    memory_mb: int,
    artifacts: tuple[str, ...] = (),
    needs: tuple[str, ...] = (),
    data: tuple[str, ...] = (),
    parts: tuple[str, ...] = (),
    reads: tuple[str, ...] = (),
    batch: int = 32,
    template: bool = False,
    remote: bool = False,
    hub: str = "",
    extra: str = "kit",
) -> Callable[[_Adapter], _Adapter]:
    """Register an adapter under ``name``.

    ``needs`` are engines it builds on, ``data`` files beside this module that shape its answers, ``reads``
    fields of CatalogFacts that do. ``parts`` are the folders of its checkpoint that hold weights, where that is a
    pipeline of several models. ``template`` marks an engine whose sentences are filled in, not written by
    a model. ``hub`` names the model it loads where a deployment names no other; ``remote`` marks one that asks
    a server. Both need an entry in the deployment's file of models. ``extra`` is the extra of the distribution
    that brings its libraries.
    """
    capabilities = capability if isinstance(capability, tuple) else (capability,)
    unknown = set(reads) - {field.name for field in fields(CatalogFacts)}
    if unknown:
        raise ConfigurationError(f"engine {name!r} reads unknown catalog facts: {', '.join(sorted(unknown))}")

    def register(adapter: _Adapter) -> _Adapter:
        for asked in capabilities:
            # issubclass() refuses a protocol that has a property.
            lacking = [of for of in vars(asked) if not of.startswith("_") and not hasattr(adapter, of)]
            if lacking:
                raise ConfigurationError(
                    f"{adapter.__name__} lacks the methods of a {asked.__name__}: engine {name!r} has no "
                    f"{', '.join(lacking)}"
                )
        known = REGISTERED.get(name)
        if known is not None and known.adapter.__module__ != adapter.__module__:
            raise ConfigurationError(
                f"engine {name!r} is defined twice: in {known.adapter.__module__} and {adapter.__module__}"
            )
        REGISTERED[name] = Registration(
            name=name,
            adapter=adapter,
            capabilities=tuple(asked.__name__ for asked in capabilities),
            artifacts=artifacts,
            needs=needs,
            data=data,
            parts=parts,
            reads=reads,
            licence=licence,
            batch=batch,
            memory_mb=memory_mb,
            template=template,
            remote=remote,
            hub=hub,
            extra=extra,
        )
        return adapter

    return register


def unpinned(registration: Registration) -> str:
    """What to do about an engine whose model no deployment has named."""
    if registration.remote:
        return (
            f"engine {registration.name} asks a server: name it in the file of VITRINE_MODELS, "
            f'[models.NAME] with engine = "{registration.name}" and its options'
        )
    return (
        f"the model of engine {registration.name} is not pinned: run "
        f"`vitrine models pin {registration.name}` where {registration.hub} can be reached, "
        "or with --folder for a checkpoint on disk"
    )
