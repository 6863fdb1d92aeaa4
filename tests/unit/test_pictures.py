"""Decoding what shops upload: golden pixels for every kind of file, and back again."""

from __future__ import annotations

import io
import re
import struct
import zlib

import numpy as np
import pytest
from PIL import Image, ImageChops, ImageDraw, ImageFilter, PngImagePlugin

from storage.pictures import decode, dhash, encode
from tests.painted import (
    BLUE,
    GRAY,
    GREEN,
    RED,
    WHITE,
    assert_quarters,
    chunk,
    cmyk_profile,
    corners,
    cyan_and_paper,
    file,
    half_seen,
    quarters,
    red_and_green_swapped,
)

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
