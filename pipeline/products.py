"""What a catalog says of a product: the data of the events, with a limit on everything in it."""

from __future__ import annotations

from decimal import Decimal
from typing import Annotated, Final, Literal

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    StringConstraints,
    ValidationInfo,
    WithJsonSchema,
    field_validator,
)
from pydantic_core import PydanticCustomError

MAX_IMAGES: Final = 64

# Postgres stores no NUL; ids also end up in logs and headers, so they hold no control character at all.
Id = Annotated[str, StringConstraints(max_length=200, pattern=r"^[^\x00-\x1f\x7f-\x9f]+$")]
_NO_NUL = r"^[^\x00]*$"
Title = Annotated[str, StringConstraints(max_length=1_000, pattern=_NO_NUL)]
Description = Annotated[str, StringConstraints(max_length=20_000, pattern=_NO_NUL)]
Category = Annotated[str, StringConstraints(max_length=500, pattern=_NO_NUL)]
Brand = Annotated[str, StringConstraints(max_length=200, pattern=_NO_NUL)]
Tag = Annotated[str, StringConstraints(min_length=1, max_length=100, pattern=_NO_NUL)]
OptionValue = Annotated[str, StringConstraints(max_length=200, pattern=_NO_NUL)]
Url = Annotated[
    str, StringConstraints(max_length=4_096, pattern=r"^[A-Za-z][A-Za-z0-9+.-]*:[^\x00-\x20\x7f-\x9f]+$")
]
Sha256 = Annotated[str, StringConstraints(pattern=r"^[0-9A-Fa-f]{64}$", to_lower=True)]
Locale = Annotated[str, StringConstraints(max_length=35, pattern=r"^[A-Za-z]{2,8}(-[A-Za-z0-9]{1,8})*$")]
Revision = Annotated[int, Field(strict=True, ge=1, le=2**62)]
Amount = Annotated[
    Decimal,
    Field(ge=0, max_digits=18, decimal_places=6),
    WithJsonSchema(
        {
            "anyOf": [
                {"type": "string", "pattern": r"^[0-9]{1,12}(\.[0-9]{1,6})?$"},
                {"type": "number", "minimum": 0, "exclusiveMaximum": 10**12},
            ]
        }
    ),
]


class Contract(BaseModel):
    """Base of what an event holds: frozen; unknown fields are dropped, so that the contract can grow."""

    model_config = ConfigDict(frozen=True, extra="ignore", allow_inf_nan=False)


class ImageRef(Contract):
    """One photo of a product, by reference."""

    id: Id = Field(description="unique within the product, stable over revisions")
    url: Url = Field(description="absolute URL: https, http, or file below a configured root")
    position: int = Field(default=0, strict=True, ge=0, le=100_000, description="order of display, 0 first")
    role: Literal["front", "back", "detail", "spin"] = Field(default="front", description="what it shows")
    sha256: Sha256 | None = Field(default=None, description="digest of the bytes behind the URL, in hex")
    view_angle: float | None = Field(
        default=None, strict=True, ge=-360, le=360, description="degrees around the product, for a spin"
    )


class Variant(Contract):
    """One SKU of a product: a size, a colour."""

    id: Id = Field(description="unique within the product")
    sku: Id = Field(description="stock keeping unit")
    options: dict[Brand, OptionValue] = Field(
        default_factory=dict, max_length=50, description='such as {"size": "M"}'
    )
    image_ids: tuple[Id, ...] = Field(
        default=(), max_length=MAX_IMAGES, description="the photos that show it, by id"
    )


class Price(Contract):
    """An amount of money. As a JSON string the amount is exact; a JSON number passes through a float."""

    amount: Amount = Field(description="in units of the currency")
    currency: str = Field(pattern=r"^[A-Z]{3}$", description="ISO 4217 code")


class Product(Contract):
    """The whole state of a product at one revision: an event replaces, it never patches."""

    product_id: Id = Field(description="identity within the source")
    revision: Revision = Field(description="grows with every change of the product")
    title: Title = Field(default="", description="name of the product")
    description: Description = Field(default="", description="plain text")
    category: Category = Field(default="", description="category, or a path of categories")
    brand: Brand = Field(default="", description="brand or maker")
    tags: tuple[Tag, ...] = Field(default=(), max_length=64, description="the merchant's own keywords")
    locale: Locale = Field(default="en", description="language of the texts, BCP 47")
    price: Price | None = Field(default=None, description="price for display")
    availability: Literal["in_stock", "out_of_stock", "preorder"] = Field(
        default="in_stock", description="whether it can be bought now; what cannot is found last"
    )
    tier: Literal["standard", "high"] = Field(default="standard", description="how much work it deserves")
    images: tuple[ImageRef, ...] = Field(default=(), max_length=MAX_IMAGES, description="ids are unique")
    variants: tuple[Variant, ...] = Field(default=(), max_length=1_000, description="ids are unique")
    relist: bool = Field(default=False, strict=True, description="lifts an earlier withdrawal")

    @field_validator("images")
    @classmethod
    def _one_image_an_id(cls, images: tuple[ImageRef, ...]) -> tuple[ImageRef, ...]:
        if len({image.id for image in images}) < len(images):
            raise PydanticCustomError("duplicate-id", "two images share an id; give each its own")
        return images

    @field_validator("variants")
    @classmethod
    def _variants_agree(cls, variants: tuple[Variant, ...], info: ValidationInfo) -> tuple[Variant, ...]:
        if len({variant.id for variant in variants}) < len(variants):
            raise PydanticCustomError("duplicate-id", "two variants share an id; give each its own")
        if "images" in info.data:
            known = {image.id for image in info.data["images"]}
            for variant in variants:
                if not known.issuperset(variant.image_ids):
                    raise PydanticCustomError("unknown-image", "a variant names an image that is not listed")
        return variants


class Withdrawal(Contract):
    """Takes a product out of the shop.

    At a revision it beats whatever that revision or an earlier one says. Without one it is *thin*: it blocks
    the product until an event with ``relist`` true and a later time.
    """

    product_id: Id = Field(description="identity within the source")
    revision: Revision | None = Field(default=None, description="absent for a thin withdrawal")
