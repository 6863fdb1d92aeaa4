"""The opt-in cut-out, where somebody fetched it: the contract of every engine, and what it is better at."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from engines.devices import Device
from engines.kit import Kit
from engines.looks.cutouts import shows_subject
from engines.protocols import RGB, Segmenter
from engines.registry import Engines

pytestmark = pytest.mark.skipif(
    not Kit().fetched("isnet"), reason="opt-in: `vitrine engines --fetch isnet` brings it"
)


@pytest.fixture(scope="module")
def segmenter() -> Segmenter:
    found: Segmenter = Engines(Kit(), Device("cpu", "float32", 2)).get("isnet")
    return found


@pytest.fixture(scope="module")
def garment() -> RGB:
    kit = Kit()
    kit.fetch(["photos-openvto"])
    with Image.open(kit.path("photos-openvto") / "clothes" / "pants" / "1_front.jpg") as image:
        return np.asarray(image.convert("RGB").resize((384, 512)))


def test_alphas_fit_their_pictures_and_a_batch_equals_its_items(segmenter: Segmenter, garment: RGB) -> None:
    pictures = [garment, np.full((1, 3000, 3), 90, np.uint8)]
    together = segmenter.segment(pictures)
    for picture, alpha in zip(pictures, together, strict=True):
        assert alpha.shape == picture.shape[:2]
        assert alpha.dtype == np.float32
        assert 0 <= alpha.min() <= alpha.max() <= 1
    assert np.array_equal(together[0], segmenter.segment([garment])[0])
    assert segmenter.segment([]) == []


def test_a_garment_is_cut_out_of_its_background(segmenter: Segmenter, garment: RGB) -> None:
    (alpha,) = segmenter.segment([garment])
    assert shows_subject(alpha)
    assert alpha[100:150, 150:230].mean() > 0.9
    edge = np.concatenate(
        [alpha[:4].ravel(), alpha[-4:].ravel(), alpha[:, :4].ravel(), alpha[:, -4:].ravel()]
    )
    assert edge.max() < 0.1


def test_a_blank_picture_has_no_subject(segmenter: Segmenter) -> None:
    (alpha,) = segmenter.segment([np.full((300, 300, 3), 255, np.uint8)])
    assert not shows_subject(alpha)
