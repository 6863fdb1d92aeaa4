"""The gate for unsafe pictures: what fails here is never served and feeds nothing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from engines.protocols import SafetyGate
from pipeline.graph import Scope
from pipeline.outcomes import Blob, Outcome
from tasks._runtime import Runtime
from tasks._stage import Item, stage
from tasks.photo import Photo


class Screened(Outcome):
    """How likely the picture is unsafe, in [0, 1], and from where on it is treated as such."""

    unsafe: float
    unsafe_from: float
    image: Blob
    width: int
    height: int

    def blocks(self) -> str | None:
        return "unsafe picture" if self.unsafe >= self.unsafe_from else None


def _present(outcome: Screened) -> Mapping[str, Any]:
    if outcome.blocks():
        return {}
    return {"photo": {**outcome.image.model_dump(), "width": outcome.width, "height": outcome.height}}


@stage(
    version=1,
    scope=Scope.IMAGE,
    produces=Screened,
    needs=(Photo,),
    role="safety_gate",
    presents=_present,
    params={"unsafe_from": 0.8},
)
def screen(items: Sequence[Item], run: Runtime) -> list[Outcome]:
    """Score every photo and present those that may be shown."""
    gate: SafetyGate = run.engine("safety_gate")
    photos = [item.one(Photo) for item in items]
    scores = gate.unsafe([run.pixels(photo.image) for photo in photos])
    unsafe_from = run.params["unsafe_from"]
    return [
        Screened(
            unsafe=round(score, 4),
            unsafe_from=unsafe_from,
            image=photo.image,
            width=photo.width,
            height=photo.height,
        )
        for photo, score in zip(photos, scores, strict=True)
    ]
