"""The places and parts of garments: drawn ones, whose places are known, and the kit's photographs."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image, ImageDraw

from engines.devices import Device
from engines.evaluation.garments import measure, read_labelled
from engines.garments.kinds import OF_CATEGORY, OF_TYPE, kind_of
from engines.garments.landmarks import NAMES
from engines.garments.mapping import map_garment
from engines.garments.parts import PARTS, packed, unpacked
from engines.kit import Kit
from engines.protocols import Subject, Tag
from engines.protocols.fitting import Garment, GarmentKind, GarmentMap, Side
from engines.registry import Engines
from engines.words.vocabulary import vocabulary
from pipeline.errors import RejectedInput

SIZE, AXIS = 480, 240

# The half of a garment on the picture's right, from the top's middle to the bottom's, x from the axis.

T_SHIRT: dict[str, tuple[float, float]] = {
    "collar-centre": (0, 62),
    "collar": (40, 50),
    "shoulder": (95, 68),
    "cuff-outer": (185, 150),
    "cuff-inner": (150, 195),
    "armpit": (95, 150),
    "hem": (95, 420),
}
LONG_SLEEVES = T_SHIRT | {
    "cuff-outer": (225, 330),
    "cuff-inner": (185, 345),
    "hem": (92, 400),
}
TROUSERS = {
    "waist": (80, 40),
    "hip": (95, 140),
    "leg-outer": (105, 440),
    "leg-inner": (55, 440),
    "crotch": (0, 170),
}
SHORTS = TROUSERS | {"leg-outer": (125, 300), "leg-inner": (25, 310)}
SKIRT = {"waist": (60, 60), "hem": (140, 400)}
DRESS: dict[str, tuple[float, float]] = {
    "collar-centre": (0, 52),
    "collar": (30, 40),
    "shoulder": (70, 50),
    "cuff-outer": (125, 95),
    "cuff-inner": (100, 125),
    "armpit": (68, 110),
    "waist": (50, 200),
    "hem": (130, 440),
}
VEST = {
    "collar-centre": (0, 110),
    "collar": (50, 50),
    "shoulder": (85, 55),
    "armhole": (75, 110),
    "armpit": (100, 160),
    "hem": (100, 420),
}
DRAWN = {
    "t-shirt": (T_SHIRT, GarmentKind.UPPER),
    "long sleeves": (LONG_SLEEVES, GarmentKind.UPPER),
    "trousers": (TROUSERS, GarmentKind.LOWER),
    "shorts": (SHORTS, GarmentKind.LOWER),
    "skirt": (SKIRT, GarmentKind.LOWER),
    "dress": (DRESS, GarmentKind.DRESS),
    "vest": (VEST, GarmentKind.UPPER),
}


def drawn(half: dict[str, tuple[float, float]], turned: float = 0, both: bool = True) -> Image.Image:
    """The garment in white on black; ``turned`` in degrees, clockwise; only its right half has a sleeve unless both."""
    right = [(AXIS + x, y) for x, y in half.values()]
    kept = [at for name, at in half.items() if both or not name.startswith("cuff")]
    left = [(AXIS - x, y) for x, y in kept]
    image = Image.new("L", (SIZE * 4, SIZE * 4))
    ImageDraw.Draw(image).polygon([(4 * x, 4 * y) for x, y in right + left[::-1]], fill=255)
    return image.resize((SIZE, SIZE), Image.Resampling.BOX).rotate(-turned, Image.Resampling.BICUBIC)


def garment(
    shape: Image.Image, kind: GarmentKind, side: Side = Side.FRONT, types: tuple[str, ...] = ()
) -> Garment:
    """Blue cloth on a light ground."""
    alpha = np.asarray(shape, np.float32) / 255
    cloth, ground = np.array([40, 60, 130]), np.array([235, 235, 230])
    picture = cloth * alpha[..., None] + ground * (1 - alpha[..., None])
    return Garment(Subject(picture.astype(np.uint8), alpha), kind, side, types)


def off(found: GarmentMap, half: dict[str, tuple[float, float]], turned: float = 0) -> dict[str, float]:
    """How far every drawn place was found, in pixels; a front photo has the wearer's left on the right."""
    a = np.radians(turned)
    wrong = {}
    for name, mark in found.landmarks.items():
        plain = name.removesuffix("-left").removesuffix("-right")
        x, y = half[plain]
        x = -x if name.endswith("-right") else x
        dx, dy = AXIS + x - SIZE / 2, y - SIZE / 2
        there = (
            SIZE / 2 + dx * np.cos(a) - dy * np.sin(a),
            SIZE / 2 + dx * np.sin(a) + dy * np.cos(a),
        )
        wrong[name] = float(np.hypot(mark.x - there[0], mark.y - there[1]))
    return wrong


def expected(half: dict[str, tuple[float, float]]) -> set[str]:
    centred = {"collar-centre", "crotch"} & half.keys()
    sided = half.keys() - centred - {"hip", "armhole"}
    return centred | {f"{name}-{side}" for name in sided for side in ("left", "right")}


@pytest.mark.parametrize("turned", [0, 12, -25])
@pytest.mark.parametrize("name", DRAWN)
def test_the_places_of_a_drawn_garment_are_where_they_were_drawn(name: str, turned: float) -> None:
    half, kind = DRAWN[name]
    found = map_garment(garment(drawn(half, turned), kind))
    assert found.unsupported == ""
    assert found.landmarks.keys() == expected(half)
    assert found.landmarks.keys() <= NAMES.keys()
    wrong = off(found, half, turned)
    assert {place: round(by) for place, by in wrong.items() if by > 0.035 * SIZE} == {}
    assert found.symmetry > 0.95


@pytest.mark.parametrize("name", DRAWN)
def test_parts_cover_the_garment_and_lie_on_their_sides(name: str) -> None:
    half, kind = DRAWN[name]
    asked = garment(drawn(half), kind)
    found = map_garment(asked)
    assert set(found.parts) <= set(PARTS)
    total = np.sum(list(found.parts.values()), axis=0)
    assert np.abs(total - asked.subject.alpha).mean() < 0.01
    centre = {
        part: float((mask.sum(axis=0) * np.arange(SIZE)).sum() / mask.sum())
        for part, mask in found.parts.items()
    }
    for limb in ("sleeve", "leg"):
        if f"left-{limb}" in centre:
            assert centre[f"left-{limb}"] > AXIS + 20
            assert centre[f"right-{limb}"] < AXIS - 20
    again = unpacked(packed(found.parts, asked.subject.alpha.shape))
    assert again.keys() == found.parts.keys()
    assert max(float(np.abs(again[part] - found.parts[part]).mean()) for part in again) < 0.01


def test_left_and_right_are_the_wearers() -> None:
    shape = drawn(T_SHIRT)
    front = map_garment(garment(shape, GarmentKind.UPPER))
    back = map_garment(garment(shape, GarmentKind.UPPER, Side.BACK))
    assert front.landmarks["cuff-outer-left"].x > AXIS > front.landmarks["cuff-outer-right"].x
    assert back.landmarks["cuff-outer-left"] == front.landmarks["cuff-outer-right"]
    assert np.array_equal(back.parts["left-sleeve"], front.parts["right-sleeve"])


def test_a_mirrored_photo_swaps_the_sides() -> None:
    shape = drawn(LONG_SLEEVES, turned=8)
    one = map_garment(garment(shape, GarmentKind.UPPER))
    other = map_garment(garment(shape.transpose(Image.Transpose.FLIP_LEFT_RIGHT), GarmentKind.UPPER))
    for place in ("collar", "shoulder", "armpit", "cuff-outer", "hem"):
        left, right = one.landmarks[f"{place}-left"], other.landmarks[f"{place}-right"]
        assert abs(left.x - (SIZE - 1 - right.x)) < 6
        assert abs(left.y - right.y) < 6


def test_holes_islands_and_threads_change_nothing() -> None:
    shape = drawn(T_SHIRT)
    worn = shape.copy()
    pen = ImageDraw.Draw(worn)
    for x, y in ((200, 200), (260, 300), (230, 110)):
        pen.ellipse((x, y, x + 14, y + 10), fill=0)
    pen.rectangle((20, 440, 40, 455), fill=255)
    pen.line((300, 418, 306, 450), fill=255, width=3)
    one, other = (map_garment(garment(each, GarmentKind.UPPER)) for each in (shape, worn))
    for name, mark in one.landmarks.items():
        assert np.hypot(mark.x - other.landmarks[name].x, mark.y - other.landmarks[name].y) < 8
    assert other.unsupported == ""


@pytest.mark.parametrize("kind", [GarmentKind.FOOTWEAR, GarmentKind.ACCESSORY])
def test_what_is_worn_on_no_trunk_is_not_fitted(kind: GarmentKind) -> None:
    found = map_garment(garment(drawn(SKIRT), kind))
    assert found.unsupported.endswith("is.")
    assert not found.landmarks
    assert not found.parts


def test_a_garment_that_the_photo_cuts_off_is_told_where() -> None:
    shape = drawn(T_SHIRT).crop((0, 0, SIZE, 350))
    assert "cuts the garment off at the bottom" in map_garment(garment(shape, GarmentKind.UPPER)).unsupported


def test_a_garment_with_one_sleeve_to_be_seen_is_not_fitted() -> None:
    found = map_garment(garment(drawn(T_SHIRT, both=False), GarmentKind.UPPER))
    assert "Only one sleeve" in found.unsupported


def test_a_folded_jacket_is_missed_its_sleeves_and_a_vest_is_not() -> None:
    shape = drawn(VEST)
    assert "No sleeves" in map_garment(garment(shape, GarmentKind.OUTERWEAR, types=("jacket",))).unsupported
    assert map_garment(garment(shape, GarmentKind.OUTERWEAR, types=("outerwear",))).unsupported == ""


def test_trousers_without_legs_are_not_fitted() -> None:
    found = map_garment(garment(drawn(SKIRT), GarmentKind.LOWER, types=("trousers",)))
    assert "legs cannot be told apart" in found.unsupported


def test_a_hanger_is_seen_by_its_hook() -> None:
    shape = drawn(T_SHIRT)
    ImageDraw.Draw(shape).arc((228, 8, 252, 64), 150, 450, fill=255, width=4)
    assert "hanger" in map_garment(garment(shape, GarmentKind.UPPER)).unsupported


@pytest.mark.parametrize("level", [0, 255])
def test_a_cut_out_of_nothing_or_of_everything_is_turned_away(level: int) -> None:
    with pytest.raises(RejectedInput, match="send a photo"):
        map_garment(garment(Image.new("L", (60, 80), level), GarmentKind.UPPER))


def test_every_type_that_is_worn_has_a_kind() -> None:
    categories = vocabulary().categories
    assert set(OF_TYPE) == set(categories["clothing"].types)
    assert set(OF_CATEGORY) <= set(categories)


def test_the_kind_follows_the_surest_tag() -> None:
    def tag(attribute: str, value: str, confidence: float) -> Tag:
        return Tag(attribute, value, confidence)

    clothing = tag("category", "clothing", 1.0)
    assert kind_of([clothing, tag("product_type", "jeans", 0.9)]) is GarmentKind.LOWER
    sweatshirt, jacket = tag("product_type", "long-sleeve-top", 0.8), tag("product_type", "jacket", 0.8)
    assert kind_of([clothing, sweatshirt, jacket]) is GarmentKind.OUTERWEAR
    assert (
        kind_of([tag("category", "footwear", 0.9), tag("product_type", "boots", 0.9)]) is GarmentKind.FOOTWEAR
    )
    assert kind_of([clothing]) is None
    assert kind_of([tag("category", "furniture", 0.9)]) is None


def test_the_kits_garments_are_mapped_as_a_person_sees_them() -> None:
    kit = Kit()
    kit.fetch(["photos-openvto", "u2netp"])
    engines = Engines(kit, Device.choose(threads=2))
    some = ("shirts/2_front.jpg", "jackets/1_front.jpg", "pants/3_back.jpg", "pants/4_front.jpg")
    labelled = [one for one in read_labelled() if one.file in some]
    assert len(labelled) == len(some)
    folders = {"openvto": kit.path("photos-openvto") / "clothes"}
    errors = measure(labelled, folders, engines.get("u2netp"), engines.get("contour"))
    assert [error for error in errors if error.off is None] == []
    assert max(error.off or 0 for error in errors) < 0.05
    assert float(np.mean([error.off or 0 for error in errors])) < 0.012
