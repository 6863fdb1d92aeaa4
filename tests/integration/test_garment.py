"""The stage garment: what a product's photos leave, and what is no garment."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
from PIL import Image
from sqlalchemy import Engine

from engines.devices import Device
from engines.kit import Kit
from engines.protocols.fitting import GarmentKind, Side
from engines.registry import Engines, load_adapters
from pipeline.events import ImageRef, Product
from pipeline.keys import Recipe
from pipeline.outcomes import Lane, Outcome
from storage.assets import Assets
from storage.ledger import Claimed, Ledger
from storage.pictures import encode
from storage.provenance import Signer
from storage.vectors import VectorIndex
from tasks._runtime import Runtime
from tasks._stage import Item, load_stages
from tasks.cutout import CutOut
from tasks.garment import GarmentMapped, garment, map_of
from tasks.photo import Photo
from tasks.screen import Screened
from tasks.tag import Tagged, TagValue, Words
from workers.bootstrap import build_graph
from workers.settings import Settings

PRODUCT = Product(
    source="shop",
    product_id="p1",
    revision=1,
    title="Denim jacket",
    images=(
        ImageRef(id="b", url="https://shop.example/b.jpg", position=0, role="back"),
        ImageRef(id="f", url="https://shop.example/f.jpg", position=1, role="front"),
        ImageRef(id="d", url="https://shop.example/d.jpg", position=2, role="detail"),
    ),
)
FILES = {"b": "jackets/1_back.jpg", "f": "jackets/1_front.jpg", "d": "jackets/1_front.jpg"}


@pytest.fixture
def run(database: Engine, tmp_path: Path) -> Runtime:
    Kit().fetch(["u2netp", "photos-openvto"])
    return Runtime(
        ledger=Ledger(database, build_graph(Settings())),
        assets=Assets(tmp_path.as_uri()),
        fetcher=cast(Any, None),
        downloads=cast(Any, None),
        engines=Engines(Kit(), Device("cpu", "float32", 2), registered=load_adapters()),
        index=VectorIndex(""),
        signing=lambda: Signer.test(tmp_path),
    ).serving(Recipe("garment", 1, "contour", "r1", {}))


def tagged(**values: str) -> Tagged:
    name = Words(en="", zh="")
    tags = tuple(
        TagValue(attribute=a, value=v, name=name, en="", zh="", confidence=0.9, evidence=(), reason=None)
        for a, v in values.items()
    )
    return Tagged(tags=tags, keywords=(), flags=(), dropped=())


def item(run: Runtime, tags: Tagged) -> Item:
    given: dict[str, list[tuple[str, Outcome]]] = {
        "photo": [],
        "screen": [],
        "cutout": [],
        "tag": [("", tags)],
    }
    for name, file in FILES.items():
        with Image.open(Kit().path("photos-openvto") / "clothes" / file) as image:
            picture = np.asarray(image.convert("RGB").resize((512, 512)))
        [alpha] = run.engines.get("u2netp").segment([picture])
        grey = np.repeat((alpha * 255).astype(np.uint8)[..., np.newaxis], 3, axis=2)
        blob = run.assets.put(encode(picture, media_type="image/png"), "image/png")
        mask = run.assets.put(encode(grey, media_type="image/png"), "image/png")
        size = {"width": 512, "height": 512}
        given["photo"].append(
            (name, Photo(original=blob, image=blob, dhash="0" * 16, transparent=False, **size))
        )
        given["screen"].append((name, Screened(unsafe=0.0, unsafe_from=0.8, image=blob, **size)))
        cut = CutOut(
            mask=mask, picture=mask, box=(0, 0, 9, 9), coverage=0.2, edge_softness=0.1, sureness=0.9, **size
        )
        given["cutout"].append((name, cut))
    inputs: Mapping[str, Sequence[tuple[str, Outcome]]] = given
    claimed = Claimed(
        job_id=1, token=1, attempt=1, recipe="", lane=Lane.LIVE, run_id=1, plan_id=1, source="shop",
        product_id="p1", product_row=1, product=PRODUCT, image=None, target="", revision=1, generation=0,
        cause="event", event_id=None, traceparent=None, inputs=inputs,
    )  # fmt: skip
    return Item(claimed, {each.spec.produces: name for name, each in load_stages().items()})


def test_front_and_back_leave_their_maps_and_what_is_no_garment_is_done(run: Runtime) -> None:
    jacket = item(run, tagged(category="clothing", product_type="jacket"))
    sofa = item(run, tagged(category="furniture", product_type="sofa"))
    worn, no_garment = garment([jacket, sofa], run)
    assert no_garment == GarmentMapped(kind=None, types=(), photos=())
    assert isinstance(worn, GarmentMapped)
    assert worn.kind is GarmentKind.OUTERWEAR
    assert [(photo.image, photo.side) for photo in worn.photos] == [("f", Side.FRONT), ("b", Side.BACK)]
    front, back = worn.photos
    assert front.unsupported == back.unsupported == ""
    assert front.landmarks["cuff-outer-left"].x > 256 > back.landmarks["cuff-outer-left"].x
    found = map_of(run, worn.kind, front)
    assert {"torso", "left-sleeve", "right-sleeve", "collar"} == set(found.parts)
    assert found.parts["torso"][300, 256] == 1
    assert found.parts["left-sleeve"][400, 440] == 1
    presents = load_stages()["garment"].spec.presents
    assert presents is not None
    assert presents(worn)["garment"]["kind"] == "outerwear"
    assert presents(no_garment) == {"garment": None}
    assert {blob.digest for blob in worn.blobs()} == {
        photo.parts.digest for photo in worn.photos if photo.parts
    }


def test_shoes_are_told_why_nothing_is_fitted(run: Runtime) -> None:
    [shoes] = garment([item(run, tagged(category="footwear", product_type="sneakers"))], run)
    assert isinstance(shoes, GarmentMapped)
    assert shoes.kind is GarmentKind.FOOTWEAR
    assert all("Footwear is not fitted" in photo.unsupported for photo in shoes.photos)
