"""The index as the embedded stack has it: ``QdrantServer`` over HTTP, filled, searched, and searched while written."""

from __future__ import annotations

import multiprocessing
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

from bench.ground import Row, clock
from bench.index.corpus import DIMENSION, Catalog, queries
from bench.index.measures import cpu_s, on_disk, percentiles, resident_mb
from pipeline.errors import ConfigurationError
from storage.hybrid import search
from storage.vectors import IndexDown, VectorIndex
from workers.embedded import QdrantServer
from workers.embedded.server import START_S

_COLLECTION = "bench"
_BATCH = 64
_WRITERS = 2
_LIMIT = 10
_SEARCHING_S = 60.0
_QUERIES = 100
_BUILD_S = 900.0
_MEMORY_MB = 6_000.0


def server(folder: Path, sizes: tuple[int, ...]) -> Iterator[Row]:
    """Rows for each size, one collection growing; ends at the first that is too slow or too large to go on from."""
    catalog = Catalog(sizes[-1])
    filled = 0
    with QdrantServer(folder / "qdrant") as qdrant:
        index = VectorIndex(qdrant.url)
        index.create(_COLLECTION, DIMENSION)
        for size in sizes:
            pid = str(qdrant.pid)
            used = cpu_s(pid)
            reached, write_s = _fill(index, catalog, filled, size)
            point_ms = (cpu_s(pid) - used) * 1000 / (reached - filled)
            if reached < size:
                yield _ended(size, f"{reached:,} after {write_s:.0f} s, {point_ms:.1f} ms of CPU each")
                break
            used = cpu_s(pid)
            try:
                idle = _searched(index)
                search_ms = (cpu_s(pid) - used) * 1000 / idle[2]
                busy, written = _searched_while_writing(qdrant.url, index, size)
            except IndexDown as error:
                done = f"filled at {(size - filled) / write_s:,.0f} points/s, {point_ms:.1f} ms of CPU each"
                yield _ended(size, f"{done}, {resident_mb(pid)['anon']:,.0f} MB of memory; then {error}")
                break
            with clock() as walked:
                assert sum(1 for _ in index.versions(_COLLECTION)) == size
            held = resident_mb(pid)
            disk = on_disk(folder / "qdrant" / "points")
            yield Row(
                f"embedded server, {size:,} products: built",
                f"{(size - filled) / write_s:,.0f} points/s",
                "",
                None,
                f"from {filled:,}, {_BATCH} at a time, {write_s:.0f} s, {point_ms:.1f} ms of the server's "
                f"CPU a point; memory {held['anon']:,.0f} MB, files {disk / 1e6:,.0f} MB; all ids read in "
                f"{walked[0]:.1f} s",
            )
            yield Row(
                f"embedded server, {size:,} products: hybrid search",
                f"p50 {idle[0]:,.0f} ms, p99 {idle[1]:,.0f} ms",
                "",
                None,
                f"{search_ms:,.0f} ms of the server's CPU, {idle[2]} searches; "
                f"{_WRITERS} processes writing: p50 {busy[0]:,.0f} ms, p99 {busy[1]:,.0f} ms, "
                f"{written:,.0f} points/s written",
            )
            qdrant.kill()
            try:
                with clock() as restarted:
                    qdrant.start()
            except ConfigurationError:
                yield _ended(size, f"does not start again within {START_S:.0f} s")
                break
            name = f"embedded server, {size:,} products: starts again"
            yield Row(name, f"{restarted[0]:.1f} s", f"≤ {START_S:.0f} s", True)
            filled = size
            if held["anon"] > _MEMORY_MB:
                yield _ended(size, f"{held['anon']:,.0f} MB of memory")
                break
        index.close()


def _ended(size: int, why: str) -> Row:
    return Row(f"embedded server, {size:,} products", "ended", "", False, why)


def _fill(index: VectorIndex, catalog: Catalog, first: int, last: int) -> tuple[int, float]:
    """How far it got and the seconds of writing; it stops where it takes longer than anybody waits."""
    reached, spent = first, 0.0
    for batch in catalog.batches(_BATCH, first, last):
        with clock() as taken:
            index.write(_COLLECTION, batch)
        reached, spent = reached + len(batch), spent + taken[0]
        if spent > _BUILD_S:
            break
    return reached, spent


def _searched(index: VectorIndex) -> tuple[float, float, int]:
    """p50, p99 and the number of searches: as many as fit, one at least."""
    asked = queries(_QUERIES)
    spent: list[float] = []
    started = time.perf_counter()
    while not spent or (len(spent) < 2 * _QUERIES and time.perf_counter() - started < _SEARCHING_S):
        before = time.perf_counter()
        search(index, _COLLECTION, asked[len(spent) % len(asked)], _LIMIT)
        spent.append((time.perf_counter() - before) * 1000)
    return *percentiles(spent), len(spent)


def _searched_while_writing(
    url: str, index: VectorIndex, size: int
) -> tuple[tuple[float, float, int], float]:
    """The same while processes write products again; and how many points a second they wrote."""
    context = multiprocessing.get_context("spawn")
    counts = [context.Value("q", 0) for _ in range(_WRITERS)]
    ended = context.Event()
    writers = [
        context.Process(
            target=_write, args=(url, min(size, 1_000), number, counts[number], ended), daemon=True
        )
        for number in range(_WRITERS)
    ]
    for writer in writers:
        writer.start()
    try:
        while not all(count.value for count in counts):
            time.sleep(0.1)
        first = sum(count.value for count in counts)
        with clock() as taken:
            found = _searched(index)
        written = sum(count.value for count in counts) - first
    finally:
        ended.set()
        for writer in writers:
            writer.join()
    return found, written / taken[0]


def _write(url: str, size: int, number: int, count: Any, ended: Any) -> None:
    """A writer: products again and again, each time of a younger version."""
    index, catalog, version = VectorIndex(url), Catalog(size), 2
    while not ended.is_set():
        for batch in catalog.batches(_BATCH, number * size // _WRITERS, (number + 1) * size // _WRITERS):
            # Whoever is not answered tries again, as a worker does.
            with suppress(IndexDown):
                index.write(_COLLECTION, [catalog.point(point.id - 1, version) for point in batch])
                count.value += len(batch)
            if ended.is_set():
                break
        version += 1
