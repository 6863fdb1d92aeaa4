"""Depth from one picture: Depth Anything V2, Yang et al. 2024, https://arxiv.org/abs/2406.09414."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import numpy as np

from engines.checkpoints import load_image_processor, load_model
from engines.declaration import Loading, engine
from engines.protocols import RGB, Alpha
from engines.protocols.scenes import DepthEstimator

_LONGEST = 8
"""Long side to short side of a picture that is looked at as it is."""


@engine(
    "depth_anything",
    capability=DepthEstimator,
    hub="depth-anything/Depth-Anything-V2-Small-hf",
    extra="models",
    licence="Apache-2.0 (small); larger ones CC-BY-NC-4.0",
    batch=8,
    memory_mb=700,
)
class DepthAnything:
    """Which of two points is nearer; how far either is, it does not say."""

    version: ClassVar[int] = 1

    def __init__(self, loading: Loading) -> None:
        self._torch = loading.device.torch()
        from transformers import AutoModelForDepthEstimation

        self._images = load_image_processor(loading)
        self._model = load_model(loading, AutoModelForDepthEstimation)

    def warm_up(self) -> None:
        self.depth([np.zeros((64, 64, 3), np.uint8)])

    def depth(self, pictures: Sequence[RGB]) -> list[Alpha]:
        # One at a time: each keeps its own proportions.
        return [self._depth(picture) for picture in pictures]

    def _depth(self, picture: RGB) -> Alpha:
        height, width = picture.shape[:2]
        # The processor would shrink the short side of a long picture to nothing.
        least = -(-max(height, width) // _LONGEST)
        wide = ((0, max(0, least - height)), (0, max(0, least - width)), (0, 0))
        images = self._images(
            images=[np.pad(picture, wide, mode="edge")],
            return_tensors="pt",
            input_data_format="channels_last",
        )
        with self._torch.inference_mode():
            said = self._model(pixel_values=images["pixel_values"].to(self._model.device, self._model.dtype))
            full = self._torch.nn.functional.interpolate(
                said.predicted_depth[:, None].float(), (max(height, least), max(width, least)), mode="bicubic"
            )
        near = full[0, 0, :height, :width].cpu().numpy()
        low, high = float(near.min()), float(near.max())
        scaled: Alpha = ((near - low) / (high - low) if high > low else np.zeros_like(near)).astype(
            np.float32
        )
        return scaled
