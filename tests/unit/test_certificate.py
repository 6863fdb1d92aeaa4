"""The proof that a product is itself: real photographs, good pictures of them, and every way to spoil one."""

from __future__ import annotations

import zlib
from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import pytest
from coloraide import Color
from PIL import Image

from engines.devices import Device
from engines.kit import Kit
from engines.looks.regions import window
from engines.protocols import RGB, Bilingual, Printed, Subject
from engines.protocols.scenes import Placement, SceneRequest, Scenery, Setting, Source
from engines.registry import Engines
from engines.scenes import sameness, silhouette, standing
from engines.scenes.certificate import Bar, Certificate, Judges, Work, bars_for, certify, failed
from engines.scenes.compositing import lay, moved, paste
from engines.scenes.halo import halo
from engines.scenes.matting import sharpened
from engines.scenes.placement import Aspect, place
from engines.scenes.presets import Pose
from engines.training.painted_plates import PLATES, painted
from engines.training.scene_damages import DAMAGES, Stage, composed
from pipeline.errors import ConfigurationError

GARMENTS = ("jackets/3_front", "pants/1_front", "shirts/3_front")
POSES = {"jackets/3_front": Pose.STANDING, "pants/1_front": Pose.LYING, "shirts/3_front": Pose.LYING}
CAUGHT_BY = {
    "another colour": {"unchanged", "marred"},
    "stretched": {"unchanged", "marred", "edges"},
    "logo or text erased": {"marred"},
    "another product": {"unchanged", "marred", "edges"},
    "grown outside the mask": {"grown", "silhouette", "copy"},
    "cut off by the mask": {"missed", "unmarked", "halo"},
    "background in the mask": {"extra", "unmarked", "silhouette", "framed"},
    "halo": {"halo"},
    "second copy": {"copy", "grown", "silhouette"},
    "floating": {"gap"},
    "no shadow": {"contact", "surrounding"},
    "wrong size": {"size"},
}
OF_THE_SETTING = {"second copy", "grown outside the mask", "no shadow", "another colour"}
OF_THE_CUTOUT = {"cut off by the mask", "background in the mask", "wrong size"}


@pytest.fixture(scope="module")
def engines() -> Engines:
    kit = Kit()
    kit.fetch(
        ["u2netp", "efficientnet-lite2", "imagenet-labels", "pp-ocr-det", "pp-ocr-rec", "photos-openvto"]
    )
    return Engines(kit, Device.choose(threads=2))


@pytest.fixture(scope="module")
def judges(engines: Engines) -> Judges:
    return Judges(engines.get("u2netp"), engines.get("efficientnet_lite2"))


@pytest.fixture(scope="module")
def subjects(engines: Engines) -> Mapping[str, Subject]:
    root = Kit().path("photos-openvto") / "clothes"
    pictures = [np.asarray(Image.open(root / f"{name}.jpg").convert("RGB")) for name in GARMENTS]
    alphas = engines.get("u2netp").segment(pictures)
    return {
        name: sharpened(Subject(picture, alpha))
        for name, picture, alpha in zip(GARMENTS, pictures, alphas, strict=True)
    }


def good(name: str, subjects: Mapping[str, Subject]) -> tuple[Work, Stage]:
    """An honest picture of the product in a painted setting."""
    source, pose = subjects[name], POSES[name]
    plate = PLATES[GARMENTS.index(name) % 2]
    placement = place(source.alpha, Aspect.SQUARE, pose, ("clothing",), 0)
    colours, alpha = lay(source, placement)
    asked, nothing = Setting("", pose, "", "", ""), Bilingual("", "")
    request = SceneRequest(colours, alpha, placement, asked, (), nothing, nothing, 4, 0.7)
    other = subjects[GARMENTS[GARMENTS.index(name) - 1]]
    stage = Stage(
        lambda r: Scenery(painted(plate, r, pose), Source.SYNTHETIC_COMPOSITE, {}),
        lambda r: painted(plate, r, pose, shadow=False),
        other,
    )
    return composed(Work(request, colours, colours, source, pose, ("clothing",)), stage.setting), stage


def short_of(certificate: Certificate) -> set[str]:
    return {name for name, bar in certificate.bars.items() if not bar.admits(certificate.scores[name])}


@pytest.mark.parametrize("name", GARMENTS)
def test_a_good_picture_passes(name: str, subjects: Mapping[str, Subject], judges: Judges) -> None:
    certificate = certify(good(name, subjects)[0], judges)
    assert certificate.failures == ()
    assert certificate.passes
    assert not certificate.lasts
    assert certificate.scores["unchanged"] == 1
    assert certificate.scores.keys() == certificate.bars.keys()


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damage_is_caught_for_what_it_is(
    damage: str, subjects: Mapping[str, Subject], judges: Judges
) -> None:
    for name in ("jackets/3_front", "pants/1_front"):
        spoilt = DAMAGES[damage](*good(name, subjects), np.random.default_rng(zlib.crc32(damage.encode())))
        if spoilt is not None:
            break
    assert spoilt is not None
    certificate = certify(spoilt, judges)
    assert not certificate.passes
    assert short_of(certificate) & CAUGHT_BY[damage]
    if damage in OF_THE_SETTING | OF_THE_CUTOUT:
        assert certificate.lasts == (damage in OF_THE_CUTOUT), "another setting mends it or not"
    assert all(sentence.endswith(".") and "the bar is" in sentence for sentence in certificate.failures)


@pytest.mark.parametrize("name", GARMENTS)
def test_a_shadow_is_proven_against_the_setting_without_it(
    name: str, subjects: Mapping[str, Subject], judges: Judges
) -> None:
    work, stage = good(name, subjects)
    bare = stage.bare(work.request)
    assert bare is not None
    proven = certify(replace(work, bare=bare), judges)
    assert proven.passes
    assert not {"contact", "surrounding"} & proven.scores.keys()
    assert proven.scores["shade"] > 3
    spoilt = replace(
        work, bare=bare, scenery=bare, picture=paste(bare, work.request.foreground, work.request.alpha)
    )
    assert short_of(certify(spoilt, judges)) >= {"shade"}


def test_what_is_dear_is_not_measured_of_what_already_fell_short(
    subjects: Mapping[str, Subject], judges: Judges
) -> None:
    work, stage = good("pants/1_front", subjects)
    spoilt = DAMAGES["wrong size"](work, stage, np.random.default_rng(0))
    assert spoilt is not None
    assert not {"likeness", "missed", "text"} & certify(spoilt, judges).scores.keys()


def test_printed_text_is_read_again(subjects: Mapping[str, Subject], engines: Engines) -> None:
    """The jacket says ATHLETIC DEPT. on its chest."""
    work, _ = good("jackets/3_front", subjects)
    reader = engines.get("rapidocr")
    (printed,) = reader.read_text([work.source.picture])
    assert any("ATHLETIC" in line.text for line in printed)
    read = replace(work, source=replace(work.source, printed=tuple(printed)))
    judges = Judges(engines.get("u2netp"), engines.get("efficientnet_lite2"), reader)
    certificate = certify(read, judges)
    assert certificate.scores["text"] > 0.9
    assert certificate.passes
    other = Printed("SOMETHING ELSE", 0.99, max(printed, key=lambda line: line.confidence).box)
    told = certify(replace(read, source=replace(work.source, printed=(other,))), judges)
    assert short_of(told) == {"text"}


def test_colour_difference_agrees_with_a_library() -> None:
    seeded = np.random.default_rng(2)
    one, other = (seeded.uniform((0, -90, -90), (100, 90, 90), (200, 3)).astype(np.float32) for _ in range(2))
    other[:60] = one[:60] + seeded.normal(0, 2, (60, 3))
    one[60:70, 1:] = 0
    found = sameness.ciede2000(one, other)
    for row, pair in enumerate(zip(one, other, strict=True)):
        left, right = (Color("lab-d65", [float(v) for v in lab]) for lab in pair)
        assert found[row] == pytest.approx(left.delta_e(right, method="2000"), abs=0.01)


def square(size: int = 300, inner: tuple[int, int, int, int] = (100, 100, 200, 200)) -> np.ndarray:
    alpha = np.zeros((size, size), np.float32)
    alpha[window(inner)] = 1
    return alpha


def plain(colour: int, size: int = 300) -> RGB:
    return np.full((size, size, 3), colour, np.uint8)


def test_one_changed_patch_is_told_from_the_noise_of_a_file() -> None:
    seeded = np.random.default_rng(0)
    product = seeded.integers(60, 200, (300, 300, 3), np.uint8)
    noisy = np.clip(product.astype(int) + seeded.integers(-3, 4, product.shape), 0, 255).astype(np.uint8)
    patched = product.copy()
    patched[120:132, 120:132] = 255
    assert sameness.changed(product, noisy, square())[1] == 0
    share, patch = sameness.changed(product, patched, square())
    assert share == pytest.approx(144 / 10_000, rel=0.1)
    assert patch == pytest.approx(144 / 10_000, rel=0.2)
    assert sameness.changed(product, plain(0), np.zeros((300, 300), np.float32)) == (0, 0)


def test_a_plain_product_has_no_lines_to_lose() -> None:
    assert sameness.edge_agreement(plain(90), plain(90), square()) == 1
    lined = plain(90)
    lined[150:153] = 220
    assert sameness.edge_agreement(lined, lined, square()) == 1
    assert sameness.edge_agreement(lined, plain(90), square()) == 0


@pytest.mark.parametrize(
    ("expected", "found", "agreement"),
    [
        ((), ("x",), 1.0),
        (("Coffee No. 5",), ("COFFEE", "NO 5"), 1.0),
        (("咖啡 500g",), ("咖啡500G",), 1.0),
        (("Coffee",), (), 0.0),
        (("Coffee",), ("Tea",), 0.0),
        (("abcd", "wxyz"), ("abcd",), 0.5),
    ],
)
def test_text_agrees_by_its_letters(
    expected: tuple[str, ...], found: tuple[str, ...], agreement: float
) -> None:
    def lines(texts: tuple[str, ...]) -> list[Printed]:
        return [Printed(text, 0.99, (0, 0, 1, 1)) for text in texts]

    assert sameness.text_agreement(lines(expected), lines(found)) == pytest.approx(agreement, abs=0.01)


def test_text_is_asked_for_where_it_can_still_be_read() -> None:
    line, beside = Printed("one", 1.0, (0.4, 0.4, 0.6, 0.5)), Printed("two", 1.0, (0.0, 0.0, 0.2, 0.1))
    assert sameness.legible([line, beside], square(), 1.0) == [line]
    assert sameness.legible([line], square(), 0.3) == []


def test_a_product_that_the_photo_cuts_off_is_told_by_how_much() -> None:
    free = Placement(600, 600, (100, 100, 200, 200), 1.0, 250, 300, 400)
    cut = Placement(600, 600, (100, 100, 200, 300), 1.0, 250, 200, 400)
    assert silhouette.framed(square(), free) == 0
    assert silhouette.framed(square(inner=cut.crop), cut) == 1
    assert silhouette.framed(square(inner=cut.crop), replace(cut, top=400, ground=600)) == 0, (
        "cut off by both"
    )
    rope = square()
    rope[:100, 148:150] = 1
    assert silhouette.framed(rope, free) == pytest.approx(0.02)


def test_an_outline_without_an_edge_in_the_photo_is_told() -> None:
    photo = plain(240)
    photo[100:200, 50:250] = 40
    whole, half = square(inner=(50, 100, 250, 200)), square(inner=(50, 100, 150, 200))
    assert silhouette.unmarked(sameness.lab(photo), whole) == 0
    assert silhouette.unmarked(sameness.lab(photo), half) == pytest.approx(0.95, abs=0.1)
    assert silhouette.unmarked(sameness.lab(plain(250)), whole) > 1, "all around"
    assert silhouette.unmarked(sameness.lab(np.maximum(photo, 232)), whole) == 0, (
        "white on white, but not quite"
    )


@pytest.mark.parametrize("size", [(40, 260), (260, 40), (240, 7)])
def test_halo_shows_around_products_of_any_shape(size: tuple[int, int]) -> None:
    """Around a very thin one there is no telling: nothing of it is far from its edge."""
    high, wide = size
    box = (150 - wide // 2, 150 - high // 2, 150 - wide // 2 + wide, 150 - high // 2 + high)
    photo, scenery = plain(240), plain(90)
    photo[window(box)] = (150, 30, 30)
    clean = square(inner=box)
    loose = square(inner=(box[0] - 4, box[1] - 4, box[2] + 4, box[3] + 4))

    def shown(alpha: np.ndarray) -> float:
        return halo(*(sameness.lab(p) for p in (paste(scenery, photo, alpha), scenery, photo)), alpha)

    assert shown(clean) == 0
    assert shown(loose) > 0.8 or min(size) < 10


def test_a_halo_that_nobody_sees_is_none() -> None:
    """The new setting has the old background's colour."""
    photo = plain(240)
    photo[100:200, 100:200] = (150, 30, 30)
    loose = square(inner=(96, 96, 204, 204))
    picture = paste(plain(240), photo, loose)
    assert halo(sameness.lab(picture), sameness.lab(plain(240)), sameness.lab(photo), loose) == 0


def test_a_copy_is_found_smaller_mirrored_and_not_in_the_product_itself() -> None:
    seeded = np.random.default_rng(3)
    product = np.asarray(Image.fromarray(seeded.integers(0, 256, (8, 8, 3), np.uint8)).resize((100, 100), 0))
    colours = plain(0)
    colours[100:200, 100:200] = product
    empty = plain(180)
    assert standing.copy(empty, colours, square()) < 0.3
    assert standing.copy(paste(empty, colours, square()), colours, square()) < 0.7, "that is the product"
    second = empty.copy()
    second[220:280, 210:270] = np.asarray(
        Image.fromarray(product[:, ::-1]).resize((60, 60), Image.Resampling.BOX)
    )
    assert standing.copy(second, colours, square()) > 0.8


def test_size_counts_what_the_canvas_cuts_off() -> None:
    assert standing.size(Placement(300, 400, (0, 0, 100, 200), 1.0, 0, 0, 200)) == 0.5
    assert standing.size(Placement(300, 400, (0, 0, 100, 200), 3.0, 0, 0, 200)) == 1.5


def test_a_category_has_bars_of_its_own() -> None:
    usual, jewellery = bars_for(()), bars_for(("jewellery", "ring"))
    assert jewellery["size"] != usual["size"]
    assert {**jewellery, "size": usual["size"]} == usual
    assert bars_for(("no such kind",)) == usual


def test_a_bar_has_two_sides() -> None:
    bar = Bar(least=0.3, most=0.8)
    assert [bar.admits(score) for score in (0.29, 0.3, 0.8, 0.81)] == [False, True, True, False]
    assert str(bar) == "at least 0.3 and at most 0.8"
    assert "at least 0.3" in failed({"size": 0.1}, {"size": bar})[0]


def test_a_file_with_a_bar_for_nothing_is_refused(tmp_path: object, monkeypatch: pytest.MonkeyPatch) -> None:
    from pathlib import Path

    from engines.scenes import certificate

    assert isinstance(tmp_path, Path)
    (tmp_path / "bars.toml").write_text("[bars.any]\nbeauty = { least = 1 }\n")
    monkeypatch.setattr(certificate, "FILE", str(tmp_path / "bars.toml"))
    certificate.read_bars.cache_clear()
    with pytest.raises(ConfigurationError, match="beauty"):
        bars_for(())
    certificate.read_bars.cache_clear()


def test_the_photos_own_pixels_are_what_a_picture_is_held_to(subjects: Mapping[str, Subject]) -> None:
    """A request that was made of other colours is no excuse."""
    work, _ = good("pants/1_front", subjects)
    around, alpha, to = moved(work.source, work.request.placement)
    assert np.array_equal(work.picture[window(to)][alpha >= 1], around[alpha >= 1])
