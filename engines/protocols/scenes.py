"""What makes pictures around a product: renderers of scenes, and what tells them of its structure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Protocol, runtime_checkable

from engines.protocols import RGB, Alpha, Bilingual
from pipeline.errors import RejectedInput


class Source(StrEnum):
    """What a generated picture is made of, as IPTC's digital source types say it.

    Source: IPTC NewsCodes, http://cv.iptc.org/newscodes/digitalsourcetype/
    """

    SYNTHETIC_COMPOSITE = "compositeSynthetic"  # the product's photo in a rendered set
    TRAINED_COMPOSITE = "compositeWithTrainedAlgorithmicMedia"  # the product's photo in what a model made up


@dataclass(frozen=True, slots=True)
class Placement:
    """Where a product lies on a canvas. All in pixels of the canvas, ``crop`` in pixels of the photo.

    The photo's crop (left, top, right, bottom) is scaled by ``scale``, never turned or stretched, so that its
    upper left corner is at (left, top). ``ground`` is the row at which a standing product meets its surface: the
    lowest row of its solid pixels.
    """

    width: int
    height: int
    crop: tuple[int, int, int, int]
    scale: float
    left: int
    top: int
    ground: int


@dataclass(frozen=True, slots=True)
class Setting:
    """What an engine must know of a preset: its name, how the product meets it ("standing" or "lying"), and what a
    studio builds: the set, its light, and how it takes up the product's colours."""

    preset: str
    pose: str
    set: str
    light: str
    tint: str


@dataclass(frozen=True, slots=True)
class SceneRequest:
    """A product on an empty canvas, and the setting to make around it.

    ``foreground`` (H, W, 3) are the product's own colours without any of its old background, zero where there is
    none of it; ``alpha`` (H, W) is how much of each pixel it covers. ``palette`` are the product's colours in CIELAB
    with their shares, largest first. ``hold`` in [0, 1] says how strictly structure is to be kept: it rises when a
    picture has to be made again.
    """

    foreground: RGB
    alpha: Alpha
    placement: Placement
    setting: Setting
    palette: tuple[tuple[tuple[float, float, float], float], ...]
    prompt: Bilingual
    negative: Bilingual
    seed: int
    hold: float


@dataclass(frozen=True, slots=True)
class Scenery:
    """What an engine made around a product: the whole canvas, over which the product's own pixels are laid.

    ``settings`` are what it was made with, for the record (steps, scale, samples, the prompt as it was sent). ``bare``
    is the very same setting without the product's shadow, from an engine that can make it: against it the shadow is
    proven.
    """

    picture: RGB
    source: Source
    settings: Mapping[str, str | float | int]
    bare: RGB | None = None


@runtime_checkable
class SceneRenderer(Protocol):
    """Makes a setting around a product. It lays shadow and reflection, and never changes the product itself."""

    def render(self, requests: Sequence[SceneRequest]) -> Sequence[Scenery | RejectedInput]:
        """One scenery a request, of its canvas's size; the same for the same request."""
        ...


@runtime_checkable
class EdgeDetector(Protocol):
    """Draws what a person would trace in a picture."""

    def edges(self, pictures: Sequence[RGB]) -> Sequence[Alpha]:
        """How much of an edge each pixel is; of each picture's size."""
        ...


@runtime_checkable
class DepthEstimator(Protocol):
    """Tells how near things in a picture are."""

    def depth(self, pictures: Sequence[RGB]) -> Sequence[Alpha]:
        """Nearness by the picture's own measure: one is its nearest point, zero its farthest; of its size."""
        ...


@runtime_checkable
class StructureGuide(Protocol):
    """Holds a diffusion model to a product's structure: a network, and what it is shown of the product."""

    def network(self) -> Any:
        """The ControlNet, as a model of diffusers."""
        ...

    def drawn(self, products: Sequence[tuple[RGB, Alpha]]) -> Sequence[Alpha]:
        """What the network is shown of each product, foreground and alpha, on its canvas."""
        ...

    def name(self) -> str:
        """Which checkpoint it is, for the record."""
        ...
