"""Put a process together from its settings: the graph, the ledger, what stages may reach."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import replace
from functools import cache, partial
from typing import Any

from sqlalchemy import Engine

from engines.devices import Device
from engines.federation import Federation
from engines.kit import Kit, cache_folder
from engines.models import read_deployment
from engines.registry import Engines, load_adapters, with_models
from engines.scenes.certificate import read_bars
from engines.scenes.presets import read_presets
from pipeline.errors import ConfigurationError
from pipeline.graph import StageGraph, StageSpec
from pipeline.keys import Recipe
from pipeline.routing import Rule
from storage.assets import Assets
from storage.database import open_database
from storage.downloads import Downloads
from storage.fetch import Fetcher, FetchPolicy
from storage.ledger import Ledger
from storage.provenance import Signer
from storage.spaces import Embedders, Spaces
from storage.vectors import VectorIndex
from tasks._runtime import Runtime
from tasks._stage import load_stages
from workers.settings import Settings

EMBEDDER = "embedder"
_FOLLOW_S = 1.0


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


def build_graph(settings: Settings, embedders: Embedders | None = None) -> StageGraph:
    """The stage graph with today's recipes. Loads no model: the planner runs where there is no torch.

    ``embedders`` are those of the database's spaces. A space whose engine this release cannot run is filled no
    more, and searched as it is; without any the deployment's choice embeds.
    """
    federation = build_federation(settings, build_engines(settings))
    embedders = embedders or Embedders(serving=federation.label(EMBEDDER))
    stages = {
        name: stage
        for name, stage in load_stages().items()
        if (embedders.shadow or not stage.spec.computes_as)
        and (settings.scenes or "presets" not in stage.spec.params)
    }
    unknown = sorted(set(settings.params) - set(stages))
    if unknown:
        raise ConfigurationError(
            f"VITRINE_PARAMS names stage {unknown[0]!r}; known are {', '.join(sorted(stages))}"
        )
    specs = {name: stage.spec for name, stage in stages.items()}
    rules: dict[str, tuple[Rule, ...]] = {}
    recipes = {}
    for name, spec in list(specs.items()):
        made_as = spec.computes_as or name
        params = dict(_params(settings, made_as, spec))
        if spec.aids:
            params["aids"] = {role: federation.label(role) for role in spec.aids}
        if "presets" in params:
            # Part of the fingerprints as a whole: which of them suits a product depends on all.
            presets = read_presets(settings.presets)
            params["presets"] = {one: preset.model_dump(mode="json") for one, preset in presets.items()}
            params["bars"] = {
                kind: {score: bar.model_dump() for score, bar in bars.items()}
                for kind, bars in read_bars().items()
            }
            specs[name] = replace(spec, slots=settings.scenes)
        recipe = Recipe(made_as, spec.version, params=params)
        recipes[name] = recipe
        if spec.role == EMBEDDER:
            label = embedders.shadow if spec.computes_as else embedders.serving
            if federation.offers(EMBEDDER, label):
                rules[name] = federation.only(EMBEDDER, label, recipe)
            else:
                del specs[name]
        elif spec.role:
            rules[name] = federation.rules(spec.role, recipe)
    produced = {spec.produces for spec in specs.values()}
    kept = [
        replace(spec, uses=tuple(kind for kind in spec.uses if kind in produced)) for spec in specs.values()
    ]
    return StageGraph(kept, recipes, rules)


def every_queue() -> tuple[str, ...]:
    """The queues of all stages, also of those that are in the graph only at times, the last stages' first."""
    specs = [stage.spec for stage in load_stages().values()]
    return StageGraph(specs, {}).queues


def _params(settings: Settings, name: str, spec: StageSpec) -> Mapping[str, Any]:
    params = dict(spec.params) | settings.params.get(name, {})
    extra = sorted(set(params) - set(spec.params))
    if extra:
        known = ", ".join(sorted(spec.params)) or "none"
        raise ConfigurationError(
            f"VITRINE_PARAMS: stage {name} has no parameter {extra[0]!r}; known: {known}"
        )
    return params


class Following:
    """Keeps a ledger's graph to what the database says of the spaces, without a restart of any process."""

    def __init__(self, settings: Settings, database: Engine) -> None:
        self._settings = settings
        self._spaces = Spaces(database)
        self._known: Embedders | None = None
        self._asked = float("-inf")

    def __call__(self, now: bool) -> StageGraph | None:
        """A new graph where the spaces have changed, else None. Asks at most once a second, unless ``now``."""
        if not now and time.monotonic() < self._asked + _FOLLOW_S:
            return None
        self._asked = time.monotonic()
        embedders = self._spaces.embedders()
        if not embedders.serving:
            federation = build_federation(self._settings, build_engines(self._settings))
            self._spaces.found(federation.label(EMBEDDER))
            embedders = self._spaces.embedders()
        if embedders == self._known:
            return None
        self._known = embedders
        return build_graph(self._settings, embedders)


def build_ledger(settings: Settings, application: str) -> Ledger:
    """The ledger of the configured database."""
    database = open_database(settings.database_url, application=application)
    following = Following(settings, database)
    graph = following(True)
    assert graph is not None, "the first answer is a graph"
    return Ledger(database, graph, following)


def build_signer(settings: Settings) -> Signer:
    """Who signs generated pictures: the deployment's certificate, else the test certificate of this installation."""
    if settings.c2pa_certificates is None and settings.c2pa_key is None:
        return Signer.test((settings.cache or cache_folder()) / "signer")
    if settings.c2pa_certificates is None or settings.c2pa_key is None:
        raise ConfigurationError("VITRINE_C2PA_CERTIFICATES and VITRINE_C2PA_KEY belong together: set both")
    return Signer.read(settings.c2pa_certificates, settings.c2pa_key)


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
        index=VectorIndex(settings.qdrant_url),
        signing=cache(partial(build_signer, settings)),
    )
