"""Colour names on painted swatches, at soft edges, in shade, and over several photos."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from engines.looks.colours import ColourShare, colours, lab, mean_palette, named_pixels, palette
from engines.protocols import RGB, Alpha, Subject
from engines.words.vocabulary import vocabulary


def painted(*colours: tuple[int, int, int], side: int = 60) -> RGB:
    """Vertical stripes of equal width."""
    stripes = [np.full((side, side // len(colours), 3), colour, np.uint8) for colour in colours]
    return np.concatenate(stripes, axis=1)


def whole(picture: RGB) -> Alpha:
    return np.ones(picture.shape[:2], np.float32)


def names(picture: RGB, alpha: Alpha | None = None) -> list[str]:
    return [colour.name for colour in palette(Subject(picture, whole(picture) if alpha is None else alpha))]


@pytest.mark.parametrize(
    ("name", "colour"),
    [
        ("black", (10, 10, 10)),
        ("black", (40, 40, 42)),
        ("grey", (90, 90, 90)),
        ("grey", (128, 128, 128)),
        ("grey", (180, 180, 182)),
        ("white", (225, 225, 225)),
        ("white", (255, 255, 255)),
        ("white", (250, 248, 242)),
        ("red", (255, 0, 0)),
        ("red", (200, 30, 40)),
        ("orange", (255, 140, 0)),
        ("orange", (215, 100, 50)),
        ("yellow", (255, 225, 0)),
        ("yellow", (230, 180, 30)),
        ("green", (0, 128, 0)),
        ("green", (110, 200, 60)),
        ("green", (30, 70, 40)),
        ("teal", (0, 128, 128)),
        ("blue", (0, 0, 255)),
        ("blue", (40, 90, 190)),
        ("light-blue", (160, 195, 235)),
        ("navy", (0, 0, 128)),
        ("navy", (30, 40, 70)),
        ("purple", (128, 0, 128)),
        ("purple", (110, 70, 160)),
        ("pink", (255, 182, 193)),
        ("pink", (255, 105, 180)),
        ("brown", (110, 65, 35)),
        ("brown", (160, 105, 65)),
        ("beige", (225, 205, 170)),
        ("burgundy", (100, 10, 35)),
    ],
)
def test_names_a_swatch(name: str, colour: tuple[int, int, int]) -> None:
    assert names(painted(colour)) == [name]


def test_every_colour_has_words_and_every_word_a_colour() -> None:
    levels = np.arange(0, 256, 15)
    swatches = np.array(list(itertools.product(levels, repeat=3)), np.uint8)
    seen = {names(np.tile(colour, (8, 8, 1)))[0] for colour in swatches}
    # Gold and silver are materials that shine: the merchant may say so, pixels cannot.
    assert seen == set(vocabulary().attributes["colour"].values) - {"gold", "silver"}


def test_lab_of_known_colours() -> None:
    # Reference values for D65, as in Lindbloom's calculator.
    known = lab(np.array([[255, 255, 255], [255, 0, 0], [0, 128, 128], [119, 119, 119]], float))
    expected = [[100, 0, 0], [53.24, 80.09, 67.20], [48.25, -28.85, -8.48], [50.03, 0, 0]]
    np.testing.assert_allclose(known, expected, atol=0.02)


def test_shares_are_of_the_cut_out_and_sum_to_one() -> None:
    picture = painted((255, 0, 0), (255, 0, 0), (0, 0, 255), (0, 128, 0))
    alpha = whole(picture)
    alpha[:, 45:] = 0
    found = {colour.name: colour.share for colour in palette(Subject(picture, alpha))}
    assert found.keys() == {"red", "blue"}
    assert found["red"] == pytest.approx(2 / 3, abs=0.03)
    assert sum(found.values()) == pytest.approx(1)


def test_a_soft_edge_does_not_bring_in_the_background() -> None:
    rows, columns = np.mgrid[:400, :400]
    distance = np.hypot(rows - 200, columns - 200)
    alpha = np.clip((120 - distance) / 16 + 0.5, 0, 1).astype(np.float32)
    red, green = np.array([200, 20, 30]), np.array([20, 160, 40])
    # The photo itself is blended at the edge, as a lens would.
    picture = (alpha[..., None] * red + (1 - alpha[..., None]) * green).astype(np.uint8)
    assert names(picture, alpha) == ["red"]


def test_a_thin_product_that_is_all_edge_still_has_a_colour() -> None:
    picture = painted((255, 255, 255), side=90)
    alpha = np.zeros((90, 90), np.float32)
    picture[44:46], alpha[44:46] = (0, 0, 255), 1
    assert names(picture, alpha) == ["blue"]


def test_shade_on_one_colour_is_not_another() -> None:
    ramp = np.linspace(60, 250, 60)
    fabric = np.where(np.arange(60) < 45, 245, ramp).astype(np.uint8)
    shaded = np.repeat(np.tile(fabric, (60, 1))[..., None], 3, axis=2)
    shaded[:, 45:] = 120
    shaded[:, 57:] = 245
    assert names(shaded) == ["white"]


def test_black_and_white_stay_apart() -> None:
    assert set(names(painted((15, 15, 15), (245, 245, 245)))) == {"black", "white"}


def test_an_empty_or_unsure_cut_out_has_no_colours() -> None:
    picture = painted((255, 0, 0))
    assert names(picture, np.zeros((60, 60), np.float32)) == []
    assert names(picture, np.full((60, 60), 0.6, np.float32)) == []


@pytest.mark.parametrize("shape", [(1, 1), (1, 3000), (3000, 1), (5000, 7)])
def test_any_shape_of_picture_has_its_colour(shape: tuple[int, int]) -> None:
    picture = np.full((*shape, 3), (0, 0, 255), np.uint8)
    assert names(picture) == ["blue"]


def test_several_photos_are_averaged_and_a_failed_cut_out_has_no_say() -> None:
    red, mixed = [ColourShare("red", 1.0)], [ColourShare("blue", 0.6), ColourShare("red", 0.4)]
    assert mean_palette([red, [], mixed]) == mean_palette([mixed, red, []])
    found = {colour.name: colour.share for colour in mean_palette([red, [], mixed])}
    assert found == pytest.approx({"red": 0.7, "blue": 0.3})


def test_a_white_product_in_a_dim_room_is_white_and_a_grey_one_on_white_is_grey() -> None:
    alpha = np.zeros((90, 90), np.float32)
    alpha[20:70, 20:70] = 1
    dim = np.full((90, 90, 3), 60, np.uint8)
    dim[20:70, 20:70] = 150
    assert names(dim, alpha) == ["white"]
    lit = np.full((90, 90, 3), 250, np.uint8)
    lit[20:70, 20:70] = 150
    assert names(lit, alpha) == ["grey"]


def test_a_small_product_is_counted_as_finely_as_a_large_one() -> None:
    picture = np.full((1000, 1000, 3), 250, np.uint8)
    alpha = np.zeros((1000, 1000), np.float32)
    stripes = np.where(np.arange(80)[:, None] // 4 % 2, 255, 0) * np.ones((1, 80))
    picture[400:480, 400:480] = np.stack([stripes, 0 * stripes, 255 - stripes], axis=2)
    alpha[400:480, 400:480] = 1
    assert set(names(picture, alpha)) == {"red", "blue"}


def test_the_likelier_colour_has_more_of_the_product_and_keeps_its_name() -> None:
    both = colours([ColourShare("red", 0.55), ColourShare("blue", 0.45)], 0.9)
    assert [one.name for one in both] == ["red", "blue"]
    assert 0.5 <= both[1].confidence < both[0].confidence < 1
    (sure,) = colours([ColourShare("red", 0.9), ColourShare("blue", 0.1)], 0.9)
    (shaky,) = colours([ColourShare("red", 0.9, steady=0.2)], 0.9)
    assert shaky.confidence < sure.confidence


def test_a_button_is_no_colour_of_the_product() -> None:
    assert [one.name for one in colours([ColourShare("red", 0.95), ColourShare("white", 0.05)], 0.9)] == [
        "red"
    ]
    assert colours([], 0.9) == []


def test_a_colour_on_the_border_of_two_names_is_less_steady() -> None:
    clear = palette(Subject(painted((200, 30, 40)), whole(painted((200, 30, 40)))))
    border = palette(Subject(painted((98, 98, 98)), whole(painted((98, 98, 98)))))
    assert clear[0].steady == 1
    assert border[0].steady < 1


def test_a_colour_is_found_where_it_is_and_not_outside_the_cut_out() -> None:
    picture = np.full((80, 80, 3), (0, 0, 255), np.uint8)
    picture[:, :40] = (200, 20, 30)
    alpha = np.zeros((80, 80), np.float32)
    alpha[10:70, 10:70] = 1
    subject = Subject(picture, alpha)
    red = named_pixels(subject, "red")
    assert red[10:70, 10:40].all()
    assert red.sum() == 60 * 30
    assert named_pixels(subject, "blue").sum() == 60 * 30
    assert not named_pixels(subject, "green").any()


def test_a_shade_belongs_to_the_colour_it_is_a_shade_of() -> None:
    picture = np.full((80, 80, 3), 245, np.uint8)
    picture[:10] = 150
    white = named_pixels(Subject(picture, np.ones((80, 80), np.float32)), "white")
    assert white.all()


def test_without_a_subject_no_pixel_has_a_colour() -> None:
    picture = np.full((80, 80, 3), (0, 0, 255), np.uint8)
    assert not named_pixels(Subject(picture, np.zeros((80, 80), np.float32)), "blue").any()
