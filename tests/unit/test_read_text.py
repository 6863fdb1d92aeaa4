"""The stage that reads text: what it leaves behind, who gets it, and that nobody waits for it in vain."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar, cast

import numpy as np
import pytest
from PIL import Image, ImageDraw, ImageFont

from engines.declaration import Loading, Registration
from engines.devices import Device
from engines.kit import Kit
from engines.protocols import Printed, Subject, Tag
from engines.registry import Engines, load_adapters
from pipeline.graph import Attach, RunView, Skip
from pipeline.keys import Recipe
from pipeline.outcomes import Blob, Lane, Outcome, RunState
from pipeline.products import ImageRef, Product
from storage.assets import Assets
from storage.ledger import Claimed, Ledger
from storage.provenance import Signer
from storage.vectors import VectorIndex
from tasks._runtime import Runtime
from tasks._stage import Item, load_stages
from tasks.cutout import CutOut
from tasks.photo import Photo
from tasks.read_text import LineValue, ReadText, read_text
from tasks.screen import Screened
from tasks.tag import tag
from workers.bootstrap import build_graph
from workers.settings import Settings

PRODUCT = Product(
    product_id="p1",
    revision=1,
    title="T",
    images=tuple(ImageRef(id=i, url=f"https://shop.example/{i}.jpg", position=n) for n, i in enumerate("ab")),
)
LINE = LineValue(text="Polaroid", confidence=0.99, box=(0.1, 0.2, 0.5, 0.3))


@pytest.fixture
def assets(tmp_path: Path) -> Assets:
    return Assets(tmp_path.as_uri())


def store(assets: Assets, picture: Image.Image) -> Blob:
    stream = io.BytesIO()
    picture.save(stream, "PNG")
    return assets.put(stream.getvalue(), "image/png")


def photo(image: Blob) -> Photo:
    return Photo(original=image, image=image, width=320, height=120, dhash="0" * 16, transparent=False)


def item(stage: str, inputs: Mapping[str, Sequence[tuple[str, Outcome]]]) -> Item:
    claimed = Claimed(
        job_id=1, token=1, attempt=1, recipe="", lane=Lane.LIVE, run_id=1, plan_id=1, source="shop",
            product_id="p1", product_row=1,
        product=PRODUCT, image=PRODUCT.images[0], target="a", revision=1, generation=0, cause="event",
        event_id=None, traceparent=None, inputs={"caption": [], **inputs},
    )  # fmt: skip
    return Item(claimed, {each.spec.produces: name for name, each in load_stages().items()})


def runtime(assets: Assets, stage: str, engine: str, *registered: Registration) -> Runtime:
    """The reach of a stage; the servers are not needed here."""
    known = {item.name: item for item in registered}
    return Runtime(
        ledger=Ledger(cast(Any, None), build_graph(Settings())),
        assets=assets,
        fetcher=cast(Any, None),
        downloads=cast(Any, None),
        engines=Engines(Kit(), Device("cpu", "float32", 2), registered={**load_adapters(), **known}),
        index=VectorIndex(""),
        signing=lambda: Signer(b"", b""),
    ).serving(Recipe(stage, 1, engine))


def test_a_photo_leaves_its_lines_and_the_shop_gets_them(assets: Assets) -> None:
    Kit().fetch(load_adapters()["rapidocr"].artifacts)
    drawn = Image.new("RGB", (320, 120), "white")
    ImageDraw.Draw(drawn).text((30, 40), "Polaroid", "black", ImageFont.load_default(30))
    blank = Image.new("RGB", (320, 120), "white")
    items = []
    for picture in (drawn, blank):
        image = store(assets, picture)
        seen = Screened(unsafe=0.0, unsafe_from=0.8, image=image, width=320, height=120)
        items.append(item("read_text", {"photo": [("a", photo(image))], "screen": [("a", seen)]}))
    written, empty = read_text(items, runtime(assets, "read_text", "rapidocr"))
    assert isinstance(written, ReadText)
    assert empty == ReadText(lines=())
    [line] = written.lines
    assert line.text == "Polaroid"
    presents = load_stages()["read_text"].spec.presents
    assert presents is not None
    assert presents(written) == {"texts": [{**line.model_dump(), "box": list(line.box)}]}
    assert presents(empty) == {"texts": []}, "a photo read anew without text loses what it had"


class Remembering:
    """A tagger that finds nothing and remembers what it was shown."""

    version: ClassVar[int] = 1

    def __init__(self, _: Loading) -> None:
        self.shown: list[list[Subject]] = []

    def warm_up(self) -> None: ...

    def tag(self, products: Sequence[Sequence[Subject]]) -> list[list[Tag]]:
        self.shown += [list(subjects) for subjects in products]
        return [[] for _ in products]


def test_the_tagger_is_shown_each_photo_with_its_own_text(assets: Assets) -> None:
    image = store(assets, Image.new("RGB", (320, 120), "white"))
    cut = CutOut(
        mask=image, picture=image, box=(0, 0, 9, 9), coverage=0.5, edge_softness=0.1, sureness=0.9,
        width=320, height=120,
    )  # fmt: skip
    screened = Screened(unsafe=0.0, unsafe_from=0.8, image=image, width=320, height=120)
    inputs: dict[str, Sequence[tuple[str, Outcome]]] = {
        "photo": [("a", photo(image)), ("b", photo(image))],
        "screen": [("a", screened), ("b", screened)],
        "cutout": [("a", cut), ("b", cut)],
        # Photo a was not read: its run was parked.
        "read_text": [("b", ReadText(lines=(LINE,)))],
    }
    remembering = replace(
        load_adapters()["imagenet_vocabulary"], name="remembering", adapter=Remembering, needs=()
    )
    run = runtime(assets, "tag", "remembering", remembering)
    tag([item("tag", inputs)], run)
    [[unread, read]] = run.engine("tagger").shown
    assert unread.printed == ()
    assert read.printed == (Printed("Polaroid", 0.99, (0.1, 0.2, 0.5, 0.3)),)
    assert np.array_equal(unread.picture, read.picture)


@pytest.mark.parametrize("state", [RunState.PARKED, RunState.SKIPPED])
def test_a_photo_that_cannot_be_read_is_tagged_all_the_same(state: RunState) -> None:
    graph = build_graph(Settings())
    runs = {key: RunView(RunState.DONE, repr(key).encode()) for key in graph.runs_of(PRODUCT)}
    runs["tag", ""] = RunView(RunState.WAITING)
    with_text = graph.advance(PRODUCT, 1, runs)
    runs |= {("read_text", i): RunView(state, reason="out-of-memory") for i in "ab"}
    without = graph.advance(PRODUCT, 1, runs)
    assert [type(each) for each in (*with_text, *without)] == [Attach, Attach]
    assert not isinstance(with_text[0], Skip)
    assert not isinstance(without[0], Skip)
    assert with_text[0].fingerprint != without[0].fingerprint, "what was read is part of what was seen"
    runs["read_text", "a"] = RunView(RunState.READY)
    assert graph.advance(PRODUCT, 1, runs) == [], "it is waited for while it may still come"
