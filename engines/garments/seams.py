"""Where a sleeve that lies against the body ends: the line between the two in the photo."""

from __future__ import annotations

import numpy as np

from engines.garments.silhouette import Floats, Half, Silhouette
from engines.protocols import RGB

_STRAY = 0.045
"""Of the garment's height, that the line may leave the straight way."""


def seam(sil: Silhouette, half: Half, picture: RGB, parting: int, armpit: Floats) -> Floats:
    """(M, 2) pixels of the upright garment from the parting of sleeve and body up to the armpit.

    The path of least cost over rows (dynamic programming, as in S. Avidan and A. Shamir, "Seam Carving", 2007),
    where a pixel costs less the darker it is than what is left and right of it and the nearer it is to the straight
    way. Empty where the armpit is the parting.
    """
    import cv2

    start = sil.upright(half.path[[parting]], half.sign)[0]
    end = sil.upright(armpit[None], half.sign)[0]
    rows = round(float(start[1])) - round(float(end[1]))
    if rows < 4:
        return np.empty((0, 2))
    height, width = sil.solid.shape
    grey = cv2.warpAffine(
        cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY), sil.there, (width, height), flags=cv2.INTER_AREA
    )
    level = cv2.GaussianBlur(grey.astype(np.float32), (0, 0), 1.0)
    level = cv2.blur(level, (1, 9))
    valley = np.abs(cv2.Sobel(level, cv2.CV_32F, 1, 0, ksize=3)) / 8 + np.maximum(
        0, cv2.blur(level, (15, 1)) - level
    )
    reach = max(3, round(_STRAY * sil.unit))
    offsets = np.arange(-reach, reach + 1)
    ys = round(float(start[1])) - np.arange(rows + 1)
    straight = start[0] + (end[0] - start[0]) * np.arange(rows + 1) / rows
    xs = np.clip(np.round(straight[:, None] + offsets).astype(int), 0, width - 1)
    seen = valley[np.clip(ys, 0, height - 1)[:, None], xs]
    seen = seen / max(float(np.percentile(seen, 90)), 4.0)
    cost = 1.0 - np.clip(seen, 0, 1.5) + 1.0 * (offsets / reach) ** 2
    total, came = cost.copy(), np.zeros(cost.shape, int)
    total[0, np.abs(offsets) > 1] = np.inf
    for row in range(1, len(cost)):
        before = np.stack([_shifted(total[row - 1], step) + 0.15 * abs(step) for step in (-1, 0, 1)])
        came[row] = np.argmin(before, axis=0) - 1
        total[row] += before.min(axis=0)
    at = int(np.argmin(total[-1]))
    way = [at]
    for row in range(len(cost) - 1, 0, -1):
        at = at + int(came[row, at])
        way.append(at)
    return np.stack([xs[np.arange(rows + 1), way[::-1]].astype(float), ys.astype(float)], axis=1)


def _shifted(line: Floats, step: int) -> Floats:
    out = np.full_like(line, np.inf)
    if step < 0:
        out[-step:] = line[:step]
    elif step > 0:
        out[:-step] = line[step:]
    else:
        out[:] = line
    return out
