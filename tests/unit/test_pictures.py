"""Decoding what strangers upload: golden pixels for every kind of file, a typed refusal for every abuse."""

from __future__ import annotations

import io
import random
import re
import struct
import subprocess
import sys
import zlib
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image, ImageChops, ImageCms, ImageDraw, ImageFilter, PngImagePlugin

from pipeline.errors import RejectedInput
from storage.pictures import Picture, decode, dhash, encode

RGB = tuple[int, int, int]
RED, GREEN, BLUE, GRAY, WHITE = (200, 30, 40), (40, 160, 60), (30, 60, 190), (128, 128, 128), (255, 255, 255)
REPOSITORY = Path(__file__).parents[2]


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


# --- golden pixels ---


@pytest.mark.parametrize(
    ("kind", "options", "within"),
    [
        ("JPEG", {"quality": 95, "subsampling": 0}, 4),
        ("JPEG", {"quality": 90, "progressive": True}, 6),
        ("PNG", {}, 0),
        ("PNG", {"bits": 8}, 0),
        ("WEBP", {"lossless": True}, 0),
        ("WEBP", {"quality": 90}, 8),
        ("AVIF", {"quality": 95}, 8),
    ],
)
def test_colour_comes_out_as_it_went_in(kind: str, options: dict[str, object], within: int) -> None:
    picture = decode(file(quarters(), kind, **options))
    assert_quarters(picture, within=within)
    assert (picture.source_format, picture.source_size) == (kind, (96, 64))
    assert picture.alpha is None
    assert picture.pixels.flags.writeable  # torch warns of arrays that are not


def test_gif_and_palettes() -> None:
    palette = quarters().quantize(4)
    for kind in ("GIF", "PNG"):
        assert_quarters(decode(file(palette, kind)), within=2)


def test_gray_and_bilevel() -> None:
    for kind in ("JPEG", "PNG"):
        gray = decode(file(quarters().convert("L"), kind))
        assert gray.pixels.shape == (64, 96, 3)
        assert np.ptp(gray.pixels, axis=2).max() == 0
        assert abs(int(gray.pixels[16, 24, 0]) - 82) <= 3  # Rec. 601 luma of the red
    bilevel = decode(file(quarters().convert("L").point(lambda v: 255 * (v > 90), "1"), "PNG"))
    assert_quarters(bilevel, ((0, 0, 0), WHITE, (0, 0, 0), WHITE), within=0)


def test_sixteen_bits_lose_their_low_byte() -> None:
    ramp = np.repeat(np.linspace(0, 65535, 256).astype(np.uint16)[None], 8, axis=0)
    gray = decode(file(Image.fromarray(ramp), "PNG"))
    assert np.abs(gray.pixels[0, :, 0].astype(int) - np.arange(256)).max() <= 1
    rows = b"".join(b"\0" + struct.pack(">6H", 65535, 32768, 0, 0, 257 * 60, 65535) for _ in range(2))
    header = chunk(b"IHDR", struct.pack(">2I5B", 2, 2, 16, 2, 0, 0, 0))
    color = b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")
    assert decode(color).pixels[0].tolist() == [[255, 128, 0], [0, 60, 255]]


def test_sixteen_bit_gray_with_a_transparent_value() -> None:
    rows = b"".join(b"\0" + struct.pack(">2H", 1000, 1001) for _ in range(2))
    header = chunk(b"IHDR", struct.pack(">2I5B", 2, 2, 16, 0, 0, 0, 0))
    body = chunk(b"tRNS", struct.pack(">H", 1000)) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")
    picture = decode(b"\x89PNG\r\n\x1a\n" + header + body)
    assert picture.alpha is not None
    assert picture.alpha.tolist() == [[0, 1], [0, 1]]
    assert picture.pixels[:, :, 0].tolist() == [[255, 3], [255, 3]]


def half_seen(mode: str) -> Image.Image:
    """The quarters, the upper half half seen, the lower right not at all."""
    image = quarters().convert(mode)
    alpha = Image.new("L", image.size, 255)
    alpha.paste(128, (0, 0, 96, 32))
    alpha.paste(0, (48, 32, 96, 64))
    image.putalpha(alpha)
    return image


@pytest.mark.parametrize("kind", ["PNG", "WEBP"])
def test_alpha_is_kept_and_composed_over_white(kind: str) -> None:
    options = {"lossless": True, "exact": True} if kind == "WEBP" else {}
    picture = decode(file(half_seen("RGB"), kind, **options))
    assert_quarters(picture, ((227, 142, 147), (147, 207, 157), BLUE, WHITE), within=1)
    assert picture.alpha is not None
    assert picture.alpha.dtype == np.float32
    assert picture.alpha.shape == (64, 96)
    assert np.allclose(picture.alpha[[16, 48, 48], [24, 24, 72]], [128 / 255, 1, 0])


def test_gray_with_alpha() -> None:
    picture = decode(file(half_seen("L"), "PNG"))
    assert picture.alpha is not None
    assert picture.pixels[48, 72].tolist() == [255, 255, 255]
    assert picture.pixels[16, 24].tolist() == [168, 168, 168]


def test_palettes_with_transparency() -> None:
    palette = quarters().quantize(4)
    seen_through = palette.getpixel((24, 16))
    for kind in ("GIF", "PNG"):
        picture = decode(file(palette, kind, transparency=seen_through))
        assert_quarters(picture, (WHITE, GREEN, BLUE, GRAY), within=2)
        assert picture.alpha is not None
        assert (picture.alpha[16, 24], picture.alpha[48, 72]) == (0, 1)
    graded = decode(
        file(palette, "PNG", transparency=bytes(128 if n == seen_through else 255 for n in range(4)))
    )
    assert_quarters(graded, ((227, 142, 147), GREEN, BLUE, GRAY), within=2)


def test_a_transparent_colour_in_a_picture_without_alpha() -> None:
    picture = decode(file(quarters(), "PNG", transparency=RED))
    assert_quarters(picture, (WHITE, GREEN, BLUE, GRAY), within=0)


def test_an_alpha_that_is_opaque_everywhere_is_none() -> None:
    assert decode(file(quarters().convert("RGBA"), "PNG")).alpha is None


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "AVIF"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_every_exif_orientation_comes_out_upright(kind: str, orientation: int) -> None:
    undo = {
        2: Image.Transpose.FLIP_LEFT_RIGHT,
        3: Image.Transpose.ROTATE_180,
        4: Image.Transpose.FLIP_TOP_BOTTOM,
        5: Image.Transpose.TRANSPOSE,
        6: Image.Transpose.ROTATE_90,
        7: Image.Transpose.TRANSVERSE,
        8: Image.Transpose.ROTATE_270,
    }
    stored = quarters() if orientation == 1 else quarters().transpose(undo[orientation])
    exif = Image.Exif()
    exif[0x0112] = orientation
    picture = decode(file(stored, kind, exif=exif, quality=95))
    assert picture.source_size == (96, 64)
    assert picture.pixels.shape == (64, 96, 3)
    assert_quarters(picture, within=10)


@pytest.mark.filterwarnings("ignore:Corrupt EXIF data")
@pytest.mark.parametrize(
    "exif", [b"Exif\0\0garbage", b"Exif\0\0II*\0\xff\xff\xff\xff", b"Exif\0\0MM\0*\0\0\0\x08\xff\xff"]
)
def test_unreadable_exif_is_ignored(exif: bytes) -> None:
    assert_quarters(decode(file(quarters(), "JPEG", exif=exif, quality=95)))


def test_alpha_turns_with_its_picture() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    picture = decode(file(half_seen("RGB").transpose(Image.Transpose.ROTATE_90), "PNG", exif=exif))
    assert picture.alpha is not None
    assert np.allclose(picture.alpha[[16, 48, 48], [24, 24, 72]], [128 / 255, 1, 0])


# --- colour profiles and CMYK ---


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


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP"])
def test_an_embedded_profile_is_applied(kind: str) -> None:
    data = file(quarters(), kind, icc_profile=red_and_green_swapped(), quality=95)
    pure = decode(file(Image.new("RGB", (16, 16), (255, 0, 0)), "PNG", icc_profile=red_and_green_swapped()))
    assert pure.pixels[0, 0, 1] > 250
    assert pure.pixels[0, 0, 0] < 5
    assert corners(decode(data).pixels)[0][1] > 180


@pytest.mark.parametrize(
    "profile",
    [
        b"not a profile",
        b"\0" * 200,
        red_and_green_swapped()[:300],
        cmyk_profile(b"\x80\x80\x80"),
        b"\0" * 5_000_000,
    ],
    ids=["text", "zeros", "cut off", "of another space", "huge"],
)
def test_a_bad_profile_is_ignored(profile: bytes) -> None:
    assert_quarters(decode(file(quarters(), "JPEG", icc_profile=profile, quality=95)))


def test_cmyk_as_adobe_writes_it() -> None:
    data = file(cyan_and_paper(), "JPEG", quality=95)
    assert b"Adobe" in data
    picture = decode(data)
    assert_quarters(picture, ((0, 255, 255), WHITE, (0, 255, 255), WHITE), within=4)


def test_cmyk_without_adobes_marker_is_not_inverted() -> None:
    data = file(ImageChops.invert(cyan_and_paper()), "JPEG", quality=95)
    plain = re.sub(rb"\xff\xee\0\x0eAdobe.{7}", b"", data, flags=re.DOTALL)
    assert len(plain) == len(data) - 16
    assert_quarters(decode(plain), ((0, 255, 255), WHITE, (0, 255, 255), WHITE), within=4)


def test_cmyk_goes_through_its_profile() -> None:
    orange = bytes((round(0.6 * 255), 128 + 60, 128 + 60))  # Lab 60, 60, 60
    data = file(cyan_and_paper(), "JPEG", quality=95, icc_profile=cmyk_profile(orange))
    color = corners(decode(data).pixels)[0]
    assert np.abs(np.array(color) - np.array((243, 94, 31))).max() <= 12, color
    assert min(corners(decode(data).pixels)[1]) > 245


# --- sizes ---


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP"])
def test_a_large_picture_is_scaled_to_the_long_edge(kind: str) -> None:
    picture = decode(file(quarters((1500, 1000)), kind), long_edge=300)
    assert picture.pixels.shape == (200, 300, 3)
    assert picture.source_size == (1500, 1000)
    assert_quarters(picture, within=8)


def test_a_small_picture_keeps_its_size_and_a_sliver_a_pixel() -> None:
    assert decode(file(quarters((40, 20)), "PNG"), long_edge=300).pixels.shape == (20, 40, 3)
    assert decode(file(Image.new("RGB", (3000, 1), RED), "PNG"), long_edge=300).pixels.shape == (1, 300, 3)


def test_scaling_lets_no_hidden_colour_bleed_in() -> None:
    image = Image.new("RGBA", (400, 400), (*GREEN, 0))
    image.paste((*RED, 255), (0, 0, 201, 400))
    picture = decode(file(image, "PNG"), long_edge=100)
    assert picture.alpha is not None
    edge = picture.pixels[50, 50].astype(float)
    seen = (edge - 255 * (1 - picture.alpha[50, 50])) / picture.alpha[50, 50]
    assert np.abs(seen - RED).max() < 12


def test_the_first_frame_of_an_animation_is_the_picture() -> None:
    others = [Image.new("RGB", (96, 64), color) for color in (RED, BLUE)]
    for kind in ("GIF", "WEBP", "PNG", "AVIF"):
        data = file(quarters(), kind, save_all=True, append_images=others, duration=100, quality=95)
        assert_quarters(decode(data), within=8)


# --- abuse ---


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "empty"),
        (b"\0" * 100, "not-a-picture"),
        (b"hello, world", "not-a-picture"),
        (b"PK\x03\x04 a zip", "not-a-picture"),
        (b"MZ\x90\0", "not-a-picture"),
        (b"<svg xmlns='http://www.w3.org/2000/svg'/>", "unsupported-format"),
        (b"\xef\xbb\xbf\n<?xml version='1.0'?><svg/>", "unsupported-format"),
        (b"<!DOCTYPE html><script>alert(1)</script>", "unsupported-format"),
        (b"%!PS-Adobe-3.0 EPSF-3.0", "unsupported-format"),
        (b"%PDF-1.7", "unsupported-format"),
        (b"8BPS\0\1", "unsupported-format"),
        (b"SIMPLE  =                    T", "unsupported-format"),
        (b"\0\0\0\x18ftypheic", "unsupported-format"),
        (file(quarters(), "TIFF"), "unsupported-format"),
        (file(quarters(), "BMP"), "unsupported-format"),
        (file(quarters(), "ICO"), "unsupported-format"),
        (file(quarters(), "JPEG2000"), "unsupported-format"),
        (file(quarters(), "PPM"), "not-a-picture"),
        (file(quarters(), "TGA"), "not-a-picture"),
        (b"\xff\xd8\xff", "damaged"),
        (b"\xff\xd8\xff" + b"\0" * 1000, "damaged"),
        (b"\x89PNG\r\n\x1a\n", "damaged"),
        (b"GIF89a", "damaged"),
        (b"RIFF\x10\0\0\0WEBPVP8 ", "truncated"),
        (b"\0\0\0\x1cftypavif", "damaged"),
    ],
)
def test_what_is_no_picture_is_refused_by_its_bytes(data: bytes, reason: str) -> None:
    error = refused(data)
    assert error.reason == reason
    assert re.search("upload|export", str(error))


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "GIF", "WEBP", "AVIF"])
def test_a_picture_that_ends_early_is_refused(kind: str) -> None:
    noise = Image.fromarray(np.random.default_rng(7).integers(0, 255, (200, 200, 3), np.uint8))
    whole = file(noise, kind)
    assert decode(whole).source_size == (200, 200)
    for share in (0.2, 0.5, 0.9):
        assert refused(whole[: int(len(whole) * share)]).reason in ("truncated", "damaged")
    if kind in ("JPEG", "PNG", "WEBP"):
        assert refused(whole[: len(whole) // 2]).reason == "truncated"


def test_the_pixel_cap_is_exact() -> None:
    data = file(Image.new("L", (200, 100)), "PNG")
    assert decode(data, max_pixels=20_000).source_size == (200, 100)
    error = refused(data, max_pixels=19_999)
    assert error.reason == "too-many-pixels"
    assert "200 x 100" in str(error)


def one_pixel_png(width: int, height: int) -> bytes:
    header = chunk(b"IHDR", struct.pack(">2I5B", width, height, 8, 6, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", zlib.compress(bytes(5))) + chunk(b"IEND", b"")


def many_scans(count: int) -> bytes:
    data = file(quarters((256, 256)), "JPEG", progressive=True)
    last = data.rindex(b"\xff\xda")
    return data[:-2] + data[last:-2] * count + b"\xff\xd9"


def bombs() -> dict[str, tuple[str, bytes]]:
    small = file(quarters((16, 16)), "PNG")
    jpeg = file(quarters((16, 16)), "JPEG")
    frame = jpeg.index(b"\xff\xc0") + 5
    webp = bytearray(file(quarters((16, 16)), "WEBP", lossless=True))
    webp[21:25] = ((16383 - 1) | (16383 - 1) << 14).to_bytes(4, "little")
    avif = file(quarters((16, 16)), "AVIF")
    extent = avif.index(b"ispe") + 8
    gif = file(quarters((16, 16)), "GIF")
    zeros = zlib.compress(bytes(200_000_000), 9)
    return {
        "png 100k x 100k": ("too-many-pixels", one_pixel_png(100_000, 100_000)),
        "png 9k x 9k": ("too-many-pixels", one_pixel_png(9_000, 9_000)),
        "png promising more rows than it has": ("truncated", one_pixel_png(7_000, 7_000)),
        "jpeg 65k x 65k": ("too-many-pixels", jpeg[:frame] + b"\xff\xdc\xff\xdc" + jpeg[frame + 4 :]),
        "webp 16k x 16k": ("too-many-pixels", bytes(webp)),
        "avif 16k x 16k": (
            "too-many-pixels",
            avif[:extent] + struct.pack(">2I", 16000, 16000) + avif[extent + 8 :],
        ),
        "gif 65k x 65k": ("too-many-pixels", gif[:6] + b"\xff\xff\xff\xff" + gif[10:]),
        "png text": ("too-much-metadata", after_header(small, chunk(b"zTXt", b"k\0\0" + zeros))),
        "png international text": (
            "too-much-metadata",
            after_header(small, chunk(b"iTXt", b"k\0\1\0\0\0" + zeros)),
        ),
        "png profile": ("too-much-metadata", after_header(small, chunk(b"iCCP", b"k\0\0" + zeros))),
        "png of a million chunks": (
            "too-much-metadata",
            after_header(small, chunk(b"teXt", b"") * 1_000_000),
        ),
        "jpeg of a million segments": (
            "too-much-metadata",
            jpeg[:2] + b"\xff\xe3\0\2" * 1_000_000 + jpeg[2:],
        ),
        "jpeg of a thousand scans": ("too-many-scans", many_scans(1000)),
    }


def test_bombs_are_refused_within_memory_and_time(tmp_path: Path) -> None:
    made = bombs()
    for number, (_, data) in enumerate(made.values()):
        (tmp_path / str(number)).write_bytes(data)
    script = (
        "import resource, sys\n"
        "from pathlib import Path\n"
        "from pipeline.errors import RejectedInput\n"
        "from storage.pictures import decode\n"
        "before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss\n"
        "resource.setrlimit(resource.RLIMIT_CPU, (20, 20))\n"
        f"for number in range({len(made)}):\n"
        "    try: decode(Path(sys.argv[1], str(number)).read_bytes())\n"
        "    except RejectedInput as error: print(error.reason)\n"
        "    else: print('decoded')\n"
        "print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) // 1024)\n"
    )
    child = subprocess.run(
        [sys.executable, "-W", "error", "-c", script, str(tmp_path)],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert child.returncode == 0, child.stderr
    *reasons, grown_mib = child.stdout.split()
    assert dict(zip(made, reasons, strict=True)) == {name: reason for name, (reason, _) in made.items()}
    assert int(grown_mib) < 300


def test_a_progressive_picture_with_a_usual_number_of_scans_is_fine() -> None:
    assert decode(many_scans(20)).source_size == (256, 256)


@pytest.mark.parametrize(
    "tail", [b"<script>alert(1)</script>", b"PK\x03\x04evil.zip", b"\0\2" + b"\xff\xda\0\2" * 500]
)
def test_a_polyglot_is_written_anew_without_its_second_self(tail: bytes) -> None:
    photo = file(quarters(), "JPEG", comment=b"<?php system($_GET[0]); ?>", quality=95)
    picture = decode(photo + tail)
    assert_quarters(picture)
    for media_type in ("image/jpeg", "image/png", "image/webp"):
        clean = encode(picture.pixels, media_type=media_type)
        assert tail not in clean
        assert b"php" not in clean


@pytest.mark.filterwarnings("ignore::UserWarning:PIL")
def test_damaged_bytes_end_in_a_picture_or_a_refusal() -> None:
    chance = random.Random(20260105)
    wholes = [file(quarters((64, 64)), kind) for kind in ("JPEG", "PNG", "GIF", "WEBP", "AVIF")]
    wholes.append(file(half_seen("RGB"), "PNG", icc_profile=red_and_green_swapped()))
    wholes.append(file(cyan_and_paper(), "JPEG", icc_profile=cmyk_profile(b"\x80\x80\x80")))
    outcomes = set()
    for whole in wholes:
        for _ in range(120):
            broken = bytearray(whole)
            for _ in range(chance.randint(1, 8)):
                broken[chance.randrange(4, len(broken))] = chance.randrange(256)
            try:
                assert decode(bytes(broken)).pixels.shape[2] == 3
                outcomes.add("decoded")
            except RejectedInput as error:
                outcomes.add(error.reason)
    assert {"decoded", "damaged"} <= outcomes


# --- encoding ---


def test_metadata_does_not_survive() -> None:
    exif = Image.Exif()
    exif[0x010F] = "a camera"
    text = PngImagePlugin.PngInfo()
    text.add_text("Author", "somebody")
    data = file(quarters(), "PNG", exif=exif, pnginfo=text, icc_profile=red_and_green_swapped())
    pixels = decode(data).pixels
    for media_type in ("image/jpeg", "image/png", "image/webp"):
        with Image.open(io.BytesIO(encode(pixels, media_type=media_type))) as clean:
            assert not clean.getexif()
            assert not {"icc_profile", "Author", "comment", "xmp", "exif"} & set(clean.info)


def test_encoding_is_lossless_or_close() -> None:
    pixels = np.array(quarters())
    assert (decode(encode(pixels, media_type="image/png")).pixels == pixels).all()
    assert_quarters(decode(encode(pixels)), within=3)
    assert_quarters(decode(encode(pixels, media_type="image/webp")), within=8)
    assert encode(pixels) == encode(pixels)
    with Image.open(io.BytesIO(encode(pixels))) as jpeg:
        assert [component[1:3] for component in jpeg.layer] == [(1, 1)] * 3  # type: ignore[attr-defined]


@pytest.mark.parametrize("media_type", ["image/png", "image/webp"])
def test_an_alpha_comes_back(media_type: str) -> None:
    alpha = np.linspace(0, 1, 96, dtype=np.float32)[None].repeat(64, axis=0)
    back = decode(encode(np.array(quarters()), alpha, media_type=media_type))
    assert back.alpha is not None
    assert np.abs(back.alpha - alpha).max() <= 0.003


def test_what_cannot_be_encoded_is_said() -> None:
    pixels = np.array(quarters())
    with pytest.raises(ValueError, match="image/jpeg with an alpha"):
        encode(pixels, np.ones((64, 96), np.float32))
    with pytest.raises(ValueError, match="image/tiff"):
        encode(pixels, media_type="image/tiff")


def test_the_hash_knows_a_picture_again() -> None:
    scene = Image.effect_noise((9, 8), 90).resize((600, 400), Image.Resampling.BICUBIC).convert("RGB")
    ImageDraw.Draw(scene).ellipse((100, 80, 400, 350), fill=RED)
    hashes = [
        dhash(decode(data, long_edge=edge).pixels)
        for data in (file(scene, "PNG"), file(scene, "JPEG", quality=40), file(scene, "WEBP", quality=40))
        for edge in (2048, 150)
    ]
    assert all(re.fullmatch("[0-9a-f]{16}", value) for value in hashes)
    bits = [int(value, 16) for value in hashes]
    assert max((bits[0] ^ other).bit_count() for other in bits) <= 4
    mirrored = dhash(np.array(scene.transpose(Image.Transpose.FLIP_LEFT_RIGHT).filter(ImageFilter.BLUR)))
    assert (bits[0] ^ int(mirrored, 16)).bit_count() > 16


def test_the_hash_reads_rows_from_the_top_left() -> None:
    rising = np.repeat(np.repeat(np.arange(0, 252, 28, dtype=np.uint8), 10)[None, :, None], 80, 0).repeat(
        3, 2
    )
    assert dhash(rising) == "f" * 16
    assert dhash(rising[:, ::-1]) == "0" * 16
    rising[10:] = 0
    assert dhash(rising) == "ff" + "0" * 14
