"""``vitrine ask``: a question about one product, to the engine that answers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import click

from engines.devices import Device
from engines.protocols import Answerer, Brief, Evidence, Printed, Question, Subject, Tag, Witness
from engines.words.vocabulary import vocabulary
from pipeline.errors import EngineDown, RejectedInput
from pipeline.keys import Recipe
from pipeline.products import Product
from pipeline.routing import choose
from storage.presentations import Presentations
from storage.timeline import Timeline
from tasks._runtime import catalog_facts
from tasks.caption import whole
from tasks.cutout import CutOut
from tasks.photo import Photo
from tasks.screen import Screened
from workers.bootstrap import build_engines, build_federation, build_ledger, build_runtime
from workers.commands.terminal import harmless, print_json
from workers.settings import settings

_ROLE = "answerer"
_MOST = 500


@click.command()
@click.argument("product")
@click.argument("question")
@click.option("--source", help="Catalog it comes from, where several use the same id.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.pass_context
def ask(context: click.Context, product: str, question: str, source: str | None, as_json: bool) -> None:
    """Ask a question about a product, in English or Chinese; it is answered in the same language.

    The answer rests on what the shop shows of it: the embedded engine answers from its tags and the merchant's
    facts and declines the rest. Exits with 1 where it declines.

    \b
    Example:
      vitrine ask linen-shirt "What colour is it?"
      vitrine ask linen-shirt "是条纹的吗？"
    """
    if not question.strip() or len(question) > _MOST:
        raise click.UsageError(f"ask in 1 to {_MOST} characters")
    here = settings().connected("database_url")
    ledger = build_ledger(here, "vitrine ask")
    known = Timeline(ledger.engine, ledger.graph).show(product, source)
    shown = Presentations(ledger.engine).read(product, known["source"])
    if shown is None:
        raise RejectedInput("not-shown", f"the shop shows nothing of {product}: see `vitrine show`")
    engines = build_engines(here, Device.choose())
    rules = build_federation(here, engines).rules(_ROLE, Recipe("ask", 1))
    listed = Product.model_validate(known["facts"])
    chain = choose(rules, listed).chain
    for place, recipe in enumerate(chain):
        spec = engines.spec(recipe.engine)
        answerer: Answerer = engines.get(spec.name)
        try:
            (answer,) = answerer.answer([Question(question, _brief(listed, known, shown, spec.reads))])
            break
        except EngineDown:
            if place == len(chain) - 1:
                raise
    if isinstance(answer, RejectedInput):
        raise answer
    if as_json:
        print_json(
            {
                "question": question,
                "answer": answer.text,
                "because": answer.because,
                "confidence": answer.confidence,
                "engine": spec.label,
            }
        )
    else:
        click.echo(harmless(answer.text or _declined(spec.template)))
        click.echo(f"because: {harmless(answer.because)}")
        sure = f", confidence {answer.confidence:.2f}" if answer.text is not None else ""
        click.echo(f"engine: {spec.label}{sure}")
    context.exit(0 if answer.text is not None else 1)


def _declined(template: bool) -> str:
    if not template:
        return "It declines to answer."
    return (
        "I can only tell what the product's tags and the merchant say: what it is, its colours, pattern, material, "
        "style, scene, brand and printed text, as far as they are known."
    )


def _brief(facts: Product, known: Mapping[str, Any], shown: Mapping[str, Any], reads: Sequence[str]) -> Brief:
    """As the shop shows it, a merchant's corrections included; the photos are read when an engine asks."""
    lines = [line for image in shown["images"] for line in image.get("texts", ())]
    return Brief(
        catalog_facts(facts).only(reads),
        _tags(shown),
        tuple(Printed(line["text"], line["confidence"], tuple(line["box"])) for line in lines),
        lambda: _subjects(known),
    )


def _tags(shown: Mapping[str, Any]) -> tuple[Tag, ...]:
    """A merchant's correction may leave out confidence and evidence: it is certain, and its own reason."""
    words = vocabulary()
    return tuple(
        Tag(
            tag["attribute"],
            tag["value"],
            tag.get("confidence", 1.0),
            tuple(Evidence(Witness(item["witness"]), item["words"]) for item in tag.get("evidence", ())),
        )
        for tag in shown.get("tags", ())
        if tag.get("attribute") in words.attributes and tag.get("value") in words.values(tag["attribute"])
    )


def _subjects(known: Mapping[str, Any]) -> list[Subject]:
    """The photos that may be shown, with their cut-outs where there are any, from the asset store."""
    runtime = build_runtime(settings().connected())
    try:
        done: dict[str, dict[str, Any]] = {"photo": {}, "screen": {}, "cutout": {}}
        for run in known["runs"]:
            if run["stage"] in done and run["outcome"] is not None:
                done[run["stage"]][run["target"]] = run["outcome"]
        subjects = []
        for target, screened in done["screen"].items():
            if Screened.model_validate(screened).blocks() is None:
                pixels = runtime.pixels(Photo.model_validate(done["photo"][target]).image)
                cut = done["cutout"].get(target)
                alpha = runtime.alpha(CutOut.model_validate(cut).mask) if cut else whole(pixels)
                subjects.append(Subject(pixels, alpha))
    finally:
        runtime.ledger.engine.dispose()
    return subjects
