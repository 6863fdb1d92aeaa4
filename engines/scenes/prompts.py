"""What a model of pictures is told of a scene: a product by its tags, in a setting by its preset.

Every word comes from the vocabulary or from the deployment's presets. What a merchant wrote is no part of it: a
title is data, and a prompt is instructions.
"""

from __future__ import annotations

from collections.abc import Sequence

from engines.protocols import Bilingual, Tag
from engines.scenes.presets import Pose, Preset, Said
from engines.words.phrasing import capitalised, listed, listed_zh, with_article
from engines.words.text import one_line
from engines.words.vocabulary import AttributeValue, ProductType, Term, Vocabulary, vocabulary

SEPARATOR = Bilingual(", ", "，")
"""Between the pieces of a prompt; the most important come first, so that the last can be left out."""

_COLOURS, _MATERIALS, _STYLES = 2, 1, 2
_LONGEST = 80
"""Characters of a piece of a preset that are taken: a prompt of CLIP's has 75 tokens for all."""

_LAID = {
    Pose.STANDING: Bilingual("standing on {}", "立于{}上"),
    Pose.LYING: Bilingual("lying flat on {}", "平放于{}上"),
}
_MANNER = Bilingual(
    "professional product photography, photorealistic, sharp focus", "专业产品摄影，写实，对焦清晰"
)
_NEVER = Bilingual(
    "text, watermark, logo, people, hands, second product, duplicate, extra objects in front, deformed, "
    "cropped, blurry, low quality, painting, cartoon, 3d render",
    "文字，水印，标志，人物，手，第二件商品，重复，前景杂物，变形，裁切，模糊，低画质，绘画，卡通，三维渲染",
)
_NEVER_LAID = {
    Pose.STANDING: Bilingual("floating, hovering", "悬浮，飘浮"),
    Pose.LYING: Bilingual("horizon, side view", "地平线，侧视"),
}


def prompt(tags: Sequence[Tag], preset: Preset) -> Bilingual:
    """The prompt for a product of these tags in this setting, in both languages, most important piece first."""
    words = vocabulary()
    said, laid = preset.words, _LAID[preset.pose]
    styles = _terms(words, "style", tags)[:_STYLES]
    product, surface = _product(words, tags), _short(said.surface)
    place = [Bilingual(laid.en.format(surface.en), laid.zh.format(surface.zh))]
    room, light, time, season = (_short(piece) for piece in (said.room, said.light, said.time, said.season))
    look = Bilingual(f"{listed([term.en for term in styles])} style", listed_zh([term.zh for term in styles]))
    return _joined(
        [
            Bilingual(f"product photo of {product.en}", f"{product.zh}的商品照片"),
            *(place if surface.en else []),
            room,
            light,
            *([look] if styles else []),
            time,
            season,
            _MANNER,
        ]
    )


def negative(preset: Preset) -> Bilingual:
    """What a picture in this setting must not show, in both languages."""
    return _joined([_NEVER_LAID[preset.pose], _NEVER])


def alt_text(tags: Sequence[Tag], preset: Preset) -> Bilingual:
    """What the finished picture shows, in a sentence for those who do not see it, in both languages."""
    product, surface = _product(vocabulary(), tags), preset.words.surface
    at = "on" if preset.pose is Pose.STANDING else "lying on"
    return Bilingual(
        capitalised(f"{product.en} {at} {surface.en or preset.en}."),
        f"{product.zh}，{surface.zh or preset.zh}。",
    )


def _product(words: Vocabulary, tags: Sequence[Tag]) -> Bilingual:
    """ "a red and white leather sofa"; by its department where its type is not known."""
    colours = _terms(words, "colour", tags)[:_COLOURS]
    materials = _terms(words, "material", tags)[:_MATERIALS]
    kind = next(iter(_terms(words, "product_type", tags)), None)
    shelf = next(iter(_terms(words, "category", tags)), None)
    noun = kind.text if kind else Bilingual(f"{shelf.en} item", f"{shelf.zh}类商品") if shelf else None
    noun = noun or Bilingual("product", "产品")
    en = " ".join(
        filter(None, (listed([c.en for c in colours]), *(_adjective(m) for m in materials), noun.en))
    )
    zh = "".join((listed_zh([c.zh for c in colours]), *(m.zh for m in materials), noun.zh))
    counted = not isinstance(kind, ProductType) or kind.article
    return Bilingual(with_article(en) if counted else en, zh)


def _adjective(term: Term) -> str:
    return (term.phrase if isinstance(term, AttributeValue) else "") or term.en


def _terms(words: Vocabulary, attribute: str, tags: Sequence[Tag]) -> list[Term]:
    """The vocabulary's words for the attribute's tags, the surest first; what it does not know is left out."""
    known = words.values(attribute)
    held = sorted((tag for tag in tags if tag.attribute == attribute), key=lambda tag: -tag.confidence)
    return [known[tag.value] for tag in held if tag.value in known]


def _short(said: Said) -> Bilingual:
    return Bilingual(one_line(said.en, _LONGEST), one_line(said.zh, _LONGEST))


def _joined(pieces: Sequence[Bilingual]) -> Bilingual:
    return Bilingual(
        SEPARATOR.en.join(piece.en for piece in pieces if piece.en),
        SEPARATOR.zh.join(piece.zh for piece in pieces if piece.zh),
    )
