"""Simple settings painted around a product, to try the certificate on where no engine is at hand."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, get_args

import numpy as np
import numpy.typing as npt

from engines.looks.cutouts import solid
from engines.looks.regions import bounds
from engines.protocols import RGB
from engines.protocols.scenes import SceneRequest
from engines.scenes.presets import Pose

Floats = npt.NDArray[np.float32]
Plate = Literal["paper", "wood", "blurred"]
PLATES: Sequence[Plate] = get_args(Plate)


def painted(plate: Plate, request: SceneRequest, pose: Pose, shadow: bool = True) -> RGB:
    """A setting of the canvas's size, with the product's shadow where ``shadow`` says so."""
    height, width = request.alpha.shape
    seeded = np.random.default_rng(request.seed)
    horizon = round(0.62 * height) if pose is Pose.STANDING else 0
    lit = {"paper": _paper, "wood": _wood, "blurred": _blurred}[plate](height, width, horizon, seeded)
    if shadow:
        cast = _standing(request) if pose is Pose.STANDING else _lying(request)
        lit = lit * (1 - cast[..., np.newaxis])
    grain = seeded.normal(0, 0.004, (height, width, 1)).astype(np.float32)
    return np.asarray(np.clip(lit + grain, 0, 1) * 255 + 0.5, np.uint8)


def _paper(height: int, width: int, horizon: int, seeded: np.random.Generator) -> Floats:
    tint = np.array([0.86, 0.85, 0.83], np.float32) * seeded.uniform(0.75, 1.08) + seeded.normal(0, 0.03, 3)
    y, x = np.mgrid[0 : 1 : height * 1j, 0 : 1 : width * 1j].astype(np.float32)
    light = 1.02 - 0.18 * np.hypot(x - 0.35, y - 0.4)
    return np.asarray(tint * light[..., np.newaxis], np.float32)


def _wood(height: int, width: int, horizon: int, seeded: np.random.Generator) -> Floats:
    import cv2

    noise = seeded.normal(0, 1, (height, width // 24 + 2)).astype(np.float32)
    grain = cv2.GaussianBlur(cv2.resize(noise, (width, height), interpolation=cv2.INTER_CUBIC), (0, 0), 1.6)
    tint = np.array([0.62, 0.45, 0.30], np.float32) * seeded.uniform(0.7, 1.25)
    table = tint * (1 + 0.10 * grain[..., np.newaxis])
    lit = _paper(height, width, horizon, seeded)
    lit[horizon:] = table[horizon:]
    return np.asarray(cv2.GaussianBlur(lit, (0, 0), 1.0), np.float32)


def _blurred(height: int, width: int, horizon: int, seeded: np.random.Generator) -> Floats:
    import cv2

    lit = np.full((height, width, 3), seeded.uniform(0.35, 0.75, 3), np.float32)
    for _ in range(60):
        centre = int(seeded.integers(0, width)), int(seeded.integers(0, max(1, horizon or height)))
        colour = [float(v) for v in seeded.uniform(0.15, 0.95, 3)]
        cv2.circle(lit, centre, int(seeded.integers(20, max(21, width // 7))), colour, -1)
    lit = np.asarray(cv2.GaussianBlur(lit, (0, 0), width / 36), np.float32)
    if horizon:
        edge = np.clip((np.arange(height, dtype=np.float32) - horizon) / (0.03 * height) + 0.5, 0, 1)
        table = np.full(3, seeded.uniform(0.5, 0.8), np.float32) * np.array([1, 0.96, 0.9], np.float32)
        lit = lit * (1 - edge[:, np.newaxis, np.newaxis]) + table * edge[:, np.newaxis, np.newaxis]
    return lit


def _standing(request: SceneRequest) -> Floats:
    """A dark line where the product touches the ground, and its soft shadow on the surface."""
    import cv2

    alpha = solid(request.alpha)
    box = bounds(alpha)
    height, width = alpha.shape
    cast = np.zeros((height, width), np.float32)
    if box is None:
        return cast
    ground = request.placement.ground
    foot = max(2, round(0.012 * height))
    feet = alpha[max(0, ground - foot) : ground].any(axis=0).astype(np.float32)
    touch = cast.copy()
    touch[max(0, ground - foot) : ground + foot // 2] = feet
    flat = np.array([[1, -0.25, 0.25 * ground], [0, 0.16, ground * 0.84]], np.float32)
    soft = cv2.warpAffine(alpha.astype(np.float32), flat, (width, height))
    cast = 0.55 * cv2.GaussianBlur(touch, (0, 0), 0.006 * height) + 0.35 * cv2.GaussianBlur(
        soft, (0, 0), 0.02 * height
    )
    return np.clip(cast, 0, 0.85)


def _lying(request: SceneRequest) -> Floats:
    import cv2

    height, width = request.alpha.shape
    cast = np.zeros((height, width), np.float32)
    for share, strength in ((0.006, 0.4), (0.02, 0.3)):
        away = share * height
        moved = cv2.warpAffine(
            request.alpha, np.array([[1, 0, away * 0.5], [0, 1, away * 0.7]]), (width, height)
        )
        cast += strength * cv2.GaussianBlur(moved, (0, 0), away)
    return np.clip(cast, 0, 0.85)
