"""Cut-outs made sharp: a segmenter says roughly where the product is, the photo says where exactly it ends."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import numpy.typing as npt

from engines.looks.cutouts import solid
from engines.looks.regions import bounds, widened, window
from engines.protocols import RGB, Alpha, Subject

Floats = npt.NDArray[np.float32]

_LONGEST = 1024
"""Pixels of the product's longer side at which its edge is looked for: no scene shows more of it."""

_MARGIN = 0.06
"""Of the product's size, that its background may be seen around it."""

_SURE = 0.05
"""Nearer to 0 or to 1 than this a segmenter is believed."""

_CARRIED = (6, 12, 24, 96)
"""Pixels that sure colours are carried into what is unsure, the nearest first."""

_NOISE = 0.15**2
"""The squared distance in linear RGB of two colours, at which half of what they say of an edge is believed."""

_REACH = 24
"""Pixels from what is surely outside, within which colours tell where the product ends."""

_SMOOTHING, _EVENNESS = 2, 1e-4
"""Radius in pixels and regularisation of the guided filter."""


def sharpened(subject: Subject) -> Subject:
    """The same with an alpha (H, W) whose edge follows the photo's: one inside, zero outside, soft for a pixel or two.

    Colours of what is surely the product and of what is surely not are carried to the pixels in between; a pixel's
    alpha is where its colour lies between the two (the compositing equation solved for alpha), and where they are
    alike, the segmenter's, steepened. A guided filter (K. He, J. Sun, X. Tang, "Guided Image Filtering", 2013) makes
    it run along edges. An alpha without a solid pixel is left alone.
    """
    import cv2

    box = bounds(solid(subject.alpha))
    if box is None:
        return subject
    part = window(widened(box, _MARGIN, subject.alpha.shape))
    picture, alpha = subject.picture[part], subject.alpha[part]
    height, width = alpha.shape
    scale = min(1.0, _LONGEST / max(height, width))
    size = max(1, round(width * scale)), max(1, round(height * scale))
    small = np.asarray(cv2.resize(picture, size, interpolation=cv2.INTER_AREA), np.float32) / np.float32(255)
    rough = np.asarray(cv2.resize(alpha, size, interpolation=cv2.INTER_AREA), np.float32)
    fine = cv2.resize(_sharp(small, rough), (width, height), interpolation=cv2.INTER_LINEAR)
    whole = np.zeros_like(subject.alpha)
    whole[part] = fine
    return replace(subject, alpha=whole)


def _sharp(picture: Floats, rough: Floats) -> Alpha:
    import cv2

    band = (rough > _SURE) & (rough < 1 - _SURE)
    # Of what is thin no map is sure anywhere: its ridge is as sure as it gets.
    ridge = cv2.dilate(rough, np.ones((2 * _CARRIED[0] + 1,) * 2, np.uint8))
    inside = _carried(picture, (rough >= (1 - _SURE) * ridge) & (rough > 0.5))
    outside = _carried(picture, rough <= _SURE)
    apart = inside - outside
    distance = (apart * apart).sum(axis=2)
    between = ((picture - outside) * apart).sum(axis=2) / np.maximum(distance, 1e-5)
    # Far from anything that is surely not the product, a colour like the background's proves nothing: it may be
    # metal that mirrors it.
    away = cv2.distanceTransform((rough > _SURE).astype(np.uint8), cv2.DIST_L2, 3)
    trust = distance / (distance + _NOISE) * np.exp(-((away / _REACH) ** 2))
    told = trust * np.clip(between, 0, 1) + (1 - trust) * _steeper(rough, 0.3, 0.7)
    # What a segmenter hardly saw is not made out of a likely colour alone.
    told = np.minimum(told, _steeper(rough, _SURE, 6 * _SURE))
    alpha = np.where(band, told, rough > 0.5).astype(np.float32)
    return np.asarray(_steeper(_guided(picture, alpha), 0.08, 0.92), np.float32)


def _steeper(alpha: Floats, low: float, high: float) -> Floats:
    return np.asarray(np.clip((alpha - low) / (high - low), 0, 1), np.float32)


def _carried(picture: Floats, sure: npt.NDArray[np.bool_]) -> Floats:
    """At every pixel the mean colour of the sure ones in the smallest window that holds enough of them."""
    weight = sure.astype(np.float32)
    colours = picture * weight[..., np.newaxis]
    found = np.zeros_like(picture)
    missing = np.ones(sure.shape, np.bool_)
    for radius in _CARRIED:
        share = blurred(weight, radius)
        here = missing & (share > 0.02)
        found[here] = (blurred(colours, radius)[here]) / share[here][:, np.newaxis]
        missing &= ~here
    return found


def _guided(picture: Floats, alpha: Floats) -> Floats:
    """``alpha`` as a linear function of the picture's colour in every window, averaged."""
    mean, level = blurred(picture, _SMOOTHING), blurred(alpha, _SMOOTHING)
    busy = (level > 0.001) & (level < 0.999)
    joint = blurred(picture * alpha[..., np.newaxis], _SMOOTHING) - mean * level[..., np.newaxis]
    slope = np.zeros_like(picture)
    spread = np.empty((int(busy.sum()), 3, 3), np.float32)
    for i in range(3):
        for j in range(i, 3):
            product = blurred(picture[..., i] * picture[..., j], _SMOOTHING) - mean[..., i] * mean[..., j]
            spread[:, i, j] = spread[:, j, i] = product[busy]
    spread += _EVENNESS * np.eye(3, dtype=np.float32)
    slope[busy] = np.linalg.solve(spread, joint[busy][..., np.newaxis])[..., 0]
    offset = level - (slope * mean).sum(axis=2)
    told = (blurred(slope, _SMOOTHING) * picture).sum(axis=2) + blurred(offset, _SMOOTHING)
    return np.asarray(told, np.float32)


def foreground(picture: RGB, alpha: Alpha) -> Floats:
    """The colours of the product alone, (H, W, 3) in [0, 255], also where its alpha is not one.

    Where it is one they are the picture's own. Source: M. Forte, "Approximate Fast Foreground Colour Estimation",
    2021: blurred estimates of both sides, corrected by what the compositing equation leaves.
    """
    colours = picture.astype(np.float32)
    cover = alpha[..., np.newaxis].astype(np.float32)
    front: Floats = colours
    back: Floats = colours
    for radius in (90, 6):
        share = blurred(alpha, radius)[..., np.newaxis]
        front = np.divide(blurred(front * cover, radius), np.maximum(share, 1e-5), dtype=np.float32)
        back = np.divide(blurred(back * (1 - cover), radius), np.maximum(1 - share, 1e-5), dtype=np.float32)
        left = colours - cover * front - (1 - cover) * back
        front = np.asarray(np.clip(front + cover * left, 0, 255), np.float32)
    return np.asarray(np.where(cover >= 1, colours, front), np.float32)


def blurred(values: Floats, radius: int) -> Floats:
    """The mean of a window of 2 * radius + 1 pixels a side."""
    import cv2

    side = 2 * radius + 1
    return np.asarray(cv2.blur(values, (side, side), borderType=cv2.BORDER_REFLECT), np.float32)
