"""Put a process together from its settings: the graph, the ledger, what stages may reach."""

from __future__ import annotations

from engines.devices import Device
from engines.federation import Selection
from engines.kit import Kit
from engines.registry import Engines
from pipeline.errors import ConfigurationError
from pipeline.graph import StageGraph
from pipeline.keys import Recipe
from storage.assets import Assets
from storage.database import open_database
from storage.downloads import Downloads
from storage.fetch import Fetcher, FetchPolicy
from storage.ledger import Ledger
from tasks._runtime import Runtime
from tasks._stage import load_stages
from workers.settings import Settings


def build_kit(settings: Settings) -> Kit:
    """The model kit in the configured cache."""
    return Kit(settings.cache) if settings.cache else Kit()


def build_graph(settings: Settings) -> StageGraph:
    """The stage graph with today's recipes. Loads no model: the planner runs where there is no torch."""
    stages = load_stages()
    engines = Engines(build_kit(settings), Device("cpu", "float32", 1))
    selection = Selection(settings.engines)
    unknown = sorted(set(settings.params) - set(stages))
    if unknown:
        raise ConfigurationError(
            f"VITRINE_PARAMS names stage {unknown[0]!r}; known are {', '.join(sorted(stages))}"
        )
    recipes = {}
    for name, stage in stages.items():
        params = dict(stage.spec.params) | settings.params.get(name, {})
        extra = sorted(set(params) - set(stage.spec.params))
        if extra:
            known = ", ".join(sorted(stage.spec.params)) or "none"
            raise ConfigurationError(
                f"VITRINE_PARAMS: stage {name} has no parameter {extra[0]!r}; known: {known}"
            )
        engine = engines.spec(selection.engine(stage.spec.role)) if stage.spec.role else None
        recipes[name] = Recipe(
            name,
            stage.spec.version,
            engine.name if engine else "",
            engine.revision if engine else "",
            params,
        )
    return StageGraph([stage.spec for stage in stages.values()], recipes)


def build_ledger(settings: Settings, application: str) -> Ledger:
    """The ledger of the configured database."""
    return Ledger(open_database(settings.database_url, application=application), build_graph(settings))


def build_runtime(settings: Settings, threads: int | None = None) -> Runtime:
    """What the stages of this process may reach. Call it in the process that computes, after any fork."""
    ledger = build_ledger(settings, "vitrine worker")
    engines = Engines(build_kit(settings), Device.choose(threads), settings.engine_memory_mb)
    selection = Selection(settings.engines)
    policy = FetchPolicy(
        file_roots=settings.file_roots,
        allow_networks=settings.allow_networks,
        total_timeout_s=settings.fetch_timeout_s,
    )
    return Runtime(
        ledger=ledger,
        assets=Assets(settings.assets_url),
        fetcher=Fetcher(policy),
        downloads=Downloads(ledger.engine),
        engine_of=lambda role: engines.get(selection.engine(role)),
    )
