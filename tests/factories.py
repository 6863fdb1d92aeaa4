"""Events and stages for tests."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from pipeline.events import Event, parse_event
from pipeline.graph import Scope, StageGraph, StageSpec
from pipeline.keys import Recipe
from pipeline.outcomes import Lane, Outcome
from storage.ledger import Claimed, Ledger, Result

START = datetime(2026, 1, 1, tzinfo=UTC)


def upload(
    product: str = "p1",
    revision: int = 1,
    *,
    images: Sequence[str | Mapping[str, Any]] = ("a",),
    event_id: str | None = None,
    source: str = "shop",
    minute: int | None = None,
    kind: str = "product.uploaded.v1",
    urls: Mapping[str, str] | None = None,
    **data: Any,
) -> tuple[Event, bytes]:
    """An upload with its raw bytes; each image is a URL of its own name unless ``urls`` says otherwise."""
    body = {
        "specversion": "1.0",
        "id": event_id or f"{product}-{revision}",
        "source": source,
        "type": kind,
        "time": (START + timedelta(minutes=revision if minute is None else minute)).isoformat(),
        "data": {
            "product_id": product,
            "revision": revision,
            "title": f"Product {product}",
            "images": [
                image
                if isinstance(image, Mapping)
                else {
                    "id": image,
                    "url": (urls or {}).get(image, f"https://shop.example/{product}/{image}.jpg"),
                    "position": n,
                }
                for n, image in enumerate(images)
            ],
            **data,
        },
    }
    return _pair(body)


def withdrawal(
    product: str = "p1",
    revision: int | None = None,
    *,
    event_id: str | None = None,
    source: str = "shop",
    minute: int = 0,
) -> tuple[Event, bytes]:
    """A withdrawal; without a revision a thin one."""
    body = {
        "specversion": "1.0",
        "id": event_id or f"{product}-gone-{revision}",
        "source": source,
        "type": "product.withdrawn.v1",
        "time": (START + timedelta(minutes=revision or minute)).isoformat(),
        "data": {"product_id": product} | ({} if revision is None else {"revision": revision}),
    }
    return _pair(body)


def _pair(body: dict[str, Any]) -> tuple[Event, bytes]:
    raw = json.dumps(body).encode()
    return parse_event(raw), raw


class Fetched(Outcome):
    """Stub of a photo."""

    content: str


class Seen(Outcome):
    """Stub of an image-scope stage."""

    what: str
    unsafe: bool = False

    def blocks(self) -> str | None:
        return "unsafe" if self.unsafe else None


class Told(Outcome):
    """Stub of a product-scope stage."""

    words: tuple[str, ...]


class Announced(Outcome):
    """Stub of an effect."""

    done: bool = True


def specs(*, effect: bool = False, **changes: Any) -> list[StageSpec]:
    """fetch → see → tell, and an effect behind them where asked for."""
    stages = [
        StageSpec(
            "fetch",
            1,
            Scope.IMAGE,
            Fetched,
            reads=lambda p, i: i.sha256 or [i.url, p.revision] if i else None,
            queue="fetch",
            **changes,
        ),
        StageSpec(
            "see", 1, Scope.IMAGE, Seen, needs=(Fetched,), presents=lambda o: {"seen": o.what}, **changes
        ),
        StageSpec(
            "tell",
            1,
            Scope.PRODUCT,
            Told,
            needs=(Seen,),
            reads=lambda p, i: p.title,
            presents=lambda o: {"told": list(o.words)},
            **changes,
        ),
    ]
    if effect:
        stages.append(
            StageSpec(
                "announce", 1, Scope.PRODUCT, Announced, uses=(Told,), effect=True, queue="effects", **changes
            )
        )
    return stages


def stub_graph(
    *, effect: bool = False, recipes: Mapping[str, Recipe] | None = None, **changes: Any
) -> StageGraph:
    return StageGraph(specs(effect=effect, **changes), recipes or {})


def compute(item: Claimed, stage: str) -> Outcome:
    """What the stub stages make of their inputs."""
    if stage == "fetch":
        assert item.image is not None
        return Fetched(content=item.image.sha256 or item.image.url)
    if stage == "see":
        [(_, fetched)] = item.inputs["fetch"]
        assert isinstance(fetched, Fetched)
        return Seen(what=f"a look at {fetched.content}", unsafe="unsafe" in fetched.content)
    if stage == "tell":
        seen = [outcome for _, outcome in item.inputs["see"]]
        return Told(words=tuple(s.what for s in seen if isinstance(s, Seen)))
    return Announced()


def work(ledger: Ledger, *, stages: Sequence[str] | None = None, limit: int = 32) -> int:
    """Run everything that is ready until nothing is, as workers would; returns how many jobs were computed."""
    computed = 0
    while True:
        progress = 0
        for spec in ledger.graph.stages.values():
            if stages is not None and spec.name not in stages:
                continue
            for lane in Lane:
                claimed, _ = ledger.claim(spec, [], lane=lane, limit=limit, worker="test")
                if claimed:
                    settled = ledger.settle(
                        [Result(c.job_id, c.token, compute(c, spec.name), seconds=0.01) for c in claimed]
                    )
                    progress += len(settled.accepted)
        computed += progress
        if not progress:
            return computed
