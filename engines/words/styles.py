"""Style and scene with their grounds: what follows from attributes that hold, by the vocabulary's rules.

How a product feels is a matter of taste, and a model will always say something. So a style stands only on
attributes that hold and that anyone can check: "minimalist, because: plain, white".
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from engines.protocols import Bilingual, Evidence, Tag, Witness
from engines.words.vocabulary import Vocabulary

Grounds = tuple[tuple[str, str], ...]


def inferred(words: Vocabulary, attribute: str, held: Sequence[Tag]) -> list[Tag]:
    """The values that follow from the tags that hold, each with the grounds of its surest rule."""
    asked = words.attributes[attribute]
    found = []
    for key, value in asked.values.items():
        rested = [grounds for rule in value.when if (grounds := _grounds(rule, held))]
        if rested:
            found.append(
                max((concluded(words, attribute, key, one, held) for one in rested), key=_confidence)
            )
    return found


def concluded(
    words: Vocabulary, attribute: str, value: str, because: Grounds, held: Sequence[Tag], most: float = 1.0
) -> Tag:
    """A value resting on tags that hold: as sure as the least sure of them, less the doubt in the rule.

    ``most`` is what the engine that proposed it gives it.
    """
    by_key = {(tag.attribute, tag.value): tag.confidence for tag in held}
    least = min(by_key[pair] for pair in because)
    confidence = min(most, least * words.attributes[attribute].by_rule)
    quoted = ", ".join(words.values(asked)[name].en for asked, name in because)
    return Tag(attribute, value, confidence, (Evidence(Witness.ATTRIBUTES, quoted),), because)


def reason(words: Vocabulary, tag: Tag) -> Bilingual | None:
    """Why a style or a scene was chosen, in words: what it rests on. None for any other tag."""
    if not words.attributes[tag.attribute].by_rule:
        return None
    name = words.values(tag.attribute)[tag.value]
    if tag.because:
        # The category only limits the rule: nobody calls a thing plain because it is clothing.
        told = [pair for pair in tag.because if pair[0] != "category"] or tag.because
        values = [words.values(attribute)[value] for attribute, value in told]
        return Bilingual(
            en=f"{name.en}, because: {', '.join(value.en for value in values)}",
            zh=f"{name.zh}，依据：{'、'.join(value.zh for value in values)}",
        )
    quoted = next((item.words for item in tag.evidence if item.witness is Witness.CATALOG), None)
    if quoted is None:
        return None
    return Bilingual(
        en=f"{name.en}, because the merchant says so in {quoted}",
        zh=f"{name.zh}，依据商家资料（{quoted}）",
    )


def _grounds(rule: Mapping[str, tuple[str, ...]], held: Sequence[Tag]) -> Grounds:
    """The tags that make a rule hold, none where it does not.

    It asks for all that is known of an attribute: a black and red shirt is not black."""
    because: list[tuple[str, str]] = []
    for attribute, allowed in rule.items():
        known = [tag.value for tag in held if tag.attribute == attribute]
        # A feature is one of many that never exclude each other; of a colour all must fit.
        fitting = [value for value in known if value in allowed]
        if not fitting or (attribute != "feature" and len(fitting) < len(known)):
            return ()
        because += [(attribute, value) for value in fitting]
    return tuple(because)


def _confidence(tag: Tag) -> float:
    return tag.confidence
