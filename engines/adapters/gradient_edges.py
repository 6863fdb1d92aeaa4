"""Soft edges that are measured, not learnt."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import numpy as np

from engines.declaration import Loading, engine
from engines.protocols import RGB, Alpha
from engines.protocols.scenes import EdgeDetector
from engines.scenes.structure import gradients


@engine("gradient_edges", capability=EdgeDetector, licence="Apache-2.0", memory_mb=50)
class GradientEdges:
    """The gradients of a blurred picture: it needs no weights. HED sees objects where this sees contrast."""

    version: ClassVar[int] = 1

    def __init__(self, loading: Loading) -> None:
        pass

    def warm_up(self) -> None:
        self.edges([np.zeros((8, 8, 3), np.uint8)])

    def edges(self, pictures: Sequence[RGB]) -> list[Alpha]:
        return [gradients(picture) for picture in pictures]
