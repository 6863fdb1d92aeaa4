"""Cut-outs made sharp, laid on a canvas and pasted back: on drawn products whose every pixel is known."""

from __future__ import annotations

import cv2
import numpy as np
import numpy.typing as npt
import pytest

from engines.looks.cutouts import solid
from engines.looks.regions import bounds
from engines.protocols import RGB, Alpha, Subject
from engines.protocols.scenes import Placement
from engines.scenes.compositing import lay, paste
from engines.scenes.matting import sharpened
from engines.scenes.placement import Aspect, place
from engines.scenes.presets import Pose

Mask = npt.NDArray[np.bool_]
SIZE = 480
DARK, LIGHT = np.full((SIZE, SIZE, 3), 20, np.uint8), np.full((SIZE, SIZE, 3), 235, np.uint8)


def disc(radius: int = 150, at: tuple[int, int] = (240, 240)) -> Mask:
    y, x = np.mgrid[0:SIZE, 0:SIZE]
    return np.asarray(np.hypot(y - at[0], x - at[1]) < radius)


def bar(top: int, left: int, bottom: int, right: int) -> Mask:
    mask = np.zeros((SIZE, SIZE), np.bool_)
    mask[top:bottom, left:right] = True
    return mask


def ring() -> Mask:
    return np.asarray(disc(170) & ~disc(80))


def cable() -> Mask:
    mask = np.zeros((SIZE, SIZE), np.uint8)
    wave = [(x, int(240 + 90 * np.sin(x / 45))) for x in range(30, 450, 4)]
    cv2.polylines(mask, [np.array(wave)], False, 1, 7)
    return mask > 0


SHAPES = {
    "disc": disc(),
    "tall": bar(20, 220, 460, 250),
    "wide": bar(225, 20, 250, 460),
    "with a hole": ring(),
    "cable": cable(),
    "several": disc(70, (150, 130)) | disc(60, (330, 340)),
    "at the border": bar(200, 100, SIZE, 380),
}


def photo(mask: Mask, colour: tuple[int, int, int], ground: tuple[int, int, int]) -> Subject:
    """A product of that shape before an even background, and the soft alpha that a small model gives it."""
    noise = np.random.default_rng(5).normal(0, 3, (*mask.shape, 3))
    cover = cv2.GaussianBlur(mask.astype(np.float32), (0, 0), 0.6)[..., np.newaxis]
    picture = np.clip(np.array(colour) * cover + np.array(ground) * (1 - cover) + noise, 0, 255)
    return Subject(picture.astype(np.uint8), cv2.GaussianBlur(mask.astype(np.float32), (0, 0), 3.0))


def unmoved(subject: Subject) -> Placement:
    """The photo's own canvas."""
    box = bounds(solid(subject.alpha))
    assert box is not None
    return Placement(SIZE, SIZE, box, 1.0, box[0], box[1], box[3])


def overlap(one: Mask, other: Mask) -> float:
    return float((one & other).sum() / (one | other).sum())


def softness(alpha: Alpha) -> int:
    return int(((alpha > 0.05) & (alpha < 0.95)).sum())


@pytest.mark.parametrize("shape", SHAPES)
def test_a_sharpened_alpha_is_the_products_shape(shape: str) -> None:
    subject = photo(SHAPES[shape], (30, 70, 150), (236, 236, 232))
    fine = sharpened(subject)
    assert overlap(solid(fine.alpha), SHAPES[shape]) > 0.95
    assert softness(fine.alpha) < 0.5 * softness(subject.alpha)
    assert fine.alpha.min() >= 0
    assert fine.alpha.max() <= 1


def test_a_mask_that_is_a_little_off_moves_to_the_edge() -> None:
    """A small model's map is sharp to several pixels only."""
    truth = disc(150)
    subject = photo(truth, (200, 40, 40), (240, 240, 240))
    for radius in (146, 154):
        off = cv2.GaussianBlur(disc(radius).astype(np.float32), (0, 0), 4.0)
        fine = sharpened(Subject(subject.picture, off))
        assert overlap(solid(fine.alpha), truth) > 0.99 > overlap(solid(off), truth)


def test_white_on_white_keeps_what_the_segmenter_saw() -> None:
    truth = disc()
    subject = photo(truth, (250, 250, 250), (252, 252, 252))
    fine = sharpened(subject)
    assert overlap(solid(fine.alpha), truth) > 0.97
    assert softness(fine.alpha) < softness(subject.alpha)


def test_metal_that_mirrors_the_background_is_no_hole() -> None:
    """The segmenter is a little unsure of it, and its colour is the background's."""
    subject = photo(disc(190), (40, 40, 40), (200, 200, 200))
    mirror = disc(110)
    picture = subject.picture.copy()
    picture[mirror] = (200, 200, 200)
    alpha = np.where(mirror, np.float32(0.85), subject.alpha).astype(np.float32)
    fine = sharpened(Subject(picture, alpha))
    assert fine.alpha[disc(100)].min() > 0.95


def test_glass_stays_half_transparent_and_takes_the_settings_colour() -> None:
    glass = disc(100)
    alpha = np.where(glass, np.float32(0.5), np.float32(disc(160)))
    subject = Subject(photo(disc(160), (60, 90, 60), (240, 240, 240)).picture, alpha.astype(np.float32))
    fine = sharpened(subject)
    assert fine.alpha[disc(60)] == pytest.approx(0.5, abs=0.1)
    colours, cover = lay(fine, unmoved(fine))
    dark, light = (paste(plate, colours, cover)[disc(60)].mean() for plate in (DARK, LIGHT))
    assert light - dark > 80


def test_an_empty_cutout_is_left_alone() -> None:
    subject = Subject(LIGHT, np.zeros((SIZE, SIZE), np.float32))
    assert sharpened(subject) is subject


@pytest.mark.parametrize("shape", SHAPES)
def test_the_pasted_product_has_exactly_its_photos_pixels(shape: str) -> None:
    subject = sharpened(photo(SHAPES[shape], (30, 70, 150), (236, 236, 232)))
    colours, alpha = lay(subject, unmoved(subject))
    assert np.array_equal(alpha >= 1, subject.alpha >= 1)
    assert (alpha >= 1).sum() > 0.5 * SHAPES[shape].sum()
    for plate in (DARK, LIGHT):
        picture = paste(plate, colours, alpha)
        assert np.array_equal(picture[alpha >= 1], subject.picture[alpha >= 1])
        assert np.array_equal(picture[alpha == 0], plate[alpha == 0])


@pytest.mark.parametrize(
    ("colour", "ground"), [((25, 25, 30), (245, 245, 245)), ((240, 235, 230), (20, 20, 25))]
)
def test_no_old_background_shines_around_the_product(
    colour: tuple[int, int, int], ground: tuple[int, int, int]
) -> None:
    """On a plate of the product's own colour nothing may be seen of the edge."""
    soft = photo(disc(), colour, ground)
    plate = np.full((SIZE, SIZE, 3), colour, np.uint8)

    def seen(picture: RGB) -> float:
        rim = disc(156) & ~disc(144)
        return float(np.abs(picture[rim].astype(int) - colour).max(axis=1).mean())

    subject = sharpened(soft)
    assert seen(paste(plate, *lay(subject, unmoved(subject)))) < 10
    assert seen(paste(plate, soft.picture, soft.alpha)) > 20, "the plain way shows it"


@pytest.mark.parametrize("scale", [0.21, 0.5, 1.0, 1.6])
def test_a_product_lies_where_it_was_placed(scale: float) -> None:
    subject = photo(disc(), (200, 40, 40), (240, 240, 240))
    box = bounds(solid(subject.alpha))
    assert box is not None
    placement = Placement(800, 700, box, scale, 130, 60, 60 + round(scale * (box[3] - box[1])))
    colours, alpha = lay(subject, placement)
    assert colours.shape == (700, 800, 3)
    assert alpha.shape == (700, 800)
    laid = bounds(solid(alpha))
    assert laid is not None
    assert np.abs(np.array(laid) - (130, 60, 130 + scale * (box[2] - box[0]), placement.ground)).max() <= 1.5
    assert colours[alpha >= 1].astype(int).mean(axis=0) == pytest.approx((200, 40, 40), abs=3)
    assert not colours[alpha == 0].any()


@pytest.mark.parametrize("aspect", Aspect)
@pytest.mark.parametrize("shape", SHAPES)
def test_every_shape_fits_every_canvas(shape: str, aspect: Aspect) -> None:
    subject = sharpened(photo(SHAPES[shape], (30, 70, 150), (236, 236, 232)))
    placement = place(subject.alpha, aspect, Pose.STANDING, (), 1)
    _, alpha = lay(subject, placement)
    box = bounds(solid(alpha))
    assert box is not None
    assert abs(box[3] - placement.ground) <= 2
    assert box[0] > 0
    assert box[1] > 0
    assert box[2] < placement.width


def test_what_does_not_fit_the_canvas_is_cut_off_by_it() -> None:
    subject = photo(disc(), (200, 40, 40), (240, 240, 240))
    box = bounds(solid(subject.alpha))
    assert box is not None
    _, alpha = lay(subject, Placement(300, 200, box, 1.0, -50, -40, 260))
    assert overlap(alpha > 0.5, disc()[40 + box[1] :, 50 + box[0] :][:200, :300]) > 0.99


def test_the_photos_border_makes_nothing_up() -> None:
    subject = sharpened(photo(SHAPES["at the border"], (30, 70, 150), (236, 236, 232)))
    placement = place(subject.alpha, Aspect.SQUARE, Pose.STANDING, (), 0)
    _, alpha = lay(subject, placement)
    assert not alpha[placement.ground + 1 :].any()


def test_a_soft_edge_has_the_products_colour_only() -> None:
    """Fur and hair stay half transparent, and take nothing of their old background along."""
    soft = cv2.GaussianBlur(disc(140).astype(np.float32), (0, 0), 8.0)
    cover = soft[..., np.newaxis]
    picture = np.array((30, 60, 160)) * cover + np.array((240, 235, 225)) * (1 - cover)
    subject = Subject((picture + 0.5).astype(np.uint8), soft)
    colours, alpha = lay(subject, unmoved(subject))
    there = (alpha > 0.2) & (alpha < 0.9)
    assert there.sum() > 5000
    assert np.abs(colours[there].astype(int) - (30, 60, 160)).mean() < 16
    assert np.abs(subject.picture[there].astype(int) - (30, 60, 160)).mean() > 40


def test_what_the_segmenter_hardly_saw_is_not_made_up() -> None:
    """A line beside the product has its colour, and a faint trace in the map."""
    line = bar(238, 400, 242, 470)
    subject = photo(disc() | line, (25, 25, 30), (240, 240, 240))
    faint = cv2.GaussianBlur(disc().astype(np.float32), (0, 0), 3.0) + 0.1 * bar(225, 395, 255, 475)
    fine = sharpened(Subject(subject.picture, np.clip(faint, 0, 1).astype(np.float32)))
    assert fine.alpha[line].max() < 0.4
