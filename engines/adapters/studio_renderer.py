"""The studio: a product photograph made from a cut-out, by a path tracer and without a diffusion model."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import numpy as np

from engines.declaration import Loading, engine
from engines.kit import cache_folder
from engines.protocols.scenes import SceneRenderer, SceneRequest, Scenery, Source
from engines.scenes.presets import Pose, Studio
from engines.scenes.studio.photograph import photograph
from engines.scenes.studio.plates import SAMPLES, Plates
from engines.scenes.studio.sets import studio_set
from engines.scenes.studio.tints import look
from engines.scenes.studio.view import View
from pipeline.errors import RejectedInput


@engine(
    "studio",
    capability=SceneRenderer,
    licence="Apache-2.0 (ours); Mitsuba 3 BSD-3-Clause, Open Image Denoise Apache-2.0",
    batch=4,
    memory_mb=600,
)
class StudioRenderer:
    """Lays a product into a path-traced set: its shadow, its reflection and its colour, in the set's own light."""

    version: ClassVar[int] = 2

    def __init__(self, loading: Loading) -> None:
        self._plates = Plates(cache_folder() / "plates")

    def warm_up(self) -> None:
        """Nothing: the first picture of a set and an aspect waits for its plate."""

    def render(self, requests: Sequence[SceneRequest]) -> list[Scenery | RejectedInput]:
        return [self._render(request) for request in requests]

    def _render(self, request: SceneRequest) -> Scenery | RejectedInput:
        asked = request.setting
        studio = Studio.model_validate({"set": asked.set, "light": asked.light, "tint": asked.tint})
        stage = studio_set(studio)
        view = View(request.placement.width, request.placement.height, Pose(asked.pose))
        if stage.pose is not view.pose:
            return RejectedInput(
                "wrong-pose",
                f"preset {asked.preset!r} has its product {view.pose}, but a set {asked.set!r} is for one "
                f"{stage.pose}: change its pose or its set",
            )
        plate = self._plates.get(studio, view)
        seen = look(request.foreground, request.alpha, request.palette, studio.tint, request.seed)
        picture, bare = (
            photograph(request.foreground, alpha, plate, stage, view, seen, request.seed)
            for alpha in (request.alpha, np.zeros_like(request.alpha))
        )
        return Scenery(
            picture,
            Source.SYNTHETIC_COMPOSITE,
            {
                "set": studio.set,
                "light": studio.light,
                "samples": SAMPLES,
                "seed": request.seed,
            },
            bare,
        )
