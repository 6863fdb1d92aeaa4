"""The studio: a product photograph made from a cut-out, by a path tracer and without a diffusion model."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from engines.declaration import Loading, engine
from engines.kit import cache_folder
from engines.protocols import SceneRenderer, SceneRequest, Scenery, Source
from engines.scenes.presets import FILE, Preset, read_presets
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
    data=(FILE,),
    batch=4,
    memory_mb=600,
)
class StudioRenderer:
    """Lays a product into a path-traced set: its shadow, its reflection and its colour, in the set's own light."""

    version: ClassVar[int] = 1

    def __init__(self, loading: Loading) -> None:
        self._presets = read_presets()
        self._plates = Plates(cache_folder() / "plates")

    def warm_up(self) -> None:
        """Nothing: the first picture of a set and an aspect waits for its plate, ``Plates.fill`` makes all."""

    def render(self, requests: Sequence[SceneRequest]) -> list[Scenery]:
        return [self._render(request) for request in requests]

    def _preset(self, name: str) -> Preset:
        try:
            return self._presets[name]
        except KeyError:
            raise RejectedInput("no-preset", f"engine studio knows no preset {name!r}") from None

    def _render(self, request: SceneRequest) -> Scenery:
        preset = self._preset(request.preset)
        view = View(request.placement.width, request.placement.height, preset.pose)
        plate = self._plates.get(preset.studio, view)
        seen = look(request.foreground, request.alpha, request.palette, preset.studio.tint, request.seed)
        stage = studio_set(preset.studio)
        picture = photograph(request.foreground, request.alpha, plate, stage, view, seen, request.seed)
        return Scenery(
            picture,
            Source.SYNTHETIC_COMPOSITE,
            {
                "set": preset.studio.set,
                "light": preset.studio.light,
                "samples": SAMPLES,
                "seed": request.seed,
            },
        )
