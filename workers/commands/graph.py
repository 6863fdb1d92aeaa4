"""``vitrine graph``: the stages as a table, as JSON, or for Graphviz."""

from __future__ import annotations

from collections.abc import Iterator

import click

from pipeline.graph import StageGraph, StageSpec
from workers.bootstrap import build_graph
from workers.commands.terminal import console, print_json, rows, table
from workers.settings import settings


@click.command()
@click.option("--json", "form", flag_value="json", help="Print JSON.")
@click.option("--dot", "form", flag_value="dot", help="Print a graph for Graphviz.")
@click.option(
    "--plain", "form", flag_value="plain", help="Print the edges only, without engines and revisions."
)
def graph(form: str | None) -> None:
    """Print the stages in the order in which each comes after what it needs.

    \b
    Example:
      vitrine graph
      vitrine graph --dot | dot -Tsvg > graph.svg
    """
    made = build_graph(settings())
    match form:
        case "json":
            print_json(
                {"signature": made.signature, "stages": [_described(made, name) for name in made.stages]}
            )
        case "dot":
            click.echo(dot(made))
        case "plain":
            click.echo(plain(made))
        case _:
            _print(made)


def plain(made: StageGraph) -> str:
    """One line a stage, the same for every set of models."""
    return "\n".join(
        f"{name}@{spec.version} {spec.scope} queue={spec.queue} needs={','.join(_needs(made, spec)) or '-'}"
        f" uses={','.join(_uses(made, spec)) or '-'} role={spec.role or '-'}"
        for name, spec in made.stages.items()
    )


def dot(made: StageGraph) -> str:
    """The graph in Graphviz' language; what is used where it is there is dashed."""
    lines = ["digraph vitrine {", "  rankdir=LR;"]
    for name, spec in made.stages.items():
        shape = "box" if spec.scope == "image" else "box3d"
        lines.append(f'  "{name}" [shape={shape}, label="{name}\\n{spec.scope}, {spec.queue}"];')
        lines += [f'  "{other}" -> "{name}";' for other in _needs(made, spec)]
        lines += [f'  "{other}" -> "{name}" [style=dashed];' for other in _uses(made, spec)]
    return "\n".join([*lines, "}"])


def _described(made: StageGraph, name: str) -> dict[str, object]:
    spec, recipe = made.stages[name], made.recipes[name]
    return {
        "stage": name,
        "version": spec.version,
        "scope": spec.scope,
        "needs": _needs(made, spec),
        "uses": _uses(made, spec),
        "effect": spec.effect,
        "queue": spec.queue,
        "batch": spec.batch,
        "role": spec.role,
        "engine": recipe.engine,
        "revision": recipe.revision,
        "params": dict(recipe.params),
        "routes": [
            {
                "engines": [answering.label for answering in rule.chain],
                "categories": list(rule.categories),
                "tiers": list(rule.tiers),
                "locales": list(rule.locales),
                "percent": rule.below,
            }
            for rule in made.rules[name]
            if len(made.rules[name]) > 1
        ],
    }


def _print(made: StageGraph) -> None:
    depth: dict[str, int] = {}
    for name in made.stages:
        depth[name] = max((depth[other] + 1 for other in made.upstream(name)), default=0)
    shown = table("stage", "scope", "needs", "queue", "engine", "revision")
    lines = []
    for name, spec in made.stages.items():
        described = _described(made, name)
        needs = [*_needs(made, spec), *(f"({other})" for other in _uses(made, spec))]
        engine, revision = described["engine"], described["revision"]
        lines.append(("  " * depth[name] + name, spec.scope, ", ".join(needs), spec.queue, engine, revision))
    out = console()
    out.print(rows(shown, lines))
    if made.routed:
        out.print()
        out.print(rows(table(*_ROUTES, right=("share",), title="Routes, first match first"), _routes(made)))


_ROUTES = ("stage", "category", "tier", "locale", "share", "engine", "while it is down")


def _routes(made: StageGraph) -> Iterator[tuple[object, ...]]:
    for name, rules in made.rules.items():
        for rule in rules if len(rules) > 1 else ():
            yield (
                name,
                ", ".join(rule.categories) or "any",
                ", ".join(rule.tiers) or "any",
                ", ".join(rule.locales) or "any",
                f"{rule.below}%",
                rule.recipe.label,
                ", ".join(recipe.engine for recipe in rule.fallbacks) or "wait",
            )


def _needs(made: StageGraph, spec: StageSpec) -> list[str]:
    return [name for name in made.stages if made.stages[name].produces in spec.needs]


def _uses(made: StageGraph, spec: StageSpec) -> list[str]:
    return [name for name in made.stages if made.stages[name].produces in spec.uses]
