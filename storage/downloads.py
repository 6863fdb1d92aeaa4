"""Where stored photos came from: validators for the next request, and the blob for a replay."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

from sqlalchemy import Engine, text

from pipeline.outcomes import Blob

_FIND = text("""
SELECT d.digest, a.media_type, a.size, d.etag, d.last_modified
FROM downloads d JOIN assets a ON a.digest = d.digest WHERE d.url_digest = :key
""")
_STORED = text("SELECT digest, media_type, size FROM assets WHERE digest = :digest")
_REMEMBER = text("""
INSERT INTO downloads (url_digest, digest, etag, last_modified)
VALUES (:key, :digest, :etag, :last_modified)
ON CONFLICT (url_digest) DO UPDATE SET digest = EXCLUDED.digest, etag = EXCLUDED.etag,
    last_modified = EXCLUDED.last_modified, fetched_at = now()
""")


@dataclass(frozen=True, slots=True)
class Known:
    """An earlier download of a URL that is still stored."""

    blob: Blob
    etag: str | None
    last_modified: str | None


class Downloads:
    """Remembers downloads by a digest of their URL: a URL may carry a signature and is not kept."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def find(self, url: str) -> Known | None:
        """The last download of ``url`` whose bytes are still stored."""
        with self._engine.connect() as connection:
            row = connection.execute(_FIND, {"key": _key(url)}).one_or_none()
        if row is None:
            return None
        blob = Blob(digest=row.digest, media_type=row.media_type, size=row.size)
        return Known(blob, row.etag, row.last_modified)

    def stored(self, digest: str) -> Blob | None:
        """The blob of this digest, if it is stored: a declared digest saves the download."""
        with self._engine.connect() as connection:
            row = connection.execute(_STORED, {"digest": digest}).one_or_none()
        return None if row is None else Blob(digest=row.digest, media_type=row.media_type, size=row.size)

    def remember(self, url: str, blob: Blob, etag: str | None, last_modified: str | None) -> None:
        """Keep the validators of a download whose blob was stored."""
        values = {"key": _key(url), "digest": blob.digest, "etag": etag, "last_modified": last_modified}
        with self._engine.begin() as connection:
            connection.execute(_REMEMBER, values)


def _key(url: str) -> bytes:
    return hashlib.sha256(url.encode()).digest()
