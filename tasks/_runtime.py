"""What a stage may reach: its engine, the asset store, the guarded download. Nothing else."""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from engines.protocols import RGB, Alpha
from pipeline.outcomes import Blob
from storage.assets import Assets
from storage.downloads import Downloads
from storage.fetch import Fetcher
from storage.ledger import Ledger
from storage.pictures import decode

_CACHE_BYTES = 128 << 20


@dataclass(slots=True)
class Runtime:
    """The reach of the stages in one process."""

    ledger: Ledger
    assets: Assets
    fetcher: Fetcher
    downloads: Downloads
    engine_of: Callable[[str], Any]
    _pixels: PixelCache = field(default_factory=lambda: PixelCache(_CACHE_BYTES))

    def engine(self, role: str) -> Any:
        """The engine that serves a role, loaded. It implements the role's protocol."""
        return self.engine_of(role)

    def params(self, stage: str) -> Mapping[str, Any]:
        """A stage's parameters: those that its fingerprints were made with."""
        return self.ledger.graph.recipes[stage].params

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
