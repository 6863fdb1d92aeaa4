"""What an inpainting model starts from: the product, where it will be, over a plain studio grey.

At strength 0.75 a model does not start from noise alone. With 30 steps of Stable Diffusion's own schedule about 29%
of the first picture's amplitude is still in the latents that it starts from, enough to decide how bright a picture
is and where it is dark, and too little to give anything away of a form. So the ground is a neutral grey, a little
lighter above, which fits any setting and any hour, and round the product is the shade that it would cast in even
light, which keeps it from floating. What colour the setting has is left to the prompt.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from engines.protocols import RGB, Alpha

_ABOVE, _BELOW = 168.0, 132.0
"""Grey of the top and the bottom row, sRGB."""

_SHADE = 0.35
"""How much darker it is where shade is deepest."""

_REACH = 1 / 24
"""Standard deviation of the shade's blur, as a share of the longer side."""

_LAP = 1 / 128
"""How far the model paints under the product's rim, as a share of the longer side."""


def underpainted(foreground: RGB, alpha: Alpha) -> RGB:
    """The product (H, W, 3) and its alpha (H, W) over the ground."""
    import cv2

    height, width = alpha.shape
    reach = _REACH * max(height, width)
    grey = np.linspace(_ABOVE, _BELOW, height, dtype=np.float32)[:, None]
    shade = cv2.GaussianBlur(alpha, (0, 0), reach)
    # In light from above the shade lies lower than what casts it.
    down = np.array([[1, 0, 0], [0, 1, reach / 2]], np.float32)
    fallen = cv2.warpAffine(shade, down, (width, height))
    ground = (grey * (1 - _SHADE * fallen))[..., None]
    cover = alpha[..., None]
    painted: RGB = (foreground * cover + ground * (1 - cover) + 0.5).astype(np.uint8)
    return painted


def repainted(alpha: Alpha) -> npt.NDArray[np.bool_]:
    """(H, W): the pixels that the model paints; the others it keeps, as well as it can.

    It paints a little under the product's rim, so that no seam of the ground is left beside it once the product's own
    pixels are laid over. Of a product thinner than that, lines alone hold the place: its latents are one with those
    around it anyway.
    """
    import cv2

    kept = (alpha > 0.5).astype(np.uint8)
    lap = round(_LAP * max(alpha.shape))
    disc = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * lap + 1, 2 * lap + 1))
    return np.asarray(cv2.erode(kept, disc) == 0)


def resized(foreground: RGB, alpha: Alpha, size: tuple[int, int]) -> tuple[RGB, Alpha]:
    """Both at ``size`` (width, height); colours are weighed by the alpha, so that none comes from where nothing is."""
    import cv2

    height, width = alpha.shape
    if size == (width, height):
        return foreground, alpha
    method = cv2.INTER_AREA if size[0] * size[1] < width * height else cv2.INTER_LINEAR
    premultiplied = np.dstack([foreground * alpha[..., None], alpha]).astype(np.float32)
    laid: Alpha = cv2.resize(premultiplied, size, interpolation=method).astype(np.float32, copy=False)
    cover = np.clip(laid[..., 3], 0, 1)
    colour = laid[..., :3] / np.maximum(cover, 1e-3)[..., None]
    there = (cover > 1 / 512)[..., None]
    return np.where(there, np.clip(colour + 0.5, 0, 255), 0).astype(np.uint8), cover


def painted_size(width: int, height: int, side: int, multiple: int) -> tuple[int, int]:
    """Width and height of about ``side`` x ``side`` pixels in the canvas's format, both multiples of ``multiple``.

    By rounding the format may be off by a percent; the way back to the canvas takes it out again.
    """
    factor = side / (width * height) ** 0.5
    return (
        max(multiple, round(width * factor / multiple) * multiple),
        max(multiple, round(height * factor / multiple) * multiple),
    )
