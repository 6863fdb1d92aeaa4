"""Which colours a product has: named shares of the cut-out's pixels, told apart in CIELAB."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from PIL import ImageFilter

from engines.looks.calibration import calibration
from engines.looks.cutouts import cropped, cutout_bounds, shows_subject, solid
from engines.looks.exposure import light, linear, lit
from engines.looks.frames import shrunk
from engines.protocols import RGB, Alpha, Subject

_SIDE = 128
"""Longest side of the product in pixels at which colours are counted: weave and JPEG noise average out."""

_BITS = 5
"""Bits a channel when equal colours are counted together; a bin is about 2 ΔE wide."""

_LEAST_CORE = 16
"""Pixels inside the rim, under which a thin product's rim counts too."""

_NEIGHBOURS = (
    ("black", "grey"),
    ("grey", "white"),
    ("navy", "blue"),
    ("blue", "light-blue"),
    ("burgundy", "red"),
    ("red", "pink"),
    ("brown", "beige"),
    ("beige", "white"),
)
"""Pairs that light and shadow make out of one colour."""

_SHADE = 2.5
"""How many times more of one there must be for the other to be its shade."""


_CASTS = ((0.88, 0.88, 0.88), (1.12, 1.12, 1.12), (1.04, 1.0, 0.94), (0.96, 1.0, 1.06))
"""What other light would make of a photo's channels: dimmer, brighter, warmer, cooler."""

_NEUTRAL = ("black", "grey", "white")

LEAST_SHARE = 0.1
"""Under this a colour is a button or a seam: it is not said at all."""


_SECOND = 0.5
"""The least probability of a colour named beside another."""


@dataclass(frozen=True, slots=True)
class ColourShare:
    """A colour's key in the vocabulary and its share in [0, 1] of the product's visible surface.

    ``steady`` in [0, 1] is the part of it that would bear the same name in brighter, dimmer, warmer, cooler light.
    """

    name: str
    share: float
    steady: float = 1.0


@dataclass(frozen=True, slots=True)
class Colour:
    """A colour with its share, and the probability that people would name it of the product."""

    name: str
    share: float
    confidence: float


def palette(subject: Subject) -> list[ColourShare]:
    """The product's colours, largest first; shares sum to 1. Empty where the cut-out shows nothing."""
    bounds = cutout_bounds(subject)
    if bounds is None:
        return []
    # Close up a small product is counted as finely as a large one.
    colours, weights = _count(*cropped(subject, bounds))
    given_light = light(subject)
    seen = _names(lab(lit(colours, given_light)))
    shares: defaultdict[str, float] = defaultdict(float)
    for name, weight in zip(seen, weights, strict=True):
        shares[name] += float(weight)
    total = sum(shares.values())
    given = _merge_shades(shares)
    kept: defaultdict[str, float] = defaultdict(float)
    for cast in _CASTS:
        other = _names(lab(lit(colours * np.array(cast), given_light)))
        for name, now, weight in zip(seen, other, weights, strict=True):
            if given.get(name, name) == given.get(now, now):
                kept[given.get(name, name)] += float(weight) / len(_CASTS)
    return _ranked(
        ColourShare(name, share / total, min(1.0, kept[name] / share)) for name, share in shares.items()
    )


def colours(shares: Sequence[ColourShare], sureness: float) -> list[Colour]:
    """The colours worth naming of a palette, likeliest first; ``sureness`` is the cut-out's, or several photos' mean.

    One colour a product nearly always has, the likeliest; a second must be more likely than not. The probabilities
    are fitted by ``engines/training/colour_confidence.py``.
    """
    model = calibration("colour")
    rated = [
        Colour(one.name, one.share, model.probability(features))
        for one, features in zip(shares, evidence(shares, sureness), strict=True)
        if one.share >= LEAST_SHARE
    ]
    rated.sort(key=lambda colour: -colour.confidence)
    return [one for place, one in enumerate(rated) if place == 0 or one.confidence >= _SECOND]


def evidence(shares: Sequence[ColourShare], sureness: float) -> list[dict[str, float]]:
    """What speaks for each colour of a palette: its share, its lead over the largest other, whether it is without
    hue, whether other light leaves it its name, and how sure the cut-out is."""
    found = []
    for one in shares:
        rival = max((other.share for other in shares if other.name != one.name), default=0.0)
        found.append(
            {
                "share": one.share,
                "lead": one.share - rival,
                "neutral": float(one.name in _NEUTRAL),
                "steady": one.steady,
                "sureness": sureness,
            }
        )
    return found


def named_pixels(subject: Subject, colour: str) -> npt.NDArray[np.bool_]:
    """Where inside the cut-out the product has that colour, (H, W); a shade counts as in the palette."""
    inside = solid(subject.alpha)
    if not shows_subject(subject.alpha):
        return np.zeros_like(inside)
    steps = subject.picture[inside] >> (8 - _BITS)
    seen, which = np.unique(steps, axis=0, return_inverse=True)
    middles = seen.astype(np.float64) * 2 ** (8 - _BITS) + 2 ** (7 - _BITS)
    names = _names(lab(lit(middles, light(subject))))
    which = which.reshape(-1)
    shares: defaultdict[str, float] = defaultdict(float)
    for name, count in zip(names, np.bincount(which), strict=True):
        shares[name] += float(count)
    given = _merge_shades(shares)
    found = np.zeros_like(inside)
    found[inside] = np.array([given.get(name, name) == colour for name in names])[which]
    return found


def mean_palette(palettes: Sequence[Sequence[ColourShare]]) -> list[ColourShare]:
    """The colours over several photos of one product; a photo without a subject has no say."""
    spoken = [one for one in palettes if one]
    shares: defaultdict[str, float] = defaultdict(float)
    steady: defaultdict[str, float] = defaultdict(float)
    for one in spoken:
        for colour in one:
            shares[colour.name] += colour.share / len(spoken)
            steady[colour.name] += colour.steady * colour.share / len(spoken)
    return _ranked(ColourShare(name, share, steady[name] / share) for name, share in shares.items() if share)


def lab(rgb: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """CIELAB of sRGB colours, shape (n, 3), channels in [0, 255] (IEC 61966-2-1, CIE 15, white D65)."""
    xyz = linear(rgb / 255) @ _XYZ_FROM_LINEAR.T / _XYZ_FROM_LINEAR.sum(axis=1)
    f = np.where(xyz > (6 / 29) ** 3, np.cbrt(xyz), xyz / (3 * (6 / 29) ** 2) + 4 / 29)
    x, y, z = f.T
    return np.stack([116 * y - 16, 500 * (x - y), 200 * (y - z)], axis=1)


_XYZ_FROM_LINEAR = np.array(
    [[0.4124564, 0.3575761, 0.1804375], [0.2126729, 0.7151522, 0.0721750], [0.0193339, 0.1191920, 0.9503041]]
)


def _count(picture: RGB, alpha: Alpha) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """The distinct colours inside the cut-out, (n, 3) in [0, 255], and the weight of each, (n,)."""
    small = np.asarray(shrunk(picture, _SIDE), np.float64).reshape(-1, 3)
    cover = shrunk((alpha * 255).astype(np.uint8), _SIDE)
    # At the rim of a cut-out the background shines through: it counts only where there is nothing else.
    core = np.asarray(cover.filter(ImageFilter.MinFilter(3))).reshape(-1) > 0.9 * 255
    weight = np.asarray(cover, np.float64).reshape(-1) / 255
    inside = core if core.sum() >= _LEAST_CORE else weight > 0.5
    small, weight = small[inside], weight[inside]
    step = small.astype(np.int64) >> (8 - _BITS)
    code = (step[:, 0] << 2 * _BITS) | (step[:, 1] << _BITS) | step[:, 2]
    _, where = np.unique(code, return_inverse=True)
    totals = np.bincount(where, weight)
    colours = [np.bincount(where, weight * small[:, channel]) / totals for channel in range(3)]
    return np.stack(colours, axis=1), totals.astype(np.float64)


def _names(colours: npt.NDArray[np.float64]) -> list[str]:
    lightness, a, b = colours.T
    chroma = np.hypot(a, b)
    hue = np.degrees(np.arctan2(b, a)) % 360
    return [_name(*triple) for triple in zip(lightness, chroma, hue, strict=True)]


def _name(lightness: float, chroma: float, hue: float) -> str:
    """The everyday name of a colour, by where people draw the lines in CIE LCh (hue in degrees).

    Dark orange is called brown, light red pink, dark blue navy: hue alone names nothing.
    """
    # Dark denim has little chroma left, and is still navy to everyone.
    bluish = 222 <= hue < 308 and lightness >= 14
    if (lightness < 14 and chroma < 25) or (lightness < 35 and chroma < (8 if bluish else 13)):
        return "black"
    # Reflections tint dark surfaces, paper is never quite neutral: both ask for more chroma than mid grey.
    if chroma < (12 if lightness < 55 and not (bluish and lightness < 35) else 8) or (
        lightness > 90 and chroma < 11
    ):
        return "white" if lightness >= 74 else "grey" if lightness >= 37 else "black"
    if hue >= 338 or hue < 18:
        return "burgundy" if lightness < 36 else "pink" if lightness >= 55 or hue >= 338 else "red"
    if hue < 48:
        if lightness < 28:
            return "burgundy" if hue < 35 and chroma > 18 else "brown"
        if lightness >= 68:
            return "pink" if hue < 40 or chroma < 25 else "orange"
        if chroma < 38:
            return "brown" if lightness < 60 else "pink"
        return "orange" if hue >= 39.5 and chroma < 90 and lightness >= 35 else "red"
    if hue < 75:
        if chroma >= 55 and lightness >= 45:
            return "orange"
        if lightness >= 62 and chroma < 25:
            return "beige"
        return "brown" if lightness < 66 else "beige" if chroma < 45 else "orange"
    if hue < 110:
        if chroma >= 42 and lightness >= 58:
            return "yellow"
        return "beige" if lightness >= (62 if chroma < 25 else 64) else "brown" if hue < 92 else "green"
    if hue < 116 and chroma >= 55 and lightness >= 65:
        return "yellow"
    if hue < 168:
        return "green"
    if hue < 222:
        return "teal"
    if hue < 308:
        if lightness < 27:
            return "navy"
        return "light-blue" if lightness >= 70 else "blue"
    return "purple"


def _ranked(shares: Iterable[ColourShare]) -> list[ColourShare]:
    return sorted(shares, key=lambda colour: -colour.share)


def _merge_shades(shares: dict[str, float]) -> dict[str, str]:
    """Give a shade to its neighbour that has far more: it is light on the same colour. Says which went where."""
    given: dict[str, str] = {}
    for first, second in _NEIGHBOURS:
        small, large = sorted((first, second), key=lambda name: shares.get(name, 0.0))
        if small in shares and _SHADE * shares[small] < shares[large]:
            shares[large] += shares.pop(small)
            given = {name: large if to == small else to for name, to in given.items()} | {small: large}
    return given
