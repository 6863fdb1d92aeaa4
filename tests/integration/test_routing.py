"""Products served by different engines: each is planned, quoted and replayed by its own, and a fallback is not the
last word."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
from celery import Celery
from sqlalchemy import Engine

from engines.devices import Device
from engines.kit import Kit
from engines.registry import Engines
from pipeline.errors import EngineDown, Transient, VitrineError
from pipeline.graph import StageGraph
from pipeline.keys import Recipe
from pipeline.outcomes import Lane, Outcome
from pipeline.routing import Rule
from storage.assets import Assets
from storage.downloads import Downloads
from storage.fetch import Fetcher, FetchPolicy
from storage.ledger import Ledger, Result
from storage.presentations import Presentations
from storage.provenance import Signer
from storage.quotes import Request
from storage.replays import Replays
from storage.vectors import VectorIndex
from tasks._runtime import Runtime
from tasks._stage import Item, Stage, StageRunner
from tests.factories import compute, specs, upload
from tests.queries import one, rows

PLAIN, FINE, ODD = (Recipe("see", 1, name, "1") for name in ("plain", "fine", "odd"))
REMOTE, LOCAL = Recipe("tell", 1, "remote", "1"), Recipe("tell", 1, "local", "1")
RULES = (
    Rule(ODD, categories=("Ünusual", "rings > GOLD"), locales=("de",)),
    Rule(FINE, tiers=("high",)),
    Rule(ODD, categories=("hats",), below=40),
    Rule(PLAIN),
)
PRODUCTS: Sequence[dict[str, Any]] = (
    {"category": "Ünusual things", "locale": "de"},
    {"category": "ünusual things", "locale": "de"},
    {"category": "Rings > Gold > Women", "locale": "DE-at"},
    {"category": "rings > gold", "locale": "en"},
    {"category": "rings", "tier": "high"},
    {"category": "", "tier": "standard"},
    *(
        {"category": "Hats" if n % 2 else "HATS/straw", "tier": ("standard", "high")[n % 5 == 0]}
        for n in range(30)
    ),
)


def graph(see: Sequence[Rule] = (), tell: Sequence[Rule] = (), **options: Any) -> StageGraph:
    return StageGraph(specs(**options), {"see": PLAIN}, {"see": see, "tell": tell})


def run_announced(ledger: Ledger) -> int:
    """Do all work as workers do it, message by message; returns how many jobs were computed."""
    computed = 0
    while batches := [batch for queue in ledger.graph.queues for batch in ledger.admit(queue, 64)]:
        for batch in batches:
            spec = ledger.graph.stages[batch.stage]
            claimed, _ = ledger.claim(spec, batch.jobs, lane=batch.lane, limit=32, worker="test")
            assert len({item.recipe for item in claimed}) <= 1, "one engine serves a batch"
            ledger.settle([Result(item.job_id, item.token, compute(item, batch.stage)) for item in claimed])
            computed += len(claimed)
    return computed


@pytest.fixture
def events() -> list[Any]:
    return [upload(f"p{n}", **facts) for n, facts in enumerate(PRODUCTS)]


def test_each_product_is_computed_by_its_own_rule(database: Engine, events: list[Any]) -> None:
    ledger = Ledger(database, graph(RULES))
    ledger.accept(events)
    ledger.plan()
    assert run_announced(ledger) == 3 * len(events)
    wanted = {event.product_id: ledger.graph.rule("see", event.data).recipe.label for event, _ in events}
    assert {*wanted.values()} == {"plain@1", "fine@1", "odd@1"}
    found = rows(
        database,
        "SELECT p.product_id, j.engine FROM runs r JOIN jobs j ON j.id = r.job_id "
        "JOIN products p ON p.id = r.product_id WHERE r.stage = 'see'",
    )
    assert {row.product_id: row.engine for row in found} == wanted


@pytest.mark.parametrize("before", [RULES[-1:], RULES])
@pytest.mark.parametrize("after", [RULES[-1:], RULES, RULES[1:], (RULES[0], RULES[-1])])
def test_a_replay_finds_exactly_the_products_whose_rule_changed(
    database: Engine, events: list[Any], before: Sequence[Rule], after: Sequence[Rule]
) -> None:
    old, new = graph(before), graph(after)
    ledger = Ledger(database, old)
    ledger.accept(events)
    ledger.plan()
    run_announced(ledger)
    moved = [
        event.product_id
        for event, _ in events
        if old.rule("see", event.data).recipe != new.rule("see", event.data).recipe
    ]
    quote = Replays(database, new).quote(Request())
    assert {s.stage: s.compute for s in quote.stages}["see"] == len(moved)
    assert Replays(database, new).quote(Request(stages=("see",))).products == len(moved)


class Tells:
    """The stage ``tell`` with engines that can be down."""

    def __init__(self, *down: str) -> None:
        self.down, self.asked = set(down), list[str]()

    def __call__(self, items: Sequence[Item], run: Runtime) -> Sequence[Outcome | VitrineError]:
        self.asked.append(run.recipe.engine)
        if run.recipe.engine in self.down:
            raise EngineDown(f"{run.recipe.engine} does not answer")
        return [compute(item.claimed, "tell") for item in items]


class Told:
    """One product up to the stage ``tell``, and a runner that serves it."""

    def __init__(self, database: Engine, broker_url: str, rules: Sequence[Rule], tells: Tells) -> None:
        self.ledger = Ledger(database, graph(tell=rules))
        self.ledger.accept([upload("p", title="a ring")])
        self.ledger.plan()
        self.tells = tells
        app = Celery(broker=broker_url)
        runtime = Runtime(
            ledger=self.ledger,
            assets=Assets("memory://"),
            fetcher=Fetcher(FetchPolicy()),
            downloads=Downloads(database),
            engines=Engines(Kit(), Device("cpu", "float32", 1), registered={}),
            index=VectorIndex(""),
            signing=lambda: Signer(b"", b""),
        )
        self.runner = StageRunner(app, runtime, 64)

    def serve(self) -> None:
        """Run every stage until nothing is left to claim; messages to the broker are for nobody here."""
        stages = [
            Stage(spec, self.tells if spec.name == "tell" else _plain(spec.name))
            for spec in self.ledger.graph.stages.values()
        ]
        while sum(self.runner.run(stage, [], lane)["claimed"] for stage in stages for lane in Lane):
            pass


def _plain(stage: str) -> Any:
    return lambda items, run: [compute(item.claimed, stage) for item in items]


def told_by(database: Engine) -> str:
    served = Presentations(database).read("p")
    assert served is not None
    return str(served["provenance"]["told"]["engine"])


def test_a_fallback_answers_and_a_replay_asks_the_engine_again(database: Engine, broker_url: str) -> None:
    rules = (Rule(REMOTE, fallbacks=(LOCAL,)),)
    first = Told(database, broker_url, rules, Tells("remote"))
    first.serve()
    assert first.tells.asked == ["remote", "local"]
    assert told_by(database) == "local@1"
    job = one(database, "SELECT state, engine, recipe FROM jobs WHERE stage = 'tell'")
    assert job == ("done", "local@1", LOCAL.key)
    assert one(database, "SELECT verdict FROM events") == "done"

    replays = Replays(database, first.ledger.graph)
    assert replays.quote(Request(stages=("tell",))).products == 1, "what a fallback said is stale"
    replays.create(Request(stages=("tell",)))
    replays.advance()
    again = Told(database, broker_url, rules, Tells())
    again.serve()
    assert again.tells.asked == ["remote"]
    assert told_by(database) == "remote@1"
    assert replays.quote(Request(stages=("tell",))).products == 0


def test_an_engine_that_is_down_is_passed_over_for_a_while(database: Engine, broker_url: str) -> None:
    told = Told(database, broker_url, (Rule(REMOTE, fallbacks=(LOCAL,)),), Tells("remote"))
    told.serve()
    told.ledger.accept([upload("q", title="another ring")])
    told.ledger.plan()
    told.serve()
    assert told.tells.asked == ["remote", "local", "local"]


def test_without_a_fallback_the_work_waits(database: Engine, broker_url: str) -> None:
    told = Told(database, broker_url, (Rule(REMOTE),), Tells("remote"))
    told.serve()
    job = one(database, "SELECT state, attempts, not_before > now() AS later FROM jobs WHERE stage = 'tell'")
    assert job == ("ready", 1, True)
    assert issubclass(EngineDown, Transient)


def test_when_all_are_down_the_work_waits_for_its_own_engine(database: Engine, broker_url: str) -> None:
    told = Told(database, broker_url, (Rule(REMOTE, fallbacks=(LOCAL,)),), Tells("remote", "local"))
    told.serve()
    job = one(database, "SELECT state, engine FROM jobs WHERE stage = 'tell'")
    assert job == ("ready", "remote@1")


def test_what_the_engine_reads_of_the_catalog_is_in_the_fingerprint(database: Engine) -> None:
    def fingerprints(reads: tuple[str, ...]) -> set[bytes]:
        made = graph((Rule(PLAIN, reads=reads),))
        attached = set()
        for title in ("red ring", "blue ring"):
            (event, _) = upload("p", title=title)
            rule = made.rule("see", event.data)
            attached.add(repr(rule.facts(event.data)).encode())
        return attached

    assert len(fingerprints(())) == 1
    assert len(fingerprints(("title",))) == 2
