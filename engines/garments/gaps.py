"""The background that a cut-out still holds between two legs, found by its colour."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from engines.looks.cutouts import solid
from engines.looks.regions import bounds
from engines.protocols import Subject

_APART, _ALIKE = 30.0, 0.4
"""CIELAB distance of the garment to the background beside it, at least, and the share of it within which a pixel's
colour counts as the background's."""

_MIDDLE, _BELOW = (0.25, 0.75), 0.2
"""Shares of the cut-out's width and height between which a gap between legs is looked for."""


def without_gap(subject: Subject) -> Subject:
    """The same without what is between the legs; a segmenter at 320 pixels takes a narrow gap for the garment.

    Only what joins the background below, looks like that beside the garment, and unlike the garment, is taken away.
    """
    import cv2

    box = bounds(solid(subject.alpha))
    if box is None:
        return subject
    left, top, right, bottom = box
    lab = cv2.cvtColor(subject.picture.astype(np.float32) / 255, cv2.COLOR_RGB2LAB)
    outside = (subject.alpha < 0.05).astype(np.float32)
    window = (2 * max(8, round(0.7 * (right - left))) + 1,) * 2
    share = cv2.blur(outside, window)[..., None]
    beside = cv2.blur(lab * outside[..., None], window) / np.maximum(share, 1e-4)
    core = subject.alpha > 0.95
    if not core.any():
        return subject
    own = np.median(lab[core], axis=0)
    apart = np.linalg.norm(own - beside, axis=2)
    alike = (
        (apart > _APART) & (np.linalg.norm(lab - beside, axis=2) < _ALIKE * apart) & (share[..., 0] > 0.02)
    )
    region = np.zeros(alike.shape, bool)
    width, height = right - left, bottom - top
    columns = slice(left + round(_MIDDLE[0] * width), left + round(_MIDDLE[1] * width))
    region[top + round(_BELOW * height) : bottom + 1, columns] = True
    radius = max(1, width // 150)
    kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * radius + 1, 2 * radius + 1))
    gap = cv2.morphologyEx((alike & region).astype(np.uint8), cv2.MORPH_OPEN, kernel)
    _, labels = cv2.connectedComponents(gap)
    joined = np.unique(labels[(gap > 0) & (subject.alpha < 0.05)])
    taken = np.isin(labels, joined[joined > 0])
    kept = 1 - cv2.GaussianBlur(taken.astype(np.float32), (0, 0), 1.0)
    return replace(subject, alpha=np.asarray(np.minimum(subject.alpha, kept), np.float32))
