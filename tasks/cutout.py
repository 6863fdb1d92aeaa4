"""Cut the product out of its photo, with evidence of how well that went."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from engines.looks.cutouts import LEAST_SURENESS, sureness
from engines.looks.regions import bounds, window
from engines.protocols import RGB, Alpha, Segmenter
from pipeline.errors import RejectedInput, VitrineError
from pipeline.graph import Scope
from pipeline.outcomes import Blob, Outcome
from storage.pictures import encode
from tasks._runtime import Runtime
from tasks._stage import Item, stage
from tasks.photo import Photo
from tasks.screen import Screened

_SOLID = 0.5


class CutOut(Outcome):
    """The product's alpha over the photo, and the cropped RGBA picture of it.

    ``box`` is (left, top, right, bottom) in pixels of the photo. ``coverage`` is the share of the photo that
    the product takes, ``edge_softness`` the share of half-transparent pixels among those of the product: a
    good cut-out has a thin soft edge and no haze. ``sureness`` is the share of clear pixels among those that
    are not clearly background: a model that found no subject leaves haze all over.
    """

    mask: Blob
    picture: Blob
    box: tuple[int, int, int, int]
    coverage: float
    edge_softness: float
    sureness: float
    width: int
    height: int

    def load_bytes(self) -> int:
        return self.width * self.height * 4


def _present(outcome: CutOut) -> Mapping[str, Any]:
    return {"cutout": {**outcome.picture.model_dump(), "box": outcome.box, "coverage": outcome.coverage}}


@stage(
    version=1,
    scope=Scope.IMAGE,
    produces=CutOut,
    needs=(Photo, Screened),
    role="segmenter",
    presents=_present,
    params={"least_coverage": 0.01, "most_coverage": 0.97, "least_sureness": LEAST_SURENESS},
)
def cutout(items: Sequence[Item], run: Runtime) -> list[Outcome | VitrineError]:
    """Segment the photos of a batch together, then judge and store each cut-out."""
    segmenter: Segmenter = run.engine("segmenter")
    pictures = [run.pixels(item.one(Photo).image) for item in items]
    outcomes: list[Outcome | VitrineError] = []
    facts = [run.facts(item.product) for item in items]
    for picture, alpha in zip(pictures, segmenter.segment(pictures, facts), strict=True):
        try:
            outcomes.append(_cut(picture, alpha, run))
        except RejectedInput as error:
            outcomes.append(error)
    return outcomes


def _cut(picture: RGB, alpha: Alpha, run: Runtime) -> CutOut:
    coverage, sure = judge(alpha, run.params)
    box = bounds(alpha >= _SOLID)
    assert box is not None, "a cut-out that is judged sure has solid pixels"
    soft = (alpha > 0.05) & (alpha < 0.95)
    height, width = alpha.shape
    crop = window(box)
    mask, cut = run.store(
        [
            (encode(_grey(alpha), media_type="image/png"), "image/png"),
            (encode(np.ascontiguousarray(picture[crop]), alpha[crop], media_type="image/webp"), "image/webp"),
        ]
    )
    return CutOut(
        mask=mask,
        picture=cut,
        box=box,
        coverage=round(coverage, 4),
        edge_softness=round(float(soft.sum() / max(1, (alpha > 0.05).sum())), 4),
        sureness=round(sure, 4),
        width=width,
        height=height,
    )


def judge(alpha: Alpha, params: Mapping[str, Any]) -> tuple[float, float]:
    """Coverage and sureness of a cut-out. Raises RejectedInput for one that shows no product."""
    coverage = float((alpha >= _SOLID).mean())
    if coverage < params["least_coverage"]:
        raise RejectedInput(
            "no-subject", f"the product covers {coverage:.1%} of the photo: nothing to cut out"
        )
    if coverage > params["most_coverage"]:
        raise RejectedInput("no-background", f"the product covers {coverage:.1%} of the photo: no background")
    sure = sureness(alpha)
    if sure < params["least_sureness"]:
        raise RejectedInput("unsure-cutout", f"only {sure:.0%} of the cut-out is clearly product: look at it")
    return coverage, sure


def _grey(alpha: Alpha) -> RGB:
    return np.repeat((alpha * 255.0 + 0.5).astype(np.uint8)[..., None], 3, axis=2)
