"""Qdrant: one collection an embedding space, one point a product, one alias over the collection that serves.

A point's id is the product's row id in Postgres. Its named vectors are ``image`` (each photo as a whole) and
``cutout`` (each product cut out), several a point of which the best match counts, ``text``, and the sparse
``words``. Postgres stays the truth: what is here can be made again from it, and no hit is believed without it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any
from urllib.parse import urlsplit, urlunsplit

import numpy as np
import numpy.typing as npt
from qdrant_client import QdrantClient, models
from qdrant_client.http.exceptions import ResponseHandlingException, UnexpectedResponse

from pipeline.errors import ConfigurationError, NotReady

ALIAS = "vitrine"
PHOTOS = ("image", "cutout")
TEXT = "text"
WORDS = "words"

INDEXED: Mapping[str, models.PayloadSchemaType] = {
    "source": models.PayloadSchemaType.KEYWORD,
    "product_id": models.PayloadSchemaType.KEYWORD,
    "version": models.PayloadSchemaType.INTEGER,
    "category": models.PayloadSchemaType.KEYWORD,
    "colours": models.PayloadSchemaType.KEYWORD,
    "price": models.PayloadSchemaType.FLOAT,
    "currency": models.PayloadSchemaType.KEYWORD,
    "availability": models.PayloadSchemaType.KEYWORD,
    "locale": models.PayloadSchemaType.KEYWORD,
    "tier": models.PayloadSchemaType.KEYWORD,
    "tags": models.PayloadSchemaType.KEYWORD,
}
"""The payload's fields that a search may narrow by."""

_TIMEOUT_S = 30
_LOOPBACK = frozenset({"127.0.0.1", "localhost", "::1"})


class IndexDown(NotReady):
    """Qdrant does not answer, or cannot now. Nothing is lost: Postgres knows what has yet to be written."""


@dataclass(frozen=True, slots=True)
class Sparse:
    """A sparse vector: indices without repetition, and a value for each."""

    indices: tuple[int, ...]
    values: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class Point:
    """What the index is to hold of a product. ``dense`` by name: (rows, D) for photos, (1, D) for text."""

    id: int
    version: int
    payload: Mapping[str, Any]
    dense: Mapping[str, npt.NDArray[np.floating[Any]]] = field(default_factory=dict)
    words: Sparse | None = None


def guard_index(url: str) -> None:
    """Refuse an address that is none, or that anybody on the network could read and write."""
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ConfigurationError("VITRINE_QDRANT_URL is no URL such as https://:api-key@host:6333")
    if parts.hostname not in _LOOPBACK and not parts.password:
        raise ConfigurationError(
            f"VITRINE_QDRANT_URL names {parts.hostname} without an API key: set one in Qdrant "
            "(service.api_key) and in the URL, https://:api-key@host:6333"
        )


def _connect(url: str) -> QdrantClient:
    guard_index(url)
    parts = urlsplit(url)
    where = f"[{parts.hostname}]" if ":" in str(parts.hostname) else parts.hostname
    return QdrantClient(
        url=urlunsplit((parts.scheme, f"{where}:{parts.port or 6333}", parts.path, "", "")),
        # As a header, since the client warns of a key on every connection without TLS, loopback's too.
        headers={"api-key": parts.password} if parts.password else None,
        timeout=_TIMEOUT_S,
        check_compatibility=False,
        # No proxy of the environment stands between a worker and its index.
        trust_env=False,
    )


class VectorIndex:
    """The collections behind ``url``, ``https://:api-key@host:6333``, connected at the first use.

    Every method raises IndexDown where Qdrant does not answer.
    """

    def __init__(self, url: str) -> None:
        self._url = url

    @cached_property
    def client(self) -> QdrantClient:
        """The client. Raises ConfigurationError where ``guard_index`` does."""
        return _connect(self._url)

    def close(self) -> None:
        self.client.close()

    def exists(self, collection: str) -> bool:
        with translated(collection):
            return self.client.collection_exists(collection)

    def create(self, collection: str, dimension: int) -> None:
        """Make the collection unless it is there. Raises ConfigurationError if it holds another dimension."""
        with translated(collection):
            if not self.client.collection_exists(collection):
                try:
                    self._create(collection, dimension)
                except (UnexpectedResponse, ValueError):
                    # Another process was faster; anything else shows in the next line.
                    if not self.client.collection_exists(collection):
                        raise
            held = self._dimension(collection)
        if held != dimension:
            raise ConfigurationError(
                f"collection {collection} holds vectors of {held} numbers, the engine makes {dimension}: "
                "an engine whose vectors change needs a new revision; fill a new space with "
                "`vitrine models shadow embed=NAME`"
            )

    def _create(self, collection: str, dimension: int) -> None:
        several = models.MultiVectorConfig(comparator=models.MultiVectorComparator.MAX_SIM)
        dense = {
            name: models.VectorParams(
                size=dimension,
                distance=models.Distance.COSINE,
                multivector_config=several if name in PHOTOS else None,
                datatype=models.Datatype.FLOAT16,
                on_disk=True,
            )
            for name in (*PHOTOS, TEXT)
        }
        self.client.create_collection(
            collection,
            vectors_config=dense,
            sparse_vectors_config={WORDS: models.SparseVectorParams(modifier=models.Modifier.IDF)},
            # The eight-bit copy is searched in memory, the stored vectors score again what it finds.
            quantization_config=models.ScalarQuantization(
                scalar=models.ScalarQuantizationConfig(
                    type=models.ScalarType.INT8, quantile=0.99, always_ram=True
                )
            ),
        )
        for name, kind in INDEXED.items():
            self.client.create_payload_index(collection, name, kind)

    def _dimension(self, collection: str) -> int:
        vectors = self.client.get_collection(collection).config.params.vectors
        assert isinstance(vectors, dict)
        return vectors[TEXT].size

    def drop(self, collection: str) -> None:
        """Delete the collection with everything in it."""
        with translated(collection):
            self.client.delete_collection(collection)

    def serve(self, collection: str) -> None:
        """Point the alias at the collection, in one step with letting go of the one before."""
        create = models.CreateAliasOperation(
            create_alias=models.CreateAlias(collection_name=collection, alias_name=ALIAS)
        )
        delete = models.DeleteAliasOperation(delete_alias=models.DeleteAlias(alias_name=ALIAS))
        with translated(collection):
            self.client.update_collection_aliases([delete, create] if self.serving() else [create])

    def serving(self) -> str | None:
        """The collection behind the alias."""
        with translated(ALIAS):
            aliases = self.client.get_aliases().aliases
        return next((alias.collection_name for alias in aliases if alias.alias_name == ALIAS), None)

    def write(self, collection: str, points: Sequence[Point]) -> None:
        """Put the points there, each unless a younger version of it is there already.

        A point that is not there is made whatever its version, also after a deletion: the caller deletes again.
        """
        if not points:
            return
        operations = [
            models.UpsertOperation(
                upsert=models.PointsList(
                    points=[_struct(point)], update_filter=models.Filter(must=[_until(point.version)])
                )
            )
            for point in points
        ]
        with translated(collection):
            self.client.batch_update_points(collection, operations, wait=True)

    def delete(self, collection: str, gone: Mapping[int, int]) -> None:
        """Delete the points, id to version, each unless a younger version of it is there."""
        if not gone:
            return
        operations = [
            models.DeleteOperation(
                delete=models.FilterSelector(
                    filter=models.Filter(must=[models.HasIdCondition(has_id=[number]), _until(version)])
                )
            )
            for number, version in gone.items()
        ]
        with translated(collection):
            self.client.batch_update_points(collection, operations, wait=True)

    def count(self, collection: str) -> int:
        """How many points there are."""
        with translated(collection):
            return self.client.count(collection, exact=True).count

    def versions(self, collection: str, page: int = 1000) -> Iterator[tuple[int, int]]:
        """Every point's id and version, in the order of ids, in bounded memory."""
        offset: Any = None
        while True:
            with translated(collection):
                found, offset = self.client.scroll(
                    collection, limit=page, offset=offset, with_payload=["version"], with_vectors=False
                )
            for record in found:
                assert isinstance(record.id, int)
                yield record.id, int((record.payload or {}).get("version", 0))
            if offset is None:
                return


def _struct(point: Point) -> models.PointStruct:
    vectors: dict[str, Any] = {}
    for name, rows in point.dense.items():
        numbers = np.asarray(rows, dtype=np.float32).tolist()
        vectors[name] = numbers if name in PHOTOS else numbers[0]
    if point.words is not None and point.words.indices:
        vectors[WORDS] = models.SparseVector(
            indices=list(point.words.indices), values=list(point.words.values)
        )
    return models.PointStruct(
        id=point.id, vector=vectors, payload={**point.payload, "version": point.version}
    )


def _until(version: int) -> models.FieldCondition:
    return models.FieldCondition(key="version", range=models.Range(lte=version))


@contextmanager
def translated(collection: str) -> Iterator[None]:
    """What the client raises, in the terms of this system."""
    try:
        yield
    except ResponseHandlingException as error:
        raise IndexDown(f"Qdrant does not answer ({error.source}): it is tried again") from error
    except UnexpectedResponse as error:
        if error.status_code in (401, 403):
            raise ConfigurationError(
                "Qdrant refuses the API key: set the right one in VITRINE_QDRANT_URL"
            ) from error
        if error.status_code == 404:
            raise IndexDown(f"collection {collection} is not in Qdrant: it is made again") from error
        if error.status_code is not None and error.status_code >= 429:
            raise IndexDown(f"Qdrant cannot answer now ({error.status_code}): it is tried again") from error
        raise
