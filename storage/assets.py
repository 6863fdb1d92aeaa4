"""Content-addressed blobs in a local folder or an object store, which differ only by a URL."""

from __future__ import annotations

import hashlib
import os
import re
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, overload
from urllib.parse import unquote, urlsplit

import obstore
from obstore.exceptions import BaseError
from obstore.store import LocalStore, MemoryStore, S3Store

from pipeline.crash import crash_point
from pipeline.errors import ConfigurationError, RejectedInput, Transient
from pipeline.outcomes import Blob

if TYPE_CHECKING:
    from obstore.store import RetryConfig  # not there at run time

EXTENSIONS = {
    "image/jpeg": "jpg",
    "image/png": "png",
    "image/webp": "webp",
    "image/gif": "gif",
    "image/avif": "avif",
    "application/json": "json",
    "application/octet-stream": "bin",
}
"""The media types a blob can be served as; every other type is stored as ``.bin`` and served as bytes."""

_MEDIA_TYPES = {extension: media_type for media_type, extension in EXTENSIONS.items()}
_DIGEST = re.compile(r"[0-9a-f]{64}")
_KEY = re.compile(r"([0-9a-f]{2})/([0-9a-f]{2})/(\1\2[0-9a-f]{60})\.([a-z]+)")
_TEMPORARY = ".tmp"
# A run holds a lease while it waits here: give up early and let the stage runner retry with its backoff.
_RETRY: RetryConfig = {"max_retries": 3, "retry_timeout": timedelta(seconds=15)}


@dataclass(frozen=True, slots=True)
class StoredBlob:
    """A blob found in the store. ``size`` is in bytes, ``modified`` is the store's own clock, with a zone."""

    digest: str
    media_type: str
    size: int
    modified: datetime


class Assets:
    """Blobs under the SHA-256 of their bytes. One instance may be shared by threads.

    A process forked after any instance was used may use none: it raises ``ConfigurationError`` there.

    ``url`` is one of

    - ``file:///absolute/folder``: made if missing; a write is durable when ``put`` returns;
    - ``s3://bucket/prefix``: credentials, region and endpoint come from the usual ``AWS_*`` variables; an
      endpoint without TLS needs ``AWS_ALLOW_HTTP=true``;
    - ``memory://``: private to this instance, gone with it.

    A store that fails, is full or cannot be reached raises ``Transient``.
    """

    def __init__(self, url: str) -> None:
        self.url = url
        self._folder: Path | None = None
        self._store: LocalStore | MemoryStore | S3Store
        parts = urlsplit(url)
        try:
            if parts.scheme == "file" and not parts.netloc and parts.path.startswith("/"):
                self._folder = Path(unquote(parts.path))
                (self._folder / _TEMPORARY).mkdir(parents=True, exist_ok=True)
                self._store = LocalStore(self._folder)
            elif parts.scheme == "s3" and parts.netloc:
                self._store = S3Store.from_url(url, retry_config=_RETRY)
            elif url.rstrip("/") == "memory:":
                self._store = MemoryStore()
            else:
                raise ConfigurationError(
                    f"the asset store {url!r} is no URL of a known kind; "
                    "use file:///absolute/folder, s3://bucket/prefix or memory://"
                )
        except (OSError, BaseError, ValueError) as error:
            raise ConfigurationError(
                f"the asset store {url} cannot be opened: {error}; make the folder writable for this user, "
                "or correct the AWS_* environment variables"
            ) from error

    @staticmethod
    def key(digest: str, media_type: str) -> str:
        """Where a blob lies under the store's root: ``ab/cd/<digest>.<extension>``.

        Raises ``RejectedInput("bad-digest")``, so that no name from outside can lead out of the store.
        """
        if not _DIGEST.fullmatch(digest):
            raise RejectedInput("bad-digest", f"{digest!r:.80} is no SHA-256 in 64 lower-case hex digits")
        return f"{digest[:2]}/{digest[2:4]}/{digest}.{EXTENSIONS.get(media_type, 'bin')}"

    def put(self, data: bytes, media_type: str) -> Blob:
        """Store the bytes and return their reference. Storing what is there already costs one look.

        A blob found with another size was torn by something outside Vitrine and is written again.
        """
        digest = hashlib.sha256(data).hexdigest()
        key = self.key(digest, media_type)
        if self._size(key) != len(data):
            if self._folder is not None:
                self._write_durably(self._folder, key, data)
            else:
                with self._failing_as_transient(f"writing {key}"):
                    # One request, so that a crash leaves no parts of a multipart upload behind.
                    obstore.put(
                        self._store, key, data, attributes={"Content-Type": media_type}, use_multipart=False
                    )
        elif self._folder is not None:
            # It may be another process's rename that has not reached the disk; ours is to be durable too.
            with self._failing_as_transient(f"syncing {key}"):
                _sync_folders(self._folder, key)
        return Blob(digest=digest, media_type=media_type, size=len(data))

    @overload
    def get(self, blob: Blob) -> bytes: ...
    @overload
    def get(self, blob: str, media_type: str) -> bytes: ...
    def get(self, blob: Blob | str, media_type: str = "application/octet-stream") -> bytes:
        """The bytes of a blob, named by its reference or by digest and media type.

        Raises ``Transient`` for a missing blob (a folder not mounted or a restore under way heals by itself;
        the attempts are bounded) and ``RejectedInput("damaged-asset")`` when the bytes do not match the
        digest, which no retry changes.
        """
        if isinstance(blob, Blob):
            return self.get(blob.digest, blob.media_type)
        key = self.key(blob, media_type)
        with self._failing_as_transient(f"reading {key}"):
            try:
                data = obstore.get(self._store, key).bytes().to_bytes()
            except FileNotFoundError as error:
                raise Transient(
                    f"asset {blob} is missing in {self.url}; mount or restore the store, "
                    "or replay the stage that made it with --force"
                ) from error
        if hashlib.sha256(data).hexdigest() != blob:
            raise RejectedInput(
                "damaged-asset",
                f"asset {blob} in {self.url} does not match its digest; delete {key} "
                "and replay the stage that made it with --force",
            )
        return data

    def exists(self, digest: str, media_type: str) -> bool:
        """Whether the blob is there; its bytes are not read."""
        return self._size(self.key(digest, media_type)) is not None

    def delete(self, digest: str, media_type: str) -> None:
        """Remove the blob; one that is not there is fine."""
        key = self.key(digest, media_type)
        with self._failing_as_transient(f"deleting {key}"), suppress(FileNotFoundError):
            obstore.delete(self._store, key)

    def list(self, beginning: str = "") -> Iterator[StoredBlob]:
        """Every blob in the store, in no order, or those whose digests begin with these two hex digits.

        What is not a blob of ours is passed over.
        """
        with self._failing_as_transient("listing"):
            for chunk in obstore.list(self._store, prefix=beginning or None, chunk_size=1000):
                for found in chunk:
                    name = _KEY.fullmatch(found["path"])
                    if name and name[4] in _MEDIA_TYPES:
                        yield StoredBlob(
                            name[3], _MEDIA_TYPES[name[4]], found["size"], found["last_modified"]
                        )

    def sweep_temporary(self, older_than_s: float) -> int:
        """Remove what writers that died left behind; return how many files. Object stores keep none."""
        if self._folder is None:
            return 0
        limit = time.time() - older_than_s
        swept = 0
        with self._failing_as_transient("sweeping"):
            for path in (self._folder / _TEMPORARY).iterdir():
                try:
                    if path.stat().st_mtime < limit:
                        path.unlink()
                        swept += 1
                except FileNotFoundError:
                    continue  # its writer finished, or another sweep was faster
        return swept

    def local_path(self, digest: str, media_type: str) -> Path | None:
        """The blob's file for a web server to send, whether or not it exists; None off the local disk."""
        key = self.key(digest, media_type)
        return None if self._folder is None else self._folder / key

    def _size(self, key: str) -> int | None:
        with self._failing_as_transient(f"looking for {key}"):
            try:
                return obstore.head(self._store, key)["size"]
            except FileNotFoundError:
                return None

    def _write_durably(self, folder: Path, key: str, data: bytes) -> None:
        # obstore's LocalStore stages and renames but never calls fsync (seen in a system call trace of
        # 0.12.1): after a power cut a name could stand over an empty file. So local writes are our own;
        # everything else goes through obstore.
        target = folder / key
        temporary = folder / _TEMPORARY / uuid.uuid4().hex
        with self._failing_as_transient(f"writing {key}"):
            temporary.parent.mkdir(exist_ok=True)
            target.parent.mkdir(parents=True, exist_ok=True)
            try:
                with temporary.open("xb") as file:
                    file.write(data)
                    file.flush()
                    os.fsync(file.fileno())
                crash_point("asset.before_rename")
                temporary.replace(target)
            finally:
                temporary.unlink(missing_ok=True)
            _sync_folders(folder, key)

    @contextmanager
    def _failing_as_transient(self, doing: str) -> Iterator[None]:
        if _process_of_first_use() != os.getpid():
            # obstore would wait forever for its threads, which stayed in the parent.
            raise ConfigurationError(
                f"the asset store {self.url} was used before this process was forked; "
                "use a threads or solo pool, or touch no asset before the fork"
            )
        try:
            yield
        except (OSError, BaseError) as error:
            what = str(error).partition("\n\nDebug source")[0]  # obstore appends a page of its internals
            raise Transient(
                f"{doing} in the asset store {self.url} failed: {what}; it is retried: "
                "check free space and permissions there, or the endpoint and its credentials"
            ) from error


@cache
def _process_of_first_use() -> int:
    return os.getpid()


def _sync_folders(folder: Path, key: str) -> None:
    """Make the names on the way to ``key`` durable, whoever made them; syncing a clean folder is cheap."""
    for parent in Path(key).parents:
        descriptor = os.open(folder / parent, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
