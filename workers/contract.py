"""The event contract as documents: JSON Schema 2020-12 and AsyncAPI 3.0, generated from the models.

``python -m workers.contract`` writes them to ``docs/``.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, Final

from pydantic import Field, TypeAdapter
from pydantic.json_schema import GenerateJsonSchema

from pipeline.events import UPDATED, UPLOADED, WITHDRAWN, ProductEvent, WithdrawalEvent
from workers.publisher import CONTENT_TYPE, EXCHANGE, QUEUE, ROUTING_KEY

_EVENTS: TypeAdapter[ProductEvent | WithdrawalEvent] = TypeAdapter(
    Annotated[ProductEvent | WithdrawalEvent, Field(discriminator="type")]
)

EXAMPLES: Final[dict[str, dict[str, Any]]] = {
    UPLOADED: {
        "specversion": "1.0",
        "source": "https://catalog.example.com/shops/1",
        "id": "8e1f4a52-9c0b-4d0e-9d53-0d2a3f1f7c10",
        "type": UPLOADED,
        "time": "2026-03-01T09:30:00.125Z",
        "datacontenttype": "application/json",
        "traceparent": "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
        "data": {
            "product_id": "linen-shirt",
            "revision": 1,
            "title": "亚麻衬衫",
            "description": "Regular fit, button-down collar.",
            "category": "Clothing/Shirts",
            "brand": "Norden",
            "tags": ["linen", "summer"],
            "locale": "zh-CN",
            "price": {"amount": "299.00", "currency": "CNY"},
            "tier": "high",
            "images": [
                {"id": "front", "url": "https://cdn.example.com/linen-shirt/front.jpg"},
                {
                    "id": "back",
                    "url": "https://cdn.example.com/linen-shirt/back.jpg",
                    "position": 1,
                    "role": "back",
                    "sha256": "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08",
                },
            ],
            "variants": [
                {"id": "m", "sku": "LS-1-M", "options": {"size": "M"}, "image_ids": ["front", "back"]}
            ],
        },
    },
    UPDATED: {
        "specversion": "1.0",
        "source": "https://catalog.example.com/shops/1",
        "id": "b7b6d3de-5f0c-4f62-8a3a-6f1f0b8f2a11",
        "type": UPDATED,
        "time": "2026-03-02T10:00:00Z",
        "data": {
            "product_id": "linen-shirt",
            "revision": 2,
            "title": "Linen shirt",
            "relist": True,
            "images": [{"id": "front", "url": "https://cdn.example.com/linen-shirt/front-2.jpg"}],
        },
    },
    WITHDRAWN: {
        "specversion": "1.0",
        "source": "https://catalog.example.com/shops/1",
        "id": "0c9d3a77-31bd-4f2b-8f0e-22a1a5f6c912",
        "type": WITHDRAWN,
        "time": "2026-03-03T11:00:00+08:00",
        "data": {"product_id": "linen-shirt", "revision": 2},
    },
}


class _Untitled(GenerateJsonSchema):
    """Without the titles that only repeat a field's name."""

    def field_title_should_be_set(self, schema: Any) -> bool:
        return False


def event_schema() -> dict[str, Any]:
    """JSON Schema 2020-12 of one event in CloudEvents structured mode."""
    schema = _EVENTS.json_schema(schema_generator=_Untitled)
    definitions = schema.pop("$defs")
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "$id": "urn:vitrine:schema:product-event:v1",
        "title": "Product event",
        "description": "What a catalog system tells Vitrine about one product, as a CloudEvent in JSON.",
        **schema,
        "$defs": _on_the_wire(definitions),
    }


def asyncapi() -> dict[str, Any]:
    """AsyncAPI 3.0 document of the one channel that Vitrine reads."""
    _, generated = TypeAdapter.json_schemas(
        [("event", "validation", _EVENTS)],
        ref_template="#/components/schemas/{model}",
        schema_generator=_Untitled,
    )
    names = {UPLOADED: "ProductUploaded", UPDATED: "ProductUpdated", WITHDRAWN: "ProductWithdrawn"}
    payloads = {UPLOADED: "ProductEvent", UPDATED: "ProductEvent", WITHDRAWN: "WithdrawalEvent"}
    return {
        "asyncapi": "3.0.0",
        "info": {
            "title": "Vitrine product events",
            "version": "1.0.0",
            "description": "Events of a catalog system, delivered at least once; see docs/events.md.",
            "license": {"name": "Apache-2.0"},
        },
        "defaultContentType": CONTENT_TYPE,
        "channels": {
            "catalog": {
                "address": ROUTING_KEY,
                "description": f"Exchange {EXCHANGE.name}, read by Vitrine from the queue {QUEUE.name}.",
                "messages": {name: {"$ref": f"#/components/messages/{name}"} for name in names.values()},
                "bindings": {
                    "amqp": {
                        "is": "routingKey",
                        "exchange": {
                            "name": EXCHANGE.name,
                            "type": EXCHANGE.type,
                            "durable": EXCHANGE.durable,
                            "autoDelete": EXCHANGE.auto_delete,
                            "vhost": "/",
                        },
                        "bindingVersion": "0.3.0",
                    }
                },
            }
        },
        "operations": {
            "takeProductEvents": {
                "action": "receive",
                "channel": {"$ref": "#/channels/catalog"},
                "summary": "Vitrine takes product events in; one is accepted once it is committed.",
                "messages": [{"$ref": f"#/channels/catalog/messages/{name}"} for name in names.values()],
                "bindings": {"amqp": {"deliveryMode": 2, "ack": True, "bindingVersion": "0.3.0"}},
            }
        },
        "components": {
            "messages": {
                name: {
                    "name": kind,
                    "title": name,
                    "contentType": CONTENT_TYPE,
                    "payload": {"$ref": f"#/components/schemas/{payloads[kind]}"},
                    "examples": [{"name": kind, "payload": EXAMPLES[kind]}],
                    "bindings": {"amqp": {"contentEncoding": "utf-8", "bindingVersion": "0.3.0"}},
                }
                for kind, name in names.items()
            },
            "schemas": _on_the_wire(generated["$defs"]),
        },
    }


def _on_the_wire(definitions: dict[str, Any]) -> dict[str, Any]:
    for name in ("ProductEvent", "WithdrawalEvent"):
        # In Python some of these have a default; in a message each of them must be written out.
        definitions[name]["required"] = ["specversion", "source", "id", "type", "time", "data"]
    return definitions


DOCUMENTS: Final[dict[str, Callable[[], dict[str, Any]]]] = {
    "events.schema.json": event_schema,
    "asyncapi.json": asyncapi,
}


def rendered(name: str) -> str:
    """The text of one of ``DOCUMENTS`` as it is committed."""
    return json.dumps(DOCUMENTS[name](), indent=2, ensure_ascii=False) + "\n"


if __name__ == "__main__":
    for document in DOCUMENTS:
        (Path(__file__).parents[1] / "docs" / document).write_text(rendered(document), encoding="utf-8")
