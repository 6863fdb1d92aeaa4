"""What a stage may reach: its engine, the asset store, the guarded download, the index. Nothing else."""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from engines.protocols import RGB, Alpha, CatalogFacts
from engines.registry import Engines
from pipeline.errors import ConfigurationError
from pipeline.events import Product
from pipeline.keys import Recipe
from pipeline.outcomes import Blob
from storage.assets import Assets
from storage.downloads import Downloads
from storage.fetch import Fetcher
from storage.ledger import Ledger
from storage.pictures import decode
from storage.provenance import Signer
from storage.vectors import VectorIndex

_CACHE_BYTES = 128 << 20
_NO_RECIPE = Recipe("", 0)


@dataclass(slots=True)
class Runtime:
    """The reach of the stages in one process."""

    ledger: Ledger
    assets: Assets
    fetcher: Fetcher
    downloads: Downloads
    engines: Engines
    index: VectorIndex
    signing: Callable[[], Signer]
    recipe: Recipe = _NO_RECIPE
    _pixels: PixelCache = field(default_factory=lambda: PixelCache(_CACHE_BYTES))

    def serving(self, recipe: Recipe) -> Runtime:
        """The same reach for a batch of one recipe: what its fingerprints say is what computes it."""
        return replace(self, recipe=recipe)

    def engine(self, role: str) -> Any:
        """The engine that serves the stage's role in this batch, loaded. It implements the role's protocol."""
        if role != self.ledger.graph.stages[self.recipe.stage].role:
            raise ConfigurationError(
                f"stage {self.recipe.stage} asks for the engine of role {role!r}, which it does not declare: "
                "its fingerprints would not know of it"
            )
        return self.engines.get(self.recipe.engine)

    def aid(self, role: str) -> Any:
        """The engine of a role that the stage names among its aids, loaded."""
        return self.engines.get(self.params["aids"][role].partition("@")[0])

    @property
    def params(self) -> Mapping[str, Any]:
        """The stage's parameters: those that its fingerprints were made with."""
        return self.recipe.params

    def facts(self, product: Product) -> CatalogFacts:
        """What the batch's engine may know of the merchant's words: the fields it declares that it reads, the
        others empty. Its fingerprints follow these alone."""
        return catalog_facts(product).only(self.engines.spec(self.recipe.engine).reads)

    def store(self, contents: Sequence[tuple[bytes, str]]) -> list[Blob]:
        """Store bytes with their media types; the blobs are safe from any sweep until the stage settles."""
        blobs = [
            Blob(digest=hashlib.sha256(data).hexdigest(), media_type=media_type, size=len(data))
            for data, media_type in contents
        ]
        self.ledger.touch(blobs)
        for data, media_type in contents:
            self.assets.put(data, media_type)
        return blobs

    def holds(self, blob: Blob) -> bool:
        """Whether the blob's bytes are there."""
        return self.assets.exists(blob.digest, blob.media_type)

    def load(self, blob: Blob) -> bytes:
        """The bytes of a blob."""
        return self.assets.get(blob)

    def pixels(self, blob: Blob) -> RGB:
        """A stored picture as pixels; do not write to the array, neighbours in the batch may share it."""
        return self._pixels.get(blob.digest, lambda: decode(self.load(blob)).pixels)

    def alpha(self, blob: Blob) -> Alpha:
        """A stored mask as an alpha in [0, 1]."""
        grey = decode(self.load(blob)).pixels[..., 0]
        return grey.astype(np.float32) / np.float32(255.0)


def catalog_facts(product: Product) -> CatalogFacts:
    """What the merchant says, as engines take it."""
    return CatalogFacts(
        title=product.title,
        description=product.description,
        category=product.category,
        brand=product.brand,
        tags=product.tags,
        locale=product.locale,
    )


class PixelCache:
    """The pictures decoded last: the stages of one photo follow each other in the same process."""

    def __init__(self, limit_bytes: int) -> None:
        self._limit = limit_bytes
        self._bytes = 0
        self._kept: OrderedDict[str, RGB] = OrderedDict()

    def get(self, digest: str, read: Callable[[], RGB]) -> RGB:
        """The pixels of ``digest``, read if they are not at hand."""
        if digest in self._kept:
            self._kept.move_to_end(digest)
            return self._kept[digest]
        pixels = read()
        self._kept[digest] = pixels
        self._bytes += pixels.nbytes
        while self._bytes > self._limit and len(self._kept) > 1:
            self._bytes -= self._kept.popitem(last=False)[1].nbytes
        return pixels
