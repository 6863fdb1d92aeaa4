"""The alternative text of a scene picture: what it shows, for those who do not see it."""

from __future__ import annotations

from collections.abc import Sequence

from engines.protocols import Bilingual, Tag
from engines.scenes.presets import Pose, Preset
from engines.words.phrasing import capitalised, listed, listed_zh, with_article
from engines.words.vocabulary import ProductType, vocabulary

_COLOURS = 2


def alt_text(tags: Sequence[Tag], preset: Preset) -> Bilingual:
    """A sentence from the tags that hold and the preset's own words, in both languages."""
    words = vocabulary()
    found = {tag.attribute: tag.value for tag in reversed(tags)}
    colours = [words.values("colour")[tag.value] for tag in tags if tag.attribute == "colour"][:_COLOURS]
    kind = words.values("product_type").get(found.get("product_type", ""))
    name, name_zh = (kind.en, kind.zh) if kind else ("product", "商品")
    phrase = f"{listed([colour.en for colour in colours])} {name}".strip()
    if not (isinstance(kind, ProductType) and not kind.article):
        phrase = with_article(phrase)
    surface = preset.words.surface
    at = "on" if preset.pose is Pose.STANDING else "lying on"
    return Bilingual(
        capitalised(f"{phrase} {at} {surface.en or preset.en}."),
        f"{listed_zh([colour.zh for colour in colours])}{name_zh}，{surface.zh or preset.zh}。",
    )
