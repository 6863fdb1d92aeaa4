"""The generated documents agree with the parser and with what is committed."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft7Validator, Draft202012Validator, FormatChecker

from pipeline.errors import ContractError
from pipeline.events import parse_event
from workers.contract import DOCUMENTS, EXAMPLES, asyncapi, event_schema, rendered
from workers.publisher import EXCHANGE

DOCS = Path(__file__).parents[2] / "docs"


def accepts(event: Any) -> bool:
    return Draft202012Validator(event_schema(), format_checker=FormatChecker()).is_valid(event)


@pytest.mark.parametrize("name", DOCUMENTS)
def test_the_committed_document_is_the_generated_one(name: str) -> None:
    committed = (DOCS / name).read_text(encoding="utf-8")
    assert committed == rendered(name), "run: python -m workers.contract"


def test_the_schema_is_a_schema() -> None:
    Draft202012Validator.check_schema(event_schema())
    assert event_schema()["$id"].startswith("urn:")


@pytest.mark.parametrize("kind", EXAMPLES)
def test_an_example_satisfies_the_schema_and_the_parser(kind: str) -> None:
    assert accepts(EXAMPLES[kind])
    event = parse_event(json.dumps(EXAMPLES[kind]).encode())
    assert event.type == kind
    assert accepts(json.loads(event.to_json()))


@pytest.mark.parametrize(
    "path",
    [
        ("specversion",),
        ("source",),
        ("id",),
        ("type",),
        ("time",),
        ("data",),
        ("data", "product_id"),
        ("data", "revision"),
        ("data", "images", 0, "url"),
        ("data", "variants", 0, "sku"),
        ("data", "price", "currency"),
    ],
)
def test_schema_and_parser_miss_the_same_fields(path: tuple[str | int, ...]) -> None:
    event: Any = copy.deepcopy(EXAMPLES["product.uploaded.v1"])
    holder = event
    for step in path[:-1]:
        holder = holder[step]
    del holder[path[-1]]
    assert not accepts(event)
    with pytest.raises(ContractError) as caught:
        parse_event(json.dumps(event).encode())
    assert (caught.value.reason, caught.value.field) == ("missing-field", ".".join(map(str, path)))


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("product_id", "a\u0001"),
        ("revision", 0),
        ("title", "x" * 1_001),
        ("tags", ["x"] * 65),
        ("tier", "gold"),
        ("price", {"amount": "cheap", "currency": "EUR"}),
        ("images", [{"id": str(n), "url": "https://a/b"} for n in range(65)]),
    ],
)
def test_schema_and_parser_refuse_the_same_values(field: str, value: Any) -> None:
    event = copy.deepcopy(EXAMPLES["product.updated.v1"])
    event["data"][field] = value
    assert not accepts(event)
    with pytest.raises(ContractError):
        parse_event(json.dumps(event).encode())


def test_every_field_of_the_schema_is_described() -> None:
    for name, definition in event_schema()["$defs"].items():
        assert definition["description"]
        for field, rule in definition["properties"].items():
            assert rule.get("description") or "$ref" in rule, f"{name}.{field}"


def references(value: Any) -> list[str]:
    if isinstance(value, dict):
        own = [value["$ref"]] if "$ref" in value else []
        return own + [ref for inner in value.values() for ref in references(inner)]
    if isinstance(value, list):
        return [ref for inner in value for ref in references(inner)]
    return []


def test_asyncapi_is_whole_and_its_examples_are_valid() -> None:
    document = asyncapi()
    assert document["asyncapi"] == "3.0.0"
    assert len(references(document)) > 10
    for reference in references(document):
        target: Any = document
        for step in reference.removeprefix("#/").split("/"):
            target = target[step]
    assert document["channels"]["catalog"]["bindings"]["amqp"]["exchange"]["name"] == EXCHANGE.name
    # AsyncAPI's own schema language is a superset of draft 7.
    for message in document["components"]["messages"].values():
        validator = Draft7Validator({**message["payload"], "components": document["components"]})
        for example in message["examples"]:
            assert validator.is_valid(example["payload"])
            assert not validator.is_valid({**example["payload"], "data": {}})
