"""What the storefront reads: complete, corrected by people, and never a step back."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest
from sqlalchemy import Engine
from sqlalchemy.exc import DBAPIError

from pipeline.errors import RejectedInput
from storage.ledger import Ledger
from storage.presentations import Presentations
from storage.quotes import Request
from storage.replays import Replays
from tests.factories import stub_graph, upload, withdrawal, work
from tests.queries import change, one

NOW = datetime(2026, 2, 3, 4, 5, tzinfo=UTC)
AND_TODAY = {"by": "anna", "at": NOW.isoformat()}


@pytest.fixture
def ledger(database: Engine) -> Ledger:
    return Ledger(database, stub_graph())


@pytest.fixture
def presentations(database: Engine) -> Presentations:
    return Presentations(database)


def arrive(ledger: Ledger, *events: Any) -> None:
    ledger.accept(list(events))
    ledger.plan()
    work(ledger)


def read(presentations: Presentations, product: str = "p1") -> Any:
    shown = presentations.read(product)
    assert shown is not None
    return shown


def test_document(ledger: Ledger, presentations: Presentations) -> None:
    images = [
        {"id": "late", "url": "https://shop.example/2", "position": 2, "role": "back"},
        {"id": "first", "url": "https://shop.example/1", "position": 1},
    ]
    price = {"amount": "12.50", "currency": "EUR"}
    arrive(ledger, upload(images=images, brand="Acme", category="mugs", price=price, description="hidden"))
    shown = dict(read(presentations))
    assert datetime.fromisoformat(shown.pop("updated_at")).tzinfo is not None
    provenance = shown.pop("provenance")
    assert shown == {
        "source": "shop", "product_id": "p1", "revision": 1, "generation": 0, "title": "Product p1",
        "brand": "Acme", "category": "mugs", "locale": "en", "price": price,
        "availability": "in_stock", "tier": "standard",
        "told": ["a look at https://shop.example/1", "a look at https://shop.example/2"],
        "images": [
            {"id": "first", "role": "front", "seen": "a look at https://shop.example/1"},
            {"id": "late", "role": "back", "seen": "a look at https://shop.example/2"},
        ],
        "corrections": {}, "candidate": {},
    }  # fmt: skip
    assert set(provenance) == {"seen/first", "seen/late", "told"}
    assert provenance["told"] | {"fingerprint": ""} == {
        "stage": "tell", "engine": "", "revision": 1, "generation": 0, "fingerprint": "",
    }  # fmt: skip


def test_unfinished_products_show_what_is_known(ledger: Ledger, presentations: Presentations) -> None:
    ledger.accept([upload()])
    ledger.plan()
    shown = read(presentations)
    assert shown["title"] == "Product p1"
    assert "told" not in shown
    assert shown["images"] == [{"id": "a", "role": "front"}]
    assert presentations.read("nobody") is None


def test_a_withdrawn_product_has_no_document(ledger: Ledger, presentations: Presentations) -> None:
    arrive(ledger, upload("p1"), upload("p2"))
    arrive(ledger, withdrawal("p1", 1))
    assert presentations.read("p1") is None
    assert [shown["product_id"] for shown in presentations.all()] == ["p2"]


@pytest.mark.parametrize("page", [1, 2, 3, 7, 200])
def test_every_document_comes_once_whatever_the_page(
    ledger: Ledger, presentations: Presentations, page: int
) -> None:
    arrive(ledger, *(upload(f"p{n}", source="ab"[n % 2]) for n in range(6)))
    shown = [(s["source"], s["product_id"]) for s in presentations.all(page=page)]
    assert sorted(shown) == sorted(("ab"[n % 2], f"p{n}") for n in range(6))
    assert len(list(presentations.all(source="a", page=page))) == 3


def test_correction_outranks_models_and_survives_them(ledger: Ledger, presentations: Presentations) -> None:
    arrive(ledger, upload(images=("a", "b")))
    presentations.correct("p1", "told", ["mine"], by="anna", at=NOW)
    presentations.correct("p1", "seen/b", "better", by="anna", at=NOW)

    def corrected() -> bool:
        shown = read(presentations)
        seen = [image["seen"] for image in shown["images"]]
        return shown["told"] == ["mine"] and seen == ["a look at https://shop.example/p1/a.jpg", "better"]

    assert corrected()
    assert read(presentations)["corrections"]["told"] == {"value": ["mine"], **AND_TODAY}
    replays = Replays(ledger.engine, ledger.graph)
    replays.create(Request(force=True))
    replays.advance()
    work(ledger)
    assert read(presentations)["generation"] == 1
    assert corrected()
    arrive(ledger, upload(revision=2, images=("a", "b"), urls={"a": "https://shop.example/p1/a.jpg"}))
    assert read(presentations)["revision"] == 2
    assert corrected()
    presentations.uncorrect("p1", "told")
    presentations.uncorrect("p1", "seen/b")
    assert read(presentations)["told"] == [f"a look at https://shop.example/p1/{i}.jpg" for i in "ab"]
    assert read(presentations)["corrections"] == {}


def test_correction_of_one_photo_meets_no_other(ledger: Ledger, presentations: Presentations) -> None:
    arrive(ledger, upload(images=("a", "x/a")))
    presentations.correct("p1", "seen/x/a", "mine", by="anna", at=NOW)
    seen = {image["id"]: image["seen"] for image in read(presentations)["images"]}
    assert seen == {"a": "a look at https://shop.example/p1/a.jpg", "x/a": "mine"}


def test_correcting_what_is_not_for_sale_is_refused(ledger: Ledger, presentations: Presentations) -> None:
    arrive(ledger, upload())
    with pytest.raises(RejectedInput, match="no presentation of 'p9'"):
        presentations.correct("p9", "told", [], by="anna", at=NOW)
    with pytest.raises(RejectedInput, match="unknown-product"):
        presentations.correct("p1", "told", [], by="anna", at=NOW, source="another")
    arrive(ledger, withdrawal("p1", 1))
    with pytest.raises(RejectedInput, match="unknown-product"):
        presentations.correct("p1", "told", [], by="anna", at=NOW)


@pytest.mark.parametrize("back", ["revision = 1", "generation = 0", "revision = 1, generation = 99"])
def test_the_database_itself_refuses_to_go_back(ledger: Ledger, back: str) -> None:
    arrive(ledger, upload(revision=2))
    change(ledger.engine, "UPDATE presentations SET generation = 5")
    with pytest.raises(DBAPIError, match="would go back"):
        change(ledger.engine, f"UPDATE presentations SET {back}")
    change(ledger.engine, "UPDATE presentations SET revision = 3, generation = 0")
    assert one(ledger.engine, "SELECT revision, generation FROM presentations") == (3, 0)
