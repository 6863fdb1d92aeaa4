"""Say in one sentence what a photo shows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from engines.protocols import RGB, Alpha, Captioner, Printed, Subject
from pipeline.errors import RejectedInput, VitrineError
from pipeline.events import Product
from pipeline.graph import Scope
from pipeline.outcomes import Outcome
from tasks._runtime import Runtime
from tasks._stage import Item, stage
from tasks.cutout import CutOut
from tasks.photo import Photo
from tasks.screen import Screened


class Captioned(Outcome):
    """One sentence in two languages. Which engine wrote it, or filled it in, is recorded beside it."""

    en: str
    zh: str


def _present(outcome: Captioned) -> Mapping[str, Any]:
    return {"caption": outcome.model_dump()}


@stage(
    version=2,
    scope=Scope.IMAGE,
    produces=Captioned,
    needs=(Photo, Screened),
    uses=(CutOut,),
    role="captioner",
    presents=_present,
)
def caption(items: Sequence[Item], run: Runtime) -> list[Outcome | VitrineError]:
    """Caption the photos of a batch together."""
    captioner: Captioner = run.engine("captioner")
    subjects = [subject(run, item.product, item.one(Photo), item.maybe(CutOut)) for item in items]
    return [
        text if isinstance(text, RejectedInput) else Captioned(en=text.en, zh=text.zh)
        for text in captioner.caption(subjects)
    ]


def subject(
    run: Runtime, product: Product, photo: Photo, cutout: CutOut | None, printed: tuple[Printed, ...] = ()
) -> Subject:
    """A photo with its cut-out's alpha, the text read in it, and what its engine reads of the merchant's words.

    Where nothing could be cut out the alpha is zero all over: what a photo shows as a whole can still be told.
    """
    pixels = run.pixels(photo.image)
    alpha = whole(pixels) if cutout is None else run.alpha(cutout.mask)
    return Subject(pixels, alpha, printed, run.facts(product))


def whole(picture: RGB) -> Alpha:
    """The alpha of a photo from which nothing could be cut out."""
    return np.zeros(picture.shape[:2], np.float32)
