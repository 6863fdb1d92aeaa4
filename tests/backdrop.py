"""A renderer of scenes that needs no set: a grey ground with a soft shadow, and on demand without it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import numpy as np
from PIL import Image, ImageFilter

from engines.declaration import Loading
from engines.protocols import RGB
from engines.protocols.scenes import SceneRequest, Scenery, Source


class Backdrop:
    """Remembers what it was asked; leaves the shadow away until structure is held as strictly as ``from_hold``."""

    version: ClassVar[int] = 1

    def __init__(self, _: Loading | None = None, from_hold: float = 0.0) -> None:
        self.asked: list[SceneRequest] = []
        self.from_hold = from_hold

    def warm_up(self) -> None: ...

    def render(self, requests: Sequence[SceneRequest]) -> list[Scenery]:
        self.asked += requests
        return [self._render(request) for request in requests]

    def _render(self, request: SceneRequest) -> Scenery:
        height, width = request.alpha.shape
        ground = np.linspace(214.0, 186.0, height)[:, np.newaxis] * np.ones(width)
        if request.hold >= self.from_hold:
            mask = Image.fromarray((request.alpha * 255).astype(np.uint8))
            around = np.asarray(mask.filter(ImageFilter.GaussianBlur(width / 60)), np.float64) / 255
            fallen = np.roll(around, height // 80, axis=0)
            ground = ground * (1 - 0.5 * np.maximum(around, fallen))
        picture: RGB = np.repeat(ground.astype(np.uint8)[..., np.newaxis], 3, axis=2)
        return Scenery(picture, Source.SYNTHETIC_COMPOSITE, {"seed": request.seed})
