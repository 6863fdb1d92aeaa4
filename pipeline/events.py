"""The event contract: what a catalog system says about its products, as CloudEvents 1.0 in structured JSON.

One pass of a compiled parser turns bytes into frozen values; whatever breaks the contract becomes a
``ContractError`` that names the field. Nothing here reads a clock, a network or a database.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import Annotated, Any, Final, Literal

from pydantic import (
    AwareDatetime,
    BeforeValidator,
    Field,
    TypeAdapter,
    ValidationError,
    ValidationInfo,
    field_validator,
)
from pydantic_core import ErrorDetails, from_json, to_json

from pipeline.errors import ContractError
from pipeline.products import Contract, Id, ImageRef, Price, Product, Variant, Withdrawal

__all__ = [
    "MAX_EVENT_BYTES",
    "UPDATED",
    "UPLOADED",
    "WITHDRAWN",
    "Event",
    "ForeignWithdrawal",
    "ImageRef",
    "Price",
    "Product",
    "ProductEvent",
    "Variant",
    "Withdrawal",
    "WithdrawalEvent",
    "legible_identity",
    "parse_event",
]

MAX_EVENT_BYTES: Final = 1_048_576
UPLOADED: Final = "product.uploaded.v1"
UPDATED: Final = "product.updated.v1"
WITHDRAWN: Final = "product.withdrawn.v1"

Moment = Annotated[
    AwareDatetime,
    Field(strict=True, ge=datetime(1970, 1, 1, tzinfo=UTC), lt=datetime(9999, 1, 1, tzinfo=UTC)),
]

_TRACE = r"-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}"
_TRACEPARENT = re.compile(rf"00{_TRACE}|(?!00|ff)[0-9a-f]{{2}}{_TRACE}(?:-[!-~]{{0,200}})?")
_TRACESTATE = re.compile(r"[\x20-\x7e]{1,512}")


def _traceparent(value: Any) -> str | None:
    """W3C trace context: a header that breaks the rules is ignored, never an error."""
    return value if isinstance(value, str) and _TRACEPARENT.fullmatch(value) else None


class Event(Contract):
    """A CloudEvent about one product. Made by ``parse_event``, or as ``ProductEvent``/``WithdrawalEvent``."""

    specversion: Literal["1.0"] = Field(default="1.0", repr=False, description="version of CloudEvents")
    source: Id = Field(description="URI-reference of the catalog system; one namespace of product ids")
    id: Id = Field(description="unique within the source: source + id is the key of deduplication")
    type: str = Field(description="what happened, with the major version of its data")
    time: Moment = Field(description="when it happened, RFC 3339 with an offset")
    datacontenttype: str = Field(
        default="application/json",
        repr=False,
        max_length=100,
        pattern=r"^[Aa]pplication/[Jj][Ss][Oo][Nn]( *;.*)?$",
        description="application/json",
    )
    traceparent: Annotated[str | None, BeforeValidator(_traceparent)] = Field(
        default=None, description="W3C trace context; an invalid one is ignored"
    )
    tracestate: str | None = Field(default=None, description="W3C trace context; an invalid one is ignored")
    data: Product | Withdrawal = Field(description="the product's state, or its withdrawal")

    @field_validator("tracestate", mode="before")
    @classmethod
    def _tracestate(cls, value: Any, info: ValidationInfo) -> str | None:
        follows = info.data.get("traceparent") and isinstance(value, str) and _TRACESTATE.fullmatch(value)
        return value if follows else None

    @property
    def product_id(self) -> str:
        """The product's identity within ``source``."""
        return self.data.product_id

    @property
    def revision(self) -> int | None:
        """The product's revision; None for a thin withdrawal."""
        return self.data.revision

    @property
    def is_withdrawal(self) -> bool:
        """Whether it takes the product out of the shop."""
        return isinstance(self.data, Withdrawal)

    @property
    def order(self) -> tuple[int, datetime, str]:
        """(revision, time, id). A thin withdrawal, told by time alone, counts as revision 0."""
        return self.data.revision or 0, self.time, self.id

    def to_json(self) -> bytes:
        """The event as it goes over the wire; ``parse_event`` gives an equal event back."""
        return self.model_dump_json(exclude_none=True).encode()


class ProductEvent(Event):
    """A product was uploaded or changed; the two types are treated alike."""

    type: Literal["product.uploaded.v1", "product.updated.v1"] = Field(description="what happened")
    data: Product


class WithdrawalEvent(Event):
    """A product was withdrawn."""

    type: Literal["product.withdrawn.v1"] = Field(default=WITHDRAWN, description="what happened")
    data: Withdrawal


class ForeignWithdrawal(Event):
    """A withdrawal in a version this one does not know; only its product id is read, so it is thin."""

    type: str = Field(max_length=100, pattern=r"^product\.withdrawn\.v[0-9]+$")
    data: Withdrawal


_EVENT: TypeAdapter[ProductEvent | WithdrawalEvent] = TypeAdapter(
    Annotated[ProductEvent | WithdrawalEvent, Field(discriminator="type")]
)
_STRING = re.compile(rb'"(?:[^"\\]|\\.)*"', re.DOTALL)
_NUL = re.compile(rb"(?<!\\)(?:\\\\)*\\u0000")
_TYPES: Final = frozenset({UPLOADED, UPDATED, WITHDRAWN})
_KINDS: Final = frozenset({"product.uploaded", "product.updated", "product.withdrawn"})
_LEGIBLE_BYTES: Final = 65_536


def parse_event(raw: bytes, *, max_bytes: int = MAX_EVENT_BYTES) -> Event:
    """Read one event, or raise ``ContractError`` with a stable reason and the field's dotted path.

    Sizes are in bytes and checked before parsing; the parser stops at a nesting of 200 by itself. Of a JSON
    key that occurs twice in one object the last one counts. Unknown fields are dropped, but even they may
    hold no NUL and no NaN, because the body is kept as it came.
    """
    if len(raw) > max_bytes:
        raise ContractError("too-large", f"the event has {len(raw)} bytes, the limit is {max_bytes}")
    # A cheap search first: hardly any event holds one of these words.
    if b"\\u0000" in raw and _NUL.search(raw):
        raise ContractError("nul-character", "a string holds the NUL character; remove it")
    if (b"NaN" in raw or b"Infinity" in raw) and _has_constant(raw):
        raise ContractError("not-finite", "NaN and Infinity are not JSON; leave the field out")
    if b'"data_base64"' in raw:
        _refuse_base64(raw)
    try:
        event: Event = _EVENT.validate_json(raw)
    except ValidationError as broken:
        details = broken.errors(include_url=False, include_input=False)[0]
        if details["type"] != "union_tag_invalid":
            raise _contract_error(details) from None
        event = _other_version(raw)
    if "specversion" not in event.model_fields_set:
        raise ContractError(
            "missing-field", 'required: the version of CloudEvents, "1.0"', field="specversion"
        )
    return event


def legible_identity(raw: bytes) -> tuple[str | None, str | None, str | None]:
    """Best-effort (source, id, product id) of a message that breaks the contract, for its quarantine.

    Reads the first 64 KiB at most and never raises; what is missing, too long or not storable is None.
    """
    envelope = _envelope(raw[:_LEGIBLE_BYTES])
    data = envelope.get("data")
    product_id = data.get("product_id") if isinstance(data, dict) else None
    return _legible(envelope.get("source")), _legible(envelope.get("id")), _legible(product_id)


def _envelope(raw: bytes) -> dict[str, Any]:
    try:
        envelope = from_json(raw, allow_partial=True)
    except ValueError:
        return {}
    return envelope if isinstance(envelope, dict) else {}


_ID: TypeAdapter[str] = TypeAdapter(Id)


def _legible(value: Any) -> str | None:
    try:
        return _ID.validate_python(value)
    except ValidationError:
        return None


def _has_constant(raw: bytes) -> bool:
    skeleton = _STRING.sub(b"", raw)
    return b"NaN" in skeleton or b"Infinity" in skeleton


def _refuse_base64(raw: bytes) -> None:
    if "data_base64" in _envelope(raw):
        raise ContractError("invalid-field", "send the data as JSON in `data`", field="data_base64")


def _other_version(raw: bytes) -> Event:
    """An event whose type this version does not know: refused, unless it withdraws a product."""
    envelope = _envelope(raw)
    kind, _, version = str(envelope.get("type")).rpartition(".v")
    shown = repr(str(envelope.get("type"))[:100])
    if kind not in _KINDS or not (version.isascii() and version.isdigit()):
        raise ContractError("unknown-type", f"{shown} is no event type of this contract", field="type")
    data = envelope.get("data")
    product_id = data.get("product_id") if isinstance(data, dict) else None
    if kind != "product.withdrawn" or _legible(product_id) is None:
        raise ContractError(
            "unknown-version", f"{shown} is newer than this reader; known is v1", field="type"
        )
    thin = {**envelope, "data": {"product_id": product_id}}
    try:
        return ForeignWithdrawal.model_validate_json(to_json(thin))
    except ValidationError as broken:
        raise _contract_error(broken.errors(include_url=False, include_input=False)[0]) from None


def _contract_error(details: ErrorDetails) -> ContractError:
    """The first thing that is wrong, in the words of the contract."""
    # The first part of the path is the event type that the parser chose its model by.
    path = [str(part)[:100] for part in details["loc"] if part not in _TYPES]
    match details["type"]:
        case "json_invalid":
            deep = "recursion limit" in details["msg"]
            return ContractError("too-deep" if deep else "invalid-json", details["msg"])
        case "missing":
            return ContractError("missing-field", "required", field=".".join(path))
        case "union_tag_not_found":
            return ContractError("missing-field", "required: the type of the event", field="type")
        case "model_attributes_type" | "model_type":
            return ContractError("invalid-field", "must be a JSON object", field=".".join(path))
        case "duplicate-id" | "unknown-image" as reason:
            return ContractError(reason, details["msg"], field=".".join(path))
        case _:
            return ContractError("invalid-field", details["msg"][:500], field=".".join(path))
