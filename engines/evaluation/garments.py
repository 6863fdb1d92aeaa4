"""How far the places of garments that an engine finds are from those that a person placed.

The error is the distance as a share of the diagonal of the garment's box. ``garment_landmarks.csv`` names the photos:
``openvto`` are the kit's, ``clothing`` is a folder that is no part of the repository and is left out without one.
"""

from __future__ import annotations

import csv
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from engines.looks.cutouts import solid
from engines.looks.regions import bounds
from engines.protocols import Segmenter, Subject
from engines.protocols.fitting import Garment, GarmentKind, GarmentMap, GarmentMapper, Side

TABLE = Path(__file__).with_name("garment_landmarks.csv")

_LONGEST = 1024
NEAR = 0.05
"""Of the garment's diagonal: a place that is off by no more is found."""


@dataclass(frozen=True, slots=True)
class Labelled:
    """A photo with the places that a person saw in it, (x, y) as shares of its width and height."""

    photos: str
    file: str
    side: Side
    kind: GarmentKind
    places: Mapping[str, tuple[float, float]]


@dataclass(frozen=True, slots=True)
class Error:
    """How far a place is off as a share of the garment's diagonal; None where it was not found."""

    photos: str
    file: str
    landmark: str
    off: float | None


def read_labelled(table: Path = TABLE) -> list[Labelled]:
    """The table, a photo each."""
    places: dict[tuple[str, str, Side, GarmentKind], dict[str, tuple[float, float]]] = defaultdict(dict)
    with table.open(newline="", encoding="utf-8") as lines:
        for row in csv.DictReader(lines):
            key = row["photos"], row["file"], Side(row["side"]), GarmentKind(row["kind"])
            places[key][row["landmark"]] = float(row["x"]), float(row["y"])
    return [Labelled(*key, found) for key, found in places.items()]


def measure(
    labelled: Iterable[Labelled], folders: Mapping[str, Path], segmenter: Segmenter, mapper: GarmentMapper
) -> list[Error]:
    """The error of every place of the photos whose folder is given."""
    errors = []
    for one in labelled:
        if one.photos not in folders:
            continue
        with Image.open(folders[one.photos] / one.file) as image:
            small = image.convert("RGB")
            small.thumbnail((_LONGEST, _LONGEST))
        picture = np.asarray(small)
        (alpha,) = segmenter.segment([picture])
        (found,) = mapper.map([Garment(Subject(picture, alpha), one.kind, one.side)])
        height, width = alpha.shape
        box = bounds(solid(alpha)) or (0, 0, width, height)
        diagonal = float(np.hypot(box[2] - box[0], box[3] - box[1]))
        for name, (x, y) in one.places.items():
            mark = found.landmarks.get(name) if isinstance(found, GarmentMap) else None
            off = (
                None if mark is None else float(np.hypot(mark.x - x * width, mark.y - y * height)) / diagonal
            )
            errors.append(Error(one.photos, one.file, name, off))
    return errors


def table(errors: Sequence[Error]) -> str:
    """A line a landmark, both sides together: how many, mean, median, 90th percentile, share within 5 %."""
    groups: dict[str, list[float | None]] = defaultdict(list)
    for error in errors:
        groups[error.landmark.removesuffix("-left").removesuffix("-right")].append(error.off)
        groups["all"].append(error.off)
        groups[f"all of {error.photos}"].append(error.off)
    lines = [
        "| place | placed | found | mean | median | 90 % under | within 5 % |",
        "|---|---:|---:|---:|---:|---:|---:|",
    ]
    for name in sorted(groups, key=lambda name: (name.startswith("all"), name)):
        off = np.array([value for value in groups[name] if value is not None])
        if not len(off):
            lines.append(f"| {name} | {len(groups[name])} | 0 | | | | 0 % |")
            continue
        near = int((off <= NEAR).sum()) / len(groups[name])
        lines.append(
            f"| {name} | {len(groups[name])} | {len(off)} | {off.mean():.1%} | {np.median(off):.1%} "
            f"| {np.percentile(off, 90):.1%} | {near:.0%} |"
        )
    return "\n".join(lines)
