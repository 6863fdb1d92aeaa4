"""Pictures whose every pixel is known, as files of every kind, and what is read of them."""

from __future__ import annotations

import io
import struct
import zlib

import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image, ImageCms

from pipeline.errors import RejectedInput
from storage.pictures import Picture, decode

RGB = tuple[int, int, int]
RED, GREEN, BLUE, GRAY, WHITE = (200, 30, 40), (40, 160, 60), (30, 60, 190), (128, 128, 128), (255, 255, 255)


def quarters(size: tuple[int, int] = (96, 64)) -> Image.Image:
    """Red and green above, blue and gray below: every turn and flip of it is another picture."""
    image = Image.new("RGB", size, GRAY)
    width, height = size[0] // 2, size[1] // 2
    for place, color in (((0, 0), RED), ((width, 0), GREEN), ((0, height), BLUE)):
        image.paste(color, (*place, place[0] + width, place[1] + height))
    return image


def file(image: Image.Image, kind: str, **options: object) -> bytes:
    out = io.BytesIO()
    image.save(out, kind, **options)
    return out.getvalue()


def corners(pixels: npt.NDArray[np.uint8]) -> list[RGB]:
    height, width = pixels.shape[:2]
    places = [(y, x) for y in (height // 4, 3 * height // 4) for x in (width // 4, 3 * width // 4)]
    return [tuple(int(value) for value in pixels[place]) for place in places]  # type: ignore[misc]


def assert_quarters(
    picture: Picture, expected: tuple[RGB, ...] = (RED, GREEN, BLUE, GRAY), within: int = 6
) -> None:
    assert picture.pixels.dtype == np.uint8
    found = corners(picture.pixels)
    assert np.abs(np.array(found) - np.array(expected)).max() <= within, found


def refused(data: bytes, **limits: int) -> RejectedInput:
    with pytest.raises(RejectedInput) as caught:
        decode(data, **limits)
    return caught.value


def chunk(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def after_header(png: bytes, *chunks: bytes) -> bytes:
    return png[:33] + b"".join(chunks) + png[33:]


def half_seen(mode: str) -> Image.Image:
    """The quarters, the upper half half seen, the lower right not at all."""
    image = quarters().convert(mode)
    alpha = Image.new("L", image.size, 255)
    alpha.paste(128, (0, 0, 96, 32))
    alpha.paste(0, (48, 32, 96, 64))
    image.putalpha(alpha)
    return image


def red_and_green_swapped() -> bytes:
    """An RGB profile whose red is sRGB's green: whoever ignores it shows the wrong picture."""
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    return profile.replace(b"rXYZ", b"____").replace(b"gXYZ", b"rXYZ").replace(b"____", b"gXYZ")


def cmyk_profile(cyan: bytes) -> bytes:
    """The smallest CMYK profile, a table of 2 x 2 x 2 x 2 Lab colours; ``cyan`` is how full cyan looks."""
    ramp = bytes(range(256))
    nodes = b"".join(
        cyan if (c, m, y, k) == (1, 0, 0, 0) else bytes((255 * (c + m + y + k == 0), 128, 128))
        for c in (0, 1)
        for m in (0, 1)
        for y in (0, 1)
        for k in (0, 1)
    )
    identity = struct.pack(">9i", 65536, 0, 0, 0, 65536, 0, 0, 0, 65536)
    table = b"mft1\0\0\0\0" + bytes((4, 3, 2, 0)) + identity + ramp * 4 + nodes + ramp * 3
    white = b"XYZ \0\0\0\0" + struct.pack(">3i", 0xF6D6, 0x10000, 0xD32D)
    text = b"text\0\0\0\0-\0\0\0"
    tags = {b"A2B0": table, b"wtpt": white, b"cprt": text, b"desc": b"desc\0\0\0\0\0\0\0\2-\0" + bytes(79)}
    offset, index, bodies = 132 + 12 * len(tags), b"", b""
    for name, body in tags.items():
        body += bytes(-len(body) % 4)
        index += name + struct.pack(">2I", offset + len(bodies), len(body))
        bodies += body
    size = offset + len(bodies)
    head = (
        struct.pack(">I", size) + b"lcms" + bytes.fromhex("02400000") + b"prtrCMYKLab " + bytes(12) + b"acsp"
    )
    head += bytes(28) + struct.pack(">3i", 0xF6D6, 0x10000, 0xD32D)
    return head + bytes(128 - len(head)) + struct.pack(">I", len(tags)) + index + bodies


def cyan_and_paper() -> Image.Image:
    image = Image.new("CMYK", (96, 64), (0, 0, 0, 0))
    image.paste((255, 0, 0, 0), (0, 0, 48, 64))
    return image
