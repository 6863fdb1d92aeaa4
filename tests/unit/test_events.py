"""The event contract: what parses, what is refused under which name, and that nothing else is raised."""

from __future__ import annotations

import json
import time
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.errors import ContractError
from pipeline.events import (
    MAX_EVENT_BYTES,
    Event,
    ForeignWithdrawal,
    ImageRef,
    Price,
    Product,
    ProductEvent,
    Variant,
    Withdrawal,
    WithdrawalEvent,
    legible_identity,
    parse_event,
)

TRACE = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"


def envelope(**changes: Any) -> dict[str, Any]:
    """A product event as a dictionary; a value of None takes the attribute out."""
    whole: dict[str, Any] = {
        "specversion": "1.0",
        "source": "/shops/demo",
        "id": "evt-1",
        "type": "product.uploaded.v1",
        "time": "2026-01-02T03:04:05.123456Z",
        "data": {
            "product_id": "p1",
            "revision": 3,
            "title": "亚麻衬衫",
            "tags": ["linen"],
            "price": {"amount": "49.90", "currency": "EUR"},
            "images": [
                {"id": "front", "url": "https://cdn.example.com/1.jpg", "sha256": "AB" * 32},
                {"id": "back", "url": "https://cdn.example.com/2.jpg", "role": "back", "view_angle": 180},
            ],
            "variants": [{"id": "m", "sku": "S-M", "options": {"size": "M"}, "image_ids": ["back"]}],
        },
    }
    return {name: value for name, value in (whole | changes).items() if value is not None}


def data(**changes: Any) -> dict[str, Any]:
    """A product event whose data differ; a value of None takes the field out."""
    inner = {k: v for k, v in (envelope()["data"] | changes).items() if v is not None}
    return envelope(data=inner)


def encoded(value: Any) -> bytes:
    return json.dumps(value).encode()


def refusal(raw: bytes) -> ContractError:
    with pytest.raises(ContractError) as caught:
        parse_event(raw)
    return caught.value


def test_a_product_event_becomes_frozen_values() -> None:
    event = parse_event(encoded(envelope(traceparent=TRACE, tracestate="a=b")))
    assert (event.source, event.id, event.type) == ("/shops/demo", "evt-1", "product.uploaded.v1")
    assert (event.product_id, event.revision, event.is_withdrawal) == ("p1", 3, False)
    moment = datetime(2026, 1, 2, 3, 4, 5, 123456, tzinfo=UTC)
    assert event.order == (3, moment, "evt-1")
    assert (event.traceparent, event.tracestate) == (TRACE, "a=b")
    product = event.data
    assert isinstance(product, Product)
    assert product.title == "亚麻衬衫"
    assert product.price == Price(amount=Decimal("49.90"), currency="EUR")
    assert product.images[0] == ImageRef(
        id="front", url="https://cdn.example.com/1.jpg", sha256="ab" * 32, role="front"
    )
    assert product.images[1].view_angle == 180.0
    assert product.variants[0].options == {"size": "M"}
    with pytest.raises(ValueError, match="frozen"):
        product.title = "other"


def test_a_withdrawal_holds_a_revision_or_is_thin() -> None:
    full = parse_event(
        encoded(envelope(type="product.withdrawn.v1", data={"product_id": "p1", "revision": 4}))
    )
    thin = parse_event(encoded(envelope(type="product.withdrawn.v1", data={"product_id": "p1"})))
    assert (full.is_withdrawal, full.revision, full.order[0]) == (True, 4, 4)
    assert (thin.is_withdrawal, thin.revision, thin.order[0]) == (True, None, 0)


@pytest.mark.parametrize("version", ["0", "2", "17"])
def test_a_withdrawal_of_any_version_applies_by_its_product_id_alone(version: str) -> None:
    kind = f"product.withdrawn.v{version}"
    event = parse_event(
        encoded(envelope(type=kind, data={"product_id": "p1", "revision": {"epoch": 1}}, traceparent=TRACE))
    )
    assert isinstance(event, ForeignWithdrawal)
    assert event.data == Withdrawal(product_id="p1")
    assert (event.type, event.traceparent) == (kind, TRACE)
    assert parse_event(event.to_json()) == event


@pytest.mark.parametrize(
    ("event", "reason", "field"),
    [
        (envelope(type="product.sold.v1"), "unknown-type", "type"),
        (envelope(type="product.uploaded.v"), "unknown-type", "type"),
        (envelope(type="product.uploaded.v١"), "unknown-type", "type"),
        (envelope(type=7), "unknown-type", "type"),
        (envelope(type="product.uploaded.v2"), "unknown-version", "type"),
        (envelope(type="product.withdrawn.v2", data={"id": "p1"}), "unknown-version", "type"),
        (envelope(type="product.withdrawn.v2", data={"product_id": "a\nb"}), "unknown-version", "type"),
        (envelope(type="product.withdrawn.v2", time="soon"), "invalid-field", "time"),
        (envelope(type="product.withdrawn.v2", specversion=None), "missing-field", "specversion"),
        (
            envelope(type="product.withdrawn.v1", data={"product_id": "p", "revision": 0}),
            "invalid-field",
            "data.revision",
        ),
        (envelope(type=None), "missing-field", "type"),
        (envelope(specversion=None), "missing-field", "specversion"),
        (envelope(specversion="0.3"), "invalid-field", "specversion"),
        (envelope(id=None), "missing-field", "id"),
        (envelope(id=""), "invalid-field", "id"),
        (envelope(id="x" * 201), "invalid-field", "id"),
        (envelope(source="a\tb"), "invalid-field", "source"),
        (envelope(time=None), "missing-field", "time"),
        (envelope(time="2026-01-02T03:04:05"), "invalid-field", "time"),
        (envelope(time=1767323045), "invalid-field", "time"),
        (envelope(time="9999-12-31T23:59:59-12:00"), "invalid-field", "time"),
        (envelope(data=None), "missing-field", "data"),
        (envelope(data="text"), "invalid-field", "data"),
        (envelope(data=None, data_base64="e30="), "invalid-field", "data_base64"),
        (envelope(data_base64="e30="), "invalid-field", "data_base64"),
        (envelope(datacontenttype="text/xml"), "invalid-field", "datacontenttype"),
        (data(product_id=None), "missing-field", "data.product_id"),
        (data(revision="3"), "invalid-field", "data.revision"),
        (data(revision=True), "invalid-field", "data.revision"),
        (data(revision=0), "invalid-field", "data.revision"),
        (data(revision=2**62 + 1), "invalid-field", "data.revision"),
        (data(title="x" * 1_001), "invalid-field", "data.title"),
        (data(title=["x"]), "invalid-field", "data.title"),
        (data(description="x" * 20_001), "invalid-field", "data.description"),
        (data(tags=["x"] * 65), "invalid-field", "data.tags"),
        (data(tags=["ok", "x" * 101]), "invalid-field", "data.tags.1"),
        (data(locale="en_GB"), "invalid-field", "data.locale"),
        (data(tier="gold"), "invalid-field", "data.tier"),
        (data(relist="yes"), "invalid-field", "data.relist"),
        (data(price={"amount": "-1", "currency": "EUR"}), "invalid-field", "data.price.amount"),
        (data(price={"amount": "NaN", "currency": "EUR"}), "invalid-field", "data.price.amount"),
        (data(price={"amount": "1", "currency": "euro"}), "invalid-field", "data.price.currency"),
        (data(images=[{"id": "a", "url": "x.jpg"}]), "invalid-field", "data.images.0.url"),
        (data(images=[{"id": "a", "url": "x:" + "y" * 4_095}]), "invalid-field", "data.images.0.url"),
        (data(images=[{"id": "a", "url": "https://a/b"}] * 2), "duplicate-id", "data.images"),
        (
            data(images=[{"id": str(n), "url": "https://a/b"} for n in range(65)]),
            "invalid-field",
            "data.images",
        ),
        (data(images=[]), "unknown-image", "data.variants"),
        (data(variants=[{"id": "a", "sku": "b"}] * 2), "duplicate-id", "data.variants"),
    ],
)
def test_what_breaks_the_contract_is_named(event: dict[str, Any], reason: str, field: str) -> None:
    error = refusal(encoded(event))
    assert (error.reason, error.field) == (reason, field)
    assert len(str(error)) < 1_000


@pytest.mark.parametrize(
    ("raw", "reason"),
    [
        (b"", "invalid-json"),
        (b"{", "invalid-json"),
        (b"\xff\xfe", "invalid-json"),
        (encoded(envelope()) + b"{}", "invalid-json"),
        (encoded(envelope())[:-1] + rb',"x":"\ud800"}', "invalid-json"),
        (b"[]", "invalid-field"),
        (b"[" * 500_000, "too-deep"),
        (b'{"data":' * 100_000, "too-deep"),
        (encoded(envelope())[:-1] + b',"x":NaN}', "not-finite"),
        (encoded(envelope())[:-1] + b',"x":[-Infinity]}', "not-finite"),
        (encoded(envelope())[:-1] + rb',"x":"\u0000"}', "nul-character"),
        (encoded(envelope())[:-1] + rb',"\\\u0000":1}', "nul-character"),
        (encoded(envelope(id="a\0b")), "nul-character"),
        (b" " * (MAX_EVENT_BYTES + 1), "too-large"),
    ],
)
def test_a_hostile_body_is_refused_quickly(raw: bytes, reason: str) -> None:
    started = time.process_time()
    assert refusal(raw).reason == reason
    assert time.process_time() - started < 0.5


def test_the_byte_cap_is_checked_before_parsing() -> None:
    raw = encoded(envelope())
    assert parse_event(raw, max_bytes=len(raw)).id == "evt-1"
    with pytest.raises(ContractError, match="too-large"):
        parse_event(raw, max_bytes=len(raw) - 1)


def test_words_that_only_look_dangerous_are_text() -> None:
    event = parse_event(encoded(data(title="NaN Infinity \\u0000", description='say "NaN" \\\\u0000')))
    assert isinstance(event.data, Product)
    assert event.data.title == "NaN Infinity \\u0000"
    assert parse_event(encoded(data(note='"data_base64"'))).id == "evt-1"


def test_unknown_fields_are_dropped_and_the_last_of_two_keys_counts() -> None:
    raw = encoded(envelope(partitionkey="a"))[:-1] + b',"id":"evt-2"}'
    event = parse_event(raw)
    assert event.id == "evt-2"
    assert b"partitionkey" not in event.to_json()
    added = data(weight=3)
    added["data"]["images"][0]["credit"] = {"name": "x"}
    assert parse_event(encoded(added)) == parse_event(encoded(data()))


@pytest.mark.parametrize(
    "traceparent",
    [
        TRACE.upper(),
        "00-" + "0" * 32 + "-00f067aa0ba902b7-01",
        "00-4bf92f3577b34da6a3ce929d0e0e4736-" + "0" * 16 + "-01",
        "ff" + TRACE[2:],
        TRACE + "-extra",
        "x" * 10_000,
        {"a": 1},
        7,
    ],
)
def test_an_invalid_trace_is_dropped_with_its_state(traceparent: Any) -> None:
    event = parse_event(encoded(envelope(traceparent=traceparent, tracestate="a=b")))
    assert (event.traceparent, event.tracestate) == (None, None)


def test_a_trace_of_a_later_version_is_kept() -> None:
    later = "01" + TRACE[2:] + "-more"
    assert parse_event(encoded(envelope(traceparent=later))).traceparent == later
    assert parse_event(encoded(envelope(traceparent=TRACE, tracestate="\n"))).tracestate is None


def test_a_content_type_with_a_charset_is_json() -> None:
    parse_event(encoded(envelope(datacontenttype="application/json; charset=utf-8")))


def test_values_made_in_python_obey_the_same_limits() -> None:
    with pytest.raises(ValueError, match="title"):
        Product(product_id="p", revision=1, title="a\0b")
    with pytest.raises(ValueError, match="share an id"):
        Product(product_id="p", revision=1, variants=(Variant(id="a", sku="b"),) * 2)


def test_the_identity_of_a_broken_message_is_legible_for_its_quarantine() -> None:
    raw = encoded(data(title=7))
    assert legible_identity(raw) == ("/shops/demo", "evt-1", "p1")
    assert legible_identity(raw[: raw.index(b"revision")]) == ("/shops/demo", "evt-1", "p1")
    long = data(description="x" * 2_000_000)
    assert legible_identity(encoded(long)) == ("/shops/demo", "evt-1", "p1")
    assert legible_identity(encoded(envelope(id="a\0", source="x" * 201, data=[]))) == (None, None, None)
    assert legible_identity(b"[" * 100_000) == (None, None, None)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=20,
)
names = st.sampled_from([*envelope(), "traceparent", "tracestate", "data_base64", "datacontenttype"])
fields = st.sampled_from(
    [*envelope()["data"], "description", "category", "brand", "locale", "tier", "relist"]
)


@given(st.binary(max_size=300) | json_values.map(encoded))
def test_arbitrary_bytes_raise_nothing_but_contract_errors(raw: bytes) -> None:
    legible_identity(raw)
    refusal(raw)


@settings(max_examples=400)
@given(
    st.dictionaries(names, json_values, max_size=3),
    st.dictionaries(fields, json_values, max_size=3),
    st.sampled_from(["product.uploaded.v1", "product.withdrawn.v1", "product.withdrawn.v9"]),
)
def test_a_damaged_event_parses_or_raises_a_contract_error(
    attributes: dict[str, Any], changes: dict[str, Any], kind: str
) -> None:
    raw = encoded({**envelope(type=kind), "data": envelope()["data"] | changes} | attributes)
    legible_identity(raw)
    try:
        event = parse_event(raw)
    except ContractError:
        return
    assert parse_event(event.to_json()) == event


text = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=30)
ids = st.text(st.characters(exclude_categories=["Cs", "Cc"]), min_size=1, max_size=200)
moments = st.datetimes(
    min_value=datetime(1970, 1, 2), max_value=datetime(9998, 12, 30), timezones=st.just(UTC)
)
images = st.builds(
    ImageRef,
    id=ids,
    url=st.from_regex(r"https://[a-z0-9/.]{1,40}", fullmatch=True),
    position=st.integers(0, 100_000),
    role=st.sampled_from(["front", "back", "detail", "spin"]),
    sha256=st.none() | st.from_regex(r"[0-9a-f]{64}", fullmatch=True),
    view_angle=st.none() | st.floats(-360, 360),
)
products = st.builds(
    Product,
    product_id=ids,
    revision=st.integers(1, 2**62),
    title=text,
    description=text,
    category=text,
    brand=text,
    tags=st.lists(text.filter(bool), max_size=5).map(tuple),
    locale=st.sampled_from(["en", "zh-Hans-CN", "de-1996"]),
    price=st.none()
    | st.builds(
        Price,
        amount=st.decimals(0, 10**12 - 1, places=6),
        currency=st.from_regex(r"[A-Z]{3}", fullmatch=True),
    ),
    tier=st.sampled_from(["standard", "high"]),
    images=st.lists(images, max_size=4, unique_by=lambda image: image.id).map(tuple),
    variants=st.lists(st.builds(Variant, id=ids, sku=ids), max_size=2, unique_by=lambda v: v.id).map(tuple),
    relist=st.booleans(),
)
events = st.builds(
    ProductEvent,
    source=ids,
    id=ids,
    type=st.sampled_from(["product.uploaded.v1", "product.updated.v1"]),
    time=moments,
    traceparent=st.none() | st.just(TRACE),
    data=products,
) | st.builds(
    WithdrawalEvent,
    source=ids,
    id=ids,
    time=moments,
    data=st.builds(Withdrawal, product_id=ids, revision=st.none() | st.integers(1, 2**62)),
)


@given(events)
def test_an_event_survives_the_wire(event: Event) -> None:
    again = parse_event(event.to_json())
    assert again == event
    assert again.order == event.order
    assert again.time - event.time == timedelta(0)
