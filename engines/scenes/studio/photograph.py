"""The picture: a plate in the product's light and colours, with what the product does to it."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from engines.protocols import RGB, Alpha
from engines.scenes.presets import Pose
from engines.scenes.studio.lights import Light, Panel, Rig
from engines.scenes.studio.plates import Plate
from engines.scenes.studio.reflections import mirrored
from engines.scenes.studio.sets import StudioSet
from engines.scenes.studio.shadows import body, kept_light
from engines.scenes.studio.tints import Look, linear
from engines.scenes.studio.view import View

Picture = npt.NDArray[np.float32]

_VIGNETTE = 0.10
_GRAIN = 0.9
"""Standard deviation in steps of a byte."""

_SHOULDER = 0.80
"""Light from which film gives way: white paper keeps its shading."""


def photograph(
    foreground: RGB, alpha: Alpha, plate: Plate, stage: StudioSet, view: View, look: Look, seed: int
) -> RGB:
    """The set around the product, (H, W, 3), without the product's own pixels."""
    import cv2

    plate, rig = (_flipped(plate), _turned(stage.rig)) if look.flipped else (plate, stage.rig)
    height, width = alpha.shape
    rows, columns = plate.position.shape[:2]
    coarse = View(columns, rows, view.pose)
    light = linear(foreground)
    weighed = np.dstack([light * alpha[..., None], alpha])
    small = np.asarray(cv2.resize(weighed, (columns, rows), interpolation=cv2.INTER_AREA), np.float32)
    cover = np.ascontiguousarray(small[..., 3])
    own = np.asarray(small[..., :3] / np.maximum(cover, 1e-3)[..., None], np.float32)
    thing = body(own, cover, coarse)
    shares = kept_light(thing, coarse, rig, plate.position, plate.normal) if thing else _UNCHANGED
    key, fill = (cv2.resize(share, (width, height), interpolation=cv2.INTER_LINEAR) for share in shares)
    tint = plate.tint.astype(np.float32)[..., None]
    scene = plate.key.astype(np.float32) * (key * look.key) + plate.fill.astype(np.float32) * (
        fill * look.fill
    )
    scene *= look.exposure * (1 + tint * (look.tint - 1))
    if thing and stage.mirror and view.pose is Pose.STANDING:
        image, clear = mirrored(light, alpha, view, stage.blur)
        share = np.float32(stage.mirror)
        scene = scene * (1 - share * clear[..., None]) + share * image
    return _developed(scene, seed)


_UNCHANGED = (np.ones((1, 1, 3), np.float32),) * 2


def _developed(scene: Picture, seed: int) -> RGB:
    """Film: vignette, highlights that give way slowly, sRGB, grain."""
    height, width = scene.shape[:2]
    y, x = np.ogrid[-1 : 1 : height * 1j, -1 : 1 : width * 1j]
    scene = scene * (1 - _VIGNETTE * (x * x + y * y) / 2).astype(np.float32)[..., None]
    over = np.maximum(scene - _SHOULDER, 0)
    room = 1 - _SHOULDER
    scene = np.minimum(scene, _SHOULDER) + room * (1 - np.exp(-over / room))
    codes = (np.sqrt(np.clip(scene, 0, 1)) * (len(_BYTES) - 1) + 0.5).astype(np.uint16)
    grain = np.random.default_rng(seed).standard_normal((height, width), np.float32) * np.float32(_GRAIN)
    return np.clip(_BYTES[codes] + grain[..., None] + 0.5, 0, 255).astype(np.uint8)


def _srgb(light: npt.NDArray[np.float64]) -> npt.NDArray[np.float32]:
    share = np.where(light <= 0.0031308, 12.92 * light, 1.055 * np.maximum(light, 1e-9) ** (1 / 2.4) - 0.055)
    return (share * 255).astype(np.float32)


_BYTES = _srgb(np.linspace(0, 1, 4096) ** 2)
"""sRGB of the square of every code: a root spreads codes as evenly as eyes do."""


def _flipped(plate: Plate) -> Plate:
    """Its mirror image, which is as good a set with the light from the other side."""
    turn = np.array((-1, 1, 1), np.float32)
    return Plate(
        plate.key[:, ::-1],
        plate.fill[:, ::-1],
        plate.tint[:, ::-1],
        np.ascontiguousarray(plate.position[:, ::-1]) * turn,
        np.ascontiguousarray(plate.normal[:, ::-1]) * turn,
    )


def _turned(rig: Rig) -> Rig:
    return Rig(_across(rig.key), _across(rig.fill))


def _across(light: Light) -> Light:
    return Light(
        tuple(
            Panel((-p.at[0], *p.at[1:]), (-p.towards[0], *p.towards[1:]), p.size, p.radiance)
            for p in light.panels
        ),
        light.sky,
    )
