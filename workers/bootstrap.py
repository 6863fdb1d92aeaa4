"""Put a process together from its settings: the graph, the ledger, what stages may reach."""

from __future__ import annotations

from engines.devices import Device
from engines.federation import Federation
from engines.kit import Kit
from engines.models import read_deployment
from engines.registry import Engines, load_adapters, with_models
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


def build_engines(settings: Settings, device: Device | None = None) -> Engines:
    """The engines that this release and this deployment's file of models know; loads none of them."""
    registered = with_models(load_adapters(), read_deployment(settings.models).models)
    device = device or Device("cpu", "float32", 1)
    return Engines(build_kit(settings), device, settings.engine_memory_mb, registered)


def build_federation(settings: Settings, engines: Engines) -> Federation:
    """Which of the engines serve which products."""
    return Federation(engines, settings.engines, read_deployment(settings.models).routes)


def build_graph(settings: Settings) -> StageGraph:
    """The stage graph with today's recipes. Loads no model: the planner runs where there is no torch."""
    stages = load_stages()
    federation = build_federation(settings, build_engines(settings))
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
        recipes[name] = Recipe(name, stage.spec.version, params=params)
    rules = {
        name: federation.rules(stage.spec.role, recipes[name])
        for name, stage in stages.items()
        if stage.spec.role
    }
    return StageGraph([stage.spec for stage in stages.values()], recipes, rules)


def build_ledger(settings: Settings, application: str) -> Ledger:
    """The ledger of the configured database."""
    return Ledger(open_database(settings.database_url, application=application), build_graph(settings))


def build_runtime(settings: Settings, threads: int | None = None) -> Runtime:
    """What the stages of this process may reach. Call it in the process that computes, after any fork."""
    ledger = build_ledger(settings, "vitrine worker")
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
        engines=build_engines(settings, Device.choose(threads)),
    )
