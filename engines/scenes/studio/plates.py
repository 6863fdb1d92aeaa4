"""Plates: pictures of empty sets, path-traced once and kept on disk."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
import numpy.typing as npt

from engines.kept_arrays import code_digest, kept
from engines.scenes.presets import Studio
from engines.scenes.studio.sets import StudioSet, studio_set
from engines.scenes.studio.tracing import places, trace
from engines.scenes.studio.view import View

Half = npt.NDArray[np.float16]

SAMPLES = 8
"""Paths a pixel and light. The denoiser makes up for the rest."""

COARSE = 256
"""Pixels along the longer edge at which shadows of products are worked out."""

_SHAPED_BY = ("noise", "textures", "geometry", "lights", "sets", "meshes", "tracing", "view", "plates")
_KEPT = 6


@dataclass(frozen=True, slots=True)
class Plate:
    """An empty set in linear light: by its key and by its fill (H, W, 3), where it takes a tint (H, W).

    ``position`` and ``normal`` (h, w, 3) say where in space its pixels are, coarser.
    """

    key: Half
    fill: Half
    tint: Half
    position: npt.NDArray[np.float32]
    normal: npt.NDArray[np.float32]


class Plates:
    """The plates of a folder; those that are not there yet are rendered and kept."""

    def __init__(self, folder: Path, samples: int = SAMPLES) -> None:
        self._folder = folder
        self._samples = samples
        self._held: dict[str, Plate] = {}

    def get(self, studio: Studio, view: View) -> Plate:
        """The plate of a set. Rendered where there is none on disk, or none that can be read."""
        name = self._name(studio, view)
        plate = self._held.pop(name, None) or kept(
            Plate, self._folder / name, lambda: _rendered(studio_set(studio), view, self._samples)
        )
        self._held[name] = plate
        while len(self._held) > _KEPT:
            del self._held[next(iter(self._held))]
        return plate

    def _name(self, studio: Studio, view: View) -> str:
        told = f"{_code()} {studio.set} {studio.light} {view} {self._samples}"
        digest = hashlib.sha256(told.encode()).hexdigest()[:16]
        return f"{studio.set}-{studio.light}-{view.width}x{view.height}-{digest}.npz"


@cache
def _code() -> str:
    """The digest of all code that shapes a plate: a changed set is a set without plates."""
    return code_digest(Path(__file__).parent, _SHAPED_BY)


def _rendered(stage: StudioSet, view: View, samples: int) -> Plate:
    traced = trace(stage, view, samples)
    position, normal = places(stage, view.sized(min(COARSE, max(view.width, view.height))))
    key, fill, tint = (np.clip(v, 0, 60).astype(np.float16) for v in (traced.key, traced.fill, traced.tint))
    return Plate(key, fill, tint, position, normal)
