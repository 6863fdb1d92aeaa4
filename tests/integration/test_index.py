"""The index follows Postgres: through late writes, withdrawals, lost collections and outages."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from sqlalchemy import Engine, text

from pipeline.errors import ConfigurationError
from pipeline.outcomes import Lane
from storage.indexable import IndexedPoints, read
from storage.ledger import Result
from storage.presentations import Presentations
from storage.vectors import IndexDown, VectorIndex
from tasks._indexing import point, synchronise
from tests.conftest import QdrantServer
from tests.factories import upload, withdrawal
from tests.index import OLD, Shop, vector
from workers.keeper import IndexKeeper


@pytest.fixture
def shop(database: Engine, index: VectorIndex) -> Shop:
    return Shop(database, index)


def row_of(database: Engine, product: str = "p1") -> int:
    with database.connect() as connection:
        number: int = connection.execute(
            text("SELECT id FROM products WHERE product_id = :p"), {"p": product}
        ).scalar_one()
    return number


def same(stored: Any, word: str) -> bool:
    return bool(np.allclose(np.asarray(stored), vector(word).numbers(), atol=2e-3))


def keep(shop: Shop) -> None:
    IndexKeeper(shop.ledger, shop.index).keep()


def test_an_upload_becomes_a_point_with_its_payload(shop: Shop) -> None:
    shop.publish(upload(category="Home/Lamps", price={"amount": "49.90", "currency": "EUR"}))
    shop.work()
    found = shop.points()["p1"]
    assert same(found["vectors"]["image"][0], "Product p1")
    assert same(found["vectors"]["text"], "Product p1")
    assert (found["price"], found["currency"], found["category"]) == (49.9, "EUR", "Home/Lamps")
    assert (found["source"], found["revision"], found["availability"]) == ("shop", 1, "in_stock")
    assert shop.index.serving() == shop.spaces.active()[0].collection


def test_several_photos_are_one_point(shop: Shop) -> None:
    shop.publish(upload(images=["a", "b"]))
    shop.work()
    assert len(shop.points()["p1"]["vectors"]["image"]) == 2


def test_a_price_changes_without_any_embedding(shop: Shop) -> None:
    shop.publish(upload(price={"amount": "10", "currency": "EUR"}, images=[photo("a")]))
    first = shop.work()
    shop.publish(upload(revision=2, price={"amount": "12", "currency": "EUR"}, images=[photo("a")]))
    assert shop.work() == 1 < first
    assert shop.points()["p1"]["price"] == 12


def photo(content: str) -> dict[str, Any]:
    return {"id": "front", "url": "https://shop.example/front.jpg", "sha256": content * 64}


def test_a_photo_that_goes_and_comes_back_ends_as_it_was(shop: Shop) -> None:
    for revision, content in enumerate("aba", start=1):
        shop.publish(upload(revision=revision, images=[photo(content)]))
        shop.work()
    assert same(shop.points()["p1"]["vectors"]["image"][0], "a" * 64)
    assert shop.points()["p1"]["revision"] == 3


def test_what_was_read_earlier_cannot_overwrite_what_was_read_later(shop: Shop) -> None:
    shop.publish(upload(images=[photo("a")]))
    shop.work()
    [space] = shop.spaces.active()
    [stale] = read(shop.database, [row_of(shop.database)], [OLD])
    shop.publish(upload(revision=2, images=[photo("b")]))
    shop.work()
    shop.index.write(space.collection, [point(stale, stale.embedded[OLD])])
    IndexedPoints(shop.database).written(space, {stale.id: stale.version}, {})
    assert same(shop.points()["p1"]["vectors"]["image"][0], "b" * 64)
    keep(shop)
    assert shop.points()["p1"]["revision"] == 2


def test_a_withdrawal_leaves_no_point(shop: Shop) -> None:
    shop.publish(upload(), upload("p2"))
    shop.work()
    shop.publish(withdrawal("p1", 2))
    shop.work()
    assert list(shop.points()) == ["p2"]


def test_a_late_write_after_a_withdrawal_is_gone_after_the_next_look(shop: Shop) -> None:
    shop.publish(upload())
    shop.work()
    [space] = shop.spaces.active()
    [late] = read(shop.database, [row_of(shop.database)], [OLD])
    shop.publish(withdrawal("p1", 2))
    shop.work()
    shop.index.write(space.collection, [point(late, late.embedded[OLD])])
    IndexedPoints(shop.database).written(space, {late.id: late.version}, {})
    assert list(shop.points()) == ["p1"], "a write that was paused brings the point back"
    keep(shop)
    assert shop.points() == {}


def test_a_product_that_returns_is_found_again_and_stays(shop: Shop) -> None:
    shop.publish(upload())
    shop.work()
    shop.publish(withdrawal("p1", 2))
    shop.work()
    shop.publish(upload(revision=3, images=[photo("c")]))
    shop.work()
    keep(shop)
    assert same(shop.points()["p1"]["vectors"]["image"][0], "c" * 64)


def test_a_deletion_read_before_the_return_does_not_delete_the_returned(shop: Shop) -> None:
    shop.publish(upload())
    shop.work()
    shop.publish(withdrawal("p1", 2))
    [space] = shop.spaces.active()
    [gone] = read(shop.database, [row_of(shop.database)], [OLD])
    shop.work()
    shop.publish(upload(revision=3))
    shop.work()
    shop.index.delete(space.collection, {gone.id: gone.version})
    IndexedPoints(shop.database).written(space, {}, {gone.id: gone.version})
    assert list(shop.points()) == ["p1"]
    keep(shop)
    assert list(shop.points()) == ["p1"]


def test_a_lost_collection_is_written_again_from_postgres(shop: Shop) -> None:
    shop.publish(*(upload(f"p{n}") for n in range(5)))
    shop.work()
    before = {name: one["vectors"] for name, one in shop.points().items()}
    [space] = shop.spaces.active()
    shop.index.drop(space.collection)
    keep(shop)
    assert {name: one["vectors"] for name, one in shop.points().items()} == before
    assert shop.index.serving() == space.collection


def test_a_correction_reaches_the_index(shop: Shop) -> None:
    shop.publish(upload())
    shop.work()
    red = {"attribute": "colour", "value": "red", "en": "red", "zh": "红色"}
    from tests.factories import START

    Presentations(shop.database).correct("p1", "tags", [red], by="ann", at=START)
    keep(shop)
    assert shop.points()["p1"]["colours"] == ["red"]
    assert shop.points()["p1"]["tags"] == ["colour:red"]


def test_without_qdrant_nothing_is_lost(shop: Shop, qdrant: QdrantServer) -> None:
    shop.publish(upload())
    shop.work(["fetch", "embed_image", "embed_text"])
    spec = shop.ledger.graph.stages["index"]
    [item], _ = shop.ledger.claim(spec, [], lane=Lane.LIVE, limit=1, worker="test")
    qdrant.kill()
    try:
        with pytest.raises(IndexDown) as caught:
            synchronise(shop.database, shop.index, [item.product_row])
    finally:
        qdrant.start()
    decision = spec.retry.decide(caught.value, attempt=1, jitter=0.0)
    shop.ledger.settle([Result(item.job_id, item.token, decision=decision)])
    with shop.database.begin() as connection:
        attempts = connection.execute(text("SELECT attempts, state FROM jobs WHERE stage = 'index'")).one()
        connection.execute(text("UPDATE jobs SET not_before = now()"))
    assert tuple(attempts) == (0, "ready")
    shop.work()
    assert list(shop.points()) == ["p1"]


def test_a_write_whose_commit_failed_is_done_again(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    shop.publish(upload())
    shop.work(["fetch", "embed_image", "embed_text"])

    def fail(*_: object) -> None:
        raise ConnectionError("the database went away")

    with monkeypatch.context() as patched:
        patched.setattr(IndexedPoints, "written", fail)
        with pytest.raises(ConnectionError):
            synchronise(shop.database, shop.index, [row_of(shop.database)])
    assert list(shop.points()) == ["p1"]
    [space] = shop.spaces.active()
    assert IndexedPoints(shop.database).expected(space, 0, 10) == []
    shop.work()
    assert len(IndexedPoints(shop.database).expected(space, 0, 10)) == 1


def test_vectors_of_another_length_are_refused_with_the_remedy(shop: Shop) -> None:
    shop.publish(upload())
    shop.work()
    [space] = shop.spaces.active()
    with pytest.raises(ConfigurationError, match=r"16 numbers, the engine makes 8.*vitrine models shadow"):
        shop.index.create(space.collection, 8)


def test_a_wrong_key_names_the_setting(qdrant: QdrantServer) -> None:
    wrong = VectorIndex(qdrant.url.replace("http://:", "http://:x"))
    with pytest.raises(ConfigurationError, match="VITRINE_QDRANT_URL"):
        wrong.serving()


@pytest.mark.parametrize(
    ("url", "told"),
    [
        ("", "no URL"),
        ("qdrant:6333", "no URL"),
        ("http://qdrant:6333", "without an API key"),
        ("http://10.0.0.1:6333", "without an API key"),
    ],
)
def test_an_open_index_is_refused(url: str, told: str) -> None:
    with pytest.raises(ConfigurationError, match=told):
        VectorIndex(url).serving()
