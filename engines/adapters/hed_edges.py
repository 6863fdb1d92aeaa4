"""HED, holistically nested edge detection: Xie and Tu 2015, https://arxiv.org/abs/1504.06375."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

import numpy as np
from PIL import Image

from engines.declaration import Loading, engine
from engines.protocols import RGB, Alpha
from engines.protocols.scenes import EdgeDetector

_MEAN = (103.939, 116.779, 123.68)
"""Blue, green, red, as the VGG that it was built on was trained with."""

_MOST = 1024
"""Pixels of the longer side that are looked at: of a larger picture every inner layer takes gigabytes."""

_BLOCKS = (2, 2, 3, 3, 3)
"""Convolutions of each block of the VGG; after each block one side output."""


@engine(
    "hed",
    capability=EdgeDetector,
    artifacts=("hed",),
    licence="MIT (package)",
    batch=8,
    memory_mb=1500,
)
class HedEdges:
    """Draws what a person would trace: outlines and parts, hardly any texture.

    Opt-in: `vitrine engines --fetch hed`, then `needs = { gradient_edges = "hed" }` of the model that draws by it.
    """

    version: ClassVar[int] = 1

    def __init__(self, loading: Loading) -> None:
        self._torch = loading.device.torch()
        self._device = loading.device.kind
        import h5py

        with h5py.File(loading.path("hed"), "r") as file:
            self._blocks = [
                [
                    self._weights(file, f"block{block}/layers/conv2d{'' if at == 0 else f'_{at}'}")
                    for at in range(layers)
                ]
                for block, layers in enumerate(_BLOCKS, 1)
            ]
            self._sides = [self._weights(file, f"dsn{block}") for block in range(1, len(_BLOCKS) + 1)]
            self._fuse = self._weights(file, "fuse")

    def _weights(self, file: Any, layer: str) -> tuple[Any, Any]:
        """A convolution's kernel and bias; Keras keeps kernels as (height, width, in, out)."""
        kernel, bias = (self._torch.from_numpy(np.asarray(file[f"{layer}/vars/{at}"])) for at in (0, 1))
        return kernel.permute(3, 2, 0, 1).contiguous().to(self._device), bias.to(self._device)

    def warm_up(self) -> None:
        self.edges([np.zeros((32, 32, 3), np.uint8)])

    def edges(self, pictures: Sequence[RGB]) -> list[Alpha]:
        # One at a time: a picture fills all cores, and its inner layers take most of a gigabyte.
        return [self._edges(picture) for picture in pictures]

    def _edges(self, picture: RGB) -> Alpha:
        act = self._torch.nn.functional
        image = Image.fromarray(picture)
        image.thumbnail((_MOST, _MOST), Image.Resampling.BOX)
        pixels = np.asarray(image, np.float32)[..., ::-1] - np.array(_MEAN, np.float32)
        x = self._torch.from_numpy(np.ascontiguousarray(pixels.transpose(2, 0, 1)[None])).to(self._device)
        size, seen = x.shape[2:], []
        with self._torch.inference_mode():
            for at, (block, side) in enumerate(zip(self._blocks, self._sides, strict=True)):
                if at:
                    x = act.max_pool2d(x, 2, 2, ceil_mode=True)
                for kernel, bias in block:
                    x = act.relu(act.conv2d(x, kernel, bias, padding=1))
                seen.append(act.interpolate(act.conv2d(x, *side), size, mode="bilinear"))
            fused = act.conv2d(self._torch.cat(seen, 1), *self._fuse).sigmoid()
            full = act.interpolate(fused, picture.shape[:2], mode="bilinear")
        found: Alpha = full[0, 0].cpu().numpy()
        return found
