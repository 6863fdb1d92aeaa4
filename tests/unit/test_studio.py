"""The studio: sets without a product are rendered once, and a product takes its light from them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from engines.devices import Device
from engines.kit import Kit
from engines.protocols import RGB, Alpha, Bilingual
from engines.protocols.scenes import Placement, SceneRequest, Setting
from engines.registry import Engines, load_adapters
from engines.scenes.presets import Pose, Preset, Studio, read_presets
from engines.scenes.studio import plates as plates_module
from engines.scenes.studio.lights import hemisphere
from engines.scenes.studio.noise import Sheet, clouds
from engines.scenes.studio.photograph import photograph
from engines.scenes.studio.plates import Plate, Plates
from engines.scenes.studio.sets import studio_set
from engines.scenes.studio.shadows import body
from engines.scenes.studio.textures import OAK, boards, marble
from engines.scenes.studio.tints import lab, linear, lit_from, look, rgb, tint
from engines.scenes.studio.view import View
from pipeline.errors import RejectedInput

SIDE = 96
GROUND = 77
PRESETS = read_presets()
RED = (((45.0, 60.0, 40.0), 1.0),)


@pytest.fixture(scope="module")
def plates(tmp_path_factory: pytest.TempPathFactory) -> Plates:
    return Plates(tmp_path_factory.mktemp("plates"), samples=4)


def box(colour: tuple[int, int, int] = (200, 40, 30), cover: float = 1.0) -> tuple[RGB, Alpha]:
    """A box of 30 by 40 pixels on the ground in the middle."""
    foreground, alpha = np.zeros((SIDE, SIDE, 3), np.uint8), np.zeros((SIDE, SIDE), np.float32)
    foreground[GROUND - 40 : GROUND, 33:63] = colour
    alpha[GROUND - 40 : GROUND, 33:63] = cover
    return foreground, alpha


def nothing() -> tuple[RGB, Alpha]:
    return np.zeros((SIDE, SIDE, 3), np.uint8), np.zeros((SIDE, SIDE), np.float32)


def view(preset: Preset) -> View:
    return View(SIDE, SIDE, preset.pose)


def shot(
    plates: Plates, preset: Preset, thing: tuple[RGB, Alpha], palette: tuple[object, ...] = RED, seed: int = 3
) -> RGB:
    """The thing in the preset, in the light and tint that a red box gets, so that pictures can be compared."""
    plate = plates.get(preset.studio, view(preset))
    seen = look(*box(), palette, preset.studio.tint, 3)  # type: ignore[arg-type]
    return photograph(*thing, plate, studio_set(preset.studio), view(preset), seen, seed)


@pytest.mark.parametrize("name", PRESETS)
def test_every_preset_makes_a_picture_that_is_neither_black_nor_burnt_out(name: str, plates: Plates) -> None:
    picture = shot(plates, PRESETS[name], box())
    assert picture.shape == (SIDE, SIDE, 3)
    assert 60 < picture.mean() < 245
    assert (picture.max(axis=2) < 12).mean() < 0.02


@pytest.mark.parametrize("name", ["seamless", "linen"])
def test_the_same_request_gives_the_same_picture(name: str, plates: Plates, tmp_path: Path) -> None:
    elsewhere = Plates(tmp_path, samples=4)
    one, other = (shot(where, PRESETS[name], box()) for where in (plates, elsewhere))
    assert np.array_equal(one, other)


@pytest.mark.parametrize("name", [name for name, preset in PRESETS.items() if preset.pose is Pose.STANDING])
def test_what_stands_darkens_the_ground_at_its_feet_and_brightens_no_far_wall(
    name: str, plates: Plates
) -> None:
    preset = PRESETS[name]
    empty = shot(plates, preset, nothing()).astype(float)
    taken = shot(plates, preset, box()).astype(float)
    feet = (slice(GROUND - 2, GROUND + 1), slice(34, 62))
    assert taken[feet].mean() < 0.85 * empty[feet].mean()
    assert np.abs(taken[:20] - empty[:20]).max() <= 3


@pytest.mark.parametrize("name", [name for name, preset in PRESETS.items() if preset.pose is Pose.LYING])
def test_what_lies_throws_a_shadow_away_from_the_light(name: str, plates: Plates) -> None:
    preset = PRESETS[name]
    empty = shot(plates, preset, nothing()).astype(float)
    taken = shot(plates, preset, box()).astype(float)
    lost = (empty - taken).mean(axis=2)[GROUND - 38 : GROUND - 2]
    left, right = lost[:, 31:33].mean(), lost[:, 63:65].mean()
    assert (right > left + 3) if "left" in preset.studio.light else (left > right + 3)


def test_a_mirrored_set_has_its_shadow_on_the_other_side(plates: Plates) -> None:
    preset = PRESETS["seamless"]
    plate = plates.get(preset.studio, view(preset))
    foreground, alpha = box()
    usual = look(foreground, alpha, RED, "none", 3)
    bright = foreground.copy()
    bright[:, 33:63] = np.linspace(60, 250, 30)[None, :, None] * (alpha[:, 33:63, None] > 0)
    turned = look(bright, alpha, RED, "none", 3)
    assert turned.flipped
    assert not usual.flipped
    pictures = [
        photograph(foreground, alpha, plate, studio_set(preset.studio), view(preset), one, 3).astype(float)
        for one in (usual, turned)
    ]
    sides = [(one[70:76, 8:30].mean(), one[70:76, 66:88].mean()) for one in pictures]
    assert sides[0][1] < sides[0][0] - 5
    assert sides[1][0] < sides[1][1] - 5


@pytest.mark.parametrize("name", ["seamless", "paper-flat"])
def test_a_tinted_set_takes_the_hue_of_the_palette(name: str, plates: Plates) -> None:
    red, blue = (((45.0, 60.0, 40.0), 1.0),), (((45.0, 10.0, -55.0), 1.0),)
    corners = [
        lab(shot(plates, PRESETS[name], nothing(), palette)[:30, :30].reshape(-1, 3)).mean(axis=0)
        for palette in (red, blue)
    ]
    wanted = [np.arctan2(p[0][0][2], p[0][0][1]) for p in (red, blue)]
    for corner, hue in zip(corners, wanted, strict=True):
        turn = hue if PRESETS[name].studio.tint == "analogous" else hue + np.pi
        off = np.angle(np.exp(1j * (np.arctan2(corner[2], corner[1]) - turn)))
        assert abs(off) < 0.75
        assert np.hypot(corner[1], corner[2]) > 5


def test_a_tint_keeps_away_from_the_outline_of_the_product() -> None:
    for rim in (10.0, 50.0, 75.0, 84.0, 97.0):
        made = tint(RED, "analogous", rim, 3)
        lightness = lab((_srgb(made * 0.84)[None]).astype(np.uint8))[0, 0]
        assert abs(lightness - rim) > 9


def test_what_is_transparent_lets_the_set_through_and_throws_less_shadow(plates: Plates) -> None:
    preset = PRESETS["marble"]
    empty, glass, solid = (
        shot(plates, preset, thing).astype(float) for thing in (nothing(), box(cover=0.25), box(cover=1.0))
    )
    assert np.abs(glass[40:70, 36:60] - empty[40:70, 36:60]).mean() < 25
    feet = (slice(GROUND - 2, GROUND + 1), slice(36, 60))
    assert empty[feet].mean() - 4 > glass[feet].mean() > solid[feet].mean() + 10


def test_polished_stone_shows_the_product_upside_down(plates: Plates) -> None:
    taken = [
        shot(plates, PRESETS["marble"], box(colour)).astype(float)
        for colour in ((220, 20, 20), (20, 20, 220))
    ]
    below = (slice(GROUND + 1, GROUND + 8), slice(38, 58))
    reds, blues = ((one[below][..., 0] - one[below][..., 2]).mean() for one in taken)
    assert reds > blues + 20


def test_a_plate_is_rendered_once_and_again_where_its_file_is_broken(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rendered: list[str] = []
    real = plates_module._rendered

    def counting(stage: object, at: View, samples: int) -> Plate:
        rendered.append("one")
        return real(stage, at, samples)  # type: ignore[arg-type]

    monkeypatch.setattr(plates_module, "_rendered", counting)
    studio, small = PRESETS["paper-flat"].studio, View(24, 24, Pose.LYING)
    first = Plates(tmp_path, samples=1).get(studio, small)
    assert np.array_equal(first.key, Plates(tmp_path, samples=1).get(studio, small).key)
    assert rendered == ["one"]
    (file,) = tmp_path.glob("*.npz")
    for broken in (file.read_bytes()[:-200], b"", b"PK\x03\x04 no archive"):
        file.write_bytes(broken)
        assert np.array_equal(first.key, Plates(tmp_path, samples=1).get(studio, small).key)
    assert len(rendered) == 4
    assert [path.name for path in tmp_path.iterdir()] == [file.name]


def test_another_light_or_size_is_another_plate(tmp_path: Path) -> None:
    plates = Plates(tmp_path, samples=1)
    for light in ("soft-left", "window-left"):
        for side in (16, 24):
            plates.get(Studio(set="paper", light=light, tint="none"), View(side, side, Pose.LYING))  # type: ignore[arg-type]
    assert len(list(tmp_path.iterdir())) == 4


def test_feet_farther_back_are_found_higher_in_the_picture() -> None:
    """A stool with two near legs in the middle and two far ones outside, and a ball, which stands on one point."""
    alpha = np.zeros((200, 200), np.float32)
    alpha[60:80, 40:160] = 1
    for column, lowest in ((42, 152), (70, 160), (130, 160), (156, 152)):
        alpha[60:lowest, column : column + 4] = 1
    at = View(200, 200, Pose.STANDING)
    stool = body(np.ones((200, 200, 3), np.float32), alpha, at)
    assert stool is not None
    assert stool.feet[100] == pytest.approx(0, abs=0.01)
    assert stool.feet[43] == pytest.approx(8 / 200, abs=0.01)
    y, x = np.mgrid[0:200, 0:200]
    ball = body(np.ones((200, 200, 3), np.float32), (np.hypot(x - 100, y - 120) < 40).astype(np.float32), at)
    assert ball is not None
    assert ball.feet.max() < 0.06


def test_a_standing_product_in_a_set_for_lying_ones_is_refused_with_the_remedy() -> None:
    load_adapters()
    engine = Engines(Kit(), Device.choose(threads=1)).get("studio")
    foreground, alpha = box()
    request = SceneRequest(
        foreground=foreground,
        alpha=alpha,
        placement=Placement(SIDE, SIDE, (0, 0, 30, 40), 1.0, 33, GROUND - 40, GROUND),
        setting=Setting("ours", "standing", "fabric", "soft-left", "none"),
        palette=RED,
        prompt=Bilingual("", ""),
        negative=Bilingual("", ""),
        seed=3,
        hold=0.5,
    )
    (refused,) = engine.render([request])
    assert isinstance(refused, RejectedInput)
    assert "change its pose or its set" in str(refused)


def test_nothing_has_no_body() -> None:
    assert (
        body(np.zeros((8, 8, 3), np.float32), np.zeros((8, 8), np.float32), View(8, 8, Pose.STANDING)) is None
    )


def test_surfaces_look_the_same_at_every_resolution() -> None:
    import cv2

    coarse, fine = Sheet(1.0, 0.8, 160), Sheet(1.0, 0.8, 480)
    for one, other in (
        (clouds((1, 2), coarse, 3, 3), clouds((1, 2), fine, 3, 3)),
        (marble(coarse, 4).albedo[..., 0], marble(fine, 4).albedo[..., 0]),
        (
            boards(coarse, OAK, width=0.2, length=3, gap=0, seed=5).albedo[..., 0],
            boards(fine, OAK, width=0.2, length=3, gap=0, seed=5).albedo[..., 0],
        ),
    ):
        shrunk = cv2.resize(other, one.shape[::-1], interpolation=cv2.INTER_AREA)
        # A vein thinner than a pixel is only seen where it is drawn finely.
        soft = [cv2.GaussianBlur(drawn, (0, 0), 2.0).ravel() for drawn in (one, shrunk)]
        assert np.corrcoef(*soft)[0, 1] > 0.9


def test_rays_of_a_sky_are_weighed_as_a_matt_surface_weighs_them() -> None:
    rays = hemisphere(64, (0.0, 1.0, 0.0))
    assert np.allclose(np.linalg.norm(rays, axis=1), 1, atol=1e-5)
    assert rays[:, 1].mean() == pytest.approx(2 / 3, abs=0.01)
    assert np.abs(rays[:, [0, 2]].mean(axis=0)).max() < 0.03


def test_light_is_seen_on_the_side_where_the_product_is_bright() -> None:
    foreground, alpha = box((120, 120, 120))
    assert abs(lit_from(foreground, alpha)) < 0.01
    foreground[:, 48:63] = 220
    assert lit_from(foreground, alpha) > 0.3
    assert lit_from(foreground[:, ::-1], alpha[:, ::-1]) < -0.3


def test_colours_come_back_from_cielab() -> None:
    for code in ((200, 40, 30), (30, 90, 160), (128, 128, 128)):
        back = rgb(tuple(lab(np.array([code], np.uint8))[0]))
        assert np.allclose(back, linear(np.array(code, np.uint8)), atol=0.003)


def _srgb(light: np.ndarray) -> np.ndarray:
    return 255 * np.where(light <= 0.0031308, 12.92 * light, 1.055 * light ** (1 / 2.4) - 0.055)
