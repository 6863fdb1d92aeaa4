"""Pictures from untrusted bytes into pixels, and from pixels into clean files."""

from __future__ import annotations

import io
import re
import struct
import warnings
import zlib
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from PIL import ExifTags, Image, ImageChops, ImageCms, features

from pipeline.errors import RejectedInput, Transient

Pixels = npt.NDArray[np.uint8]
Alpha = npt.NDArray[np.float32]

# Process-wide, because warning filters cannot be set for one thread: a bomb is an error, never a warning.
warnings.simplefilter("error", Image.DecompressionBombWarning)

_MAGIC = {
    "JPEG": re.compile(rb"\xff\xd8\xff"),
    "PNG": re.compile(rb"\x89PNG\r\n\x1a\n"),
    "WEBP": re.compile(rb"RIFF.{4}WEBP", re.DOTALL),
    "GIF": re.compile(rb"GIF8[79]a"),
    "AVIF": re.compile(rb".{4}ftyp(avif|avis)", re.DOTALL),
}
_REFUSED = {
    "SVG, XML or HTML": re.compile(rb"(\xef\xbb\xbf)?\s*<"),
    "HEIC": re.compile(rb".{4}ftyp(hei|hev|mif1|msf1)", re.DOTALL),
    "TIFF": re.compile(rb"II\*\0|MM\0\*"),
    "BMP": re.compile(rb"BM"),
    "JPEG 2000": re.compile(rb"\0\0\0\x0cjP|\xff\x4f\xff\x51"),
    "JPEG XL": re.compile(rb"\xff\x0a|\0\0\0\x0cJXL"),
    "Photoshop": re.compile(rb"8BPS"),
    "PDF or PostScript": re.compile(rb"%PDF|%!PS"),
    "FITS": re.compile(rb"SIMPLE  ="),
    "icon": re.compile(rb"\0\0[\1\2]\0[^\0]"),
}
_MARKER = re.compile(rb"\xff([^\xff\0\x01\xd0-\xd8])")  # a JPEG segment with a length
_MAX_SCANS = 64
_MAX_BLOCKS = 20_000
_MAX_PROFILE_BYTES = 4 * 1024 * 1024
_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
_SIDEWAYS = {_TURNS[orientation] for orientation in (5, 6, 7, 8)}
# What hostile bytes make Pillow raise. Not Exception: a time limit of the worker is no fault of the picture.
_DECODER_ERRORS = (
    *(ArithmeticError, AssertionError, AttributeError, EOFError, LookupError, OSError, RuntimeError),
    *(SyntaxError, TypeError, ValueError, struct.error, zlib.error),
)
_SRGB = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB"))


@dataclass(frozen=True, slots=True, eq=False)
class Picture:
    """A decoded picture, upright and in sRGB.

    ``pixels`` is (H, W, 3) uint8, see-through parts composed over white; ``alpha`` is (H, W) float32 in
    [0, 1], or None where everything is opaque. ``source_size`` is the upright (width, height) before scaling.
    """

    pixels: Pixels
    alpha: Alpha | None
    source_format: str
    source_size: tuple[int, int]


def decode(data: bytes, *, max_pixels: int = 50_000_000, long_edge: int = 2048) -> Picture:
    """Decode JPEG, PNG, WebP, AVIF or the first frame of a GIF, scaled down to ``long_edge`` pixels.

    The bytes alone say what they are; a declared type or name plays no part. Peak memory is about 14 bytes a
    source pixel. Raises ``RejectedInput`` with a reason:

    ==================  =============================================================================
    empty               no bytes
    not-a-picture       the first bytes are those of no picture
    unsupported-format  a picture, or a document, of a kind that is not decoded
    too-many-pixels     the header announces more than ``max_pixels``
    too-many-scans      a progressive JPEG made to be decoded over and over
    too-much-metadata   more blocks, or text that unpacks to more, than a photo needs
    truncated           the end is missing
    damaged             anything else that the decoder refuses
    ==================  =============================================================================

    and ``Transient`` when memory runs out.
    """
    kind = _sniff(data)
    _check_structure(data, kind)
    try:
        with Image.open(io.BytesIO(data), formats=(kind,)) as source:
            if source.width * source.height > max_pixels:
                raise Image.DecompressionBombError(
                    f"{source.width} x {source.height}, over {max_pixels} pixels"
                )
            return _read(source, long_edge)
    except (Image.DecompressionBombWarning, Image.DecompressionBombError) as error:
        raise RejectedInput("too-many-pixels", f"{error}; upload a smaller picture") from error
    except MemoryError as error:
        raise Transient(
            "memory ran out while decoding a picture; it is retried: decode fewer at once"
        ) from error
    except _DECODER_ERRORS as error:
        raise _refusal(data, kind, error) from error


def encode(pixels: Pixels, alpha: Alpha | None = None, *, media_type: str = "image/jpeg") -> bytes:
    """A file of these pixels and nothing else: no metadata survives.

    ``image/jpeg`` (opaque only: quality 95, full colour resolution), ``image/png`` (lossless) or
    ``image/webp`` (quality 90). ``pixels`` is (H, W, 3) uint8, ``alpha`` (H, W) float32 in [0, 1].
    """
    image = Image.fromarray(pixels)
    if alpha is not None:
        image.putalpha(Image.fromarray((alpha * 255 + 0.5).astype(np.uint8)))
    out = io.BytesIO()
    if media_type == "image/jpeg" and alpha is None:
        image.save(out, "JPEG", quality=95, subsampling=0)
    elif media_type == "image/png":
        image.save(out, "PNG", compress_level=4)
    elif media_type == "image/webp":
        image.save(out, "WEBP", quality=90, method=2)
    else:
        raise ValueError(f"cannot encode {media_type} with{'out' if alpha is None else ''} an alpha")
    return out.getvalue()


def dhash(pixels: Pixels) -> str:
    """The 64-bit difference hash, 16 hex digits: where brightness rises from one of 9 x 8 cells to the next.

    Pictures of the same thing differ in few bits, whatever their size and compression.
    """
    cells = Image.fromarray(pixels).convert("L").resize((9, 8), Image.Resampling.BOX)
    gray = np.asarray(cells, dtype=np.int16)
    return np.packbits(gray[:, 1:] > gray[:, :-1]).tobytes().hex()


def _sniff(data: bytes) -> str:
    if not data:
        raise RejectedInput("empty", "a file of 0 bytes; upload the photo again")
    head = data[:64]
    for kind, magic in _MAGIC.items():
        if magic.match(head) and (kind != "AVIF" or features.check("avif")):
            return kind
    for kind, magic in _REFUSED.items():
        if magic.match(head):
            raise RejectedInput("unsupported-format", f"this is {kind}; export it as JPEG, PNG, WebP or AVIF")
    raise RejectedInput("not-a-picture", "the bytes are no picture; upload a JPEG, PNG, WebP or AVIF")


def _check_structure(data: bytes, kind: str) -> None:
    """Refuse what is cheap to send and dear to decode, before Pillow holds it all in memory."""
    blocks = scans = 0
    if kind == "JPEG":
        position = 2
        while blocks <= _MAX_BLOCKS and (marker := _MARKER.search(data, position)):
            if marker[1] == b"\xd9":  # the end; what a polyglot hangs on behind it is nobody's business
                break
            blocks += 1
            scans += marker[1] == b"\xda"
            position = marker.end() + int.from_bytes(data[marker.end() : marker.end() + 2], "big")
    elif kind == "PNG":
        position = 8
        while blocks <= _MAX_BLOCKS and position < len(data):
            blocks += 1
            position += 12 + int.from_bytes(data[position : position + 4], "big")
    if scans > _MAX_SCANS:
        raise RejectedInput(
            "too-many-scans", f"a JPEG of more than {_MAX_SCANS} scans; export it as a baseline JPEG"
        )
    if blocks > _MAX_BLOCKS:
        raise RejectedInput(
            "too-much-metadata", f"more than {_MAX_BLOCKS} blocks; export it without metadata"
        )


def _read(source: Image.Image, long_edge: int) -> Picture:
    kind = "JPEG" if source.format == "MPO" else str(source.format)
    width, height = source.size
    # Lets libjpeg scale by 1/2, 1/4 or 1/8 while it decodes: less work, never below what is asked for.
    target = _fit(source.size, long_edge)
    source.draft(None, target)
    source.load()
    turn = _upright(source)
    if turn in _SIDEWAYS:
        width, height = height, width
    scaled = _scaled(_to_few_modes(source), target)
    alpha = scaled.getchannel("A") if scaled.mode == "RGBA" else None
    color = _to_srgb(scaled.convert("RGB") if alpha else scaled, source.info.get("icc_profile"))
    if turn is not None:
        color, alpha = color.transpose(turn), alpha and alpha.transpose(turn)
    if alpha is None or alpha.getextrema()[0] == 255:
        return Picture(np.array(color), None, kind, (width, height))
    color = Image.composite(color, Image.new("RGB", color.size, "white"), alpha)
    return Picture(np.array(color), np.asarray(alpha, np.float32) / np.float32(255), kind, (width, height))


def _to_few_modes(image: Image.Image) -> Image.Image:
    """The same picture as L, RGB, RGBA or CMYK, 8 bits a channel."""
    if image.mode.startswith("I"):
        wide = np.asarray(image)
        # The high byte, as Pillow takes it of 16-bit colour; its own conversion to L would clip at 255.
        gray = Image.fromarray((wide >> 8).astype(np.uint8))
        if "transparency" not in image.info:
            return gray
        gray.putalpha(Image.fromarray(np.where(wide == image.info["transparency"], 0, 255).astype(np.uint8)))
        return gray.convert("RGBA")
    if image.mode == "CMYK":
        # Pillow takes every one for inverted, as Adobe writes them; without Adobe's marker it is not.
        return image if "adobe" in image.info else ImageChops.invert(image)
    if image.has_transparency_data:
        return image.convert("RGBA")
    return image if image.mode in ("L", "RGB") else image.convert("L" if image.mode == "1" else "RGB")


def _to_srgb(image: Image.Image, profile: bytes | None) -> Image.Image:
    """Through the embedded profile; one that is broken, too large or of another colour space is ignored."""
    if profile and len(profile) <= _MAX_PROFILE_BYTES:
        try:
            source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
            converted = ImageCms.profileToProfile(image, source, _SRGB, outputMode="RGB")
        except (ImageCms.PyCMSError, OSError):
            converted = None
        if converted is not None:
            return converted
    return image.convert("RGB")


def _upright(image: Image.Image) -> Image.Transpose | None:
    """What turns the picture the way its EXIF orientation says it was held; None for unreadable EXIF too."""
    try:
        return _TURNS.get(image.getexif().get(ExifTags.Base.Orientation, 1))
    except _DECODER_ERRORS:
        return None


def _scaled(image: Image.Image, size: tuple[int, int]) -> Image.Image:
    return image if size == image.size else image.resize(size, Image.Resampling.BICUBIC, reducing_gap=2.0)


def _fit(size: tuple[int, int], long_edge: int) -> tuple[int, int]:
    scale = min(1.0, long_edge / max(size))
    return max(1, round(size[0] * scale)), max(1, round(size[1] * scale))


def _refusal(data: bytes, kind: str, error: Exception) -> RejectedInput:
    text = str(error)
    if "MAX_TEXT" in text:
        return RejectedInput(
            "too-much-metadata", f"the {kind} unpacks to too much text; export it without metadata"
        )
    cut_off = kind == "WEBP" and int.from_bytes(data[4:8], "little") + 8 > len(data)
    if cut_off or "truncated" in text.lower():
        return RejectedInput("truncated", f"the end of the {kind} is missing; upload it again")
    return RejectedInput("damaged", f"the {kind} cannot be decoded ({text:.200}); export it again")
