"""Compare what Postgres says with what the index and the asset store hold, in bounded memory.

The index is walked beside Postgres in the order of ids, the assets by the first two digits of their digests: a
256th of them at a time.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from sqlalchemy import Engine, text

from storage.assets import Assets, StoredBlob
from storage.indexable import IndexedPoints
from storage.spaces import Space
from storage.vectors import VectorIndex

_PAGE = 2_000
_SHOWN = 20

_LIVE = text("""
SELECT i.product_id FROM index_points i JOIN products p ON p.id = i.product_id
WHERE i.space_id = :space AND i.product_id = ANY(:ids) AND i.removed_at IS NULL AND p.live
""")
_ASSETS = text("""
SELECT a.digest, a.media_type, EXISTS (SELECT FROM asset_uses u WHERE u.digest = a.digest) AS used
FROM assets a WHERE a.digest >= :low AND a.digest < :high
""")
_AFFECTED = text("""
SELECT DISTINCT p.source, p.product_id, j.stage FROM asset_uses u JOIN jobs j ON j.id = u.job_id
JOIN runs r ON r.job_id = j.id JOIN products p ON p.plan_id = r.plan_id
WHERE u.digest = ANY(:digests) AND p.live
""")


@dataclass(slots=True)
class Difference:
    """One kind of disagreement: how many, and the first of them. ``ids`` are row ids or digests."""

    count: int = 0
    ids: list[str] = field(default_factory=list)

    def add(self, name: object) -> None:
        self.count += 1
        if len(self.ids) < _SHOWN:
            self.ids.append(str(name))


@dataclass(slots=True)
class IndexReport:
    """One space's collection against Postgres.

    ``missing`` points should be there and are not, ``stale`` ones are older than what was written, ``orphaned``
    ones belong to no live product, ``unwritten`` products wait to be written.
    """

    collection: str
    engine: str
    points: int = 0
    missing: Difference = field(default_factory=Difference)
    stale: Difference = field(default_factory=Difference)
    orphaned: Difference = field(default_factory=Difference)
    unwritten: Difference = field(default_factory=Difference)

    @property
    def agrees(self) -> bool:
        return not (self.missing.count or self.stale.count or self.orphaned.count or self.unwritten.count)


@dataclass(slots=True)
class AssetReport:
    """The asset store against Postgres.

    ``lost`` blobs are in use and not there, ``stray`` ones are there and known to nobody. ``idle`` ones are used no
    more and wait out their grace: no disagreement.
    """

    blobs: int = 0
    lost: Difference = field(default_factory=Difference)
    stray: Difference = field(default_factory=Difference)
    idle: int = 0

    @property
    def agrees(self) -> bool:
        return not (self.lost.count or self.stray.count)


@dataclass(frozen=True, slots=True)
class Repair:
    """Products, by row id, whose points differ, a page at a time."""

    space: Space
    products: list[int]


def compare_index(
    database: Engine, index: VectorIndex, space: Space, report: IndexReport
) -> Iterator[Repair]:
    """Fill ``report``; yields what is to be written again. An absent collection misses everything."""
    points = IndexedPoints(database)
    there = index.versions(space.collection, _PAGE) if index.exists(space.collection) else iter(())
    expected = _expected(points, space)
    differing: list[int] = []
    left, right = next(expected, None), next(there, None)
    while left is not None or right is not None:
        if right is None or (left is not None and left[0] < right[0]):
            assert left is not None
            report.missing.add(left[0])
            differing.append(left[0])
            left = next(expected, None)
        elif left is None or right[0] < left[0]:
            report.points += 1
            # It may have been written after this page of Postgres was read.
            if not _is_live(database, space, right[0]):
                report.orphaned.add(right[0])
                differing.append(right[0])
            right = next(there, None)
        else:
            report.points += 1
            if right[1] < left[1]:
                report.stale.add(left[0])
                differing.append(left[0])
            left, right = next(expected, None), next(there, None)
        if len(differing) >= _PAGE:
            yield Repair(space, differing)
            differing = []
    if differing:
        yield Repair(space, differing)
    after = 0
    while behind := points.behind(after, _PAGE):
        for product in behind:
            report.unwritten.add(product)
        yield Repair(space, behind)
        after = behind[-1]


def _expected(points: IndexedPoints, space: Space) -> Iterator[tuple[int, int]]:
    after = 0
    while page := points.expected(space, after, _PAGE):
        yield from page
        after = page[-1][0]


def _is_live(database: Engine, space: Space, product: int) -> bool:
    with database.connect() as connection:
        return connection.execute(_LIVE, {"space": space.id, "ids": [product]}).first() is not None


def compare_assets(
    database: Engine, assets: Assets, grace_s: float, report: AssetReport
) -> Iterator[tuple[list[str], list[StoredBlob]]]:
    """Fill ``report``; yields, a 256th of the store at a time, the digests of lost blobs and the stray blobs.

    What was written within ``grace_s`` seconds may be on its way and is passed over.
    """
    young = datetime.now(UTC) - timedelta(seconds=grace_s)
    for number in range(256):
        beginning, following = f"{number:02x}", f"{number + 1:02x}" if number < 255 else "g"
        # The store first: a blob that is written meanwhile was announced in Postgres before.
        stored = {blob.digest: blob for blob in assets.list(beginning)}
        with database.connect() as connection:
            rows = connection.execute(_ASSETS, {"low": beginning, "high": following}).all()
        known = {row.digest for row in rows}
        lost = [
            row.digest
            for row in rows
            if row.used and row.digest not in stored and not assets.exists(row.digest, row.media_type)
        ]
        stray = [blob for digest, blob in stored.items() if digest not in known and blob.modified < young]
        report.blobs += len(stored)
        report.idle += sum(not row.used for row in rows)
        for digest in lost:
            report.lost.add(digest)
        for blob in stray:
            report.stray.add(blob.digest)
        if lost or stray:
            yield lost, stray


def affected(database: Engine, digests: list[str]) -> dict[tuple[str, str], set[str]]:
    """Live products, (source, product id), that show these blobs, with the stages that made them."""
    found: dict[tuple[str, str], set[str]] = {}
    with database.connect() as connection:
        for row in connection.execute(_AFFECTED, {"digests": digests}):
            found.setdefault((row.source, row.product_id), set()).add(row.stage)
    return found
