"""Where a product lies: inside the canvas, on its ground, and at the border that cut it off."""

from __future__ import annotations

import numpy as np
import pytest

from engines.protocols import Alpha, Tag
from engines.scenes.placement import Aspect, place
from engines.scenes.presets import Pose, read_presets, suited
from engines.scenes.standing import stands
from pipeline.errors import RejectedInput


def cutout(left: int, top: int, right: int, bottom: int) -> Alpha:
    """A solid box in a photo of 300 by 200 pixels."""
    alpha = np.zeros((200, 300), np.float32)
    alpha[top:bottom, left:right] = 1
    return alpha


@pytest.mark.parametrize("aspect", Aspect)
@pytest.mark.parametrize("pose", Pose)
@pytest.mark.parametrize(
    "box", [(100, 50, 200, 150), (20, 90, 280, 100), (145, 10, 150, 190), (149, 99, 151, 101)]
)
def test_a_product_lies_inside_its_canvas_and_stands_on_its_ground(
    aspect: Aspect, pose: Pose, box: tuple[int, int, int, int]
) -> None:
    for seed in (1, 2):
        placed = place(cutout(*box), aspect, pose, ["cameras"], seed)
        wide, high = (placed.scale * size for size in (box[2] - box[0], box[3] - box[1]))
        assert 0 < placed.left < placed.left + wide < placed.width
        assert 0 < placed.top < placed.top + high < placed.height
        assert placed.top + high == pytest.approx(placed.ground, abs=1)
        assert (placed.width, placed.height) == aspect.size


def test_in_a_wide_picture_the_seed_chooses_the_third() -> None:
    lefts = [place(cutout(100, 50, 150, 150), Aspect.WIDE, Pose.STANDING, [], seed).left for seed in (1, 2)]
    assert lefts[0] < Aspect.WIDE.size[0] / 2 - 150
    assert lefts[1] > Aspect.WIDE.size[0] / 2


def test_a_sofa_is_shown_larger_than_a_ring() -> None:
    large = np.kron(cutout(20, 50, 280, 150), np.ones((5, 5), np.float32))
    scales = [
        place(large, Aspect.SQUARE, Pose.STANDING, [kind], 1).scale for kind in ("furniture", "jewellery")
    ]
    assert scales[0] > 1.4 * scales[1]


def test_what_the_border_of_the_photo_cut_off_lies_at_that_border() -> None:
    lamp = place(cutout(120, 0, 180, 90), Aspect.SQUARE, Pose.STANDING, ["lighting"], 1)
    assert lamp.top == 0
    cable = place(cutout(120, 60, 180, 200), Aspect.SQUARE, Pose.STANDING, ["electronics"], 1)
    assert cable.ground == cable.height
    bag = place(cutout(0, 60, 90, 160), Aspect.WIDE, Pose.STANDING, ["bags"], 1)
    assert bag.left == 0
    shoe = place(cutout(210, 60, 300, 160), Aspect.WIDE, Pose.STANDING, ["footwear"], 1)
    assert shoe.left + shoe.scale * 90 == pytest.approx(shoe.width, abs=1)


def test_one_pixel_at_the_border_cuts_nothing_off() -> None:
    alpha = cutout(120, 1, 180, 90)
    alpha[0, 150] = 1
    assert place(alpha, Aspect.SQUARE, Pose.STANDING, ["lighting"], 1).top > 0


@pytest.mark.parametrize("box", [(0, 50, 300, 150), (100, 0, 200, 200)])
def test_what_opposite_borders_cut_off_is_refused(box: tuple[int, int, int, int]) -> None:
    with pytest.raises(RejectedInput, match="cut the product off"):
        place(cutout(*box), Aspect.SQUARE, Pose.STANDING, [], 1)


def test_nothing_is_refused() -> None:
    with pytest.raises(RejectedInput, match="no solid pixel"):
        place(np.zeros((9, 9), np.float32), Aspect.SQUARE, Pose.STANDING, [], 1)


@pytest.mark.parametrize(
    ("category", "kind"),
    [("clothing", "shirt"), ("computers", "keyboard"), ("electronics", "cable"), ("sports", "skipping-rope")],
)
def test_what_is_photographed_from_above_never_stands(category: str, kind: str) -> None:
    tags = [Tag("category", category, 1.0), Tag("product_type", kind, 1.0)]
    fitting = suited(read_presets(), tags)
    assert fitting
    assert {preset.pose for preset in fitting} == {Pose.LYING}


def test_what_hangs_in_the_air_in_its_photo_lies() -> None:
    pots = np.maximum.reduce(
        [cutout(20 + 90 * n, 20 + 50 * (n % 3), 80 + 90 * n, 80 + 50 * (n % 3)) for n in range(3)]
    )
    balloon = np.maximum(cutout(100, 90, 200, 190), cutout(130, 10, 180, 60))
    assert stands(cutout(20, 20, 80, 180))
    assert stands(balloon)
    assert not stands(pots)
    tags = [Tag("category", "plants", 1.0), Tag("product_type", "potted-plant", 1.0)]
    assert {preset.pose for preset in suited(read_presets(), tags)} == {Pose.STANDING}
    assert {preset.pose for preset in suited(read_presets(), tags, stands=False)} == {Pose.LYING}


@pytest.mark.parametrize("kind", ["lampshade", "pendant-lamp", "hanging-plant"])
def test_what_hangs_in_a_room_hangs_from_the_top(kind: str) -> None:
    assert place(cutout(100, 50, 200, 150), Aspect.SQUARE, Pose.STANDING, ["lighting", kind], 1).top == 0
    assert place(cutout(100, 50, 200, 150), Aspect.SQUARE, Pose.LYING, ["lighting", kind], 1).top > 0
