"""Lipstick and glasses on the face of a person's photo, by its 468 points; no model makes up a pixel."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import numpy as np

from engines.declaration import Loading, engine
from engines.faces.glasses import wear_glasses
from engines.faces.heads import average_face, head
from engines.faces.lips import check_turned, lips, paint_lips, swatch_colour
from engines.protocols.fitting import FaceKind, FaceRenderer, FaceRequest, Fitting, Points
from engines.protocols.scenes import Source
from pipeline.errors import RejectedInput


@engine(
    "faces",
    capability=FaceRenderer,
    artifacts=("face-shape",),
    licence="Apache-2.0",
    batch=8,
    memory_mb=40,
)
class FaceFitter:
    """Paints lips in a product's colour and finish, and puts glasses on."""

    version: ClassVar[int] = 1

    def __init__(self, loading: Loading) -> None:
        self._average = average_face(loading.path("face-shape"))

    def warm_up(self) -> None:
        head(self._average[:, :2].astype(np.float32), self._average)

    def wear(self, requests: Sequence[FaceRequest]) -> list[Fitting | RejectedInput]:
        return [self._answer(request) for request in requests]

    def _answer(self, request: FaceRequest) -> Fitting | RejectedInput:
        face = request.person.face
        if face is None:
            return RejectedInput(
                "no-face",
                "There is no face in the picture: a photo with the face towards the camera is needed.",
            )
        try:
            return (
                self._lipstick(request, face)
                if request.kind is FaceKind.LIPSTICK
                else self._eyewear(request, face)
            )
        except RejectedInput as refused:
            return refused

    def _lipstick(self, request: FaceRequest, face: Points) -> Fitting:
        yaw = head(face, self._average).yaw
        check_turned(yaw)
        colour = request.colour or swatch_colour(request.product.picture, request.product.alpha)
        picture = paint_lips(request.picture, face, colour, request.finish)
        region = lips(face, request.picture.shape[:2])
        said = {"finish": str(request.finish), "colour": "#{:02x}{:02x}{:02x}".format(*colour)}
        return Fitting(picture, region, region, Source.SYNTHETIC_COMPOSITE, {"yaw": yaw}, said)

    def _eyewear(self, request: FaceRequest, face: Points) -> Fitting:
        product = request.product
        worn = wear_glasses(request.picture, face, product.picture, product.alpha, self._average)
        scores = {"yaw": head(face, self._average).yaw}
        return Fitting(worn.picture, worn.region, worn.glasses, Source.SYNTHETIC_COMPOSITE, scores, {})
