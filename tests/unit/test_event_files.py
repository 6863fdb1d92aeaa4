"""Events from files: what a line, a picture and a row become, and how their errors say where."""

from __future__ import annotations

import hashlib
import io
import os
import sys
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path

import pytest

from pipeline.errors import ContractError, RejectedInput
from pipeline.events import Product, Withdrawal, WithdrawalEvent
from workers.event_files import read_events

MOMENT = 1_767_323_045


def line(number: int) -> bytes:
    return WithdrawalEvent(
        source="s", id=str(number), time=datetime(2026, 1, 1, tzinfo=UTC), data=Withdrawal(product_id="p")
    ).to_json()


def written(path: Path, content: bytes | str) -> Path:
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    os.utime(path, (MOMENT, MOMENT))
    return path


def product(event: object) -> Product:
    assert isinstance(event.data, Product)  # type: ignore[attr-defined]
    return event.data  # type: ignore[attr-defined]


def test_json_lines_are_read_past_blank_lines_and_a_byte_order_mark(tmp_path: Path) -> None:
    path = written(tmp_path / "events.jsonl", b"\xef\xbb\xbf" + line(1) + b"\r\n\n" + line(2))
    assert [event.id for event in read_events(path)] == ["1", "2"]


def test_standard_input_is_json_lines(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(line(1) + b"\n")))
    assert [event.id for event in read_events("-")] == ["1"]


def test_what_comes_before_a_broken_line_is_handed_out_first(tmp_path: Path) -> None:
    path = written(tmp_path / "events.jsonl", line(1) + b"\n\n" + line(2).replace(b'"p"', b"7") + b"\n")
    events = read_events(path)
    assert next(events).id == "1"
    with pytest.raises(ContractError, match=r"events\.jsonl, line 3: ") as caught:
        next(events)
    assert (caught.value.reason, caught.value.field) == ("invalid-field", "data.product_id")


def test_a_line_without_end_is_refused_before_it_fills_the_memory(tmp_path: Path) -> None:
    path = written(tmp_path / "events.jsonl", b"[" * 3_000_000)
    with pytest.raises(ContractError, match="line 1") as caught:
        list(read_events(path))
    assert caught.value.reason == "too-large"


def test_every_picture_of_a_folder_is_a_product(tmp_path: Path) -> None:
    written(tmp_path / "red mug.JPG", b"mug")
    written(tmp_path / "chair_1.png", b"chair")
    written(tmp_path / "notes.txt", b"")
    written(tmp_path / ".hidden.png", b"")
    chair, mug = read_events(tmp_path, event_source="shop")
    assert (mug.source, mug.product_id, mug.revision) == ("shop", "red mug", MOMENT)
    assert mug.time.timestamp() == MOMENT
    (image,) = product(mug).images
    assert image.url == (tmp_path / "red mug.JPG").as_uri()
    assert image.url.startswith("file:///")
    assert image.sha256 == hashlib.sha256(b"mug").hexdigest()
    assert product(chair).title == "chair 1"


def test_the_same_picture_is_the_same_event_and_an_edited_one_is_later(tmp_path: Path) -> None:
    path = written(tmp_path / "mug.jpg", b"mug")
    (first,) = read_events(tmp_path)
    (again,) = read_events(tmp_path)
    assert again.to_json() == first.to_json()
    path.write_bytes(b"other mug")
    os.utime(path, (MOMENT + 1, MOMENT + 1))
    (edited,) = read_events(tmp_path)
    assert edited.id != first.id
    assert edited.order > first.order


def test_two_pictures_of_one_name_are_refused(tmp_path: Path) -> None:
    written(tmp_path / "mug.jpg", b"")
    written(tmp_path / "mug.png", b"")
    with pytest.raises(ContractError, match=r"mug\.png and mug\.jpg"):
        list(read_events(tmp_path))


def test_a_picture_whose_name_is_no_product_id_is_named(tmp_path: Path) -> None:
    written(tmp_path / "a\nb.jpg", b"")
    with pytest.raises(ContractError, match=r"b\.jpg: ") as caught:
        list(read_events(tmp_path))
    assert caught.value.field == "data.product_id"


@pytest.mark.parametrize("make", [lambda path: path.mkdir(), lambda path: None])
def test_nothing_to_read_is_said(tmp_path: Path, make: object) -> None:
    path = tmp_path / "pictures"
    make(path)  # type: ignore[operator]
    with pytest.raises(RejectedInput, match="pictures"):
        list(read_events(path))


def test_a_csv_row_is_a_product(tmp_path: Path) -> None:
    (tmp_path / "photos").mkdir()
    written(tmp_path / "photos/front 1.jpg", b"front")
    path = written(
        tmp_path / "products.csv",
        "\ufeffproduct_id,revision,title,description,category,brand,tags,locale,price,currency,tier,images\r\n"
        'p1,7,衬衫,"two\r\nlines",Clothing,Norden,linen | summer,zh-CN,299.90,CNY,high,'
        "photos/front 1.jpg|https://cdn.example.com/back.jpg\r\n"
        ",,,,,,,,,,,\r\n"
        "p2,,,,,,,,,,,\r\n",
    )
    first, second = read_events(path, event_source="shop")
    shirt = product(first)
    assert (first.source, first.type, shirt.product_id, shirt.revision) == (
        "shop",
        "product.uploaded.v1",
        "p1",
        7,
    )
    assert (shirt.title, shirt.description, shirt.category) == ("衬衫", "two\r\nlines", "Clothing")
    assert (shirt.brand, shirt.tags, shirt.locale, shirt.tier) == (
        "Norden",
        ("linen", "summer"),
        "zh-CN",
        "high",
    )
    assert shirt.price is not None
    assert (shirt.price.amount, shirt.price.currency) == (Decimal("299.90"), "CNY")
    local, remote = shirt.images
    assert local.url == (tmp_path / "photos/front 1.jpg").as_uri()
    assert local.sha256 == hashlib.sha256(b"front").hexdigest()
    assert (remote.url, remote.sha256) == ("https://cdn.example.com/back.jpg", None)
    assert [(i.id, i.position, i.role) for i in shirt.images] == [("1", 0, "front"), ("2", 1, "detail")]
    assert (second.product_id, second.revision, product(second).locale) == ("p2", MOMENT, "en")
    assert [event.id for event in read_events(path, event_source="shop")] == [first.id, second.id]


@pytest.mark.parametrize(
    ("content", "where", "reason"),
    [
        ("product_id,colour\n", "line 1: unknown column 'colour'", "invalid-csv"),
        ("title\nx\n", "line 1: column 'product_id' is missing", "invalid-csv"),
        ("", "line 1: column 'product_id' is missing", "invalid-csv"),
        ("product_id,title,title\n", "line 1: column 'title' occurs twice", "invalid-csv"),
        ("product_id,title\na,b,c\n", "line 2: 3 cells under 2 columns", "invalid-csv"),
        ('product_id,title\na,"b\n', "line 2: ", "invalid-csv"),
        (b"product_id\n\xff\n", "not UTF-8", "invalid-csv"),
        ("product_id,title\n,b\n", "line 2, column product_id: ", "missing-field"),
        ("product_id,revision\na,1.5\n", "line 2, column revision: ", "invalid-field"),
        ("product_id,revision\na,0\n", "line 2, column revision: ", "invalid-field"),
        ("product_id,price,currency\na,cheap,EUR\n", "line 2, column price: ", "invalid-field"),
        ("product_id,price\na,1\n", "line 2, column currency: ", "missing-field"),
        ("product_id,currency\na,EUR\n", "line 2, column price: ", "missing-field"),
        ("product_id,tier\na,gold\n", "line 2, column tier: ", "invalid-field"),
        (f"product_id,tags\na,{'x' * 101}\n", "line 2, column tags: ", "invalid-field"),
        ("product_id,images\na,gone.jpg\n", "line 2, column images: ", "no-such-file"),
        ("product_id,images\na,\0.jpg\n", "line 2, column images: ", "no-such-file"),
        ("product_id,images\na,https://x/a b.jpg\n", "line 2, column images: ", "invalid-field"),
        (f"product_id,title\na,{'x' * 200_000}\n", "line 2: field larger than", "invalid-csv"),
    ],
)
def test_a_csv_error_names_line_and_column(
    tmp_path: Path, content: str | bytes, where: str, reason: str
) -> None:
    path = written(tmp_path / "products.csv", content)
    with pytest.raises(ContractError) as caught:
        list(read_events(path))
    assert caught.value.reason == reason
    assert str(path) in str(caught.value)
    assert where in str(caught.value)


def test_a_csv_error_counts_lines_not_rows(tmp_path: Path) -> None:
    path = written(tmp_path / "p.csv", 'product_id,title\na,"two\nlines"\nb,ok\n\nc,x,y\n')
    events = read_events(path)
    assert [next(events).product_id, next(events).product_id] == ["a", "b"]
    with pytest.raises(ContractError, match="line 6: 3 cells"):
        next(events)
