"""Fetch, decode, orient and normalise a photo. Everything behind this stage is keyed by content."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Any

from pipeline.crash import crash_point
from pipeline.errors import RejectedInput, VitrineError
from pipeline.events import ImageRef, Product
from pipeline.graph import Scope
from pipeline.outcomes import Blob, Outcome
from storage.fetch import NotModified
from storage.pictures import decode, dhash, encode
from tasks._runtime import Runtime
from tasks._stage import Item, stage


class Photo(Outcome):
    """A photo as every later stage sees it: upright, sRGB, opaque over white, at most ``long_edge`` pixels."""

    original: Blob
    image: Blob
    width: int
    height: int
    dhash: str
    transparent: bool

    def load_bytes(self) -> int:
        return self.width * self.height * 3


def _identity(product: Product, image: ImageRef | None) -> Any:
    """A declared digest names the content; a URL does so only within one revision."""
    assert image is not None
    return {"sha256": image.sha256} if image.sha256 else {"url": image.url, "revision": product.revision}


@stage(
    version=1,
    scope=Scope.IMAGE,
    produces=Photo,
    reads=_identity,
    queue="fetch",
    params={"long_edge": 2048, "max_pixels": 50_000_000},
)
def photo(items: Sequence[Item], run: Runtime) -> list[Outcome | VitrineError]:
    """Each item alone: one slow or broken photo is no reason to hold up its neighbours."""
    outcomes: list[Outcome | VitrineError] = []
    for item in items:
        try:
            outcomes.append(_photo(item, run))
        except VitrineError as error:
            outcomes.append(error)
    return outcomes


def _photo(item: Item, run: Runtime) -> Photo:
    params = run.params
    data, remember = _bytes(item, run)
    picture = decode(data, max_pixels=params["max_pixels"], long_edge=params["long_edge"])
    media_type = "image/jpeg" if picture.alpha is None else "image/png"
    normalised = encode(picture.pixels, media_type=media_type)
    original, image = run.store([(data, "application/octet-stream"), (normalised, media_type)])
    crash_point("photo.stored")
    if remember is not None:
        run.downloads.remember(item.image.url, original, *remember)
    height, width = picture.pixels.shape[:2]
    return Photo(
        original=original,
        image=image,
        width=width,
        height=height,
        dhash=dhash(picture.pixels),
        transparent=picture.alpha is not None,
    )


def _bytes(item: Item, run: Runtime) -> tuple[bytes, tuple[str | None, str | None] | None]:
    """The photo's bytes, and the validators to remember if they were downloaded just now."""
    image = item.image
    if (
        image.sha256
        and (stored := run.downloads.stored(image.sha256))
        and run.assets.exists(stored.digest, stored.media_type)
    ):
        return run.load(stored), None
    known = run.downloads.find(image.url)
    if known and not run.assets.exists(known.blob.digest, known.blob.media_type):
        known = None  # the row outlived its file: the shop still has the photo
    if known and item.claimed.cause in ("replay", "release"):
        return run.load(known.blob), None
    answer = run.fetcher.fetch(
        image.url, etag=known.etag if known else None, last_modified=known.last_modified if known else None
    )
    if isinstance(answer, NotModified):
        assert known is not None
        return run.load(known.blob), None
    if image.sha256 and hashlib.sha256(answer.body).hexdigest() != image.sha256:
        raise RejectedInput(
            "digest-mismatch",
            f"image {image.id!r}: the bytes behind its URL are not the ones the event declares; "
            "publish a new revision with their SHA-256",
        )
    return answer.body, (answer.etag, answer.last_modified)
