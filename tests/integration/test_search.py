"""Search over a real index and ledger: what is found, what is never shown, and why a hit stands where it does."""

from __future__ import annotations

import threading
from typing import Any

import pytest
from sqlalchemy import Engine

from pipeline.errors import ConfigurationError, RejectedInput
from storage.hybrid import Narrow
from storage.indexable import IndexedPoints, read
from storage.presentations import Presentations
from storage.spaces import Spaces
from storage.vectors import IndexDown, VectorIndex
from tasks._indexing import point, synchronise
from tests.conftest import QdrantServer
from tests.factories import START, upload, withdrawal
from tests.index import ENGINES, OLD, Shop
from workers.search import Hit, Results, Search


@pytest.fixture
def shop(database: Engine, index: VectorIndex) -> Shop:
    return Shop(database, index)


@pytest.fixture
def search(shop: Shop) -> Search:
    return Search(shop.database, shop.index, ENGINES, "none")


def stock(shop: Shop, **titles: str) -> None:
    shop.publish(*(upload(name, title=title) for name, title in titles.items()))
    shop.work()


def ids(results: Results) -> list[str]:
    return [hit.document["product_id"] for hit in results.hits]


def tag(shop: Shop, product: str, *tags: str) -> None:
    """What a merchant says of a product outranks the models: the shortest way to tags."""
    values = [dict(zip(("attribute", "value", "en", "zh"), one.split("/"), strict=True)) for one in tags]
    Presentations(shop.database).correct(product, "tags", values, by="test", at=START)
    with shop.database.connect() as connection:
        row = connection.exec_driver_sql(
            "SELECT id FROM products WHERE product_id = %(p)s", {"p": product}
        ).scalar_one()
    synchronise(shop.database, shop.index, [row])


def test_words_find_the_product_that_bears_them(shop: Shop, search: Search) -> None:
    stock(shop, a="wool coat", b="desk lamp", c="garden chair")
    results = search.find("desk lamp")
    assert ids(results)[0] == "b"
    assert results.engine == OLD


def test_a_hit_is_the_product_as_it_is_served_now(shop: Shop, search: Search) -> None:
    stock(shop, a="desk lamp")
    shop.publish(upload("a", revision=2, title="floor lamp"))
    shop.work(["fetch"])
    [hit] = search.find("desk lamp").hits
    assert hit.document["title"] == "floor lamp", "the index is a step behind, the answer is not"


def test_what_was_withdrawn_is_not_shown_although_the_index_has_it(shop: Shop, search: Search) -> None:
    stock(shop, a="desk lamp", b="floor lamp")
    [space] = shop.spaces.active()
    [late] = [
        one for one in read(shop.database, [1, 2], [OLD]) if one.product and one.product.title == "desk lamp"
    ]
    shop.publish(withdrawal("a", 2))
    assert ids(search.find("lamp")) == ["b"], "withdrawn, and its point not yet deleted"
    shop.work()
    shop.index.write(space.collection, [point(late, late.embedded[OLD])])
    assert "a" in shop.points()
    assert ids(search.find("lamp")) == ["b"], "a late write brought the point back"


def test_places_of_the_withdrawn_are_taken_by_the_next(shop: Shop, search: Search) -> None:
    stock(shop, **{f"p{n}": f"lamp {n}" for n in range(30)})
    shop.publish(*(withdrawal(f"p{n}", 2) for n in range(20)))
    assert len(search.find("lamp 3", limit=10).hits) == 10


def test_prices_and_refusals_narrow_in_both_languages(shop: Shop, search: Search) -> None:
    for name, price in (("a", "10"), ("b", "30"), ("c", "80")):
        shop.publish(upload(name, title=f"lamp {name}", price={"amount": price, "currency": "EUR"}))
    shop.work()
    tag(shop, "a", "colour/black/black/黑色")
    assert sorted(ids(search.find("lamp under 50 euros"))) == ["a", "b"]
    assert sorted(ids(search.find("lamp, not black"))) == ["b", "c"]
    assert sorted(ids(search.find("lamp 不要黑色"))) == ["b", "c"]
    assert ids(search.find("lamp under 50 euros, not black")) == ["b"]
    assert sorted(ids(search.find("lamp", narrow=Narrow(price_from=20)))) == ["b", "c"]
    assert ids(search.find("lamp", narrow=Narrow(all_of=("colour:black",)))) == ["a"]
    assert search.find("lamp under 50 dollars").hits == ()


def test_a_refused_word_is_looked_for_in_titles(shop: Shop, search: Search) -> None:
    stock(shop, a="lamp with a cable", b="lamp with a shade")
    assert ids(search.find("lamp without a cable")) == ["b"]


def test_a_wished_for_colour_lifts_what_has_it(shop: Shop, search: Search) -> None:
    stock(shop, **{f"p{n}": f"lamp {n}" for n in range(6)})
    tag(shop, "p4", "colour/red/red/红色")
    [first, *_] = search.find("红色的灯 lamp").hits
    assert first.document["product_id"] == "p4"
    assert ("wish", "red") in {(one.kind, one.words) for one in first.reasons}


def test_what_is_sold_out_comes_last_and_says_so(shop: Shop, search: Search) -> None:
    for name in ("a", "b"):
        sold = "out_of_stock" if name == "a" else "in_stock"
        shop.publish(upload(name, title="lamp", availability=sold))
    shop.work()
    results = search.find("lamp")
    assert ids(results) == ["b", "a"]
    assert "sold out" in reasons(results.hits[1])


def reasons(hit: Hit) -> str:
    return "; ".join(one.words for one in hit.reasons)


def test_reasons_say_which_words_were_found(shop: Shop, search: Search) -> None:
    stock(shop, a="wool coat", b="desk lamp")
    words = {one.words for one in search.find("desk lamps").hits[0].reasons if one.kind == "words"}
    assert words == {"desk, lamps"}


@pytest.mark.parametrize(
    "text",
    ["🛋️", "x" * 10_000, "白色 sneakers для бега", "'; DROP TABLE products; --", "\u202elamp", "a\0b", "的"],
)
def test_any_text_is_answered(shop: Shop, search: Search, text: str) -> None:
    stock(shop, a="desk lamp")
    assert isinstance(search.find(text), Results)


@pytest.mark.parametrize("text", ["", "   ", "\n\t"])
def test_nothing_to_look_for_is_refused(search: Search, text: str) -> None:
    with pytest.raises(RejectedInput, match="give words, a photo"):
        search.find(text)


def test_an_empty_index_finds_nothing(search: Search) -> None:
    assert search.find("lamp").hits == ()


def test_narrowing_alone_lists_what_passes(shop: Shop, search: Search) -> None:
    shop.publish(upload("a", category="Lamps"), upload("b", category="Chairs"))
    shop.work()
    assert ids(search.find(narrow=Narrow(category="Chairs"))) == ["b"]


def test_an_index_of_another_release_is_named_with_the_remedy(shop: Shop, search: Search) -> None:
    stock(shop, a="lamp")
    with shop.database.begin() as connection:
        connection.exec_driver_sql("UPDATE spaces SET engine = 'old_table@0000'")
    with pytest.raises(ConfigurationError, match=r"old_table@0000.*vitrine models shadow embed=old_table"):
        search.find("lamp")


def test_without_qdrant_a_search_says_so(shop: Shop, search: Search, qdrant: QdrantServer) -> None:
    stock(shop, a="lamp")
    qdrant.kill()
    try:
        with pytest.raises(IndexDown):
            search.find("lamp")
    finally:
        qdrant.start()


def test_searches_go_on_while_the_index_is_written(shop: Shop, search: Search) -> None:
    """Local mode is not thread-safe: its one owner must be."""
    stock(shop, **{f"p{n}": f"lamp {n}" for n in range(10)})
    rows = list(range(1, 11))
    [space] = shop.spaces.active()
    failed: list[Exception] = []
    stop = threading.Event()

    def write() -> None:
        index = VectorIndex(shop.index._url)
        while not stop.is_set():
            try:
                IndexedPoints(shop.database).forget(space, rows)
                synchronise(shop.database, index, rows)
            except Exception as error:
                failed.append(error)
                return

    writers = [threading.Thread(target=write) for _ in range(2)]
    for writer in writers:
        writer.start()
    found: list[Any] = [ids(search.find(f"lamp {n}", limit=1)) for n in range(10)]
    stop.set()
    for writer in writers:
        writer.join()
    assert not failed
    assert found == [[f"p{n}"] for n in range(10)]
    assert [space.engine for space in Spaces(shop.database).active()] == [OLD]
