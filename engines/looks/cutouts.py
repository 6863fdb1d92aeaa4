"""Whether a cut-out can be trusted to show a subject."""

from __future__ import annotations

import numpy as np

from engines.protocols import Alpha

LEAST_SURENESS = 0.4
"""Of 66 catalog photos, the two failed cut-outs have 0.01 and 0.18, every usable one 0.6 or more."""

_LEAST_AREA = 0.002
"""Of the picture's area: a smaller cut-out is a speck, and its box shows nothing."""


def sureness(alpha: Alpha) -> float:
    """The share of pixels clearly inside (alpha over 0.8) among those not clearly outside (over 0.2)."""
    touched = np.count_nonzero(alpha > 0.2)
    return np.count_nonzero(alpha > 0.8) / touched if touched else 0.0


def shows_subject(alpha: Alpha) -> bool:
    """Whether the cut-out is large and sure enough to say anything of a product from it."""
    return bool((alpha > 0.5).mean() >= _LEAST_AREA) and sureness(alpha) >= LEAST_SURENESS
