"""Which kind of garment a product is, by its tags."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from engines.protocols import Tag
from engines.protocols.fitting import GarmentKind

OF_TYPE: Mapping[str, GarmentKind] = {
    **dict.fromkeys(("t-shirt", "long-sleeve-top", "shirt", "sweatshirt"), GarmentKind.UPPER),
    **dict.fromkeys(
        ("outerwear", "jacket", "cardigan", "coat", "cloak", "suit", "lab-coat"), GarmentKind.OUTERWEAR
    ),
    **dict.fromkeys(("trousers", "jeans", "shorts", "skirt"), GarmentKind.LOWER),
    **dict.fromkeys(("dress", "gown", "abaya", "kimono"), GarmentKind.DRESS),
    **dict.fromkeys(("pajamas", "underwear", "swimwear", "leotard", "apron", "socks"), GarmentKind.ACCESSORY),
}
"""Of the vocabulary's clothes; what is worn, but not as one of the four that can be fitted, counts as an accessory."""

OF_CATEGORY: Mapping[str, GarmentKind] = {
    "footwear": GarmentKind.FOOTWEAR,
    "accessories": GarmentKind.ACCESSORY,
}


def kind_of(tags: Iterable[Tag]) -> GarmentKind | None:
    """None of what is nothing to wear, and of clothes of which it is not known what they are.

    The surest type decides; a jacket that is also a long-sleeve top is outerwear if that is as sure.
    """
    types = sorted(
        (tag for tag in tags if tag.attribute == "product_type" and tag.value in OF_TYPE),
        key=lambda tag: (-tag.confidence, OF_TYPE[tag.value] is not GarmentKind.OUTERWEAR, tag.value),
    )
    if types:
        return OF_TYPE[types[0].value]
    return next(
        (OF_CATEGORY[tag.value] for tag in tags if tag.attribute == "category" and tag.value in OF_CATEGORY),
        None,
    )
