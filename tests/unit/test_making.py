"""A picture is made again, with another seed and structure kept more strictly, until it is proven."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest

from engines.devices import Device
from engines.kit import Kit
from engines.protocols import Subject, Tag
from engines.protocols.scenes import SceneRequest, Scenery
from engines.registry import Engines, load_adapters
from engines.scenes.certificate import Judges
from engines.scenes.making import Made, Order, make
from engines.scenes.placement import Aspect
from engines.scenes.presets import read_presets
from engines.scenes.prompts import alt_text
from pipeline.errors import RejectedInput
from storage.pictures import decode
from tests.backdrop import Backdrop
from tests.shop_photos import photos_by_product

TAGS = (Tag("category", "cameras", 0.9), Tag("product_type", "camera", 0.9), Tag("colour", "white", 0.8))


@pytest.fixture(scope="module")
def engines() -> Engines:
    return Engines(Kit(), Device("cpu", "float32", 2), registered=load_adapters())


@pytest.fixture(scope="module")
def judges(engines: Engines) -> Judges:
    return Judges(engines.get("u2netp"), engines.get("efficientnet_lite2"))


@pytest.fixture(scope="module")
def order(engines: Engines) -> Order:
    picture = decode(photos_by_product()["Instant Camera"].read_bytes()).pixels
    [alpha] = engines.get("u2netp").segment([picture])
    return Order("f" * 64, Subject(picture, alpha), TAGS, read_presets()["seamless"], Aspect.SQUARE, 40)


def test_a_proven_picture_is_made_once_and_shows_the_products_own_pixels(
    order: Order, judges: Judges
) -> None:
    renderer = Backdrop()
    [made] = make([order], renderer, judges)
    assert isinstance(made, Made)
    assert made.certificate.passes, made.certificate.failures
    assert (made.attempts, len(renderer.asked)) == (1, 1)
    [asked] = renderer.asked
    assert made.picture.shape == (*asked.alpha.shape, 3)
    full = asked.alpha == 1
    assert full.sum() > 50_000
    assert (made.picture[full] == asked.foreground[full]).all()
    assert "camera" in asked.prompt.en
    assert "照相机" in asked.prompt.zh
    assert sum(share for _, share in asked.palette) == pytest.approx(1, abs=0.01)


def test_what_is_not_proven_is_tried_again_with_another_seed_and_held_more_strictly(
    order: Order, judges: Judges
) -> None:
    renderer = Backdrop(from_hold=1.0)
    [made] = make([order], renderer, judges)
    assert isinstance(made, Made)
    assert made.certificate.passes
    assert made.attempts == 3
    assert [one.seed for one in renderer.asked] == [40, 41, 42]
    assert [one.hold for one in renderer.asked] == sorted({one.hold for one in renderer.asked})


def test_after_the_last_attempt_the_best_is_kept_with_what_it_lacks(order: Order, judges: Judges) -> None:
    renderer = Backdrop(from_hold=2.0)
    [made] = make([order], renderer, judges)
    assert isinstance(made, Made)
    assert not made.certificate.passes
    assert any("floats" in why for why in made.certificate.failures)
    assert (made.attempts, len(renderer.asked)) == (3, 3)


def test_what_no_other_setting_mends_is_not_tried_again(order: Order, judges: Judges) -> None:
    alpha = order.subject.alpha.copy()
    alpha[:, : alpha.shape[1] // 2] = 0
    renderer = Backdrop()
    [made] = make([replace(order, subject=replace(order.subject, alpha=alpha))], renderer, judges)
    assert isinstance(made, Made)
    assert made.certificate.lasts, made.certificate.failures
    assert len(renderer.asked) == 1


class Refusing(Backdrop):
    def render(self, requests: Sequence[SceneRequest]) -> list[Scenery | RejectedInput]:  # type: ignore[override]
        return [RejectedInput("no-way", "cannot be shown so") for _ in requests]


def test_one_that_cannot_be_made_takes_no_other_along(order: Order, judges: Judges) -> None:
    empty = Order(
        "e" * 64, Subject(order.subject.picture, np.zeros_like(order.subject.alpha)), TAGS, order.preset,
        Aspect.SQUARE, 1,
    )  # fmt: skip
    nothing, made = make([empty, order], Backdrop(), judges)
    assert isinstance(nothing, RejectedInput)
    assert nothing.reason == "no-subject"
    assert isinstance(made, Made)
    [refused] = make([order], Refusing(), judges)
    assert isinstance(refused, RejectedInput)
    assert refused.reason == "no-way"
    assert make([], Backdrop(), judges) == []


def test_a_batch_gives_what_single_orders_give(order: Order, judges: Judges) -> None:
    wide = Order("f" * 64, order.subject, TAGS, order.preset, Aspect.WIDE, 41)
    together = make([order, wide], Backdrop(), judges)
    for one, alone in zip(
        together, (make([order], Backdrop(), judges), make([wide], Backdrop(), judges)), strict=True
    ):
        assert isinstance(one, Made)
        assert isinstance(alone[0], Made)
        assert (one.picture == alone[0].picture).all()
        assert one.certificate.scores == alone[0].certificate.scores


def test_the_alternative_text_says_what_is_seen_in_both_languages() -> None:
    told = alt_text(TAGS, read_presets()["wooden-table"])
    assert (told.en, told.zh) == ("A white camera on an oak table.", "白色照相机，橡木桌面。")
    nothing = alt_text((), read_presets()["linen"])
    assert nothing.en.startswith("A product lying on ")
