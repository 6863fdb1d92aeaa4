"""Plain, striped, checked, printed or textured: a linear head on what an encoder sees of a product's inside.

``engines/training/pattern_head.py`` trains it, and says what was tried beside it. Where it names stripes or
checks, their spacing and direction are measured from spectra of the cut-out's inside.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
import numpy.typing as npt

from engines.looks.colours import lab
from engines.looks.cutouts import cropped, cutout_bounds, on_grey
from engines.looks.frames import scaled
from engines.looks.heads import softmax, unit
from engines.protocols import RGB, Alpha, ImageEncoder, Subject

WEIGHTS = "looks/pattern_head.safetensors"
"""Below the folder ``engines``: ``weight`` (features, patterns), ``bias`` (patterns), divided by the temperature."""

PATTERNS = ("checked", "plain", "printed", "striped", "textured")
"""In the order of the weights."""

FLOOR = 0.7
"""Under this no pattern is named; docs/model-cards/pattern-head.md says what each floor leaves."""

_LEAST_SQUARE = 32
"""Pixels' side of the largest square inside the cut-out, under which its surface cannot be judged."""

_SIDE, _WINDOW, _STEP = 256, 64, 32
"""Longest side in pixels at which spectra are taken, and the windows they are taken of."""

_FOLDS = 12.0
"""Standard deviation in pixels of the blur that is taken away: what changes more slowly is light and folds."""

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class PatternMeasure:
    """A value of the vocabulary's pattern with the probability that it is right, and in words what was seen."""

    value: str
    confidence: float
    words: str


@dataclass(frozen=True, slots=True)
class Repetition:
    """The strongest wave inside a product: its length as a share of the product's longer side, and how its bands
    run, in degrees [0, 180): 0 level, 90 upright, 45 from the lower left to the upper right."""

    period: float
    angle: float


def patterns(encoder: ImageEncoder, subjects: Sequence[Subject]) -> list[PatternMeasure | None]:
    """The pattern of each; None where too little of its inside can be seen, or where the head is not sure."""
    seen = [views(subject) for subject in subjects]
    asked = [index for index, pair in enumerate(seen) if pair]
    measures: list[PatternMeasure | None] = [None] * len(subjects)
    if not asked:
        return measures
    head = _head()
    rows = features(encoder, [seen[index] for index in asked]).astype(np.float64)
    scores = rows @ head["weight"].astype(np.float64) + head["bias"].astype(np.float64)
    for index, row in zip(asked, softmax(scores), strict=True):
        best = int(row.argmax())
        if row[best] >= FLOOR:
            words = _words(PATTERNS[best], subjects[index])
            measures[index] = PatternMeasure(PATTERNS[best], float(row[best]), words)
    return measures


def views(subject: Subject) -> list[RGB]:
    """The product cut out on grey, and the largest square that lies in it; nothing where that is too small."""
    import cv2

    bounds = cutout_bounds(subject)
    if bounds is None:
        return []
    picture, alpha = cropped(subject, bounds)
    reach = cv2.distanceTransform(np.pad((alpha > 0.8).astype(np.uint8), 1), cv2.DIST_C, 3)[1:-1, 1:-1]
    y, x = (int(one) for one in np.unravel_index(int(reach.argmax()), reach.shape))
    half = int(0.95 * float(reach[y, x]))
    if 2 * half < _LEAST_SQUARE:
        return []
    square = picture[max(0, y - half) : y + half, max(0, x - half) : x + half]
    return [on_grey(picture, alpha), np.ascontiguousarray(square)]


def features(encoder: ImageEncoder, seen: Sequence[Sequence[RGB]]) -> npt.NDArray[np.float32]:
    """(N, D): each product's two views encoded, to length 1 each, so that neither speaks louder."""
    encoded = encoder.encode([view for pair in seen for view in pair])
    return unit(encoded, axis=1).reshape(len(seen), -1)


def repetition(subject: Subject) -> Repetition | None:
    """What repeats inside the cut-out, by the median over windows; None where no window fits into it."""
    bounds = cutout_bounds(subject)
    if bounds is None:
        return None
    surface, mask = _surface(*cropped(subject, bounds))
    height, width = mask.shape
    waves = [
        _wave(surface[top : top + _WINDOW, left : left + _WINDOW])
        for top in range(0, height - _WINDOW + 1, _STEP)
        for left in range(0, width - _WINDOW + 1, _STEP)
        if mask[top : top + _WINDOW, left : left + _WINDOW].mean() > 0.95
    ]
    if not waves:
        return None
    down, right = np.array(waves, np.float64).T
    # Doubled, an angle and its opposite are the same. Bands run across their wave; rows count downwards.
    direction = np.angle(np.exp(2j * np.arctan2(-down, right)).mean()) / 2
    period = _WINDOW / float(np.median(np.hypot(down, right))) / _SIDE
    return Repetition(period, float((np.degrees(direction) + 90) % 180))


def _wave(window: Floats) -> tuple[int, int]:
    """The strongest wave in a square of (side, side, 3) in Lab, as waves down and to the right in it."""
    side = len(window)
    taper = np.hanning(side)
    tapered = (window - window.mean(axis=(0, 1))) * (taper[:, np.newaxis] * taper)[..., np.newaxis]
    energy = np.fft.fftshift((np.abs(np.fft.fft2(tapered, axes=(0, 1))) ** 2).sum(axis=-1))
    down, right = np.mgrid[-side // 2 : side // 2, -side // 2 : side // 2]
    # Fewer than three waves are the window's own shape; of a wave and its mirror image one is enough.
    energy[(np.hypot(down, right) < 2.5) | (down < 0) | ((down == 0) & (right < 0))] = 0
    row, column = np.unravel_index(int(energy.argmax()), energy.shape)
    return int(row) - side // 2, int(column) - side // 2


def _surface(picture: RGB, alpha: Alpha) -> tuple[Floats, Floats]:
    """The product in Lab less its own blur, (h, w, 3), and where it is well inside the cut-out, 0 or 1, (h, w)."""
    import cv2

    size = scaled(alpha.shape, _SIDE)
    how = cv2.INTER_AREA if max(alpha.shape) > _SIDE else cv2.INTER_CUBIC
    sure = (cv2.resize(alpha, size, interpolation=cv2.INTER_AREA) > 0.8).astype(np.uint8)
    mask = cv2.erode(sure, np.ones((9, 9), np.uint8), borderType=cv2.BORDER_CONSTANT, borderValue=(0,))
    small = np.asarray(cv2.resize(picture, size, interpolation=how), np.float64)
    surface, inside = lab(small.reshape(-1, 3)).reshape(small.shape), mask.astype(np.float64)

    def blurred(values: Floats) -> Floats:
        return np.asarray(
            cv2.GaussianBlur(values, (0, 0), _FOLDS, borderType=cv2.BORDER_CONSTANT), np.float64
        )

    # Blurred inside the mask alone, so that the background does not shine in.
    share = np.maximum(blurred(inside), 1e-3)[..., np.newaxis]
    return surface - blurred(surface * inside[..., np.newaxis]) / share, inside


def _words(value: str, subject: Subject) -> str:
    repeats = repetition(subject) if value in ("striped", "checked") else None
    if repeats is None:
        return f"the inside of the cut-out looks {value}"
    every = f"every {repeats.period:.1%} of the product's longer side"
    return f"bands {every}, at {repeats.angle:.0f}°" if value == "striped" else f"crossing bands {every}"


@cache
def _head() -> Mapping[str, npt.NDArray[np.float16]]:
    from safetensors.numpy import load_file

    return load_file(weights_path())


def weights_path() -> Path:
    """Where the package keeps the weights."""
    return Path(__file__).parents[1] / WEIGHTS
