"""Recall and speed of the engine with and without quantisation, against exact search."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import qdrant_edge as edge

from bench.ground import Row, clock
from bench.index.corpus import DIMENSION, Mixture, Rows, intrinsic_dimension
from bench.index.edge import int8
from bench.index.measures import cpu_s, grown_mb, in_process, on_disk, percentiles, resident_mb

_NEAREST = 10
_QUERIES = 500
_ROUNDS = 3
_BATCH = 1000
_RULE = 1.5
"""Qdrant's capacity planning: bytes = 1.5 · vectors · dimension · 4."""


@dataclass(frozen=True, slots=True)
class Ask:
    """How a search reads the quantised copies; nothing said is the engine's default."""

    name: str
    params: Mapping[str, Any]

    def search(self) -> edge.SearchParams:
        quantization = edge.QuantizationSearchParams(**self.params) if self.params else None
        return edge.SearchParams(exact=self.name == "exact", quantization=quantization)


def _rescored(oversampling: float) -> Ask:
    return Ask(f"rescored, oversampling {oversampling:g}", {"rescore": True, "oversampling": oversampling})


_WITHOUT = Ask("not rescored", {"rescore": False})
_STORES: Mapping[str, tuple[Any, Sequence[Ask]]] = {
    "float32": (None, [Ask("HNSW", {}), Ask("exact", {})]),
    "int8": (int8(), [_WITHOUT, *map(_rescored, (1, 1.5, 2, 3, 4))]),
    "product ×16": (
        edge.ProductQuantizationConfig(edge.CompressionRatio.X16, memory=edge.Memory.Pinned),
        [_WITHOUT, *map(_rescored, (1, 2, 4))],
    ),
}


def recall(folder: Path, count: int) -> Iterator[Row]:
    """Rows for each store and each way to search it, over vectors that fall into many kinds, and into few."""
    yield from _compared(folder / "easy", count, Mixture(), "", _STORES)
    yield from _compared(folder / "hard", count, Mixture(kinds=20, own=64), "hard, ", ("float32", "int8"))


def _compared(folder: Path, count: int, mixture: Mixture, kind: str, stores: Iterable[str]) -> Iterator[Row]:
    vectors, asked = mixture.draw(count, 1), mixture.draw(_QUERIES, 2)
    cosines = asked @ vectors.T
    truth = np.argsort(-cosines, axis=1)[:, :_NEAREST]
    folder.mkdir()
    np.save(folder / "vectors.npy", vectors)
    tenth = float(np.take_along_axis(cosines, truth[:, -1:], axis=1).mean())
    shape = f"intrinsic dimension {intrinsic_dimension(vectors[:20_000]):.0f}, tenth cosine {tenth:.2f}"
    del vectors, cosines
    for number, name in enumerate(stores):
        where = folder / f"store{number}"
        told = in_process(build, name, where, folder / "vectors.npy")
        found = in_process(search, where, _STORES[name][1], asked, truth)
        ratio = told["bytes"] / (_RULE * count * DIMENSION * 4)
        yield Row(
            f"{kind}{name}: build",
            f"{told['index_s']:.0f} s",
            "",
            None,
            f"{told['cpu_s']:.0f} s of CPU; {count / told['write_s']:,.0f} points/s written before; "
            f"{told['bytes'] / 1e6:,.0f} MB of files, {ratio:.2f} of 1.5·n·d·4; {found['memory']}; {shape}",
        )
        for ask in _STORES[name][1]:
            share, p50, p99, cpu_ms = found[ask.name]
            speed = f"p50 {p50:.2f} ms, p99 {p99:.2f} ms, {cpu_ms:.2f} ms of CPU"
            yield Row(f"{kind}{name}, {ask.name}", f"recall@10 {share:.4f}", "", None, speed)


def build(name: str, folder: Path, vectors: Path) -> dict[str, Any]:
    """Write and index the vectors; seconds and bytes."""
    rows = np.load(vectors, mmap_mode="r")
    params = edge.EdgeVectorParams(
        size=DIMENSION, distance=edge.Distance.Cosine, quantization_config=_STORES[name][0]
    )
    folder.mkdir()
    shard = edge.EdgeShard.create(str(folder), edge.EdgeConfig(vectors={"image": params}))
    with clock() as written:
        for start in range(0, len(rows), _BATCH):
            batch = rows[start : start + _BATCH].tolist()
            points = [edge.Point(start + n, {"image": row}) for n, row in enumerate(batch)]
            shard.update(edge.UpdateOperation.upsert_points(points))
        shard.flush()
    used = cpu_s()
    with clock() as indexed:
        shard.optimize()
    used = cpu_s() - used
    shard.close()
    return {
        "write_s": written[0],
        "index_s": indexed[0],
        "cpu_s": used,
        "bytes": on_disk(folder / "segments"),
    }


def search(folder: Path, asks: Sequence[Ask], asked: Rows, truth: Any) -> dict[str, Any]:
    """For each way: recall, the medians over the rounds of p50 and p99, and processor time, in milliseconds."""
    before = resident_mb()
    shard = edge.EdgeShard.load(str(folder))
    found: dict[str, Any] = {}
    for ask in asks:
        params = ask.search()
        rounds, hits, used = [], 0, cpu_s()
        for _ in range(_ROUNDS):
            spent = []
            hits = 0
            for row, true in zip(asked.tolist(), truth.tolist(), strict=True):
                request = edge.QueryRequest(
                    limit=_NEAREST, query=edge.Query.Nearest(row, using="image"), params=params
                )
                started = time.perf_counter()
                points = shard.query(request)
                spent.append((time.perf_counter() - started) * 1000)
                hits += len({point.id for point in points} & set(true))
            rounds.append(percentiles(spent))
        p50, p99 = np.median(rounds, axis=0)
        cpu_ms = (cpu_s() - used) * 1000 / (_ROUNDS * len(asked))
        found[ask.name] = hits / (len(asked) * _NEAREST), float(p50), float(p99), cpu_ms
    found["memory"] = grown_mb(before)
    shard.close()
    return found
