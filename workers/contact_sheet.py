"""A contact sheet: the hits of a search as one picture, for a person to look at."""

from __future__ import annotations

import io
from collections.abc import Sequence
from functools import lru_cache
from typing import Any

from PIL import Image, ImageDraw, ImageFont

_TILE = 300
_LINES = 62
_COLUMNS = 5
_MARGIN = 12
_INK, _PALE, _PAPER = (30, 30, 30), (120, 120, 120), (255, 255, 255)
# Where a system keeps letters for Chinese; without any, titles in Chinese are shown as their ids.
_FONTS = ("NotoSansCJK-Regular.ttc", "NotoSansSC-Regular.otf", "wqy-microhei.ttc", "PingFang.ttc", "msyh.ttc")


def contact_sheet(tiles: Sequence[tuple[bytes | None, str, str]]) -> Image.Image:
    """Each tile a photo's bytes (None where there is none), a title, and a line below it."""
    columns = max(1, min(_COLUMNS, len(tiles)))
    lines = max(1, -(-len(tiles) // columns))
    sheet = Image.new(
        "RGB",
        (columns * (_TILE + _MARGIN) + _MARGIN, lines * (_TILE + _LINES + _MARGIN) + _MARGIN),
        _PAPER,
    )
    draw = ImageDraw.Draw(sheet)
    for number, (data, title, note) in enumerate(tiles):
        row, column = divmod(number, columns)
        left, top = _MARGIN + column * (_TILE + _MARGIN), _MARGIN + row * (_TILE + _LINES + _MARGIN)
        if data is not None:
            with Image.open(io.BytesIO(data), formats=("JPEG", "PNG", "WEBP")) as photo:
                photo.thumbnail((_TILE, _TILE))
                place = left + (_TILE - photo.width) // 2, top + (_TILE - photo.height) // 2
                sheet.paste(photo.convert("RGB"), place)
        else:
            draw.rectangle((left, top, left + _TILE, top + _TILE), outline=_PALE)
        draw.text((left, top + _TILE + 6), _fitted(f"{number + 1}. {title}", 18), _INK, _font(18))
        draw.text((left, top + _TILE + 32), _fitted(note, 15), _PALE, _font(15))
    return sheet


def _fitted(text: str, size: int) -> str:
    text = " ".join(text.split())
    font: Any = _font(size)
    while text and font.getlength(text) > _TILE:
        text = text[:-2].rstrip(" …") + "…"
    return text


@lru_cache
def _font(size: int) -> Any:
    for name in _FONTS:
        try:
            return ImageFont.truetype(name, size)
        except OSError:
            continue
    return ImageFont.load_default(size)
