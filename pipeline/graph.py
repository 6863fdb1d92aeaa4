"""The stage graph: which stages exist, what each needs, and what may start next. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from pipeline.errors import ConfigurationError
from pipeline.events import ImageRef, Product
from pipeline.keys import Recipe, fingerprint
from pipeline.outcomes import Outcome, RunState
from pipeline.retry import RetryPolicy
from pipeline.routing import Rule, choose

MIB = 1 << 20
_SLOT = "@"
"""Before a slot's name in a run's target, so that it is not taken for a photo's id."""


class Scope(StrEnum):
    """What one run of a stage is about."""

    IMAGE = "image"
    PRODUCT = "product"


@dataclass(frozen=True, slots=True)
class StageSpec:
    """Everything the planner and the runner must know of a stage, and nothing of how it computes.

    ``needs`` are outcomes that must be there (at least one usable of each), ``uses`` are read where they are
    there. ``reads`` names the catalog facts that enter the fingerprint. An ``effect`` makes the outside agree
    with Postgres: it runs once for each plan, is never reused and never skipped. ``computes_as`` names a stage
    whose outcomes of the same engine are this one's too: their fingerprints are then the same. ``slots`` are the
    places that a product-scope stage fills, a run each. ``aids`` are roles whose engines it uses besides its own.
    """

    name: str
    version: int
    scope: Scope
    produces: type[Outcome]
    needs: tuple[type[Outcome], ...] = ()
    uses: tuple[type[Outcome], ...] = ()
    reads: Callable[[Product, ImageRef | None], Any] | None = None
    presents: Callable[[Any], Mapping[str, Any]] | None = None
    role: str = ""
    aids: tuple[str, ...] = ()
    slots: tuple[str, ...] = ()
    params: Mapping[str, Any] = field(default_factory=dict)
    effect: bool = False
    computes_as: str = ""
    queue: str = "vision"
    batch: int = 32
    batch_bytes: int = 512 * MIB
    lease_s: float = 30.0
    deadline_s: float = 600.0
    retry: RetryPolicy = field(default_factory=RetryPolicy)

    def targets(self, images: Iterable[str]) -> list[str]:
        """The targets of this stage's runs for a product with these images."""
        if self.scope is Scope.IMAGE:
            return list(images)
        return [_SLOT + slot for slot in self.slots] or [""]


def slot_of(target: str) -> str:
    """The slot that a run's target names; empty for a photo's id and for a product as a whole."""
    return target.removeprefix(_SLOT) if target.startswith(_SLOT) else ""


@dataclass(slots=True)
class RunView:
    """A run as the planner sees it; ``digest`` is its outcome's, set once the run is done or reused."""

    state: RunState
    digest: bytes | None = None
    blocks: str | None = None
    reason: str = ""
    load_bytes: int = 0

    @property
    def settled(self) -> bool:
        return self.state not in (RunState.WAITING, RunState.READY)

    @property
    def usable(self) -> bool:
        return self.digest is not None and self.blocks is None


@dataclass(frozen=True, slots=True)
class Attach:
    """The run may start: it subscribes to the job of this fingerprint, made by this recipe."""

    stage: str
    target: str
    recipe: Recipe
    fingerprint: bytes
    load_bytes: int


@dataclass(frozen=True, slots=True)
class Skip:
    """The run cannot start any more; ``reason`` is the upstream reason."""

    stage: str
    target: str
    reason: str


RunKey = tuple[str, str]


class StageGraph:
    """The stages in an order in which each comes after what it needs.

    ``rules`` name, for a stage, the recipes of some products, first match first; ``recipes`` those of all others.
    """

    def __init__(
        self,
        specs: Iterable[StageSpec],
        recipes: Mapping[str, Recipe],
        rules: Mapping[str, Sequence[Rule]] | None = None,
    ) -> None:
        self._producer: dict[type[Outcome], str] = {}
        unordered = {spec.name: spec for spec in specs}
        for spec in unordered.values():
            if spec.produces in self._producer:
                other = self._producer[spec.produces]
                raise ConfigurationError(
                    f"stages {other} and {spec.name} both produce {spec.produces.__name__}; "
                    "an outcome class names exactly one stage"
                )
            self._producer[spec.produces] = spec.name
        self.stages: dict[str, StageSpec] = {}
        for name in unordered:
            self._place(unordered, name, ())
        self._rank = {name: place for place, name in enumerate(self.stages)}
        self.rules = {
            name: _complete(
                (rules or {}).get(name, ()),
                Rule(recipes.get(name) or Recipe(spec.computes_as or name, spec.version)),
            )
            for name, spec in self.stages.items()
        }
        self.recipes = {name: chain[-1].recipe for name, chain in self.rules.items()}
        self._current = {
            name: frozenset(rule.recipe.key for rule in chain) for name, chain in self.rules.items()
        }
        self._upstream = {
            name: tuple((self._producer[c], c in spec.needs) for c in (*spec.needs, *spec.uses))
            for name, spec in self.stages.items()
        }

    def _place(self, unordered: Mapping[str, StageSpec], name: str, above: tuple[str, ...]) -> None:
        if name in above:
            raise ConfigurationError(f"the stages {' → '.join((*above, name))} need each other")
        if name in self.stages:
            return
        spec = unordered[name]
        for needed in (*spec.needs, *spec.uses):
            if needed not in self._producer:
                raise ConfigurationError(f"stage {name} needs {needed.__name__}, which no stage produces")
            self._place(unordered, self._producer[needed], (*above, name))
        self.stages[name] = spec

    @property
    def signature(self) -> str:
        """Changes whenever any stage would compute anything differently."""
        rules = {name: [rule.identity for rule in chain] for name, chain in self.rules.items()}
        return fingerprint("graph", sorted(rules.items())).hex()[:16]

    @property
    def queues(self) -> tuple[str, ...]:
        """Every queue, those of the last stages first: served in this order, products are finished before
        others are begun."""
        return tuple(dict.fromkeys(spec.queue for spec in reversed(self.stages.values())))

    @property
    def roots(self) -> tuple[str, ...]:
        return tuple(name for name, upstream in self._upstream.items() if not upstream)

    def is_effect(self, stage: str) -> bool:
        """Whether ``stage`` changes the outside and adds nothing to what is known of a product."""
        return stage in self.stages and self.stages[stage].effect

    def doubles(self, stage: str) -> bool:
        """Whether ``stage`` computes what another one computes too, for a model that does not serve."""
        return stage in self.stages and bool(self.stages[stage].computes_as)

    def rule(self, stage: str, product: Product) -> Rule:
        """How ``stage`` is computed today for this product."""
        return choose(self.rules[stage], product)

    def rule_of(self, stage: str, recipe_key: str, product: Product) -> Rule:
        """The rule by which a job of ``recipe_key`` is computed: the product's own, unless it moved on."""
        own = self.rule(stage, product)
        if own.recipe.key == recipe_key:
            return own
        return next(rule for rule in self.rules[stage] if rule.recipe.key == recipe_key)

    def is_current(self, stage: str, recipe_key: str) -> bool:
        """Whether some product's outcome of ``stage`` is computed so today."""
        return recipe_key in self._current[stage]

    @property
    def routed(self) -> bool:
        """Whether any stage is computed otherwise for some products than for others."""
        return any(len(chain) > 1 for chain in self.rules.values())

    def upstream(self, stage: str) -> tuple[str, ...]:
        """The stages whose outcomes ``stage`` reads directly."""
        return tuple(name for name, _ in self._upstream[stage])

    def ready_after(self, stage: str) -> tuple[str, ...]:
        """The stages that read what ``stage`` produces."""
        return tuple(name for name in self.stages if stage in self.upstream(name))

    def descendants(self, stage: str) -> tuple[str, ...]:
        """Every stage that a change of ``stage`` can reach, nearest first."""
        reached: list[str] = []
        for name in self.stages:
            if any(u == stage or u in reached for u in self.upstream(name)):
                reached.append(name)
        return tuple(reached)

    def runs_of(self, product: Product) -> list[RunKey]:
        """The runs that a plan of ``product`` consists of; the target of an image's run is the image's id."""
        images = [image.id for image in product.images]
        return [(name, target) for name, spec in self.stages.items() for target in spec.targets(images)]

    def advance(self, product: Product, plan_id: int, runs: Mapping[RunKey, RunView]) -> list[Attach | Skip]:
        """What becomes of the waiting runs, given how the others stand.

        Idempotent and level-triggered: it looks at states, never at what just happened, so it may be called
        at any time and as often as one likes. Runs of stages that this release does not know are left alone.
        """
        images = {image.id: image for image in sorted(product.images, key=lambda i: (i.position, i.id))}
        decisions: list[Attach | Skip] = []
        skipped: dict[RunKey, str] = {}
        known = [(key, run) for key, run in runs.items() if key[0] in self._rank]
        for key, run in sorted(known, key=lambda item: self._rank[item[0][0]]):
            if run.state is not RunState.WAITING:
                continue
            stage, target = key
            decision = self._judge(stage, target, product, plan_id, images, runs, skipped)
            if isinstance(decision, Skip):
                skipped[key] = decision.reason
            if decision is not None:
                decisions.append(decision)
        return decisions

    def _judge(
        self,
        stage: str,
        target: str,
        product: Product,
        plan_id: int,
        images: Mapping[str, ImageRef],
        runs: Mapping[RunKey, RunView],
        skipped: Mapping[RunKey, str],
    ) -> Attach | Skip | None:
        spec = self.stages[stage]
        inputs: list[Any] = []
        load_bytes = 0
        missing = ""
        for name, required in self._upstream[stage]:
            keys = self._input_keys(name, target if spec.scope is Scope.IMAGE else "", images)
            if any(key not in skipped and not runs[key].settled for key in keys if key in runs):
                return None
            usable = [key for key in keys if key in runs and runs[key].usable]
            if required and not usable:
                missing = missing or _why_missing(name, keys, runs, skipped)
            for key in usable:
                run = runs[key]
                assert run.digest is not None
                load_bytes += run.load_bytes
                image = images.get(key[1])
                place = [image.role, image.position] if image and spec.scope is Scope.PRODUCT else []
                inputs.append([name, *place, run.digest.hex()])
        if missing and not spec.effect:
            return Skip(stage, target, missing)
        if spec.effect:
            inputs.append(["plan", plan_id])
        if slot := slot_of(target):
            inputs.append(["slot", slot])
        if spec.reads is not None:
            inputs.append(["facts", spec.reads(product, images.get(target))])
        rule = self.rule(stage, product)
        if rule.reads:
            inputs.append(["engine reads", rule.facts(product)])
        return Attach(stage, target, rule.recipe, fingerprint(rule.recipe.key, inputs), load_bytes)

    def _input_keys(self, upstream: str, image: str, images: Mapping[str, ImageRef]) -> Sequence[RunKey]:
        """The runs of ``upstream`` that are read: for one image, or for the whole product."""
        spec = self.stages[upstream]
        if image and spec.scope is Scope.IMAGE:
            return [(upstream, image)]
        return [(upstream, target) for target in spec.targets(images)]


def _complete(rules: Sequence[Rule], default: Rule) -> tuple[Rule, ...]:
    """The rules up to the first that takes every product; the default where none does."""
    for place, rule in enumerate(rules):
        if rule.takes_all:
            return tuple(rules[: place + 1])
    return (*rules, default)


def _why_missing(
    stage: str, keys: Sequence[RunKey], runs: Mapping[RunKey, RunView], skipped: Mapping[RunKey, str]
) -> str:
    for key in keys:
        if key in skipped:
            return skipped[key]
        run = runs.get(key)
        if run is not None and (run.blocks or run.reason):
            return run.reason if run.state is RunState.SKIPPED else f"{stage}: {run.blocks or run.reason}"
    return f"no {stage} to work on"
