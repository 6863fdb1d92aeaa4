"""The demo's page shows what was seen where it was seen, hostile texts harmlessly, and nothing from outside."""

from __future__ import annotations

import io
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from html.parser import HTMLParser
from typing import Any

import pytest
from PIL import Image

from demo.cards import Card, card
from demo.page import THUMBNAIL_EDGE, About, render, thumbnail
from demo.photographs import LeftOut
from demo.watch import Finished, StageCount, Standing

_NOW = datetime(2026, 1, 1, 12, tzinfo=UTC)
_DIGEST = "ab" * 32


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
