"""Reading a person's photo: body, mask and face, and whether the photo is fit, on real photographs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from engines.devices import Device
from engines.kit import Kit
from engines.persons.checks import ANKLES, ELBOWS, HIPS, KNEES, SHOULDERS, TOES, WRISTS, fit_for
from engines.persons.crops import Square, cut, lay_back
from engines.persons.detection import anchors, decode
from engines.persons.masks import refined
from engines.protocols import RGB
from engines.protocols.fitting import GarmentKind, Person, PersonReader
from engines.registry import Engines
from pipeline.errors import RejectedInput

WHOLE = ["avatars/1.png", "avatars/2.png", "avatars/4.png", "people/1_posture.jpg", "people/4_posture.jpg"]
CLOSE = ["people/1_selfie.jpg", "people/2_selfie.jpg", "people/4_selfie.jpg"]
MIRRORED = [0, 4, 5, 6, 1, 2, 3, 8, 7, 10, 9, *(row for left in range(11, 33, 2) for row in (left + 1, left))]
SIDE = 640

Photo = Callable[[str], RGB]
Read = Callable[[RGB], Person]


@pytest.fixture(scope="module")
def kit() -> Kit:
    kit = Kit()
    names = ["blazepose-detector", "blazepose-full", "blazeface", "face-mesh", "selfie-segmentation"]
    kit.fetch([*names, "photos-openvto", "photos-vendure"])
    return kit


@pytest.fixture(scope="module")
def reader(kit: Kit) -> PersonReader:
    engine = Engines(kit, Device.choose(threads=2)).get("mediapipe")
    assert isinstance(engine, PersonReader)
    return engine


@pytest.fixture(scope="module")
def photo(kit: Kit) -> Photo:
    root = kit.path("photos-openvto")
    return lambda name: shrunk(root / name)


@pytest.fixture(scope="module")
def read(reader: PersonReader) -> Read:
    def one(picture: RGB) -> Person:
        (person,) = reader.read([picture])
        if isinstance(person, RejectedInput):
            raise person
        return person

    return one


def shrunk(path: object, side: int = SIDE) -> RGB:
    with Image.open(str(path)) as image:
        small = image.convert("RGB")
    small.thumbnail((side, side))
    return np.asarray(small)


def beside(one: RGB, other: RGB) -> RGB:
    height = min(one.shape[0], other.shape[0])
    return np.concatenate([one[:height], other[:height]], axis=1)


def refusal(kind: GarmentKind, person: Person) -> RejectedInput:
    with pytest.raises(RejectedInput) as refused:
        fit_for(kind, person)
    return refused.value


@pytest.mark.parametrize("name", WHOLE)
def test_a_whole_body_is_read(name: str, photo: Photo, read: Read) -> None:
    picture = photo(name)
    person = read(picture)
    assert person.pose.shape == (33, 3)
    assert person.mask.shape == picture.shape[:2]
    assert person.face is not None
    assert person.face.shape == (468, 2)
    points = person.pose[:, :2]
    order = [points[list(both), 1].mean() for both in ((0, 0), SHOULDERS, HIPS, KNEES, ANKLES)]
    assert order == sorted(order)
    for left, right in (SHOULDERS, HIPS, WRISTS):
        assert points[left, 0] > points[right, 0], "seen from the front, left is at the picture's right"
    # The joints lie on the person, the corners do not; the face is around the nose.
    for x, y in points[[0, *SHOULDERS, *ELBOWS, *HIPS, *KNEES]].round().astype(int):
        assert person.mask[y, x] > 0.9
    assert person.mask[:20, :20].max() == 0
    assert person.mask[:20, -20:].max() == 0
    low, high = person.face.min(axis=0), person.face.max(axis=0)
    assert (low < points[0]).all()
    assert (points[0] < high).all()
    for kind in (GarmentKind.UPPER, GarmentKind.OUTERWEAR, GarmentKind.DRESS, GarmentKind.LOWER):
        fit_for(kind, person)


def test_a_mask_is_sharp_and_ends_where_the_body_does(photo: Photo, read: Read) -> None:
    picture = photo("avatars/2.png")
    mask = read(picture).mask
    assert np.isin(mask, (0, 1)).mean() > 0.95
    # Before this even, bright ground a dark jacket's rim is plain: the mask agrees with brightness there.
    rows = slice(round(0.27 * mask.shape[0]), round(0.36 * mask.shape[0]))
    dark = picture[rows].mean(axis=2) < 110
    rim = slice(0, mask.shape[1] // 3)
    assert (dark[:, rim] == (mask[rows, rim] > 0.5)).mean() > 0.98


def test_a_mirrored_picture_mirrors_the_person(photo: Photo, read: Read) -> None:
    picture = photo("avatars/1.png")
    person, mirrored = read(picture), read(np.ascontiguousarray(picture[:, ::-1]))
    expected = mirrored.pose[MIRRORED]
    seen = person.pose[:, 2] > 0.8
    across = person.pose[:, 0] - (picture.shape[1] - expected[:, 0])
    away = np.hypot(across, person.pose[:, 1] - expected[:, 1])[seen]
    assert away.mean() < 0.01 * SIDE
    assert np.abs(person.mask - mirrored.mask[:, ::-1]).mean() < 0.01


def test_size_changes_nothing_but_the_scale(photo: Photo, read: Read) -> None:
    picture = photo("avatars/4.png")
    small = np.asarray(Image.fromarray(picture).resize((picture.shape[1] // 2, picture.shape[0] // 2)))
    large, little = read(picture), read(small)
    assert np.hypot(*(large.pose - 2 * little.pose)[:, :2].T).mean() < 0.008 * SIDE
    assert large.face is not None
    assert little.face is not None
    assert np.hypot(*(large.face - 2 * little.face).T).mean() < 0.003 * SIDE


def test_the_same_picture_is_read_the_same(photo: Photo, read: Read) -> None:
    picture = photo("people/1_posture.jpg")
    one, again = read(picture), read(picture.copy())
    np.testing.assert_array_equal(one.pose, again.pose)
    np.testing.assert_array_equal(one.mask, again.mask)
    np.testing.assert_array_equal(one.face, again.face)


@pytest.mark.parametrize("name", CLOSE)
def test_a_selfie_is_read_but_is_half_a_body(name: str, photo: Photo, read: Read) -> None:
    person = read(photo(name))
    assert person.face is not None
    lips = person.face[[13, 14]].mean(axis=0)
    eyes = person.face[[33, 263]]
    assert lips[1] > eyes[:, 1].max()
    assert eyes[0, 0] < lips[0] < eyes[1, 0]
    for kind in (GarmentKind.UPPER, GarmentKind.LOWER, GarmentKind.DRESS, GarmentKind.FOOTWEAR):
        refused = refusal(kind, person)
        assert refused.reason == "half-body"
        assert "a photo is needed that shows" in str(refused)
    fit_for(GarmentKind.ACCESSORY, person)


def test_legs_cut_off_are_no_fault_for_a_shirt(photo: Photo, read: Read) -> None:
    person = read(photo("avatars/3.png"))
    fit_for(GarmentKind.UPPER, person)
    assert "ankles" in str(refusal(GarmentKind.LOWER, person))
    assert "feet" in str(refusal(GarmentKind.FOOTWEAR, person))


@pytest.mark.parametrize(
    "name", ["clothes/shirts/1_front.jpg", "clothes/jackets/2_front.jpg", "clothes/pants/1_front.jpg"]
)
def test_a_garment_laid_flat_is_nobody(name: str, photo: Photo, reader: PersonReader) -> None:
    (refused,) = reader.read([photo(name)])
    assert isinstance(refused, RejectedInput)
    assert refused.reason == "no-person"
    assert "a photo of one person" in str(refused)


def test_of_a_shop_s_photographs_none_is_a_person(kit: Kit, reader: PersonReader) -> None:
    paths = sorted(kit.path("photos-vendure").rglob("*.jpg"))
    answers = reader.read([shrunk(path, 320) for path in paths])
    assert {one.reason for one in answers if isinstance(one, RejectedInput)} <= {
        "no-person",
        "person-too-small",
    }
    assert not [path.name for path, one in zip(paths, answers, strict=True) if isinstance(one, Person)]


@pytest.mark.parametrize(
    ("left", "right"), [("avatars/1.png", "avatars/2.png"), ("people/1_selfie.jpg", "people/2_selfie.jpg")]
)
def test_two_people_are_one_too_many(left: str, right: str, photo: Photo, reader: PersonReader) -> None:
    (refused,) = reader.read([beside(photo(left), photo(right))])
    assert isinstance(refused, RejectedInput)
    assert refused.reason == "two-people"
    assert "% sure" in str(refused)


def test_passers_by_are_no_second_person(photo: Photo, read: Read) -> None:
    picture = photo("people/2_posture.jpg")
    person = read(picture)
    # A couple walks at the left and a man sits at the right, far behind.
    assert person.mask[:, : picture.shape[1] // 4].max() == 0
    assert person.mask[:, -picture.shape[1] // 5 :].max() == 0


def test_a_small_person_is_asked_nearer(photo: Photo, reader: PersonReader) -> None:
    (refused,) = reader.read([shrunk_to(photo("people/1_posture.jpg"), 100)])
    assert isinstance(refused, RejectedInput)
    assert refused.reason == "person-too-small"


def shrunk_to(picture: RGB, side: int) -> RGB:
    image = Image.fromarray(picture)
    image.thumbnail((side, side))
    return np.asarray(image)


def test_a_face_that_cannot_be_seen_is_told(photo: Photo, read: Read) -> None:
    """Of the photographs none is from behind: a head covered with its own hair's colour stands in."""
    picture = photo("avatars/2.png").copy()
    face = read(picture).face
    assert face is not None
    (left, top), (right, bottom) = face.min(axis=0).astype(int) - 4, face.max(axis=0).astype(int) + 4
    picture[top:bottom, left:right] = (60, 42, 34)
    person = read(picture)
    assert person.face is None
    assert refusal(GarmentKind.UPPER, person).reason == "facing-away"
    fit_for(GarmentKind.FOOTWEAR, person)


def test_shoulders_the_other_way_round_are_a_back(photo: Photo, read: Read) -> None:
    person = read(photo("avatars/2.png"))
    assert refusal(GarmentKind.UPPER, replace(person, pose=person.pose[MIRRORED])).reason == "facing-away"


def test_someone_who_lies_is_asked_to_stand(photo: Photo, read: Read) -> None:
    lying = read(np.ascontiguousarray(np.rot90(photo("avatars/2.png"), 3)))
    for kind in (GarmentKind.UPPER, GarmentKind.LOWER, GarmentKind.ACCESSORY):
        assert refusal(kind, lying).reason == "not-upright"


@pytest.mark.parametrize("side", [0, 1])
def test_arms_before_the_chest_hide_what_is_to_be_worn(side: int, photo: Photo, read: Read) -> None:
    """A crossed arm, as the pose would say it: the wrist lies before the middle of the torso."""
    person = read(photo("avatars/4.png"))
    pose = person.pose.copy()
    pose[WRISTS[side], :2] = pose[[*SHOULDERS, *HIPS], :2].mean(axis=0)
    crossed = replace(person, pose=pose)
    for kind in (GarmentKind.UPPER, GarmentKind.OUTERWEAR, GarmentKind.DRESS):
        assert refusal(kind, crossed).reason == "arms-before-torso"
    fit_for(GarmentKind.LOWER, crossed)


def test_a_turned_body_and_a_seated_one_are_told(photo: Photo, read: Read) -> None:
    person = read(photo("avatars/4.png"))
    narrow = person.pose.copy()
    middle = narrow[list(SHOULDERS), 0].mean()
    for rows in (SHOULDERS, HIPS):
        narrow[list(rows), 0] = middle + 0.4 * (narrow[list(rows), 0] - middle)
    assert refusal(GarmentKind.UPPER, replace(person, pose=narrow)).reason == "turned-sideways"
    seated = person.pose.copy()
    seated[list(KNEES), 1] = seated[list(HIPS), 1] + 10
    assert refusal(GarmentKind.LOWER, replace(person, pose=seated)).reason == "seated"


def test_points_that_are_guessed_are_not_relied_on(photo: Photo, read: Read) -> None:
    person = read(photo("avatars/4.png"))
    unseen = person.pose.copy()
    unseen[list(TOES), 2] = 0.1
    assert refusal(GarmentKind.FOOTWEAR, replace(person, pose=unseen)).reason == "half-body"


def test_what_is_cut_is_laid_back_where_it_was() -> None:
    y, x = np.mgrid[:200, :300].astype(np.float32)
    ramp = (0.3 * x + 0.5 * y) / 255
    picture = np.repeat((ramp * 255)[..., None], 3, axis=2).astype(np.uint8)
    square = Square(160, 100, 120, turn=0.4)
    raster = cut(picture, square, 96)[..., 0] / 255
    back = lay_back(np.ascontiguousarray(raster), square, (200, 300))
    assert np.abs(back - ramp)[80:120, 140:180].max() < 0.01
    assert back[0, 0] == 0
    corners = square.put_back(np.array([[0, 0], [96, 0], [48, 48]], np.float32), 96)
    assert np.hypot(*(corners[1] - corners[0])) == pytest.approx(120, rel=1e-5)
    assert corners[2] == pytest.approx([160, 100], abs=1e-4)


def test_anchors_and_boxes_are_where_they_belong() -> None:
    assert anchors(224, (8, 16, 32, 32, 32)).shape == (2254, 2)
    at = anchors(128, (8, 16, 16, 16))
    assert at.shape == (896, 2)
    assert at[0] == pytest.approx([0.03125, 0.03125])
    encodings, logits = np.zeros((896, 8), np.float32), np.full(896, -9, np.float32)
    encodings[:, 2:4] = 20
    logits[[0, 1, 500]] = (2, 3, 1)
    found = decode(encodings, logits, at, 128, Square(64, 64, 128), least=0.5, overlap=0.3)
    assert [round(one.score, 2) for one in found] == [0.95, 0.73], (
        "the second anchor of a cell is the same box"
    )
    assert found[0].box == pytest.approx(np.array([[-6, -6], [14, 14]], np.float32), abs=1e-4)


def test_an_edge_moves_to_the_picture_s_own() -> None:
    picture = np.full((120, 120, 3), 230, np.uint8)
    picture[:, 60:] = (40, 60, 90)
    coarse = np.clip((np.arange(120, dtype=np.float32) - 45) / 20, 0, 1) * np.ones((120, 1), np.float32)
    mask = refined(picture, coarse, 16)
    assert mask[:, :59].max() < 0.05
    assert mask[:, 61:].min() > 0.95
    assert refined(picture, np.zeros((120, 120), np.float32), 16).max() == 0
