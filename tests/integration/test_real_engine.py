"""Qdrant's real engine finds what local mode finds: every other test of a search stands on local mode."""

from __future__ import annotations

from pathlib import Path

import pytest

from bench.index import edge
from bench.index.corpus import DIMENSION, Catalog, queries
from storage.hybrid import request_of, search
from storage.vectors import VectorIndex

COLLECTION = "engine"
LIMIT = 10


@pytest.mark.parametrize("exact", [True, False], ids=["exactly", "quantised"])
def test_the_hybrid_request_has_the_same_answer(index: VectorIndex, tmp_path: Path, exact: bool) -> None:
    catalog = Catalog(150)
    shard = edge.deployed(tmp_path / "shard", DIMENSION)
    index.create(COLLECTION, DIMENSION)
    for batch in catalog.batches(50):
        index.write(COLLECTION, batch)
        edge.write(shard, batch)
    for query in queries(4):
        local = search(index, COLLECTION, query, LIMIT)
        real = shard.query(edge.request(request_of(query, LIMIT), exact=exact))
        # The engine keeps float16: neighbours that are nearly as near may change places in one of the orders.
        assert len({point.id for point in real} & {found.id for found in local}) >= LIMIT - 1
        assert [point.score for point in real] == pytest.approx([found.score for found in local], abs=0.03)
        assert (real[0].id, real[0].payload) == (local[0].id, local[0].payload)
    shard.close()


def test_an_older_write_changes_nothing(tmp_path: Path) -> None:
    catalog = Catalog(2)
    shard = edge.deployed(tmp_path / "shard", DIMENSION)
    edge.write(shard, [catalog.point(0, version=5)])
    edge.write(shard, [catalog.point(0, version=4), catalog.point(1, version=1)])
    held = {point.id: (point.payload or {})["version"] for point in shard.retrieve([1, 2], True, False)}
    assert held == {1: 5, 2: 1}
    shard.close()
