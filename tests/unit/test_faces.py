"""Lipstick and glasses on real faces; the glasses are drawn here."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image, ImageDraw

from engines.devices import Device
from engines.faces.glasses import wear_glasses
from engines.faces.heads import average_face, head
from engines.faces.light import LUMINANCE, decoded, encoded
from engines.faces.lips import lips, paint_lips, swatch_colour
from engines.faces.outlines import LIPS_OUTER, OVAL, covered
from engines.kit import Kit
from engines.protocols import RGB, Alpha, Subject
from engines.protocols.fitting import FaceKind, FaceRenderer, FaceRequest, Finish, Fitting, Person, Points
from engines.registry import Engines
from pipeline.errors import RejectedInput

SHUT, SMILING, TURNED = "people/2_selfie.jpg", "people/4_selfie.jpg", "people/2_posture.jpg"
FACES = [SHUT, SMILING, "people/1_selfie.jpg"]
PLUM, RED, NUDE = (92, 20, 48), (176, 14, 36), (190, 120, 105)

Read = Callable[[str], tuple[RGB, Person]]


@pytest.fixture(scope="module")
def kit() -> Kit:
    kit = Kit()
    body = ["blazepose-detector", "blazepose-full", "selfie-segmentation"]
    kit.fetch([*body, "blazeface", "face-mesh", "face-shape", "photos-openvto"])
    return kit


@pytest.fixture(scope="module")
def average(kit: Kit) -> npt.NDArray[np.float64]:
    return average_face(kit.path("face-shape"))


@pytest.fixture(scope="module")
def engines(kit: Kit) -> Engines:
    return Engines(kit, Device.choose(threads=2))


@pytest.fixture(scope="module")
def renderer(engines: Engines) -> FaceRenderer:
    engine = engines.get("faces")
    assert isinstance(engine, FaceRenderer)
    return engine


@pytest.fixture(scope="module")
def read(kit: Kit, engines: Engines) -> Read:
    known: dict[str, tuple[RGB, Person]] = {}

    def one(name: str) -> tuple[RGB, Person]:
        if name not in known:
            with Image.open(kit.path("photos-openvto") / name) as image:
                small = image.convert("RGB")
            small.thumbnail((900, 900))
            picture = np.asarray(small)
            (person,) = engines.get("mediapipe").read([picture])
            assert isinstance(person, Person)
            known[name] = picture, person
        return known[name]

    return one


def face_of(person: Person) -> Points:
    assert person.face is not None
    return person.face


def light(picture: RGB) -> npt.NDArray[np.float64]:
    return np.asarray(decoded(picture) @ LUMINANCE)


def glasses(lens: tuple[int, int, int, int] = (210, 225, 235, 26)) -> Subject:
    """Two round rims with a bridge and hinges, drawn four times as large and shrunk."""
    image = Image.new("RGBA", (2240, 880), (0, 0, 0, 0))
    pen, rim = ImageDraw.Draw(image), (30, 24, 26, 255)
    for left in (120, 1240):
        pen.rounded_rectangle((left, 120, left + 880, 760), 280, fill=lens, outline=rim, width=56)
    pen.arc((940, 248, 1300, 560), 195, 345, fill=rim, width=52)
    for left in (32, 2096):
        pen.rectangle((left, 208, left + 112, 296), fill=rim)
    small = np.asarray(image.resize((560, 220), Image.Resampling.LANCZOS))
    return Subject(np.ascontiguousarray(small[..., :3]), np.float32(small[..., 3]) / 255)


def worn(renderer: FaceRenderer, request: FaceRequest) -> Fitting:
    (fitting,) = renderer.wear([request])
    if isinstance(fitting, RejectedInput):
        raise fitting
    return fitting


@pytest.mark.parametrize("name", FACES)
@pytest.mark.parametrize("finish", list(Finish))
def test_outside_the_lips_every_pixel_is_the_photo_s_own(name: str, finish: Finish, read: Read) -> None:
    picture, person = read(name)
    before = picture.copy()
    painted = paint_lips(picture, face_of(person), RED, finish)
    np.testing.assert_array_equal(picture, before)
    outline = covered(face_of(person)[list(LIPS_OUTER)], picture.shape[:2])
    mask = lips(face_of(person), picture.shape[:2])
    np.testing.assert_array_equal(painted[mask == 0], picture[mask == 0])
    changed = (painted != picture).any(axis=2)
    # The outline is curved between its points: it reaches a pixel or two beyond their polygon.
    assert changed[outline == 0].sum() < 0.1 * changed.sum()
    assert changed[mask > 0.5].mean() > 0.99


def test_teeth_are_left_alone_and_a_shut_mouth_is_painted_through(read: Read) -> None:
    picture, person = read(SMILING)
    opening = face_of(person)[[13, 14]].mean(axis=0).round().astype(int)
    mask = lips(face_of(person), picture.shape[:2])
    assert mask[opening[1] - 2 : opening[1] + 3, opening[0] - 8 : opening[0] + 9].max() == 0
    picture, person = read(SHUT)
    x, y = face_of(person)[[13, 14]].mean(axis=0).round().astype(int)
    assert lips(face_of(person), picture.shape[:2])[y, x - 8 : x + 9].min() > 0.5


@pytest.mark.parametrize("name", FACES)
@pytest.mark.parametrize("finish", list(Finish))
def test_a_darker_shade_gives_darker_lips_of_its_own_hue(name: str, finish: Finish, read: Read) -> None:
    picture, person = read(name)
    inside = lips(face_of(person), picture.shape[:2]) > 0.9
    plum, red, nude = (
        paint_lips(picture, face_of(person), one, finish)[inside].mean(axis=0) for one in (PLUM, RED, NUDE)
    )
    assert plum @ LUMINANCE < red @ LUMINANCE < nude @ LUMINANCE
    assert red[0] > 2 * red[1]
    assert plum[2] > plum[1]


@pytest.mark.parametrize("name", FACES)
def test_gloss_shines_and_matte_evens_out(name: str, read: Read) -> None:
    picture, person = read(name)
    inside = lips(face_of(person), picture.shape[:2]) > 0.9
    matte, satin, gloss = (
        light(paint_lips(picture, face_of(person), PLUM, finish)[inside]) for finish in Finish
    )
    top = [float(np.quantile(one, 0.99)) for one in (matte, satin, gloss)]
    assert top[0] < top[1] < top[2]
    assert matte.std() < gloss.std()
    # The shading is the lips' own.
    assert np.corrcoef(light(picture[inside]), satin)[0, 1] > 0.8


def test_a_lipstick_s_colour_is_the_bullet_s_and_not_the_case_s() -> None:
    image = Image.new("RGB", (300, 600), (255, 255, 255))
    pen = ImageDraw.Draw(image)
    pen.rectangle((90, 300, 210, 580), fill=(18, 18, 20))
    pen.rectangle((95, 240, 205, 300), fill=(206, 170, 92))
    pen.rectangle((105, 100, 195, 240), fill=(170, 24, 44))
    picture = np.asarray(image)
    alpha = (picture.mean(axis=2) < 250).astype(np.float32)
    assert swatch_colour(picture, alpha) == pytest.approx((170, 24, 44), abs=4)
    nude = np.full((40, 40, 3), (188, 128, 112), np.uint8)
    assert swatch_colour(nude, np.ones((40, 40), np.float32)) == pytest.approx((188, 128, 112), abs=2)
    with pytest.raises(RejectedInput, match="no product"):
        swatch_colour(picture, np.zeros((600, 300), np.float32))


def test_light_is_its_code_s_inverse() -> None:
    codes = np.arange(256, dtype=np.uint8)
    np.testing.assert_array_equal(encoded(decoded(codes)), codes)


@pytest.mark.parametrize("turn", [(0, 0, 0), (20, -5, 12), (-30, 8, -20)])
def test_a_head_is_held_as_it_was_turned(
    turn: tuple[int, int, int], average: npt.NDArray[np.float64]
) -> None:
    yaw, pitch, roll = np.radians(turn)
    about_y = np.array([[np.cos(yaw), 0, np.sin(yaw)], [0, 1, 0], [-np.sin(yaw), 0, np.cos(yaw)]])
    about_x = np.array([[1, 0, 0], [0, np.cos(pitch), -np.sin(pitch)], [0, np.sin(pitch), np.cos(pitch)]])
    about_z = np.array([[np.cos(roll), np.sin(roll), 0], [-np.sin(roll), np.cos(roll), 0], [0, 0, 1]])
    turned = about_z @ about_x @ about_y
    places = average @ turned.T * 12
    face = (places[:, :2] * (1, -1) + (300, 400)).astype(np.float32)
    held = head(face, average)
    assert held.scale == pytest.approx(12, rel=1e-4)
    assert held.turn == pytest.approx(turned, abs=1e-3)
    assert np.sign(np.round([held.yaw, held.pitch, held.roll])).tolist() == np.sign(turn).tolist()
    assert held.onto_picture(average) == pytest.approx(face, abs=0.01)


@pytest.mark.parametrize("name", [*FACES, TURNED])
def test_glasses_sit_before_the_eyes(name: str, read: Read, average: npt.NDArray[np.float64]) -> None:
    picture, person = read(name)
    face, product = face_of(person), glasses()
    result = wear_glasses(picture, face, product.picture, product.alpha, average)
    np.testing.assert_array_equal(result.picture[result.region == 0], picture[result.region == 0])
    assert (result.glasses <= result.region + 1e-6).all()
    rim = result.glasses > 0.6
    rows, columns = np.nonzero(rim)
    left, right = face[[127, 356], 0]
    off = 0.25 if name == TURNED else 0.12
    assert abs(columns.min() - left) < off * (right - left)
    assert abs(columns.max() - right) < off * (right - left)
    assert rows.min() < face[[159, 386], 1].min()
    assert rows.max() < face[1, 1] + 0.05 * (right - left), "no lower than the tip of the nose"
    # Clear lenses: through them the pupils are seen as they are, a little hidden.
    for lids in ((159, 145), (386, 374)):
        x, y = face[list(lids)].mean(axis=0).round().astype(int)
        assert 0.02 < result.glasses[y, x] < 0.3
        assert np.abs(result.picture[y, x].astype(int) - picture[y, x]).max() < 50


def test_glasses_are_tilted_with_the_head(read: Read, average: npt.NDArray[np.float64]) -> None:
    picture, person = read(SHUT)
    face, product = face_of(person), glasses()
    middle = face.mean(axis=0)
    angle = np.radians(20)
    turn = np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])
    rolled = np.asarray(
        Image.fromarray(picture).rotate(
            -20, Image.Resampling.BILINEAR, center=(float(middle[0]), float(middle[1]))
        )
    )
    points = ((face - middle) @ turn + middle).astype(np.float32)
    straight = wear_glasses(picture, face, product.picture, product.alpha, average)
    tilted = wear_glasses(rolled, points, product.picture, product.alpha, average)
    assert slope(tilted.glasses) - slope(straight.glasses) == pytest.approx(20, abs=2)


def slope(cover: Alpha) -> float:
    """Degrees by which the longer axis of what is covered falls to the right."""
    rows, columns = np.nonzero(cover > 0.6)
    spread = np.cov(columns, rows)
    return float(np.degrees(np.arctan2(2 * spread[0, 1], spread[0, 0] - spread[1, 1]) / 2))


def test_dark_lenses_hide_the_eyes(read: Read, average: npt.NDArray[np.float64]) -> None:
    picture, person = read(SMILING)
    face, product = face_of(person), glasses(lens=(25, 25, 30, 225))
    result = wear_glasses(picture, face, product.picture, product.alpha, average)
    x, y = face[[159, 145]].mean(axis=0).round().astype(int)
    assert result.glasses[y, x] == pytest.approx(225 / 255, abs=0.03)
    assert result.picture[y, x].mean() < 100


def test_of_a_turned_head_only_the_nearer_arm_is_seen(read: Read, average: npt.NDArray[np.float64]) -> None:
    picture, person = read(TURNED)
    face, product = face_of(person), glasses()
    held = head(face, average)
    assert held.yaw < -15, "she looks to the picture's left"
    result = wear_glasses(picture, face, product.picture, product.alpha, average)
    depths = np.linspace(3.5, 0.5, 13)
    near = held.onto_picture(np.array([(7.0, 3.3, z) for z in depths])).round().astype(int)
    far = [(-7.0, y, z) for z in np.linspace(2, -2.4, 12) for y in (2.3, 2.6, 2.9)]
    hidden = covered(face[list(OVAL)], picture.shape[:2])
    shown = [float(result.glasses[y - 2 : y + 3, x].max()) for x, y in near]
    assert min(shown) > 0.7
    seen: dict[bool, list[float]] = {True: [], False: []}
    for x, y in held.onto_picture(np.array(far)).round().astype(int):
        seen[bool(hidden[y, x] == 1)].append(float(result.glasses[y, x]))
    assert max(seen[False]) > 0.9, "beside the face the farther arm goes back"
    assert max(seen[True]) < 0.3, "behind it, what is seen is the lens"


def refused(renderer: FaceRenderer, request: FaceRequest) -> RejectedInput:
    (answer,) = renderer.wear([request])
    assert isinstance(answer, RejectedInput)
    assert "needed" in str(answer)
    return answer


def test_what_a_photo_lacks_is_said(
    read: Read, renderer: FaceRenderer, average: npt.NDArray[np.float64]
) -> None:
    picture, person = read(SHUT)
    face = face_of(person)
    for kind in FaceKind:
        request = FaceRequest(glasses(), kind, picture, person)
        assert refused(renderer, replace(request, person=replace(person, face=None))).reason == "no-face"
        away = average @ np.array([[0.5, 0, 0.87], [0, 1, 0], [-0.87, 0, 0.5]]).T * 15
        points = (away[:, :2] * (1, -1) + (300, 400)).astype(np.float32)
        assert (
            refused(renderer, replace(request, person=replace(person, face=points))).reason == "face-turned"
        )
        tiny = (face * 0.1).astype(np.float32)
        assert (
            refused(renderer, replace(request, person=replace(person, face=tiny))).reason == "face-too-small"
        )
    lipstick = FaceRequest(glasses(), FaceKind.LIPSTICK, picture, person, colour=RED)
    aside = (face - face[61] - 20).astype(np.float32)
    assert refused(renderer, replace(lipstick, person=replace(person, face=aside))).reason == "face-cut-off"
    eyewear = FaceRequest(glasses(), FaceKind.EYEWEAR, picture, person)
    shut = face.copy()
    shut[[159, 386]] = shut[[145, 374]] - (0, 1)
    assert refused(renderer, replace(eyewear, person=replace(person, face=shut))).reason == "eyes-hidden"
    covered_up = picture.copy()
    (left, top), (right, bottom) = (
        face[[70, 111]].min(axis=0).astype(int),
        face[[300, 340]].max(axis=0).astype(int),
    )
    covered_up[top:bottom, left:right] = (120, 90, 80)
    assert refused(renderer, replace(eyewear, picture=covered_up)).reason == "eyes-hidden"
    square = Subject(np.zeros((40, 40, 3), np.uint8), np.ones((40, 40), np.float32))
    assert refused(renderer, replace(eyewear, product=square)).reason == "no-glasses"


def test_the_engine_says_what_it_did_and_does_it_again(read: Read, renderer: FaceRenderer) -> None:
    picture, person = read(SHUT)
    smear = Subject(np.full((30, 30, 3), PLUM, np.uint8), np.ones((30, 30), np.float32))
    request = FaceRequest(smear, FaceKind.LIPSTICK, picture, person, Finish.GLOSS)
    fitting, again = worn(renderer, request), worn(renderer, request)
    assert fitting.settings == {"finish": "gloss", "colour": "#5c1430"}
    np.testing.assert_array_equal(fitting.picture, again.picture)
    np.testing.assert_array_equal(fitting.picture[fitting.region == 0], picture[fitting.region == 0])
    said = worn(renderer, replace(request, colour=NUDE))
    assert said.settings["colour"] == "#be7869"
    on = worn(renderer, FaceRequest(glasses(), FaceKind.EYEWEAR, picture, person))
    assert 0.005 < float((on.worn > 0.5).mean()) < 0.1
    assert (on.worn <= on.region + 1e-6).all()
