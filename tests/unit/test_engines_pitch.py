"""Selling points: each rests on something that holds, in both languages, and praises nothing."""

from __future__ import annotations

import json
from typing import Any

import pytest

from engines.devices import Device
from engines.kit import Kit
from engines.protocols import Bilingual, Brief, CatalogFacts, SellingPoint, Subject, Tag
from engines.registry import Engines
from engines.words.phrasing import listed, listed_zh, with_article
from engines.words.trust import proven, review
from engines.words.vocabulary import vocabulary
from pipeline.events import Product
from pipeline.outcomes import Lane
from storage.ledger import Claimed
from tasks._batch import Item
from tasks.cutout import CutOut
from tasks.photo import Photo
from tasks.pitch import Pitched, pitch
from tasks.read_text import ReadText
from tasks.tag import Tagged, TagValue, Words

WORDS = vocabulary()
SOFA = (Tag("product_type", "sofa", 0.9), Tag("colour", "brown", 0.9))
FACTS = CatalogFacts(title="Leather Sofa", brand="Acme", tags=("brown",))


@pytest.fixture(scope="module")
def engines() -> Engines:
    return Engines(Kit(), Device.choose(threads=1))


def never() -> list[Subject]:
    raise AssertionError("the template does not look at photos")


def pitched(engines: Engines, *, given: tuple[Tag, ...] | None = None, **fields: Any) -> list[SellingPoint]:
    facts = CatalogFacts(**fields)
    held = review(WORDS, [], facts).tags if given is None else given
    points: list[SellingPoint] = engines.get("template_pitch").pitch([Brief(facts, held, (), never)])[0]
    assert proven(points, held, facts) == points, "the template passes the rules that all engines pass"
    return points


def texts(points: list[SellingPoint]) -> list[tuple[str, str]]:
    return [(point.text.en, point.text.zh) for point in points]


def test_a_product_is_told_by_what_holds(engines: Engines) -> None:
    facts: dict[str, Any] = {
        "title": "Leather Sofa",
        "tags": ("brown",),
        "description": "with a recline feature",
    }
    points = pitched(engines, **facts)
    assert texts(points) == [
        ("A brown leather sofa.", "棕色皮革沙发。"),
        ("Reclines to the position you like.", "靠背可调，可坐可躺。"),
        ("A classic look: leather, brown.", "经典款设计：皮革、棕色。"),
        ("For the living room.", "适合客厅摆放。"),
    ]
    assert points[0].rests_on == (("product_type", "sofa"), ("colour", "brown"), ("material", "leather"))


@pytest.mark.parametrize(
    ("fields", "first"),
    [
        ({"title": "Allstar Sneakers", "brand": "Acme", "tags": ("black", "white")},
         ("Sneakers by Acme in black and white.", "Acme 运动鞋，配色为黑色和白色。")),
        ({"title": "藏青色牛仔裤"}, ("Navy jeans.", "藏青色牛仔裤。")),
        ({"title": "Orange Umbrella"}, ("An orange umbrella.", "橙色雨伞。")),
        ({"title": "Mystery Thing", "tags": ("red",)}, ("In red.", "红色款。")),
        ({"title": "Wireless Mouse", "brand": "Acme"}, ("A computer mouse by Acme.", "Acme 鼠标。")),
    ],
)  # fmt: skip
def test_how_it_opens(engines: Engines, fields: dict[str, Any], first: tuple[str, str]) -> None:
    assert texts(pitched(engines, **fields))[0] == first


def test_nothing_holds_and_nothing_is_said(engines: Engines) -> None:
    assert pitched(engines) == []
    assert pitched(engines, brand="Acme", title="Mystery Thing") == []


def test_of_what_a_thing_is_made_only_the_merchant_speaks(engines: Engines) -> None:
    looks = (*SOFA, Tag("material", "leather", 0.9))
    assert texts(pitched(engines, given=looks))[0] == ("A brown sofa.", "棕色沙发。")


def test_a_brand_that_is_none_is_not_shown(engines: Engines) -> None:
    hostile = pitched(engines, title="Brown Sofa", brand="<b>best</b> https://x.example")
    assert all("<" not in text and "http" not in text for pair in texts(hostile) for text in pair)


def test_the_same_brief_gives_the_same_sentences(engines: Engines) -> None:
    assert pitched(engines, title="Vintage Folding Camera") == pitched(
        engines, title="Vintage Folding Camera"
    )


def point(en: str = "A brown sofa.", zh: str = "棕色沙发。", *rests_on: tuple[str, str]) -> SellingPoint:
    return SellingPoint(Bilingual(en, zh), rests_on or (("colour", "brown"),))


def test_a_point_that_rests_on_what_holds_is_kept() -> None:
    kept = [point(), point("By Acme.", "Acme 出品。", ("catalog", "brand")), point("Leather.", "皮革。")]
    assert proven(kept, SOFA, FACTS) == kept


@pytest.mark.parametrize(
    "bad",
    [
        SellingPoint(Bilingual("A sofa.", "沙发。"), ()),
        point("A sofa.", "沙发。", ("colour", "red")),
        point("A sofa.", "沙发。", ("colour", "brown"), ("style", "modern")),
        point("A sofa.", "沙发。", ("catalog", "description")),
        point("A sofa.", "沙发。", ("catalog", "locale")),
        point("", "沙发。"),
        point("A sofa.", "  "),
        point("A sofa. " * 30, "沙发。"),
        point("沙发。", "沙发。"),
        point("A sofa 沙发.", "沙发。"),
        point("A sofa.", "A sofa."),
        point("See https://x.example", "沙发。"),
        point("A sofa.", "沙发，访问 shop.com。"),
        point("A <b>sofa</b>.", "沙发。"),
        point("A **sofa**.", "沙发。"),
        point("A sofa.\u202e", "沙发。"),
        point("The best sofa.", "沙发。"),
        point("High-quality sofa.", "沙发。"),
        point("A sofa.", "全网最好的沙发。"),
        point("A red sofa.", "沙发。"),
        point("A waterproof sofa.", "沙发。"),
        point("A sofa.", "实木沙发。"),
    ],
)
def test_a_point_that_proves_nothing_is_dropped(bad: SellingPoint) -> None:
    assert proven([bad, point()], SOFA, FACTS) == [point()]


def test_a_point_is_made_once() -> None:
    assert proven([point(), point()], SOFA, FACTS) == [point()]


def test_the_stage_keeps_what_holds_and_says_what_it_rests_on(engines: Engines) -> None:
    name = Words(en="n", zh="名")
    tagged = Tagged(
        tags=tuple(
            TagValue(attribute=tag.attribute, value=tag.value, name=name, en="e", zh="值", confidence=0.9,
                     evidence=(), reason=None)
            for tag in SOFA
        ),
        keywords=(), flags=(), dropped=(),
    )  # fmt: skip
    claimed = Claimed(
        job_id=1, token=1, attempt=1, recipe="", lane=Lane.LIVE, run_id=1, plan_id=1, source="shop",
        product_id="p", product=Product(product_id="p", revision=1, brand="Acme"), image=None, target="",
        product_row=1,
        revision=1, generation=0, cause="event", event_id=None, traceparent=None,
        inputs={"tag": [("", tagged)], "cutout": [], "photo": [], "read_text": []},
    )  # fmt: skip
    item = Item(claimed, {Tagged: "tag", CutOut: "cutout", Photo: "photo", ReadText: "read_text"})
    (outcome,) = pitch([item], _Run(engines))  # type: ignore[arg-type]
    assert isinstance(outcome, Pitched)
    shown = json.loads(outcome.model_dump_json())["points"]
    assert shown[0] == {
        "en": "A brown sofa by Acme.",
        "zh": "Acme 棕色沙发。",
        "rests_on": [
            {"attribute": "product_type", "value": "sofa"},
            {"attribute": "colour", "value": "brown"},
            {"attribute": "catalog", "value": "brand"},
        ],
    }


class _Run:
    """As much of a Runtime as the stage needs: the engine of its role."""

    def __init__(self, engines: Engines) -> None:
        self._engines = engines

    def engine(self, role: str) -> Any:
        assert role == "pitcher"
        return self._engines.get("template_pitch")


@pytest.mark.parametrize(
    ("words", "en", "zh"),
    [
        ([], "", ""),
        (["a"], "a", "a"),
        (["a", "b"], "a and b", "a和b"),
        (["a", "b", "c"], "a, b and c", "a、b和c"),
    ],
)
def test_lists_read_as_people_say_them(words: list[str], en: str, zh: str) -> None:
    assert (listed(words), listed_zh(words)) == (en, zh)


def test_the_article_follows_the_sound() -> None:
    phrases = ("orange tent", "unicycle", "hourglass", "red sofa", "umbrella")
    assert [with_article(phrase).split()[0] for phrase in phrases] == ["an", "a", "an", "a", "an"]
