"""The stage graph: what is needed, what may start, what is skipped and why. No database."""

from __future__ import annotations

import random
from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.errors import ConfigurationError
from pipeline.events import ImageRef, Product
from pipeline.graph import Attach, RunKey, RunView, Scope, Skip, StageGraph, StageSpec, slot_of
from pipeline.keys import Recipe
from pipeline.outcomes import Outcome, RunState
from tests.factories import specs, stub_graph

KINDS = tuple(type(f"Kind{n}", (Outcome,), {}) for n in range(6))


def product(*images: str, product_id: str = "p1", title: str = "T", **fields: Any) -> Product:
    refs = tuple(
        ImageRef(id=i, url=f"https://shop.example/{i}", position=n, sha256="0" * 64, **fields)
        for n, i in enumerate(images)
    )
    return Product(product_id=product_id, revision=1, title=title, images=refs)


def waiting(graph: StageGraph, of: Product) -> dict[RunKey, RunView]:
    return {key: RunView(RunState.WAITING) for key in graph.runs_of(of)}


def done(digest: str, **fields: Any) -> RunView:
    return RunView(RunState.DONE, digest.encode(), **fields)


def decide(graph: StageGraph, of: Product, runs: Mapping[RunKey, RunView]) -> dict[RunKey, Attach | Skip]:
    return {(d.stage, d.target): d for d in graph.advance(of, 7, runs)}


def test_stages_come_after_what_they_need_however_they_are_listed() -> None:
    for seed in range(20):
        shuffled = specs(effect=True)
        random.Random(seed).shuffle(shuffled)
        graph = StageGraph(shuffled, {})
        placed = list(graph.stages)
        for name in placed:
            assert all(placed.index(above) < placed.index(name) for above in graph.upstream(name))
        assert graph.roots == ("fetch",)
        assert graph.ready_after("see") == ("tell",)
        assert graph.descendants("fetch") == ("see", "tell", "announce")
        assert graph.descendants("announce") == ()


@pytest.mark.parametrize(
    ("stages", "message"),
    [
        ([("a", 0, (1,)), ("b", 1, (2,)), ("c", 2, (0,))], "a → b → c → a need each other"),
        ([("a", 0, (0,))], "a → a need each other"),
        ([("a", 0, (5,))], "a needs Kind5, which no stage produces"),
        ([("a", 0, ()), ("b", 0, ())], "stages a and b both produce Kind0"),
    ],
)
def test_impossible_graphs_are_refused_by_name(stages: list[Any], message: str) -> None:
    made = [StageSpec(n, 1, Scope.IMAGE, KINDS[p], tuple(KINDS[i] for i in needs)) for n, p, needs in stages]
    with pytest.raises(ConfigurationError, match=message):
        StageGraph(made, {})


def test_what_is_only_used_also_orders_and_must_have_a_producer() -> None:
    user = StageSpec("user", 1, Scope.PRODUCT, KINDS[0], uses=(KINDS[1],))
    with pytest.raises(ConfigurationError, match="Kind1"):
        StageGraph([user], {})
    graph = StageGraph([user, StageSpec("made", 1, Scope.IMAGE, KINDS[1])], {})
    assert list(graph.stages) == ["made", "user"]


def test_runs_are_one_an_image_or_one_a_product() -> None:
    runs = stub_graph().runs_of(product("a", "b"))
    assert runs == [("fetch", "a"), ("fetch", "b"), ("see", "a"), ("see", "b"), ("tell", "")]
    assert stub_graph().runs_of(product()) == [("tell", "")]


def test_a_stage_with_slots_has_a_run_for_each_and_reads_all_of_the_product() -> None:
    shown = type("Shown", (Outcome,), {})
    used = type("Used", (Outcome,), {})
    slotted = StageSpec("show", 1, Scope.PRODUCT, shown, needs=(specs()[1].produces,), slots=("wide", "tall"))
    reader = StageSpec("use", 1, Scope.PRODUCT, used, needs=(shown,))
    graph = StageGraph([*specs(), slotted, reader], {})
    of = product("a", "b")
    runs = waiting(graph, of)
    assert {target for stage, target in runs if stage == "show"} == {"@wide", "@tall"}
    assert [slot_of(target) for target in ("@wide", "a", "")] == ["wide", "", ""]
    for image in ("a", "b"):
        runs["fetch", image] = done(f"f{image}")
    runs["see", "a"] = done("sa")
    assert ("show", "@wide") not in decide(graph, of, runs), "the other photo is not seen yet"
    runs["see", "b"] = done("sb")
    started = decide(graph, of, runs)
    wide, tall = started["show", "@wide"], started["show", "@tall"]
    assert isinstance(wide, Attach)
    assert isinstance(tall, Attach)
    assert wide.fingerprint != tall.fingerprint
    runs["show", "@wide"] = done("w")
    assert ("use", "") not in decide(graph, of, runs)
    runs["show", "@tall"] = RunView(RunState.PARKED, reason="ugly")
    assert isinstance(decide(graph, of, runs)["use", ""], Attach), "one of the slots is enough"


def test_fan_in_waits_for_all_and_needs_one() -> None:
    graph, of = stub_graph(), product("a", "b", "c")
    runs = waiting(graph, of) | {("fetch", i): done(i) for i in "abc"}
    assert set(decide(graph, of, runs)) == {("see", "a"), ("see", "b"), ("see", "c")}
    runs |= {("see", "a"): done("A"), ("see", "b"): RunView(RunState.READY)}
    assert ("tell", "") not in decide(graph, of, runs), "b is on its way"
    runs |= {
        ("see", "b"): RunView(RunState.PARKED, reason="broken"),
        ("see", "c"): done("C", blocks="unsafe"),
    }
    assert isinstance(decide(graph, of, runs)["tell", ""], Attach), "one usable input is enough"
    runs["see", "a"] = RunView(RunState.PARKED, reason="torn")
    assert decide(graph, of, runs)["tell", ""] == Skip("tell", "", "see: torn")


def test_each_needed_kind_must_have_a_usable_outcome() -> None:
    both = StageSpec("both", 1, Scope.PRODUCT, KINDS[2], needs=(KINDS[0], KINDS[1]))
    left, right = (StageSpec(n, 1, Scope.IMAGE, k) for n, k in (("left", KINDS[0]), ("right", KINDS[1])))
    graph, of = StageGraph([both, left, right], {}), product("a", "b")
    runs = waiting(graph, of) | {("left", i): done(i) for i in "ab"}
    runs |= {("right", i): RunView(RunState.PARKED, reason=f"bad {i}") for i in "ab"}
    assert decide(graph, of, runs) == {("both", ""): Skip("both", "", "right: bad a")}


def test_a_skip_passes_on_the_first_cause_in_one_pass() -> None:
    graph, of = stub_graph(effect=True), product("a")
    runs = waiting(graph, of) | {("fetch", "a"): RunView(RunState.PARKED, reason="not-found")}
    decisions = decide(graph, of, runs)
    assert decisions["see", "a"] == Skip("see", "a", "fetch: not-found")
    assert decisions["tell", ""] == Skip("tell", "", "fetch: not-found")
    assert isinstance(decisions["announce", ""], Attach), "an effect is never skipped"
    runs["see", "a"] = RunView(RunState.SKIPPED, reason="fetch: not-found")
    assert decide(graph, of, runs)["tell", ""] == Skip("tell", "", "fetch: not-found"), "nor in a later one"
    blocked = waiting(graph, of) | {("fetch", "a"): done("x"), ("see", "a"): done("y", blocks="unsafe")}
    assert decide(graph, of, blocked)["tell", ""] == Skip("tell", "", "see: unsafe")
    assert decide(graph, product(), waiting(graph, product()))["tell", ""].reason == "no see to work on"  # type: ignore[union-attr]


def test_optional_inputs_are_waited_for_but_not_required() -> None:
    spec = StageSpec("user", 1, Scope.PRODUCT, KINDS[1], uses=(KINDS[0],))
    graph, of = StageGraph([StageSpec("maker", 1, Scope.PRODUCT, KINDS[0]), spec], {}), product()
    runs = waiting(graph, of)
    assert set(decide(graph, of, runs)) == {("maker", "")}
    runs["maker", ""] = RunView(RunState.PARKED, reason="x")
    without = decide(graph, of, runs)["user", ""]
    runs["maker", ""] = done("made", load_bytes=5)
    with_it = decide(graph, of, runs)["user", ""]
    assert isinstance(without, Attach)
    assert isinstance(with_it, Attach)
    assert without.fingerprint != with_it.fingerprint
    assert (without.load_bytes, with_it.load_bytes) == (0, 5)


def attach(
    graph: StageGraph, of: Product, runs: Mapping[RunKey, RunView], key: RunKey, plan: int = 7
) -> bytes:
    [found] = [d for d in graph.advance(of, plan, runs) if (d.stage, d.target) == key]
    assert isinstance(found, Attach)
    return found.fingerprint


def tell(
    graph: StageGraph, images: str = "ab", title: str = "T", digests: str = "xy", p: str = "p1", plan: int = 1
) -> bytes:
    of = product(*images, product_id=p, title=title)
    runs = waiting(graph, of) | {
        ("see", i): done(d) if d != "-" else RunView(RunState.PARKED, reason="r")
        for i, d in zip(images, digests, strict=True)
    }
    return attach(graph, of, runs, ("tell", ""), plan)


def test_fingerprint_depends_on_recipe_inputs_and_facts_and_on_nothing_else() -> None:
    graph = stub_graph()
    same = tell(graph)
    assert tell(graph, p="another product") == same
    assert tell(graph, images="cd") == same, "an image's id is a name, not an input"
    assert tell(graph, plan=2) == same
    changed = [
        tell(graph, title="Other"),
        tell(graph, digests="xz"),
        tell(graph, digests="yx"),
        tell(graph, digests="x-"),
        tell(stub_graph(recipes={"tell": Recipe("tell", 2)})),
        tell(stub_graph(recipes={"tell": Recipe("tell", 1, "e")})),
        tell(stub_graph(recipes={"tell": Recipe("tell", 1, "e", "r2")})),
        tell(stub_graph(recipes={"tell": Recipe("tell", 1, params={"k": 1})})),
    ]
    assert len({same, *changed}) == 1 + len(changed)
    assert tell(graph, digests="x-") == tell(graph, images="a", digests="x"), "as if it were not there"
    assert tell(stub_graph(recipes={"see": Recipe("see", 9)})) == same, "upstream counts by its digest only"


def test_an_effect_belongs_to_its_plan() -> None:
    graph, of = stub_graph(effect=True), product("a")
    runs = {key: done("x") for key in graph.runs_of(of)} | {("announce", ""): RunView(RunState.WAITING)}
    keys = [attach(graph, of, runs, ("announce", ""), plan) for plan in (1, 1, 2)]
    assert keys[0] == keys[1] != keys[2]


def test_signature_changes_with_any_recipe() -> None:
    assert stub_graph().signature == stub_graph().signature
    assert stub_graph().signature != stub_graph(recipes={"see": Recipe("see", 1, "engine", "2")}).signature
    assert stub_graph().signature != stub_graph(effect=True).signature


graphs = st.lists(
    st.tuples(
        st.sampled_from(Scope),
        st.sets(st.integers(0, 4), max_size=3),
        st.sets(st.integers(0, 4), max_size=2),
        st.booleans(),
    ),
    min_size=1,
    max_size=6,
)


def random_graph(shape: list[Any]) -> StageGraph:
    made = [
        StageSpec(
            f"s{n}",
            1,
            scope,
            KINDS[n],
            needs=tuple(KINDS[i] for i in sorted(needs) if i < n),
            uses=tuple(KINDS[i] for i in sorted(uses - needs) if i < n),
            effect=effect and scope is Scope.PRODUCT,
        )
        for n, (scope, needs, uses, effect) in enumerate(shape)
    ]
    return StageGraph(reversed(made), {})


def apply(graph: StageGraph, of: Product, runs: dict[RunKey, RunView]) -> list[RunKey]:
    """Do what ``advance`` says until it says no more; returns what may start."""
    started = []
    while decisions := graph.advance(of, 1, runs):
        for d in decisions:
            view = runs[d.stage, d.target]
            if isinstance(d, Skip):
                view.state, view.reason = RunState.SKIPPED, d.reason
            else:
                view.state = RunState.READY
                started.append((d.stage, d.target))
    return started


@given(graphs, st.integers(0, 3), st.randoms(use_true_random=False))
def test_any_graph_with_any_outcomes_ends_with_every_run_settled(
    shape: list[Any], images: int, chance: random.Random
) -> None:
    graph, of = random_graph(shape), product(*"abc"[:images])
    runs = waiting(graph, of)
    ready = apply(graph, of, runs)
    assert graph.advance(of, 1, runs) == [], "asked again, it has nothing to add"
    while ready:
        key = ready.pop(chance.randrange(len(ready)))
        assert runs[key].state is RunState.READY, "nothing starts twice"
        kind = chance.choice(["done", "blocks", "parked"])
        runs[key] = RunView(
            RunState.PARKED if kind == "parked" else RunState.DONE,
            None if kind == "parked" else repr(key).encode(),
            blocks="blocked" if kind == "blocks" else None,
            reason="broken" if kind == "parked" else "",
        )
        ready += apply(graph, of, runs)
    assert all(view.settled for view in runs.values())
    effects = {n for n, spec in graph.stages.items() if spec.effect}
    assert all(v.state is not RunState.SKIPPED for (s, _), v in runs.items() if s in effects)
    assert all(view.reason for view in runs.values() if view.state is RunState.SKIPPED)


@given(graphs, st.randoms(use_true_random=False))
def test_what_starts_does_not_depend_on_the_order_of_what_ended(
    shape: list[Any], chance: random.Random
) -> None:
    graph, of = random_graph(shape), product("a", "b")
    fate = {key: chance.choice(["done", "parked"]) for key in graph.runs_of(of)}

    def play(order: random.Random) -> dict[RunKey, tuple[RunState, str]]:
        runs = dict(sorted(waiting(graph, of).items(), key=lambda _: order.random()))
        ready = apply(graph, of, runs)
        while ready:
            key = ready.pop(order.randrange(len(ready)))
            good = fate[key] == "done"
            runs[key] = done(repr(key)) if good else RunView(RunState.PARKED, reason=f"bad {key}")
            ready += apply(graph, of, runs)
        return {key: (view.state, view.reason) for key, view in runs.items()}

    assert play(random.Random(1)) == play(random.Random(2))
