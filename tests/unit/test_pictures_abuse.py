"""Decoding what strangers upload: a typed refusal for every abuse."""

from __future__ import annotations

import random
import re
import struct
import subprocess
import sys
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from pipeline.errors import RejectedInput
from storage.pictures import decode, encode
from tests.painted import (
    after_header,
    assert_quarters,
    chunk,
    cmyk_profile,
    cyan_and_paper,
    file,
    half_seen,
    quarters,
    red_and_green_swapped,
    refused,
)

REPOSITORY = Path(__file__).parents[2]


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
