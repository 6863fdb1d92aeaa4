"""Whether the pixels in a picture are the product's: colours, edges, and what an encoder and a reader see."""

from __future__ import annotations

from collections.abc import Sequence
from difflib import SequenceMatcher
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from engines.looks.cutouts import on_grey, solid
from engines.looks.regions import Mask, bounds, widened, window
from engines.protocols import RGB, Alpha, ImageEncoder, Printed
from engines.protocols.scenes import Placement

Floats = npt.NDArray[np.float32]

VISIBLE = 4.0
"""ΔE2000 over which a pixel is another colour to anyone; a lossy file's noise, halved in size, stays under it."""

_FULL = 0.98
"""Covered so much, a pixel shows nothing but the product."""

_CANNY = (60, 150)
_CLOSE_UP = 0.06
_READ_EASILY = 40
"""Pixels of a line's height."""

_SMALLEST_PRINT = 14
"""Pixels of a line's height under which no reader is held to it."""


def lab(picture: RGB) -> Floats:
    """CIELAB (H, W, 3) under D65."""
    import cv2

    return np.asarray(cv2.cvtColor(picture.astype(np.float32) / 255, cv2.COLOR_RGB2Lab), np.float32)


def changed(expected: RGB, found: RGB, alpha: Alpha) -> tuple[float, float]:
    """The share of the product's pixels whose colour is another, and the largest patch of them as a share of all.

    Both pictures are halved first, which takes away what a lossy file does to single pixels.
    """
    import cv2

    full = _halved((alpha >= _FULL).astype(np.float32)) >= 1
    if not full.any():
        return 0.0, 0.0
    one, other = _halved(expected), _halved(found)
    differs = full & (np.abs(one.astype(np.int16) - other).max(axis=2) > 1)
    other_colour = np.zeros(full.shape, np.uint8)
    other_colour[differs] = ciede2000(lab(one)[differs], lab(other)[differs]) > VISIBLE
    # Single pixels are noise; a patch is what is left when they are gone.
    patches = cv2.morphologyEx(other_colour, cv2.MORPH_OPEN, np.ones((2, 2), np.uint8))
    _, _, facts, _ = cv2.connectedComponentsWithStats(patches, connectivity=8)
    largest = int(facts[1:, cv2.CC_STAT_AREA].max(initial=0))
    total = np.count_nonzero(full)
    return float(np.count_nonzero(other_colour) / total), largest / total


def _halved(values: npt.NDArray[Any]) -> npt.NDArray[Any]:
    import cv2

    return np.asarray(cv2.resize(values, None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA))


def ciede2000(one: Floats, other: Floats) -> Floats:
    """ΔE2000 (n,) of CIELAB colours (n, 3). Source: G. Sharma, W. Wu, E. Dalal, 2005, its numbers of equations."""
    (l1, a1, b1), (l2, a2, b2) = one.T.astype(np.float64), other.T.astype(np.float64)
    chroma = (np.hypot(a1, b1) + np.hypot(a2, b2)) / 2
    g = 0.5 * (1 - np.sqrt(chroma**7 / (chroma**7 + 25.0**7)))  # 4
    a1, a2 = (1 + g) * a1, (1 + g) * a2
    c1, c2 = np.hypot(a1, b1), np.hypot(a2, b2)
    h1, h2 = np.degrees(np.arctan2(b1, a1)) % 360, np.degrees(np.arctan2(b2, a2)) % 360
    turn = (h2 - h1 + 180) % 360 - 180
    coloured = c1 * c2 > 0
    turn = np.where(coloured, turn, 0)
    dl, dc, dh = l2 - l1, c2 - c1, 2 * np.sqrt(c1 * c2) * np.sin(np.radians(turn) / 2)  # 8-11
    lightness, chroma = (l1 + l2) / 2, (c1 + c2) / 2
    hue = np.where(coloured, h1 + turn / 2, h1 + h2)  # 14
    t = (
        1
        - 0.17 * np.cos(np.radians(hue - 30))
        + 0.24 * np.cos(np.radians(2 * hue))
        + 0.32 * np.cos(np.radians(3 * hue + 6))
        - 0.20 * np.cos(np.radians(4 * hue - 63))
    )  # 15
    sl = 1 + 0.015 * (lightness - 50) ** 2 / np.sqrt(20 + (lightness - 50) ** 2)
    sc, sh = 1 + 0.045 * chroma, 1 + 0.015 * chroma * t
    rotation = 30 * np.exp(-((((hue % 360) - 275) / 25) ** 2))
    rt = -2 * np.sqrt(chroma**7 / (chroma**7 + 25.0**7)) * np.sin(np.radians(2 * rotation))
    parts = dl / sl, dc / sc, dh / sh
    squared = parts[0] ** 2 + parts[1] ** 2 + parts[2] ** 2 + rt * parts[1] * parts[2]  # 22
    return np.asarray(np.sqrt(np.maximum(squared, 0)), np.float32)


def edge_agreement(expected: RGB, found: RGB, alpha: Alpha) -> float:
    """F1 of the edges (Canny) inside the product, where one pixel's distance still counts as the same edge."""
    import cv2

    inside: Mask = cv2.erode((alpha >= _FULL).astype(np.uint8), np.ones((5, 5), np.uint8)) > 0
    one, other = (
        (cv2.Canny(cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY), *_CANNY) > 0) & inside
        for picture in (expected, found)
    )
    if not one.any() and not other.any():
        return 1.0
    near = np.ones((3, 3), np.uint8)
    hits = np.count_nonzero(other & (cv2.dilate(one.astype(np.uint8), near) > 0))
    met = np.count_nonzero(one & (cv2.dilate(other.astype(np.uint8), near) > 0))
    precision, recall = hits / max(1, int(np.count_nonzero(other))), met / max(1, int(np.count_nonzero(one)))
    return 2 * precision * recall / (precision + recall) if precision + recall else 0.0


def likeness(encoder: ImageEncoder, expected: RGB, found: RGB, alpha: Alpha) -> float:
    """Cosine of what an encoder sees of the product's full pixels in both, close up and before the same grey."""
    full = (alpha >= _FULL).astype(np.float32)
    box = bounds(solid(full))
    if box is None:
        return 0.0
    part = window(widened(box, _CLOSE_UP, alpha.shape))
    one, other = encoder.encode([on_grey(picture[part], full[part]) for picture in (expected, found)])
    return float(one @ other / max(float(np.linalg.norm(one) * np.linalg.norm(other)), 1e-9))


def legible(printed: Sequence[Printed], alpha: Alpha, scale: float) -> list[Printed]:
    """Those lines of a photo that stand on the product and are still large enough at ``scale`` to be read."""
    height, width = alpha.shape
    on_it = []
    for line in printed:
        left, top, right, bottom = line.box
        middle = (
            min(height - 1, int((top + bottom) / 2 * height)),
            min(width - 1, int((left + right) / 2 * width)),
        )
        if alpha[middle] > 0.5 and (bottom - top) * height * scale >= _SMALLEST_PRINT:
            on_it.append(line)
    return on_it


def close_ups(picture: RGB, lines: Sequence[Printed], source: Alpha, placement: Placement) -> list[RGB]:
    """Where each line of the photo is in a picture of the product, enlarged to be read easily."""
    height, width = source.shape
    found = []
    for line in lines:
        left, right = (
            placement.left + placement.scale * (x * width - placement.crop[0]) for x in line.box[::2]
        )
        top, bottom = (
            placement.top + placement.scale * (y * height - placement.crop[1]) for y in line.box[1::2]
        )
        room = bottom - top
        box = left - room, top - room, right + room, bottom + room
        zoom = max(1.0, _READ_EASILY / room)
        size = max(1, round((box[2] - box[0]) * zoom)), max(1, round((box[3] - box[1]) * zoom))
        close = Image.fromarray(picture).crop(tuple(round(edge) for edge in box))
        found.append(np.asarray(close.resize(size, Image.Resampling.BICUBIC)))
    return found


def text_agreement(expected: Sequence[Printed], found: Sequence[Printed]) -> float:
    """How much of the expected lines was read again, in [0, 1], a line as much as its length; 1 if none is expected."""
    read = [_plain(line.text) for line in found]
    wanted = [text for text in (_plain(line.text) for line in expected) if text]
    if not wanted:
        return 1.0
    shares = [max((_shared(text, other) for other in [*read, "".join(read)]), default=0.0) for text in wanted]
    return sum(share * len(text) for share, text in zip(shares, wanted, strict=True)) / sum(map(len, wanted))


def _plain(text: str) -> str:
    return "".join(character for character in text.casefold() if character.isalnum())


def _shared(text: str, other: str) -> float:
    blocks = SequenceMatcher(None, text, other, autojunk=False).get_matching_blocks()
    # Single letters match anywhere.
    return sum(block.size for block in blocks if block.size > 1 or len(text) == 1) / len(text)
