"""Reconciling finds every kind of disagreement, and mends it."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sqlalchemy import Engine, text

from storage.assets import Assets
from storage.indexable import IndexedPoints
from storage.reconcile import AssetReport, IndexReport, affected, compare_assets, compare_index
from storage.vectors import Point, VectorIndex
from tasks._indexing import synchronise
from tests.factories import upload, withdrawal
from tests.index import Shop


@pytest.fixture
def shop(database: Engine, index: VectorIndex) -> Shop:
    shop = Shop(database, index)
    shop.publish(*(upload(f"p{n}") for n in range(1, 8)))
    shop.work()
    return shop


def look(shop: Shop, *, repair: bool = False) -> IndexReport:
    [space] = shop.spaces.active()
    report = IndexReport(space.collection, space.engine)
    for found in compare_index(shop.database, shop.index, space, report):
        if repair:
            shop.index.delete(space.collection, found.ahead)
            IndexedPoints(shop.database).forget(space, found.products)
            synchronise(shop.database, shop.index, found.products)
    return report


def alike(points: dict[str, dict[str, Any]], others: dict[str, dict[str, Any]]) -> None:
    """Local mode rounds a vector otherwise where it replaces one."""
    assert points.keys() == others.keys()
    for name, one in points.items():
        vectors, theirs = one.pop("vectors"), others[name].pop("vectors")
        assert one == others[name]
        assert vectors.keys() == theirs.keys()
        assert np.allclose(vectors["image"], theirs["image"], atol=1e-5)
        assert np.allclose(vectors["text"], theirs["text"], atol=1e-5)


def rows(shop: Shop) -> dict[str, int]:
    with shop.database.connect() as connection:
        found = connection.execute(text("SELECT product_id, id FROM products"))
        return {row.product_id: row.id for row in found}


def test_what_agrees_is_said_to_agree(shop: Shop) -> None:
    report = look(shop)
    assert report.agrees
    assert report.points == 7


def test_every_disagreement_is_found_and_mended(shop: Shop) -> None:
    [space] = shop.spaces.active()
    ids = rows(shop)
    shop.publish(withdrawal("p7", 2))
    shop.work()
    before = shop.points()
    far = 2**40
    shop.index.delete(space.collection, {ids["p2"]: far, ids["p4"]: far})
    foreign = [
        Point(ids["p7"], 1, {}),
        Point(99_999, 1, {}),
        Point(ids["p4"], 1, {}),
        Point(ids["p3"], far, {}),
    ]
    shop.index.write(space.collection, foreign)
    with shop.database.begin() as connection:
        connection.execute(text("DELETE FROM index_points WHERE product_id = :p"), {"p": ids["p5"]})
    report = look(shop)
    assert not report.agrees
    assert report.missing.ids == [str(ids["p2"])]
    assert report.stale.ids == [str(ids["p4"])]
    assert report.ahead.ids == [str(ids["p3"])]
    assert report.orphaned.ids == [str(ids["p5"]), str(ids["p7"]), "99999"]
    assert report.unwritten.ids == [str(ids["p5"])]
    look(shop, repair=True)
    assert look(shop).agrees
    alike(shop.points(), before)


def test_an_empty_index_is_filled(shop: Shop) -> None:
    before = shop.points()
    shop.index.drop(shop.spaces.active()[0].collection)
    assert look(shop).missing.count == 7
    look(shop, repair=True)
    alike(shop.points(), before)


@pytest.fixture
def assets(tmp_path: Path) -> Assets:
    return Assets((tmp_path / "assets").as_uri())


def test_lost_and_stray_blobs_are_told_from_fresh_and_idle_ones(shop: Shop, assets: Assets) -> None:
    kept, lost, idle, stray, fresh = (
        assets.put(name.encode(), "image/png") for name in ("kept", "lost", "idle", "stray", "fresh")
    )
    with shop.database.begin() as connection:
        job = connection.execute(text("SELECT id FROM jobs WHERE stage = 'embed_image' LIMIT 1")).scalar_one()
        for blob in (kept, lost, idle):
            connection.execute(
                text("INSERT INTO assets (digest, media_type, size) VALUES (:d, 'image/png', 4)"),
                {"d": blob.digest},
            )
        for blob in (kept, lost):
            connection.execute(
                text("INSERT INTO asset_uses (job_id, digest) VALUES (:j, :d)"), {"j": job, "d": blob.digest}
            )
    assets.delete(lost.digest, "image/png")
    hour_ago = time.time() - 3600
    path = assets.local_path(stray.digest, "image/png")
    assert path is not None
    os.utime(path, (hour_ago, hour_ago))
    report = AssetReport()
    found = list(compare_assets(shop.database, assets, 600, report))
    assert report.lost.ids == [lost.digest]
    assert report.stray.ids == [stray.digest]
    assert (report.blobs, report.idle) == (4, 1)
    assert [blob.digest for _, blobs in found for blob in blobs] == [stray.digest]
    assert fresh.digest not in report.stray.ids
    assert list(affected(shop.database, [lost.digest]).values()) == [{"embed_image"}]
