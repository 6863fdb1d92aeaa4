"""The shapes in which a picture is served: a master without loss, and sizes of it in the formats browsers choose."""

from __future__ import annotations

import io
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from storage.pictures import Pixels

WIDTHS = (1024, 640, 320)
"""Of renditions, in pixels; a master that is narrower has fewer."""

_QUALITY = {"image/avif": {"quality": 62, "speed": 8}, "image/webp": {"quality": 84, "method": 2}}


@dataclass(frozen=True, slots=True)
class Encoded:
    """A picture's bytes with what a page has to know before it fetches them."""

    data: bytes
    media_type: str
    width: int
    height: int


def master(pixels: Pixels, xmp: bytes) -> Encoded:
    """The picture (H, W, 3) as a PNG: every pixel as it was proven."""
    height, width = pixels.shape[:2]
    told = PngInfo()
    told.add_itxt("XML:com.adobe.xmp", xmp.decode())
    out = io.BytesIO()
    Image.fromarray(pixels).save(out, "PNG", compress_level=3, pnginfo=told)
    return Encoded(out.getvalue(), "image/png", width, height)


def renditions(pixels: Pixels, xmp: bytes) -> Iterator[Encoded]:
    """The picture in AVIF and WebP, largest first."""
    whole = Image.fromarray(pixels)
    widths = sorted({min(width, whole.width) for width in WIDTHS}, reverse=True)
    for width in widths:
        height = round(whole.height * width / whole.width)
        scaled = whole if width == whole.width else whole.resize((width, height), Image.Resampling.LANCZOS)
        for media_type, options in _QUALITY.items():
            out = io.BytesIO()
            scaled.save(out, media_type.removeprefix("image/").upper(), xmp=xmp, **options)
            yield Encoded(out.getvalue(), media_type, width, height)


def placeholder(pixels: Pixels) -> str:
    """The colour to show until the picture is there, ``#rrggbb``: the mean of its pixels in linear light."""
    small = np.asarray(Image.fromarray(pixels).resize((32, 32), Image.Resampling.BOX), np.float64) / 255
    linear = np.mean(small**2.2, axis=(0, 1))
    return "#" + "".join(f"{round(255 * value ** (1 / 2.2)):02x}" for value in linear)
