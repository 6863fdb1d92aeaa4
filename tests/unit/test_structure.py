"""What is kept of a product: its lines, outline and relief, and nothing of the border of its mask."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from engines.devices import Device
from engines.kit import Kit
from engines.protocols import RGB, Alpha
from engines.protocols.scenes import DepthEstimator, EdgeDetector
from engines.registry import Engines
from engines.scenes.structure import canny, depth, gradients, outline, over_own_colour, silhouette, soft_edges
from tests import checkpoints_diffusion
from tests.pinned import CPU, engines, pinned


class Nothing:
    """Sees no edge anywhere."""

    def edges(self, pictures: Sequence[RGB]) -> list[Alpha]:
        return [np.zeros(picture.shape[:2], np.float32) for picture in pictures]


class Slope:
    """Everything is nearer the lower it is."""

    def depth(self, pictures: Sequence[RGB]) -> list[Alpha]:
        return [
            np.repeat(
                np.linspace(0, 1, picture.shape[0], dtype=np.float32)[:, None], picture.shape[1], axis=1
            )
            for picture in pictures
        ]


def disc(side: int = 200, radius: int = 60, centre: tuple[int, int] = (100, 100)) -> Alpha:
    rows, columns = np.mgrid[:side, :side]
    return (np.hypot(rows - centre[0], columns - centre[1]) < radius).astype(np.float32)


def plain(alpha: Alpha, colour: tuple[int, int, int] = (200, 30, 40)) -> RGB:
    return (np.array(colour) * (alpha[..., None] > 0)).astype(np.uint8)


def marked(alpha: Alpha) -> RGB:
    """With a bar across the middle."""
    picture = plain(alpha)
    picture[95:105, 70:130] = (20, 200, 60)
    return picture


def test_the_border_of_a_mask_is_an_outline_and_no_edge() -> None:
    """A plain product has no line but its outline: over black, Canny would draw its border beside it."""
    alpha = disc()
    assert np.array_equal(canny(plain(alpha), alpha), outline(alpha))
    assert gradients(over_own_colour(plain(alpha), alpha)).max() == 0
    soft = np.where(alpha > 0, alpha, 0.4 * disc(radius=63)).astype(np.float32)
    assert np.array_equal(canny(plain(soft), soft), outline(soft))


def test_the_border_lends_no_strength_to_what_touches_it() -> None:
    """Canny follows faint lines from strong ones on: a border over black would draw what is hardly to be seen."""
    alpha = disc()
    picture = plain(alpha)
    picture[100:] = np.where(alpha[100:, :, None] > 0, (165, 30, 40), 0)
    assert np.array_equal(canny(picture, alpha), outline(alpha))


def test_lines_within_the_product_are_found() -> None:
    alpha = disc()
    lines = canny(marked(alpha), alpha)
    assert set(np.unique(lines)) == {0.0, 1.0}
    within = lines * (1 - outline(alpha))
    rows = np.flatnonzero(within[:, 80:120].any(axis=1))
    assert rows.min() in range(93, 97)
    assert rows.max() in range(103, 107)
    assert lines[alpha == 0].max() == 0


def test_lines_between_colours_of_one_brightness_are_found() -> None:
    alpha = disc()
    picture = plain(alpha, (160, 60, 60))
    picture[:, 100:] = np.where(alpha[:, 100:, None] > 0, (60, 111, 60), 0)
    assert canny(picture, alpha)[70:130, 98:102].max(axis=1).min() == 1


def test_the_outline_is_one_pixel_and_stops_where_the_product_leaves_the_canvas() -> None:
    line = outline(disc())
    assert line.sum() == pytest.approx(2 * np.pi * 60, rel=0.2)
    touching = outline(disc(centre=(100, 0)))
    assert touching[:, 0].sum() <= 4, "the canvas's border is no line"
    holed = disc() - disc(radius=20)
    assert outline(holed).sum() > line.sum() + 80


def test_a_cable_and_an_empty_canvas_have_their_structure() -> None:
    cable = np.zeros((200, 200), np.float32)
    cable[100] = 1
    for found in (canny(plain(cable), cable), silhouette(cable), outline(cable)):
        assert found[100].min() == 1
        assert found.sum() == 200
    nothing = np.zeros((40, 50), np.float32)
    blank = np.zeros((40, 50, 3), np.uint8)
    drawn = (
        canny(blank, nothing),
        soft_edges(blank, nothing, Nothing()),
        depth(blank, nothing, Slope()),
        silhouette(nothing),
    )
    for found in drawn:
        assert found.shape == (40, 50)
        assert found.dtype == np.float32
        assert found.max() == 0


def test_soft_edges_are_the_detectors_within_the_product_and_its_outline() -> None:
    alpha = disc()
    blind = soft_edges(marked(alpha), alpha, Nothing())
    assert blind[100, 100] == 0
    assert blind[outline(alpha) > 0].mean() > 0.7
    assert blind.max() == pytest.approx(1)
    seeing = soft_edges(marked(alpha), alpha, engines({}).get("gradient_edges"))
    assert seeing[95, 100] > 0.5
    assert seeing[100, 100] < 0.3
    assert 0 < seeing[(seeing > 0) & (alpha > 0)].min() < 0.2, "soft"


def test_depth_is_the_relief_of_the_product_before_nothing() -> None:
    alpha = disc()
    found = depth(marked(alpha), alpha, Slope())
    assert found[alpha == 0].max() == 0
    assert found[alpha == 1].min() == pytest.approx(0.25)
    assert found.max() == pytest.approx(1)
    assert found[150, 100] > found[50, 100]


def test_gradients_are_soft_and_a_plain_picture_has_none() -> None:
    step = np.zeros((100, 100, 3), np.uint8)
    step[:, 50:] = 200
    edges = gradients(step)
    assert edges[:, 49:51].min() > 0.9
    assert edges[:, :40].max() < 0.01
    noise = np.random.default_rng(1).integers(120, 124, (100, 100, 3), np.uint8)
    assert gradients(noise).max() < 0.3


@pytest.fixture(scope="module")
def estimator(tmp_path_factory: pytest.TempPathFactory) -> DepthEstimator:
    folder = checkpoints_diffusion.depth_anything(tmp_path_factory.mktemp("depth") / "tiny")
    found: DepthEstimator = engines({"depth_anything": pinned(folder)}).get("depth_anything")
    return found


def test_depth_fits_its_picture_and_a_batch_equals_its_items(estimator: DepthEstimator) -> None:
    shapes = [(60, 80), (200, 31), (1, 1), (8, 300)]
    noise = np.random.default_rng(2)
    pictures = [noise.integers(0, 256, (*shape, 3), np.uint8) for shape in shapes]
    together = estimator.depth(pictures)
    for picture, near in zip(pictures, together, strict=True):
        assert near.shape == picture.shape[:2]
        assert near.dtype == np.float32
        assert 0 <= near.min() <= near.max() <= 1
        assert np.array_equal(estimator.depth([picture])[0], near)
    assert together[0].max() == pytest.approx(1)
    assert estimator.depth([]) == []


def test_half_precision_estimates_depth_as_well(tmp_path: Path) -> None:
    folder = checkpoints_diffusion.depth_anything(tmp_path / "tiny")
    half = engines({"depth_anything": pinned(folder)}, Device("cpu", "float16", 1)).get("depth_anything")
    assert half.depth([np.full((40, 50, 3), 90, np.uint8)])[0].shape == (40, 50)


hed_here = pytest.mark.skipif(
    not Kit().fetched("hed"), reason="opt-in: `vitrine engines --fetch hed` brings it"
)


@pytest.fixture(scope="module")
def hed() -> EdgeDetector:
    found: EdgeDetector = Engines(Kit(), CPU).get("hed")
    return found


@hed_here
def test_hed_traces_what_a_person_would(hed: EdgeDetector) -> None:
    alpha = disc()
    picture = np.where(alpha[..., None] > 0, marked(alpha), 240).astype(np.uint8)
    (edges,) = hed.edges([picture])
    assert edges[outline(alpha) > 0].mean() > 5 * edges[:30].mean()
    assert edges[outline(alpha) > 0].mean() > 0.4
    noise = np.random.default_rng(3).normal(0, 12, picture.shape)
    (grainy,) = hed.edges([np.clip(picture + noise, 0, 255).astype(np.uint8)])
    assert grainy[:30].mean() < 0.2, "it sees objects, and no grain"


@hed_here
def test_hed_fits_its_pictures_and_a_batch_equals_its_items(hed: EdgeDetector) -> None:
    noise = np.random.default_rng(4)
    pictures = [
        noise.integers(0, 256, (*shape, 3), np.uint8) for shape in [(40, 30), (1, 1), (3, 1500), (17, 64)]
    ]
    for picture, edges in zip(pictures, hed.edges(pictures), strict=True):
        assert edges.shape == picture.shape[:2]
        assert edges.dtype == np.float32
        assert 0 <= edges.min() <= edges.max() <= 1
        assert np.array_equal(hed.edges([picture])[0], edges)
    assert hed.edges([]) == []
