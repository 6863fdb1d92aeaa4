"""ControlNets: Zhang et al. 2023, https://arxiv.org/abs/2302.05543. What a diffusion model is held to a product by."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any, ClassVar

import numpy as np

from engines.checkpoints import load_network
from engines.declaration import Loading, engine
from engines.protocols import RGB, Alpha
from engines.protocols.scenes import DepthEstimator, EdgeDetector, StructureGuide
from engines.scenes.structure import canny, depth, soft_edges

_EDGES, _DEPTH = "gradient_edges", "depth_anything"


class _Guide(ABC):
    """A ControlNet. A diffusion model takes it along; alone it answers nothing."""

    version: ClassVar[int] = 1

    def __init__(self, loading: Loading) -> None:
        loading.device.torch()
        from diffusers import ControlNetModel

        self._network = load_network(loading, ControlNetModel)
        self._name = loading.pinned

    def warm_up(self) -> None:
        self.drawn([(np.full((64, 64, 3), 127, np.uint8), np.ones((64, 64), np.float32))])

    def network(self) -> Any:
        return self._network

    def name(self) -> str:
        return self._name

    def drawn(self, products: Sequence[tuple[RGB, Alpha]]) -> list[Alpha]:
        return [self._drawing(foreground, alpha) for foreground, alpha in products]

    @abstractmethod
    def _drawing(self, foreground: RGB, alpha: Alpha) -> Alpha: ...


@engine(
    "controlnet_canny",
    capability=StructureGuide,
    hub="lllyasviel/sd-controlnet-canny",
    extra="models",
    licence="CreativeML Open RAIL-M",
    memory_mb=1600,
)
@engine(
    "controlnet_canny_xl",
    capability=StructureGuide,
    hub="diffusers/controlnet-canny-sdxl-1.0",
    extra="models",
    licence="CreativeML Open RAIL++-M",
    memory_mb=5200,
)
class CannyGuide(_Guide):
    """A ControlNet that was trained on Canny's edges: it keeps outline, lettering and every hard line."""

    def _drawing(self, foreground: RGB, alpha: Alpha) -> Alpha:
        return canny(foreground, alpha)


@engine(
    "controlnet_soft_edges",
    capability=StructureGuide,
    needs=(_EDGES,),
    hub="lllyasviel/sd-controlnet-hed",
    extra="models",
    licence="CreativeML Open RAIL-M",
    memory_mb=1600,
)
class SoftEdgesGuide(_Guide):
    """A ControlNet that was trained on HED's soft edges: it keeps forms, and is freer with fine lines.

    What draws the edges is measured gradients; `needs = { gradient_edges = "hed" }` puts HED itself there.
    """

    def __init__(self, loading: Loading) -> None:
        self._detector: EdgeDetector = loading.engine(_EDGES)
        super().__init__(loading)

    def _drawing(self, foreground: RGB, alpha: Alpha) -> Alpha:
        return soft_edges(foreground, alpha, self._detector)


@engine(
    "controlnet_depth",
    capability=StructureGuide,
    needs=(_DEPTH,),
    hub="lllyasviel/sd-controlnet-depth",
    extra="models",
    licence="CreativeML Open RAIL-M",
    memory_mb=1600,
)
class DepthGuide(_Guide):
    """A ControlNet that was trained on depth: it keeps a product's relief, and puts what is around it behind it."""

    def __init__(self, loading: Loading) -> None:
        self._estimator: DepthEstimator = loading.engine(_DEPTH)
        super().__init__(loading)

    def _drawing(self, foreground: RGB, alpha: Alpha) -> Alpha:
        return depth(foreground, alpha, self._estimator)
