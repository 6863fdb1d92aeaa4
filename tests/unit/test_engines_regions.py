"""Outlines and boxes of masks whose truth is painted."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image, ImageDraw

from engines.looks.regions import MOST_POINTS, box, outline, widened, window


def filled(points: tuple[tuple[float, float], ...], shape: tuple[int, int]) -> npt.NDArray[np.bool_]:
    """The polygon painted over a picture of (height, width)."""
    image = Image.new("1", (shape[1], shape[0]))
    ImageDraw.Draw(image).polygon([(x * shape[1] - 0.5, y * shape[0] - 0.5) for x, y in points], fill=1)
    return np.asarray(image)


def overlap(one: npt.NDArray[np.bool_], other: npt.NDArray[np.bool_]) -> float:
    return float((one & other).sum() / (one | other).sum())


def test_a_rectangle_has_its_four_corners() -> None:
    mask = np.zeros((100, 200), bool)
    mask[20:80, 50:150] = True
    found = outline(mask)
    assert len(found) == 4
    expected = {(x, y) for x in (0.25, 0.75) for y in (0.2, 0.8)}
    for x, y in found:
        assert min(np.hypot(x - u, y - v) for u, v in expected) < 0.01
    assert box(mask) == (0.25, 0.2, 0.75, 0.8)


@pytest.mark.parametrize("teeth", [3, 9, 40])
def test_a_jagged_star_stays_short_and_close(teeth: int) -> None:
    rows, columns = np.mgrid[:300, :400]
    angle = np.arctan2(rows - 150, columns - 200)
    mask = np.hypot(rows - 150, columns - 200) < 110 + 8 * np.cos(teeth * angle)
    found = outline(mask)
    assert 3 <= len(found) <= MOST_POINTS
    assert overlap(filled(found, (300, 400)), mask) > 0.85


def test_only_the_largest_part_is_outlined_and_the_box_holds_all() -> None:
    mask = np.zeros((300, 300), bool)
    mask[20:80, 20:80] = mask[100:280, 100:280] = True
    assert overlap(filled(outline(mask), (300, 300)), mask & (np.arange(300) >= 100)) > 0.97
    assert box(mask) == pytest.approx((20 / 300, 20 / 300, 280 / 300, 280 / 300))


def test_a_hole_does_not_cut_the_outline() -> None:
    mask = np.ones((200, 200), bool)
    mask[40:160, 40:160] = False
    assert overlap(filled(outline(mask), (200, 200)), np.ones((200, 200), bool)) > 0.95


@pytest.mark.parametrize("shape", [(1, 1), (1, 40), (40, 1), (2, 2)])
def test_the_smallest_masks_have_an_outline_within_the_photo(shape: tuple[int, int]) -> None:
    found = outline(np.ones(shape, bool))
    assert len(found) >= 2
    assert all(0 <= x <= 1 and 0 <= y <= 1 for x, y in found)
    assert box(np.ones(shape, bool)) == (0, 0, 1, 1)


def test_nothing_has_no_outline_and_no_box() -> None:
    mask = np.zeros((20, 30), bool)
    assert outline(mask) == ()
    assert box(mask) is None


def test_a_box_is_widened_by_a_share_of_its_sides_and_not_past_the_photo() -> None:
    assert widened((20, 30, 40, 70), 0.1, (100, 200)) == (18, 26, 42, 74)
    assert widened((1, 2, 199, 98), 0.1, (100, 200)) == (0, 0, 200, 100)
    assert widened((20, 30, 40, 70), 0.0, (100, 200)) == (20, 30, 40, 70)


def test_a_window_shows_what_its_bounds_hold() -> None:
    photo = np.arange(100 * 200).reshape(100, 200)
    seen = photo[window((20, 30, 40, 70))]
    assert seen.shape == (40, 20)
    assert seen[0, 0] == photo[30, 20]
