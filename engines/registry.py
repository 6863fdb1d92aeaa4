"""Which engines there are, and the one place that loads them: once, warmed up, within a memory budget."""

from __future__ import annotations

import hashlib
import importlib
import inspect
import pkgutil
import threading
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from engines.declaration import REGISTERED, Engine, EngineSpec, Loading, Registration, engine, unpinned
from engines.devices import Device
from engines.kit import Kit
from engines.looks.towers import Towered
from engines.models import Model
from pipeline.errors import ConfigurationError

__all__ = ["EngineSpec", "Engines", "engine", "load_adapters", "with_models"]


def load_adapters() -> Mapping[str, Registration]:
    """Import every module of ``engines.adapters`` (a new model is one file) and return what is registered."""
    import engines.adapters

    for module in pkgutil.iter_modules(engines.adapters.__path__, "engines.adapters."):
        importlib.import_module(module.name)
    return REGISTERED


def with_models(
    registered: Mapping[str, Registration], models: Mapping[str, Model]
) -> Mapping[str, Registration]:
    """The registered engines and those that a deployment's models make of them.

    A model bears the name of the engine that loads it, or names one with ``engine`` and adds its own name.
    """
    known = dict(registered)
    for name, model in models.items():
        base = registered.get(model.engine or name)
        if base is None or not (base.hub or base.remote):
            loading = ", ".join(sorted(item.name for item in registered.values() if item.hub or item.remote))
            raise ConfigurationError(
                f"model {name!r}: there is no engine {model.engine or name!r} that loads a model; "
                f"set engine to one of {loading or 'none'}"
            )
        if name in registered and name != base.name:
            raise ConfigurationError(f"model {name!r} bears the name of an engine: choose another name")
        if model.tower is not None and not issubclass(base.adapter, Towered):
            raise ConfigurationError(
                f"model {name!r}: engine {base.name} runs no exported image tower: take tower out of its table"
            )
        known[name] = replace(
            base,
            name=name,
            model=model,
            needs=tuple(_replacement(name, need, model, registered, models) for need in base.needs),
            memory_mb=model.memory_mb or base.memory_mb,
            licence=model.licence or base.licence,
        )
    return known


def _replacement(
    name: str,
    need: str,
    model: Model,
    registered: Mapping[str, Registration],
    models: Mapping[str, Model],
) -> str:
    """What serves as ``need`` for a model: the engine of that name, or another engine or model that can the same."""
    unknown = sorted(set(model.needs) - set(registered))
    chosen = model.needs.get(need, need)
    loads = registered.get((models[chosen].engine or chosen) if chosen in models else chosen)
    able = loads is not None and set(loads.capabilities) >= set(registered[need].capabilities)
    if unknown or not able or chosen == name:
        raise ConfigurationError(
            f"model {name!r}: needs names {unknown[0] if unknown else chosen!r}: write needs = "
            f'{{ {need} = "MODEL" }} with an engine, or a model of this file, that is a '
            f"{' and '.join(registered[need].capabilities)}"
        )
    return chosen


class Engines:
    """The engines of one process. Thread-safe; ``memory_mb`` is what all loaded engines may take together."""

    def __init__(
        self,
        kit: Kit,
        device: Device,
        memory_mb: int = 4096,
        registered: Mapping[str, Registration] | None = None,
    ) -> None:
        self._kit = kit
        self._device = device
        self._memory_mb = memory_mb
        self._registered = load_adapters() if registered is None else registered
        self._specs: dict[str, EngineSpec] = {}
        self._loaded: OrderedDict[str, Engine] = OrderedDict()
        self._guard = threading.Lock()
        # One load at a time, whichever the engine: the memory peaks of two loads would add up.
        self._loading = threading.RLock()

    def spec(self, name: str) -> EngineSpec:
        """What is known of an engine; loads nothing."""
        if name not in self._specs:
            self._specs[name] = spec(self._registration(name), self._registered, self._kit)
        return self._specs[name]

    @property
    def registered(self) -> Mapping[str, Registration]:
        """Every engine by name, as it was declared."""
        return self._registered

    def specs(self) -> tuple[EngineSpec, ...]:
        """Every engine by name; loads nothing."""
        return tuple(self.spec(name) for name in sorted(self._registered))

    def get(self, name: str) -> Any:
        """The engine, loaded and warm. It implements its capability's protocol.

        Raises ConfigurationError for an unknown name, an artifact not fetched, a library not installed, or an
        engine that does not fit into the memory budget.
        """
        registration = self._registration(name)
        with self._guard:
            if found := self._touch(name):
                return found
        with self._loading:
            with self._guard:
                if found := self._touch(name):
                    return found
            for needed in registration.needs:
                self.get(needed)
            with self._guard:
                self._make_room(registration)
            loaded = self._load(registration)
            with self._guard:
                self._loaded[name] = loaded
            return loaded

    def loaded(self) -> tuple[str, ...]:
        """The names of the loaded engines, least recently used first."""
        with self._guard:
            return tuple(self._loaded)

    def _registration(self, name: str) -> Registration:
        return _lookup(name, self._registered)

    def _touch(self, name: str) -> Engine | None:
        found = self._loaded.get(name)
        if found is not None:
            self._loaded.move_to_end(name)
        return found

    def _make_room(self, coming: Registration) -> None:
        """Drop the least recently used engines that no other loaded engine holds on to."""
        while True:
            taken = sum(self._registered[name].memory_mb for name in self._loaded)
            if taken + coming.memory_mb <= self._memory_mb:
                return
            held = {need for name in self._loaded for need in self._registered[name].needs} | set(
                coming.needs
            )
            idle = next((name for name in self._loaded if name not in held), None)
            if idle is None:
                raise ConfigurationError(
                    f"engine {coming.name} takes {coming.memory_mb} MiB beside {taken} MiB in use, "
                    f"the budget is {self._memory_mb} MiB: raise the engines' memory budget"
                )
            del self._loaded[idle]

    def _load(self, registration: Registration) -> Engine:
        try:
            loaded = registration.adapter(Loading(registration, self._device, self._kit, self.get))
        except ModuleNotFoundError as error:
            raise ConfigurationError(
                f"engine {registration.name} needs the library {error.name}, which is not installed: "
                f'pip install "vitrine[{registration.extra}]"'
            ) from error
        loaded.warm_up()
        return loaded


def spec(registration: Registration, registered: Mapping[str, Registration], kit: Kit) -> EngineSpec:
    """Describe an engine from its registration and the kit's manifest alone."""
    parts = [registration.name, str(registration.adapter.version)]
    parts += [kit.artifact(name).sha256 for name in registration.artifacts]
    parts += [registration.model.identity] if registration.model else []
    parts += [
        hashlib.sha256((Path(__file__).parent / name).read_bytes()).hexdigest() for name in registration.data
    ]
    parts += [spec(_lookup(name, registered), registered, kit).revision for name in registration.needs]
    return EngineSpec(
        name=registration.name,
        capabilities=registration.capabilities,
        revision=hashlib.sha256("\n".join(parts).encode()).hexdigest()[:12],
        licence=registration.licence,
        artifacts=registration.artifacts,
        needs=registration.needs,
        reads=registration.reads,
        batch=registration.batch,
        memory_mb=registration.memory_mb,
        template=registration.template,
        remote=registration.remote,
        lacks=_lacks(registration, registered),
        doc=inspect.getdoc(registration.adapter) or "",
    )


def _lacks(registration: Registration, registered: Mapping[str, Registration]) -> str:
    if registration.model is None and (registration.hub or registration.remote):
        return unpinned(registration)
    needed = (_lacks(_lookup(name, registered), registered) for name in registration.needs)
    return next((lack for lack in needed if lack), "")


def _lookup(name: str, registered: Mapping[str, Registration]) -> Registration:
    try:
        return registered[name]
    except KeyError:
        known = ", ".join(sorted(registered))
        raise ConfigurationError(f"there is no engine {name!r}; known engines: {known}") from None
