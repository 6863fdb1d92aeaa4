"""A garment's parts as soft masks: its upright shape cut along lines between its places."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from engines.garments.silhouette import Floats, Silhouette
from engines.protocols import RGB, Alpha

PARTS = ("torso", "left-sleeve", "right-sleeve", "collar", "hips", "left-leg", "right-leg", "skirt")
"""In the order of their labels, from 1 on; 0 is no garment."""

Labels = npt.NDArray[np.uint8]

_COLLAR_DEPTH = {"front": 0.4, "back": 0.15}
"""How deep the collar reaches below the line between its ends, of the distance between them."""

_SOFT = 1.2
"""Pixels of the upright garment over which one part gives way to the next."""


def painted(shape: tuple[int, int], base: str, areas: Sequence[tuple[str, Floats]]) -> Labels:
    """(H, W): ``base`` with polygons of other parts on it, the later over the earlier."""
    import cv2

    labels = np.full(shape, 1 + PARTS.index(base), np.uint8)
    for name, corners in areas:
        cv2.fillPoly(labels, [np.round(corners).astype(np.int32)], 1 + PARTS.index(name))
    return labels


def spread(labels: Labels, sil: Silhouette) -> Labels:
    """The same, where what lies outside of the garment's outline has the label of what is nearest within."""
    import cv2

    outside = np.where(sil.solid, 0, 1).astype(np.uint8)
    _, nearest = cv2.distanceTransformWithLabels(outside, cv2.DIST_L2, 5, labelType=cv2.DIST_LABEL_PIXEL)
    of: npt.NDArray[Any] = np.zeros(int(nearest.max()) + 1, np.uint8)
    of[nearest[sil.solid]] = labels[sil.solid]
    return np.asarray(of[nearest], np.uint8)


def soft(labels: Labels, sil: Silhouette, alpha: Alpha) -> Mapping[str, Alpha]:
    """Every part that there is as a mask over the photo (H, W); they sum to ``alpha``."""
    import cv2

    height, width = alpha.shape
    masks = {}
    for value in np.unique(labels):
        mask = cv2.GaussianBlur((labels == value).astype(np.float32), (0, 0), _SOFT)
        masks[PARTS[int(value) - 1]] = cv2.warpAffine(
            mask,
            sil.there,
            (width, height),
            flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP,
            borderMode=cv2.BORDER_REPLICATE,
        )
    total = np.maximum(sum(masks.values()), np.float32(1e-6))
    return {name: np.asarray(mask / total * alpha, np.float32) for name, mask in masks.items()}


def sleeve(sil: Silhouette, half: int, shoulder: int, parting: int, armpit: Floats, seam: Floats) -> Floats:
    """The polygon of a sleeve: the outline from shoulder to parting, the seam up to the armpit, the armhole back."""
    one = sil.halves[half]
    outline = sil.upright(one.path[shoulder : parting + 1], one.sign)
    begin, end = sil.upright(armpit[None], one.sign)[0], outline[0]
    # An armhole curves inward, towards the body.
    t = np.linspace(0, 1, 12)[:, None]
    inward = np.array([-one.sign, 0.0]) * 0.12 * float(np.hypot(*(end - begin)))
    armhole = begin + (end - begin) * t + inward * np.sin(np.pi * t)
    return np.vstack([outline, seam, armhole])


def collar(sil: Silhouette, ends: tuple[int, int], side: str) -> Floats:
    """The polygon of the collar: the outline between its ends, and half an ellipse below."""
    left, right = (sil.upright(h.path[: e + 1], h.sign) for h, e in zip(sil.halves, ends, strict=True))
    a, b = left[-1], right[-1]
    t = np.linspace(0, np.pi, 24)[:, None]
    middle, along = (a + b) / 2, (b - a) / 2
    down = np.array([-along[1], along[0]]) * 2 * _COLLAR_DEPTH[side]
    below = middle + along * np.cos(t) + down * np.sin(t)
    return np.vstack([left[::-1], right, below])


def packed(masks: Mapping[str, Alpha], shape: tuple[int, int]) -> RGB:
    """(H, W, 3) that says it all in one picture: red is the number of the part that a pixel is mostly of (its place
    in ``PARTS``, from 1 on), green how much of the pixel the garment covers."""
    out = np.zeros((*shape, 3), np.uint8)
    if masks:
        stack = np.stack(list(masks.values()))
        numbers = np.array([1 + PARTS.index(name) for name in masks], np.uint8)
        total = stack.sum(axis=0)
        out[..., 0] = np.where(total > 0, numbers[stack.argmax(axis=0)], 0)
        out[..., 1] = np.clip(total * 255 + 0.5, 0, 255)
    return out


def unpacked(picture: RGB) -> Mapping[str, Alpha]:
    """The parts' masks out of what ``packed`` made of them, with edges between parts that are not soft any more."""
    cover = picture[..., 1].astype(np.float32) / np.float32(255)
    return {
        PARTS[int(value) - 1]: np.where(picture[..., 0] == value, cover, np.float32(0))
        for value in np.unique(picture[..., 0])
        if value
    }
