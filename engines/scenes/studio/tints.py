"""Colour and light of a set, chosen from the product's photo: tint, exposure, warmth, the side light comes from."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from engines.protocols import RGB, Alpha

Lab = tuple[float, float, float]
Palette = tuple[tuple[Lab, float], ...]
"""Colours in CIELAB with their shares, largest first."""

_CHROMATIC = 12.0
"""Chroma from which a colour has a hue worth following."""

_FULL = 1.28
"""Exposure for a bright photo: white paper in full light is nearly white."""

_APART = 14.0
"""At least so much lighter or darker than the product's rim is the set."""


@dataclass(frozen=True, slots=True)
class Look:
    """``tint`` is the set's albedo against white, ``exposure`` what all its light is multiplied with, ``key`` and
    ``fill`` the colour of its lights, all in linear light; ``flipped`` sets mirror the set."""

    tint: npt.NDArray[np.float32]
    exposure: float
    key: npt.NDArray[np.float32]
    fill: npt.NDArray[np.float32]
    flipped: bool


def tint(palette: Palette, how: str, rim: float, seed: int) -> npt.NDArray[np.float32]:
    """The set's tint in linear light. ``rim`` is the lightness of the product's outline, from which it keeps away."""
    if how == "none":
        return np.ones(3, np.float32)
    lead = max(
        palette, key=lambda item: item[1] * max(_chroma(item[0]) - 4, 0.5), default=((70.0, 0.0, 0.0), 1.0)
    )[0]
    if _chroma(lead) >= _CHROMATIC:
        hue = np.arctan2(lead[2], lead[1])
        if how == "complementary":
            hue += np.pi + (0.35 if seed % 2 else -0.35)
        elif how == "analogous":
            hue += 0.3 if seed % 2 else -0.15
        chroma = {"wall": 0.28, "analogous": 0.42, "complementary": 0.36}[how] * min(_chroma(lead), 60.0)
    else:
        hue = _QUIET[seed % len(_QUIET)]
        chroma = 7.0 if how != "complementary" else 15.0
    # Greenish yellows look ill when they get dark or strong.
    sour = np.exp(-(((hue - 1.9) / 0.35) ** 2))
    light = _lightness({"wall": 84.0, "analogous": 83.0, "complementary": 72.0}[how], rim)
    chroma = min(chroma * (1 - 0.5 * sour), 22.0)
    wanted = rgb((light, chroma * np.cos(hue), chroma * np.sin(hue)))
    return np.clip(wanted / _PAPER, 0.02, 1.1).astype(np.float32)


_QUIET = (1.25, 1.05, 4.4, 0.75, 4.7, 2.6)
"""Hues for products without one, in radians of CIELAB: sand, clay, mist, blush, slate, sage."""

_PAPER = 0.84
"""Albedo of what takes a tint."""


def _lightness(wanted: float, rim: float) -> float:
    if abs(rim - wanted) >= _APART:
        return wanted
    # Light paper looks best, but white on white is lost.
    return rim + _APART if rim + _APART <= 92 else float(np.clip(rim - _APART, 64.0, 74.0))


def look(foreground: RGB, alpha: Alpha, palette: Palette, how: str, seed: int) -> Look:
    """How a set is to look beside this product."""
    solid = alpha > 0.9
    pixels = foreground[solid][:: max(1, int(solid.sum()) // 20000)]
    if not len(pixels):
        pixels = np.full((1, 3), 128, np.uint8)
    values = lab(pixels)
    edge = (alpha > 0.3) & ~_inner(alpha, 6)
    rims = lab(foreground[edge][:: max(1, int(edge.sum()) // 20000)]) if edge.any() else values
    brightest = float(np.percentile(pixels.max(axis=1), 97)) / 255
    # A photo taken in the dark gets a set in less light; a bright one a set that is as bright as paper goes.
    exposure = float(np.clip(0.88 + 0.3 * (brightest - 0.45), 0.86, 1.0)) * _FULL
    warmth = _warmth(values)
    return Look(
        tint(palette, how, float(np.median(rims[:, 0])), seed),
        exposure,
        np.array((1.035 + warmth, 1.0, 0.955 - warmth), np.float32),
        np.array((0.97 + warmth, 1.0, 1.035 - warmth), np.float32),
        lit_from(foreground, alpha) > 0.06,
    )


def _warmth(values: npt.NDArray[np.float64]) -> float:
    """How much redder than daylight the photo's light was, judged by what is light and nearly grey in it."""
    chroma = np.hypot(values[:, 1], values[:, 2])
    grey = (values[:, 0] > 55) & (chroma < 16)
    if grey.mean() < 0.05:
        return 0.0
    return float(np.clip(0.006 * np.median(values[grey, 2]), -0.05, 0.05))


def lit_from(foreground: RGB, alpha: Alpha) -> float:
    """Whether the product is lit from the right (above 0) or from the left, by how its lightness runs."""
    small = slice(None, None, max(1, max(alpha.shape) // 256))
    cover = alpha[small, small] > 0.9
    if cover.sum() < 50:
        return 0.0
    lightness = np.full(cover.shape, np.nan)
    lightness[cover] = lab(foreground[small, small][cover])[:, 0]
    across = np.flatnonzero(cover.any(axis=0))
    place = (np.arange(cover.shape[1]) - across.mean()) / max(np.ptp(across) / 2, 1)
    placed = np.broadcast_to(place, cover.shape)[cover]
    values = lightness[cover]
    spread = float(np.std(values)) + 4
    return float(np.mean((values - values.mean()) * placed) / spread)


def _inner(alpha: Alpha, pixels: int) -> npt.NDArray[np.bool_]:
    import cv2

    size = 2 * pixels + 1
    return np.asarray(cv2.erode((alpha > 0.5).astype(np.uint8), np.ones((size, size), np.uint8)) > 0)


def _chroma(colour: Lab) -> float:
    return float(np.hypot(colour[1], colour[2]))


_TO_XYZ = np.array([[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]])
_WHITE = _TO_XYZ.sum(axis=1)


def lab(pixels: RGB) -> npt.NDArray[np.float64]:
    """CIELAB (N, 3) of sRGB bytes (N, 3)."""
    from engines.looks.colours import lab as converted

    return converted(pixels.astype(np.float64))


def rgb(colour: tuple[float, float, float]) -> npt.NDArray[np.float64]:
    """Linear light (3,) of a colour in CIELAB (D65); what the screen cannot show is clipped."""
    y = (colour[0] + 16) / 116
    f = np.array((y + colour[1] / 500, y, y - colour[2] / 200))
    xyz = np.where(f > 6 / 29, f**3, 3 * (6 / 29) ** 2 * (f - 4 / 29)) * _WHITE
    return np.clip(np.linalg.solve(_TO_XYZ, xyz), 0.0, 1.0)


def linear(picture: RGB) -> npt.NDArray[np.float32]:
    """sRGB bytes to linear light in [0, 1]."""
    return _LINEAR[picture]


_SHARES = np.arange(256, dtype=np.float32) / 255
_LINEAR = np.where(_SHARES <= 0.04045, _SHARES / 12.92, ((_SHARES + 0.055) / 1.055) ** 2.4).astype(np.float32)
