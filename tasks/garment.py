"""Find the places and parts of a garment in its photos from the front and the back."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from engines.garments.kinds import kind_of
from engines.garments.parts import packed, unpacked
from engines.protocols import Subject
from engines.protocols.fitting import Garment, GarmentKind, GarmentMap, GarmentMapper, Landmark, Side
from pipeline.errors import RejectedInput, VitrineError
from pipeline.events import ImageRef, Product
from pipeline.graph import Scope
from pipeline.outcomes import Blob, Outcome, Value
from storage.pictures import encode
from tasks._runtime import Runtime
from tasks._stage import Item, stage
from tasks.cutout import CutOut
from tasks.photo import Photo
from tasks.screen import Screened
from tasks.tag import Tagged


class Place(Value):
    """A landmark: pixels of the photo, and how sure it is in [0, 1]."""

    x: float
    y: float
    confidence: float


class MappedPhoto(Value):
    """The map of one photo. ``photo`` and ``mask`` are the digests of what it was read off; ``parts`` a picture of
    the photo's size as ``engines.garments.parts.packed`` makes it, None where there are none. ``unsupported`` says
    why nothing can be fitted with this photo, empty where it can."""

    image: str
    photo: str
    mask: str
    side: Side
    landmarks: dict[str, Place]
    parts: Blob | None
    symmetry: float
    confidence: float
    unsupported: str


class GarmentMapped(Outcome):
    """What is known of a product as a garment, the front first. ``kind`` is None and there are no photos where the
    product is no garment, or none of a known kind."""

    kind: GarmentKind | None
    types: tuple[str, ...]
    photos: tuple[MappedPhoto, ...]


def _present(outcome: GarmentMapped) -> Mapping[str, Any]:
    if outcome.kind is None:
        return {"garment": None}
    told = outcome.model_dump(mode="json")
    shown = ("image", "side", "landmarks", "parts", "symmetry", "confidence", "unsupported")
    return {
        "garment": {
            "kind": told["kind"],
            "photos": [{name: photo[name] for name in shown} for photo in told["photos"]],
        }
    }


def _read_roles(product: Product, _: ImageRef | None) -> Any:
    """Which side a photo shows follows from its role."""
    return [[image.id, image.role] for image in product.images]


@stage(
    version=1,
    scope=Scope.PRODUCT,
    produces=GarmentMapped,
    needs=(Photo, Screened, CutOut, Tagged),
    reads=_read_roles,
    role="garment_mapper",
    presents=_present,
    batch=8,
)
def garment(items: Sequence[Item], run: Runtime) -> list[Outcome | VitrineError]:
    """Map all the photos of a batch together. A product that is no garment is done at once, not turned away."""
    mapper: GarmentMapper = run.engine("garment_mapper")
    seen = [_views(item, run) for item in items]
    maps = iter(mapper.map([view for _, views in seen for _, _, _, view in views]))
    return [_outcome(run, kind, views, [next(maps) for _ in views]) for kind, views in seen]


_View = tuple[str, Photo, CutOut, Garment]


def _views(item: Item, run: Runtime) -> tuple[GarmentKind | None, list[_View]]:
    """The kind of the product, and its photos from the front and the back as the mapper takes them."""
    tags = item.one(Tagged).held()
    kind = kind_of(tags)
    if kind is None:
        return None, []
    types = tuple(tag.value for tag in tags if tag.attribute == "product_type")
    roles = {image.id: image.role for image in item.product.images}
    photos, allowed = dict(item.all(Photo)), dict(item.all(Screened))
    views = [
        (
            image,
            photos[image],
            cut,
            Garment(_subject(run, photos[image], cut), kind, Side(roles[image]), types),
        )
        for image, cut in item.all(CutOut)
        if image in photos and image in allowed and roles[image] in tuple(Side)
    ]
    return kind, sorted(views, key=lambda view: view[3].side is Side.BACK)


def _subject(run: Runtime, photo: Photo, cut: CutOut) -> Subject:
    return Subject(run.pixels(photo.image), run.alpha(cut.mask))


def _outcome(
    run: Runtime,
    kind: GarmentKind | None,
    views: Sequence[_View],
    maps: Sequence[GarmentMap | RejectedInput],
) -> Outcome:
    types = views[0][3].types if views else ()
    return GarmentMapped(
        kind=kind,
        types=types,
        photos=tuple(_mapped(run, view, found) for view, found in zip(views, maps, strict=True)),
    )


def _mapped(run: Runtime, view: _View, found: GarmentMap | RejectedInput) -> MappedPhoto:
    image, photo, cut, told = view
    if isinstance(found, RejectedInput):
        found = GarmentMap(told.kind, told.side, {}, {}, 0.0, 0.0, str(found))
    blob = None
    if found.parts:
        (blob,) = run.store(
            [(encode(packed(found.parts, told.subject.alpha.shape), media_type="image/png"), "image/png")]
        )
    return MappedPhoto(
        image=image,
        photo=photo.image.digest,
        mask=cut.mask.digest,
        side=found.side,
        landmarks={
            name: Place(x=round(mark.x, 2), y=round(mark.y, 2), confidence=round(mark.confidence, 4))
            for name, mark in found.landmarks.items()
        },
        parts=blob,
        symmetry=round(found.symmetry, 4),
        confidence=round(found.confidence, 4),
        unsupported=found.unsupported,
    )


def map_of(run: Runtime, kind: GarmentKind, photo: MappedPhoto) -> GarmentMap:
    """A photo's map as engines take it."""
    return GarmentMap(
        kind,
        photo.side,
        {name: Landmark(place.x, place.y, place.confidence) for name, place in photo.landmarks.items()},
        unpacked(run.pixels(photo.parts)) if photo.parts else {},
        photo.symmetry,
        photo.confidence,
        photo.unsupported,
    )
