"""What a query says relative to a photo: "this, but more formal", "in red", 更正式, 把红色换成蓝色."""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from engines.words.prices import Span
from engines.words.readings import Pair, Reading

_FORMAL: tuple[Pair, ...] = (("style", "classic"), ("scene", "work"))
_CASUAL: tuple[Pair, ...] = (("style", "casual"), ("scene", "everyday"))
_FESTIVE: tuple[Pair, ...] = (("scene", "party"),)
_SIMPLE: tuple[Pair, ...] = (("style", "minimalist"), ("pattern", "plain"))

# Where to, and where to if there is to be less of it. The vocabulary's own styles need no entry.
_DIRECTIONS = {
    **dict.fromkeys(
        ("formal", "dressy", "professional", "businesslike", "正式", "庄重", "职业"), (_FORMAL, _CASUAL)
    ),
    **dict.fromkeys(("casual", "relaxed", "informal", "休闲", "随意"), (_CASUAL, _FORMAL)),
    "运动": ((("style", "sporty"),), ()),
    **dict.fromkeys(("elegant", "优雅"), ((("style", "classic"),), ())),
    **dict.fromkeys(("festive", "glamorous", "华丽", "喜庆"), (_FESTIVE, ())),
    **dict.fromkeys(("simple", "plain", "简洁", "素"), (_SIMPLE, ())),
    **dict.fromkeys(("colourful", "colorful", "busy", "花哨"), ((), _SIMPLE)),
}
_COMPARED = {
    **dict.fromkeys(("dressier", "smarter"), _FORMAL),
    **dict.fromkeys(("simpler", "plainer"), _SIMPLE),
    **dict.fromkeys(("fancier",), _FESTIVE),
    "sportier": (("style", "sporty"),),
}
_ENGLISH = "|".join(word for word in _DIRECTIONS if word.isascii())
_CHINESE = "|".join(word for word in _DIRECTIONS if not word.isascii())
_COMPARISON = re.compile(
    rf"\b(?P<how>more|less) (?P<en>{_ENGLISH})\b|\b(?P<er>{'|'.join(_COMPARED)})\b"
    rf"|(?P<less>不那么|没那么|没有那么|别那么)(?P<not>{_CHINESE})|更加?(?P<more>{_CHINESE})"
    rf"|(?P<bit>{_CHINESE})(?:一?点儿?|一些)"
)
_SWAP = re.compile(r"\b(?:change|swap|replace|turn|switch)(?: the)?(?: colou?r)?(?: from)? |把|将|从")
_INTO = re.compile(r"\s*(?:to|with|for|into|by|换成|改成|变成|换为|改为|到)\s*")
_TURN = re.compile(
    r"\b(?:make|turn|change|switch|have|want) (?:it|this|them|that|these)(?: to| into| in)? "
    r"|(?:把|将)?(?:颜色|图案|款式|材质)?(?:换成|改成|变成|换为|改为)"
)
_THIS = re.compile(
    r"\s*(?:(?:like|similar to|as) )?(?:this|that|these|those|(?:the )?same)(?: ones?| thing| style| product| item)?"
    r"(?:,\s*(?:but|only|just)?|\s+(?:but|only|just)|(?=\s+(?:in|with|without|more|less|no|not)\b)|\s*$)\s*"
    r"|\s*(?:和|跟|像|与|类似)?(?:图中|图片|照片)?(?:里)?(?:这[个件款双条只张种]|那[个件款双条只张种]|它|同款|同样的|一样的)"
    r"(?:一样)?(?:的)?(?:商品|款式)?\s*(?:[,，]\s*(?:但是?|不过|只是|要|就是)?|但是?|不过|只是|(?=更|不要|换成|改成)|\s*$)\s*"
)
_REACH = 40


@dataclass
class Comparison:
    """``spans`` only point to the photo and are no words to search by; ``wanted`` are the values to turn to, and
    ``unwanted`` those to turn from."""

    spans: list[Span] = field(default_factory=list)
    silent: list[Span] = field(default_factory=list)
    wanted: list[tuple[int, Pair]] = field(default_factory=list)
    unwanted: list[Pair] = field(default_factory=list)


def comparison(reading: Reading) -> Comparison:
    """What the thing in a photo is to be instead. The words of a direction stay, as words to search by."""
    found = Comparison()
    if (this := _THIS.match(reading.text)) and this[0].strip():
        found.spans.append(this.span())
    for said in _COMPARISON.finditer(reading.text):
        found.silent.append(said.span())
        towards, away = _DIRECTIONS.get(
            said["en"] or said["not"] or said["more"] or said["bit"] or "", ((), ())
        )
        less = said["how"] == "less" or said["not"]
        values = _COMPARED[said["er"]] if said["er"] else away if less else towards
        found.wanted += [(said.start(), pair) for pair in values]
    for swap in _SWAP.finditer(reading.text):
        # Of an attribute only one value is another's turn: "replace red with leather" says something else.
        for one in reading.values(swap.end()):
            into = _INTO.match(reading.text, one.end)
            others = reading.values(into.end()) if into and into[0].strip() else []
            if into and any(other.attribute == one.attribute for other in others):
                found.spans.append((swap.start(), into.end()))
                found.unwanted.append((one.attribute, one.value))
                break
    for turn in _TURN.finditer(reading.text):
        inside = any(start <= turn.start() < end for start, end in found.spans)
        if not inside and reading.values(turn.end()):
            found.spans.append(turn.span())
    return found
