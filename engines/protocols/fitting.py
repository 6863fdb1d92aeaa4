"""What puts clothes on people: maps of garments, readings of people, renderers of the two together.

Points are in pixels of the picture they were found in, x to the right and y down. Left and right are the wearer's.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol, runtime_checkable

import numpy as np
import numpy.typing as npt

from engines.protocols import RGB, Alpha, Subject
from engines.protocols.scenes import Source
from pipeline.errors import RejectedInput

Points = npt.NDArray[np.float32]
"""(N, 2) or, with how surely each is seen in [0, 1], (N, 3)."""


class GarmentKind(StrEnum):
    """What part of a body it dresses."""

    UPPER = "upper"
    LOWER = "lower"
    DRESS = "dress"
    OUTERWEAR = "outerwear"
    FOOTWEAR = "footwear"
    ACCESSORY = "accessory"


class Side(StrEnum):
    """Which side of a garment its photo shows."""

    FRONT = "front"
    BACK = "back"


@dataclass(frozen=True, slots=True)
class Garment:
    """A garment's photo with its cut-out, and what its tags and the merchant say it is."""

    subject: Subject
    kind: GarmentKind
    side: Side
    types: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Landmark:
    """A named place of a garment; ``confidence`` in [0, 1] by the method's own account."""

    x: float
    y: float
    confidence: float


@dataclass(frozen=True, slots=True)
class GarmentMap:
    """Where a garment's places and parts are in its photo.

    ``landmarks`` by name, such as ``cuff-outer-left``. ``parts`` by name (``torso``, ``left-sleeve``, ``collar``,
    ``left-leg`` …), each (H, W) in [0, 1]; their sum is the garment: the cut-out with its edge sharpened and without
    what it held of the background between the legs. ``symmetry`` in [0, 1] is how alike its halves are.
    ``unsupported`` says why nothing can be fitted with it, empty where it can.
    """

    kind: GarmentKind
    side: Side
    landmarks: Mapping[str, Landmark]
    parts: Mapping[str, Alpha]
    symmetry: float
    confidence: float
    unsupported: str = ""


@runtime_checkable
class GarmentMapper(Protocol):
    """Finds the places and parts of garments."""

    def map(self, garments: Sequence[Garment]) -> Sequence[GarmentMap | RejectedInput]:
        """One map a garment."""
        ...


@dataclass(frozen=True, slots=True)
class Person:
    """One person in a picture. Never stored, never logged.

    ``pose`` (33, 3): BlazePose's points with how surely each is seen. ``mask`` (H, W): the person with hair and
    clothes. ``face`` (468, 2): MediaPipe's face mesh, None where no face is seen.
    """

    pose: Points
    mask: Alpha
    face: Points | None


@runtime_checkable
class PersonReader(Protocol):
    """Finds the person in a picture."""

    def read(self, pictures: Sequence[RGB]) -> Sequence[Person | RejectedInput]:
        """One person a picture; a RejectedInput says what the picture lacks: nobody, two people, half a body …"""
        ...


@dataclass(frozen=True, slots=True)
class FittingRequest:
    """A garment, by the photos there are of it with their maps, and a person to dress in it."""

    garment: Sequence[tuple[Subject, GarmentMap]]
    picture: RGB
    person: Person


@dataclass(frozen=True, slots=True)
class Fitting:
    """A person dressed. ``region`` (H, W) in [0, 1] is all that was changed; outside it every pixel is the photo's
    own. ``worn`` (H, W) is where the garment is. ``scores`` are the engine's own checks, for the router."""

    picture: RGB
    region: Alpha
    worn: Alpha
    source: Source
    scores: Mapping[str, float]
    settings: Mapping[str, str | float | int]


@runtime_checkable
class TryOnRenderer(Protocol):
    """Dresses people."""

    def fit(self, requests: Sequence[FittingRequest]) -> Sequence[Fitting | RejectedInput]:
        """One fitting a request, of its picture's size; the same for the same request."""
        ...


class FaceKind(StrEnum):
    """What is tried on at a face."""

    LIPSTICK = "lipstick"
    EYEWEAR = "eyewear"


class Finish(StrEnum):
    """How a lipstick takes the light."""

    MATTE = "matte"
    SATIN = "satin"
    GLOSS = "gloss"


@dataclass(frozen=True, slots=True)
class FaceRequest:
    """A product and the face to try it on at. Of a lipstick, ``colour`` in sRGB from 0 to 255 is the merchant's word;
    None where it is read off the product's photo."""

    product: Subject
    kind: FaceKind
    picture: RGB
    person: Person
    finish: Finish = Finish.SATIN
    colour: tuple[int, int, int] | None = None


@runtime_checkable
class FaceRenderer(Protocol):
    """Puts colour on lips and glasses on faces."""

    def wear(self, requests: Sequence[FaceRequest]) -> Sequence[Fitting | RejectedInput]:
        """One fitting a request, of its picture's size; the same for the same request."""
        ...
