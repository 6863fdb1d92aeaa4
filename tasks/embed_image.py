"""Embed a photo twice, whole and cut out, for the index to find it by."""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from typing import Any, Self

import numpy as np
import numpy.typing as npt
from pydantic import Field

from engines.protocols import Embedder, Subject
from pipeline.errors import VitrineError
from pipeline.graph import Scope
from pipeline.outcomes import Outcome, Value
from tasks._runtime import Runtime
from tasks._stage import Item, stage
from tasks.cutout import CutOut
from tasks.photo import Photo
from tasks.read_text import ReadText
from tasks.screen import Screened


class Vector(Value):
    """A unit vector of ``dimension`` numbers as float16, little-endian, in base64: what the index gets, so that it
    can be made again without a model."""

    dimension: int = Field(gt=0)
    half: str

    @classmethod
    def of(cls, row: npt.NDArray[np.float32]) -> Self:
        return cls(dimension=len(row), half=base64.b64encode(row.astype("<f2").tobytes()).decode())

    def numbers(self) -> npt.NDArray[np.float32]:
        """(dimension,)"""
        return np.frombuffer(base64.b64decode(self.half), dtype="<f2").astype(np.float32)


class EmbeddedImage(Outcome):
    """A photo's place in the engine's space, as a whole and, where its cut-out is usable, by the product alone."""

    image: Vector
    cutout: Vector | None


def _present(outcome: EmbeddedImage) -> Mapping[str, Any]:
    return {"embedding": {"dimension": outcome.image.dimension}}


@stage(
    version=1,
    scope=Scope.IMAGE,
    produces=EmbeddedImage,
    needs=(Photo, Screened),
    uses=(CutOut, ReadText),
    role="embedder",
    presents=_present,
)
def embed_image(items: Sequence[Item], run: Runtime) -> list[Outcome | VitrineError]:
    """Embed the photos of a batch, and their cut-outs, in one call."""
    embedder: Embedder = run.engine("embedder")
    subjects: list[Subject] = []
    cuts = [item.maybe(CutOut) for item in items]
    for item, cut in zip(items, cuts, strict=True):
        picture = run.pixels(item.one(Photo).image)
        read = item.maybe(ReadText)
        printed = read.printed() if read is not None else ()
        subjects.append(Subject(picture, np.ones(picture.shape[:2], np.float32), printed))
        if cut is not None:
            subjects.append(Subject(picture, run.alpha(cut.mask), printed))
    rows = iter(embedder.embed_photos(subjects))
    return [
        EmbeddedImage(image=Vector.of(next(rows)), cutout=Vector.of(next(rows)) if cut is not None else None)
        for cut in cuts
    ]
