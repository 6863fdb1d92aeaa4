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
_NEWEST = text("SELECT last_value FROM presentation_versions")
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
    ones belong to no live product, ``unwritten`` products wait to be written. ``ahead`` are points of versions that
    this database has not given out yet: it was restored from a backup, and would never overwrite them.
    """

    collection: str
    engine: str
    points: int = 0
    missing: Difference = field(default_factory=Difference)
    stale: Difference = field(default_factory=Difference)
    orphaned: Difference = field(default_factory=Difference)
    ahead: Difference = field(default_factory=Difference)
    unwritten: Difference = field(default_factory=Difference)

    @property
    def agrees(self) -> bool:
        kinds = (self.missing, self.stale, self.orphaned, self.ahead, self.unwritten)
        return not any(kind.count for kind in kinds)


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
    """A page of products, by row id, whose points are to be written again; ``ahead`` (id to version) must be deleted
    before."""

    space: Space
    products: list[int]
    ahead: dict[int, int]


def compare_index(
    database: Engine, index: VectorIndex, space: Space, report: IndexReport
) -> Iterator[Repair]:
    """Fill ``report``; yields what is to be mended. An absent collection misses everything."""
    points = IndexedPoints(database)
    there = index.versions(space.collection, _PAGE) if index.exists(space.collection) else iter(())
    expected = _expected(points, space)
    differing: list[int] = []
    ahead: dict[int, int] = {}
    left, right = next(expected, None), next(there, None)
    while left is not None or right is not None:
        if right is None or (left is not None and left[0] < right[0]):
            assert left is not None
            report.missing.add(left[0])
            differing.append(left[0])
            left = next(expected, None)
        else:
            number, version = right
            report.points += 1
            kind = _judged(database, space, number, version, left[1] if left and left[0] == number else None)
            if kind:
                getattr(report, kind).add(number)
                differing.append(number)
                if kind == "ahead":
                    ahead[number] = version
            if left is not None and left[0] == number:
                left = next(expected, None)
            right = next(there, None)
        if len(differing) >= _PAGE:
            yield Repair(space, differing, ahead)
            differing, ahead = [], {}
    if differing:
        yield Repair(space, differing, ahead)
    after = 0
    while behind := points.behind(after, _PAGE):
        for product in behind:
            report.unwritten.add(product)
        yield Repair(space, behind, {})
        after = behind[-1]


def _judged(database: Engine, space: Space, number: int, version: int, expected: int | None) -> str:
    """What is wrong with a point, empty where nothing is. Looks again where this page of Postgres may be old."""
    if expected == version:
        return ""
    if expected is not None and version < expected:
        return "stale"
    with database.connect() as connection:
        if version > connection.execute(_NEWEST).scalar_one():
            return "ahead"
        live = connection.execute(_LIVE, {"space": space.id, "ids": [number]}).first() is not None
    return "" if live else "orphaned"


def _expected(points: IndexedPoints, space: Space) -> Iterator[tuple[int, int]]:
    after = 0
    while page := points.expected(space, after, _PAGE):
        yield from page
        after = page[-1][0]


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
