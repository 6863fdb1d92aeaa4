"""The stage that shows a product in a setting: what it leaves behind, who is asked, what the shop gets."""

from __future__ import annotations

import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import c2pa
import numpy as np
import pytest
from PIL import Image
from sqlalchemy import Engine

from engines.devices import Device
from engines.kit import Kit
from engines.registry import Engines, load_adapters
from engines.scenes.certificate import Bar, read_bars
from engines.scenes.presets import read_presets
from pipeline.errors import ConfigurationError, NeedsReview, RejectedInput, VitrineError
from pipeline.keys import Recipe
from pipeline.outcomes import Lane, Outcome
from pipeline.products import ImageRef, Product
from storage.assets import Assets
from storage.ledger import Claimed, Ledger
from storage.pictures import decode, encode
from storage.provenance import Signer
from storage.vectors import VectorIndex
from tasks._runtime import Runtime
from tasks._stage import Item, load_stages
from tasks.cutout import CutOut
from tasks.photo import Photo
from tasks.scene import BELOW_THE_BAR, Scene, scene
from tasks.screen import Screened
from tasks.tag import Tagged, TagValue, Words
from tests.backdrop import Backdrop
from tests.shop_photos import photos_by_product
from workers.bootstrap import build_graph, build_signer
from workers.settings import Settings

PRODUCT = Product(
    product_id="p1",
    revision=1,
    title="T",
    images=(
        ImageRef(id="back", url="https://shop.example/b.jpg", position=0, role="back"),
        ImageRef(id="front", url="https://shop.example/f.jpg", position=1, role="front"),
    ),
)
NAME = Words(en="", zh="")
KINDS = {"category": "cameras", "product_type": "camera", "colour": "white"}


@pytest.fixture
def run(database: Engine, tmp_path: Path) -> Runtime:
    backdrop = replace(
        load_adapters()["u2netp"],
        name="backdrop",
        adapter=Backdrop,
        capabilities=("SceneRenderer",),
        artifacts=(),
    )
    params = {
        "aids": {
            "segmenter": "u2netp@1",
            "image_encoder": "efficientnet_lite2@1",
            "text_reader": "rapidocr@1",
        },
        "presets": {name: preset.model_dump(mode="json") for name, preset in read_presets().items()},
    }
    return Runtime(
        ledger=Ledger(database, build_graph(Settings())),
        assets=Assets(tmp_path.as_uri()),
        fetcher=cast(Any, None),
        downloads=cast(Any, None),
        engines=Engines(
            Kit(), Device("cpu", "float32", 2), registered={**load_adapters(), "backdrop": backdrop}
        ),
        index=VectorIndex(""),
        signing=lambda: Signer.test(tmp_path),
    ).serving(Recipe("scene", 1, "backdrop", "r1", params))


def inputs(run: Runtime) -> dict[str, Sequence[tuple[str, Outcome]]]:
    """A camera cut out of its front photo, and a back photo from which nothing could be cut out."""
    picture = decode(photos_by_product()["Instant Camera"].read_bytes()).pixels
    [alpha] = run.engines.get("u2netp").segment([picture])
    grey = np.repeat((alpha * 255).astype(np.uint8)[..., np.newaxis], 3, axis=2)
    image = run.assets.put(encode(picture, media_type="image/png"), "image/png")
    mask = run.assets.put(encode(grey, media_type="image/png"), "image/png")
    height, width = alpha.shape
    seen = Screened(unsafe=0.0, unsafe_from=0.8, image=image, width=width, height=height)
    photo = Photo(original=image, image=image, width=width, height=height, dhash="0" * 16, transparent=False)
    cut = CutOut(
        mask=mask, picture=mask, box=(0, 0, 9, 9), coverage=0.2, edge_softness=0.1, sureness=0.9, width=width,
        height=height,
    )  # fmt: skip
    tags = tuple(
        TagValue(
            attribute=attribute,
            value=value,
            name=NAME,
            en="",
            zh="",
            confidence=0.9,
            evidence=(),
            reason=None,
        )
        for attribute, value in KINDS.items()
    )
    return {
        "photo": [("back", photo), ("front", photo)],
        "screen": [("back", seen), ("front", seen)],
        "cutout": [("front", cut)],
        "tag": [("", Tagged(tags=tags, keywords=(), flags=(), dropped=()))],
        "read_text": [],
    }


def item(slot: str, given: Mapping[str, Sequence[tuple[str, Outcome]]]) -> Item:
    claimed = Claimed(
        job_id=1, token=1, attempt=1, recipe="", lane=Lane.LIVE, run_id=1, plan_id=1, source="shop",
        product_id="p1", product_row=1, product=PRODUCT, image=None, target=f"@{slot}", revision=1, generation=0,
        cause="event", event_id=None, traceparent=None, inputs=given,
    )  # fmt: skip
    return Item(claimed, {each.spec.produces: name for name, each in load_stages().items()})


def made(run: Runtime, *slots: str) -> list[Outcome | VitrineError]:
    given = inputs(run)
    return list(scene([item(slot, given) for slot in slots], run))


def test_a_proven_scene_leaves_every_shape_with_its_provenance(run: Runtime) -> None:
    square, wide = made(run, "square", "wide")
    assert isinstance(square, Scene)
    assert isinstance(wide, Scene)
    assert square.preset != wide.preset, "another shape, another setting"
    assert (square.master.width, square.master.height) == (1024, 1024)
    assert (wide.master.width, wide.master.height) == (1024, 576)
    assert square.proof.failures == ()
    assert {one.picture.media_type for one in square.renditions} == {"image/avif", "image/webp"}
    for rendition in (square.master, *square.renditions):
        data = run.load(rendition.picture)
        picture = Image.open(io.BytesIO(data))
        assert picture.size == (rendition.width, rendition.height)
        with c2pa.Reader(rendition.picture.media_type, io.BytesIO(data)) as reader:
            told = json.loads(reader.json())
        manifest = told["manifests"][told["active_manifest"]]
        [said] = [one["data"] for one in manifest["assertions"] if one["label"] == "org.vitrine.scene"]
        assert said["photo"]["hash"] == square.photo
        assert said["engine"] == "backdrop@r1"
        assert said["seed"] == square.seed
        assert said["certificate"]["passes"] is True
    shown = load_stages()["scene"].spec.presents
    assert shown is not None
    assert shown(square)["scene"]["alt"]["en"].startswith("A white camera")


def test_the_same_product_gives_the_same_picture(run: Runtime) -> None:
    [one], [other] = made(run, "square"), made(run, "square")
    assert isinstance(one, Scene)
    assert isinstance(other, Scene)
    assert (one.pixels, one.seed) == (other.pixels, other.seed)


def test_what_is_not_proven_is_handed_over_for_review_with_its_reasons(run: Runtime) -> None:
    run.engine("scene_renderer").from_hold = 2.0
    [outcome] = made(run, "square")
    assert isinstance(outcome, NeedsReview)
    assert outcome.reason == BELOW_THE_BAR
    assert "floats" in str(outcome)
    assert isinstance(outcome.outcome, Scene)
    assert outcome.outcome.attempts == 3
    assert run.load(outcome.outcome.master.picture), "a person can look at it"


def test_a_product_that_no_preset_suits_is_told_so(run: Runtime) -> None:
    only = {"linen": read_presets()["linen"].model_dump(mode="json") | {"never": ["cameras"]}}
    narrow = run.serving(replace(run.recipe, params={**run.params, "presets": only}))
    [outcome] = made(narrow, "square")
    assert isinstance(outcome, RejectedInput)
    assert outcome.reason == "no-preset"


def test_a_deployment_chooses_its_shapes_or_none() -> None:
    assert build_graph(Settings(scenes=("wide",))).stages["scene"].slots == ("wide",)
    assert "scene" not in build_graph(Settings(scenes=())).stages


def test_another_bar_changes_the_recipe_too(monkeypatch: pytest.MonkeyPatch) -> None:
    before = build_graph(Settings()).recipes["scene"].key
    bars = read_bars()
    stricter = {**bars, "any": {**bars["any"], "copy": Bar(most=0.1)}}
    monkeypatch.setattr("workers.bootstrap.read_bars", lambda: stricter)
    assert build_graph(Settings()).recipes["scene"].key != before


def test_a_preset_of_no_known_kind_is_refused_with_its_file(tmp_path: Path) -> None:
    own = tmp_path / "presets.yaml"
    ours = read_presets()["seamless"].model_dump(mode="json", exclude={"name"})
    own.write_text(json.dumps({"moon": ours | {"fits": ["moonstones"]}}), "utf-8")
    with pytest.raises(ConfigurationError, match=r"presets\.yaml.*") as caught:
        build_graph(Settings(presets=own))
    assert "moonstones" in str(caught.value)


def test_half_a_certificate_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="set both"):
        build_signer(Settings(c2pa_key=tmp_path / "key.pem"))


def test_a_shops_presets_change_the_recipe(tmp_path: Path) -> None:
    own = tmp_path / "presets.yaml"
    ours = read_presets()["seamless"].model_dump(mode="json", exclude={"name"})
    own.write_text(json.dumps({"seamless": ours | {"en": "our own paper"}}), "utf-8")
    one, other = (build_graph(Settings(presets=path)).recipes["scene"] for path in (None, own))
    assert one.key != other.key
    assert other.params["presets"]["seamless"]["en"] == "our own paper"
    assert len(other.params["presets"]) == len(one.params["presets"])
