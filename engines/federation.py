"""Which engines serve which products: roles, their default engines, and a deployment's routes over them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from types import MappingProxyType

from engines.declaration import EngineSpec, Registration
from engines.models import Route
from engines.registry import Engines
from pipeline.errors import ConfigurationError
from pipeline.keys import Recipe
from pipeline.routing import Rule

DEFAULTS: Mapping[str, str] = MappingProxyType(
    {
        "safety_gate": "open_nsfw",
        "text_reader": "rapidocr",
        "segmenter": "u2netp",
        "captioner": "template",
        "tagger": "imagenet_vocabulary",
        "garment_classifier": "garment_head",
        "answerer": "attributes",
        "pitcher": "template_pitch",
        "embedder": "conse",
        "image_encoder": "efficientnet_lite2",
        "scene_renderer": "studio",
        "garment_mapper": "contour",
    }
)

_ONE_SPACE = "embedder"
"""The role whose engine no route may change: vectors of two engines have nothing to do with each other."""


class Federation:
    """The engines of each role: the defaults, a deployment's choices, and its routes, all checked at start.

    Raises ConfigurationError for a role or an engine that does not exist, an engine of another capability,
    one whose model is not pinned, one pinned to a revision that is not there, or a route for the embedder.
    """

    def __init__(
        self, engines: Engines, choices: Mapping[str, str] | None = None, routes: Sequence[Route] = ()
    ) -> None:
        self._engines = engines
        for role, name in (choices or {}).items():
            self.spec(role, name)
        self._chosen = {**DEFAULTS, **(choices or {})}
        self._routes = tuple(routes)
        for route in routes:
            if route.role == _ONE_SPACE:
                raise ConfigurationError(
                    f"a route for {_ONE_SPACE}: one index holds one engine's vectors, so all products have the "
                    f"same, without fallback or canary; leave the route out and choose {_ONE_SPACE} for all"
                )
            for name in (*route.engines, *([route.canary.engine] if route.canary else [])):
                self.spec(route.role, name)

    def engine(self, role: str) -> str:
        """The engine that serves a role where no route says otherwise."""
        _known(role)
        return self._chosen[role].partition("@")[0]

    def label(self, role: str) -> str:
        """The engine that serves a role where no route says otherwise, as ``name@revision``."""
        return self._engines.spec(self.engine(role)).label

    def offers(self, role: str, label: str) -> bool:
        """Whether this very revision of an engine can serve the role here."""
        try:
            self.spec(role, label)
        except ConfigurationError:
            return False
        return True

    def only(self, role: str, label: str, recipe: Recipe) -> tuple[Rule, ...]:
        """One engine, ``name@revision``, for every product."""
        return (self._rule(role, [label], recipe),)

    def roles(self) -> Mapping[str, str]:
        """Every role with its engine."""
        return MappingProxyType({role: self.engine(role) for role in self._chosen})

    def rules(self, role: str, recipe: Recipe) -> tuple[Rule, ...]:
        """How a stage of this role is computed, first match first, the last for all; ``recipe`` lacks its engine.

        A canary is a rule of its own before its route's: a percentage of the same products.
        """
        rules: list[Rule] = []
        for route in self._routes:
            if route.role != role:
                continue
            if route.canary:
                trial = self._rule(role, [route.canary.engine, *route.engines], recipe)
                rules.append(_narrowed(trial, route, route.canary.percent))
            rules.append(_narrowed(self._rule(role, route.engines, recipe), route))
        return (*rules, self._rule(role, [self._chosen[role]], recipe))

    def _rule(self, role: str, names: Sequence[str], recipe: Recipe) -> Rule:
        specs = [self.spec(role, name) for name in dict.fromkeys(names)]
        first, *others = [
            Recipe(recipe.stage, recipe.version, spec.name, spec.revision, recipe.params) for spec in specs
        ]
        return Rule(first, tuple(others), reads=specs[0].reads)

    def spec(self, role: str, name: str) -> EngineSpec:
        """The engine ``name`` or ``name@revision``. Raises ConfigurationError where it cannot serve the role here."""
        _known(role)
        name, _, pinned = name.partition("@")
        fitting = [item.name for item in self._engines.registered.values() if _serves(item, role)]
        if name not in fitting:
            raise ConfigurationError(
                f"there is no engine {name!r} for {role}; known engines: {_names(fitting)}"
            )
        spec = self._engines.spec(name)
        if spec.lacks:
            raise ConfigurationError(spec.lacks)
        if pinned and pinned != spec.revision:
            raise ConfigurationError(
                f"engine {name} for {role} is pinned to revision {pinned}, here is {spec.revision}: "
                "install that release and model, or pin the new revision"
            )
        return spec


def _narrowed(rule: Rule, route: Route, below: int = 100) -> Rule:
    return replace(rule, categories=route.categories, tiers=route.tiers, locales=route.locales, below=below)


def _known(role: str) -> None:
    if role not in DEFAULTS:
        raise ConfigurationError(f"there is no engine role {role!r}; known roles: {_names(DEFAULTS)}")


def _serves(item: Registration, role: str) -> bool:
    """``safety_gate`` is the role of a ``SafetyGate``."""
    return "".join(word.capitalize() for word in role.split("_")) in item.capabilities


def _names(items: Iterable[str]) -> str:
    return ", ".join(sorted(items))
