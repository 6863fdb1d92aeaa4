"""Patterns: rendered bands whose spacing is known, and a photographed shirt as it is and with bands dyed on."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image

from engines.devices import Device
from engines.kit import Kit
from engines.looks.patterns import PATTERNS, patterns, repetition, weights_path
from engines.protocols import Alpha, ImageEncoder, Subject
from engines.registry import Engines
from engines.words.vocabulary import vocabulary

CARD = Path(__file__).parents[2] / "docs" / "model-cards" / "pattern-head.md"

Floats = npt.NDArray[np.float64]


@pytest.fixture(scope="module")
def engines() -> Engines:
    kit = Kit()
    kit.fetch(["efficientnet-lite2", "imagenet-labels", "u2netp", "photos-openvto"])
    return Engines(kit, Device.choose(threads=2))


@pytest.fixture(scope="module")
def encoder(engines: Engines) -> ImageEncoder:
    found: ImageEncoder = engines.get("efficientnet_lite2")
    return found


@pytest.fixture(scope="module")
def clothes(engines: Engines) -> dict[str, Subject]:
    root, found = Kit().path("photos-openvto") / "clothes", {}
    for name in ("shirts/2_front", "shirts/3_front", "pants/2_front"):
        with Image.open(root / f"{name}.jpg") as image:
            picture = np.asarray(image.convert("RGB").resize((448, 448)))
        (alpha,) = engines.get("u2netp").segment([picture])
        found[name] = Subject(picture, alpha)
    return found


def bands(shape: tuple[int, int], period: float, angle: float) -> Floats:
    """0 and 1 in turn, ``angle`` in degrees as the bands run: 0 level, 90 upright, rising to the right between."""
    rows, columns = np.mgrid[: shape[0], : shape[1]]
    across = columns * np.sin(np.radians(angle)) + rows * np.cos(np.radians(angle))
    return (across / period % 1 < 0.5).astype(np.float64)


def cloth(dye: Floats) -> Subject:
    """Blue cloth, white where the dye is 1, in light that falls off, with three broad folds, on a grey table."""
    rows, columns = np.mgrid[: dye.shape[0], : dye.shape[1]] / dye.shape[0]
    light = (1 - 0.5 * columns) * (1 + 0.15 * np.sin(6 * np.pi * (rows + 0.3 * columns)))
    colours = np.where(dye[..., np.newaxis] > 0, (235, 235, 230), (40, 60, 140))
    alpha: Alpha = np.zeros(dye.shape, np.float32)
    alpha[30:-30, 30:-30] = 1
    photo = np.where(alpha[..., np.newaxis] > 0, colours * light[..., np.newaxis], 128)
    return Subject(np.clip(photo, 0, 255).astype(np.uint8), alpha)


def dyed(shirt: Subject, dye: Floats) -> Subject:
    """A photographed shirt with its folds, navy where the dye is 1."""
    cover = (dye * shirt.alpha)[..., np.newaxis]
    ink = 1 - cover * (1 - np.array([0.15, 0.2, 0.4]))
    return Subject((shirt.picture * ink).astype(np.uint8), shirt.alpha)


@pytest.mark.parametrize("angle", [0, 30, 45, 90, 120, 160])
@pytest.mark.parametrize("share", [0.04, 0.08])
def test_the_spacing_and_the_direction_of_rendered_bands(angle: float, share: float) -> None:
    subject = cloth(bands((360, 360), share * 300, angle))
    found = repetition(subject)
    assert found is not None
    assert found.period == pytest.approx(share, rel=0.15)
    assert abs((found.angle - angle + 90) % 180 - 90) < 8


def test_plain_and_printed_clothes_are_told_apart(encoder: ImageEncoder, clothes: dict[str, Subject]) -> None:
    found = dict(zip(clothes, patterns(encoder, list(clothes.values())), strict=True))
    values = {name: one.value for name, one in found.items() if one is not None}
    assert values == {
        "shirts/2_front": "printed",
        "shirts/3_front": "plain",
        "pants/2_front": "plain",
    }


@pytest.mark.parametrize("angle", [0, 90])
@pytest.mark.parametrize("period", [16, 28])
def test_stripes_dyed_on_a_photographed_shirt(
    encoder: ImageEncoder, clothes: dict[str, Subject], angle: float, period: float
) -> None:
    shirt = clothes["shirts/3_front"]
    [found] = patterns(encoder, [dyed(shirt, bands(shirt.alpha.shape, period, angle))])
    assert found is not None
    assert found.value == "striped"
    assert found.words.startswith("bands every")


@pytest.mark.parametrize("period", [20, 32])
def test_checks_dyed_on_a_photographed_shirt(
    encoder: ImageEncoder, clothes: dict[str, Subject], period: float
) -> None:
    shirt = clothes["shirts/3_front"]
    level, upright = bands(shirt.alpha.shape, period, 0), bands(shirt.alpha.shape, period, 90)
    [found] = patterns(encoder, [dyed(shirt, (level + upright) / 2)])
    assert found is not None
    assert found.value == "checked"
    assert found.words.startswith("crossing bands every")


def test_it_abstains_where_nothing_can_be_seen_and_the_others_keep_their_places(
    encoder: ImageEncoder, clothes: dict[str, Subject]
) -> None:
    shirt = clothes["shirts/3_front"]
    thread = np.zeros_like(shirt.alpha)
    thread[:, 200:220] = 1
    hidden = [Subject(shirt.picture, np.zeros_like(shirt.alpha)), Subject(shirt.picture, thread)]
    first, middle, last = patterns(encoder, [hidden[0], shirt, hidden[1]])
    assert (first, last) == (None, None)
    assert middle is not None
    assert patterns(encoder, hidden) == [None, None]
    assert patterns(encoder, []) == []


def test_a_batch_says_what_each_says_alone(encoder: ImageEncoder, clothes: dict[str, Subject]) -> None:
    subjects = list(clothes.values()) * 2
    together = patterns(encoder, subjects)
    for subject, one in zip(subjects, together, strict=True):
        [alone] = patterns(encoder, [subject])
        assert one is not None
        assert alone is not None
        assert (alone.value, alone.words) == (one.value, one.words)
        assert alone.confidence == pytest.approx(one.confidence, abs=1e-4)


def test_the_values_are_the_vocabularys_and_the_card_is_of_these_weights() -> None:
    assert set(PATTERNS) == set(vocabulary().attributes["pattern"].values)
    assert hashlib.sha256(weights_path().read_bytes()).hexdigest() in CARD.read_text("utf-8")
