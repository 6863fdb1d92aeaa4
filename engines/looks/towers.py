"""The image tower of a model by itself: in torch, as it was loaded, and as a file of ONNX that runs in its place."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import numpy as np
import numpy.typing as npt

from engines.declaration import Loading
from engines.devices import Device
from engines.protocols import RGB
from pipeline.errors import ConfigurationError

FILE = "tower.onnx"
ORIGIN = "vitrine.origin"
"""Names in the file's metadata the identity of the model that it was exported from."""

Pixels = npt.NDArray[np.float32]
Rows = npt.NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class ImageTower:
    """``module`` is a torch.nn.Module from pixels (N, 3, H, W) to rows (N, D), not normalised. ``prepared`` makes
    such pixels, float32, of whole photographs of any shape."""

    module: Any
    prepared: Callable[[Sequence[RGB]], Pixels]


@runtime_checkable
class Towered(Protocol):
    """An engine whose image tower can be taken out."""

    def image_tower(self) -> ImageTower: ...


class OnnxTower:
    """An image tower in a file of ONNX, on the CPU."""

    def __init__(self, file: Path, device: Device) -> None:
        self._session = device.onnx_session(file)
        self.origin: str = self._session.get_modelmeta().custom_metadata_map.get(ORIGIN, "")

    def rows(self, pixels: Pixels) -> Rows:
        """(N, D) of (N, 3, H, W). One by one: dynamic quantisation takes its range from all that it is given at
        once, so that in a batch a photograph's row would depend on the others."""
        return np.concatenate([self._session.run(None, {"pixels": one[np.newaxis]})[0] for one in pixels])


def exported_tower(loading: Loading) -> OnnxTower | None:
    """The tower that a deployment pinned in the place of the checkpoint's, if any.

    Raises ConfigurationError where it has changed since, or was exported from another checkpoint: its rows and
    those of the text tower would not share a space.
    """
    folder, model = loading.tower(), loading.registration.model
    if folder is None or model is None:
        return None
    name = loading.registration.name
    if not (folder / FILE).is_file():
        raise ConfigurationError(
            f"engine {name}: there is no {FILE} in {folder}: export one with `vitrine optimise`"
        )
    tower = OnnxTower(folder / FILE, loading.device)
    if tower.origin != model.origin:
        raise ConfigurationError(
            f"engine {name}: the image tower in {folder} was exported from another checkpoint, or with other "
            "options, than this model has: export it again with `vitrine optimise`"
        )
    return tower
