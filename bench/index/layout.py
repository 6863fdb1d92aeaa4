"""The collection as Vitrine lays it out, on the real engine: building, the whole hybrid request, bytes."""

from __future__ import annotations

import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
import qdrant_edge as edge

from bench.ground import Row, clock
from bench.index.corpus import DIMENSION, PHOTOS_A_PRODUCT, Catalog, queries
from bench.index.edge import deployed, request, write
from bench.index.measures import cpu_s, grown_mb, in_process, on_disk, percentiles, resident_mb
from storage.hybrid import request_of

_LIMIT = 10
_QUERIES = 100
_ROUNDS = 3
_BATCH = 64
_WRITERS = 2
_WRITING_S = 30.0
_MILLION = 1_000_000


def layout(folder: Path, count: int) -> list[Row]:
    """Rows for building, searching and bytes of ``count`` products."""
    where = folder / "layout"
    built = in_process(build, where, count)
    idle = in_process(searched, where)
    busy = in_process(searched_while_writing, where, count)
    vectors = count * (PHOTOS_A_PRODUCT + 1)
    whole = built["bytes"] / count * _MILLION
    rule = 1.5 * vectors / count * _MILLION * DIMENSION * 4
    parts = ", ".join(f"{name} {size / count:,.0f}" for name, size in built["parts"].items())
    return [
        Row(
            "engine, products written",
            f"{count / built['write_s']:,.0f} points/s",
            "",
            None,
            f"one process, conditional, {_BATCH} at a time; then {built['index_s']:.0f} s to index {count:,} "
            f"({built['index_cpu_s']:.0f} s of CPU)",
        ),
        Row(
            "engine, hybrid request, idle",
            f"p50 {idle['p50']:.1f} ms, p99 {idle['p99']:.1f} ms",
            "",
            None,
            f"{idle['cpu_ms']:.1f} ms of CPU; photo + text + words, 200 recalled of each, "
            f"oversampling 2; {idle['agreed']:.3f} of the ten best "
            "are those of the same request done exactly",
        ),
        Row(
            f"engine, hybrid request, {_WRITERS} threads writing",
            f"p50 {busy['p50']:.1f} ms, p99 {busy['p99']:.1f} ms",
            "",
            None,
            f"in one process; {busy['rate']:,.0f} points/s written meanwhile, not indexed before the end",
        ),
        Row(
            "bytes of a million products, files",
            f"{whole / 1e9:.1f} GB",
            f"1.5·n·d·4 = {rule / 1e9:.1f} GB",
            whole <= rule,
            f"extrapolated from {count:,}; {PHOTOS_A_PRODUCT + 1} vectors a product as float16, and as int8, "
            f"payload, words, indexes; bytes a product: {parts}",
        ),
        Row(
            "memory with that index",
            idle["memory"],
            "",
            None,
            f"{count:,} products, after {_QUERIES} requests",
        ),
    ]


def build(folder: Path, count: int) -> dict[str, Any]:
    """Write and index the catalog; seconds, bytes, bytes by part."""
    catalog = Catalog(count)
    shard = deployed(folder, DIMENSION)
    write_s = 0.0
    for batch in catalog.batches(_BATCH):
        with clock() as taken:
            write(shard, batch)
        write_s += taken[0]
    used = cpu_s()
    with clock() as indexed:
        shard.optimize()
    used = cpu_s() - used
    shard.close()
    segments = folder / "segments"
    parts: dict[str, int] = {}
    for place in segments.glob("*/*"):
        size = on_disk(place) if place.is_dir() else place.stat().st_blocks * 512
        kind = place.name.partition("-")[0].partition(".")[0]
        parts[kind] = parts.get(kind, 0) + size
    return {
        "write_s": write_s,
        "index_s": indexed[0],
        "index_cpu_s": used,
        "bytes": on_disk(segments),
        "parts": parts,
    }


def searched(folder: Path) -> dict[str, Any]:
    """p50 and p99 of the hybrid request, how far it finds what an exact one does, and memory."""
    asked = [request_of(query, _LIMIT) for query in queries(_QUERIES)]
    quick = [request(one) for one in asked]
    before = resident_mb()
    shard = edge.EdgeShard.load(str(folder))
    used = cpu_s()
    rounds = [percentiles([_timed(shard, one) for one in quick]) for _ in range(_ROUNDS)]
    cpu_ms = (cpu_s() - used) * 1000 / (_ROUNDS * len(quick))
    memory = grown_mb(before)
    agreed = sum(
        len(
            {point.id for point in shard.query(one)}
            & {point.id for point in shard.query(request(two, exact=True))}
        )
        for one, two in zip(quick, asked, strict=True)
    )
    shard.close()
    p50, p99 = np.median(rounds, axis=0)
    return {
        "p50": p50,
        "p99": p99,
        "cpu_ms": cpu_ms,
        "agreed": agreed / (_LIMIT * len(asked)),
        "memory": memory,
    }


def searched_while_writing(folder: Path, count: int) -> dict[str, Any]:
    """p50 and p99 of the hybrid request while threads of this process write products again."""
    quick = [request(request_of(query, _LIMIT)) for query in queries(_QUERIES)]
    catalog = Catalog(min(count, 2_000))
    batches = [[catalog.point(n, 2) for n in range(w, len(catalog), _WRITERS)] for w in range(_WRITERS)]
    shard = edge.EdgeShard.load(str(folder))
    ended, written = threading.Event(), [0] * _WRITERS

    def work(writer: int) -> None:
        while not ended.is_set():
            start = written[writer] % (len(batches[writer]) - _BATCH)
            write(shard, batches[writer][start : start + _BATCH])
            written[writer] += _BATCH

    threads = [threading.Thread(target=work, args=(writer,)) for writer in range(_WRITERS)]
    for thread in threads:
        thread.start()
    spent: list[float] = []
    started = time.perf_counter()
    while (passed := time.perf_counter() - started) < _WRITING_S:
        spent.append(_timed(shard, quick[len(spent) % len(quick)]))
    ended.set()
    for thread in threads:
        thread.join()
    shard.close()
    p50, p99 = percentiles(spent)
    return {"p50": p50, "p99": p99, "rate": sum(written) / passed}


def _timed(shard: edge.EdgeShard, asked: edge.QueryRequest) -> float:
    started = time.perf_counter()
    shard.query(asked)
    return (time.perf_counter() - started) * 1000
