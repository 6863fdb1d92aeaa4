"""What the page draws on a photo: where each tag was seen, and what was read there. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Mark:
    """A region of a photo with the number it shares with its tags; 0 for text that was read.

    ``points`` are the corners of a closed polygon in the photo's pixels, as SVG writes them; ``x``, ``y`` is
    where its number stands.
    """

    number: int
    points: str
    x: float
    y: float


@dataclass(frozen=True, slots=True)
class Told:
    """A tag as the page shows it: ``number`` is that of its mark, 0 without one."""

    tag: Mapping[str, Any]
    number: int

    @property
    def evidence(self) -> str:
        """What it rests on, in words."""
        return "; ".join(f"{_WITNESS[item['witness']]}: {item['words']}" for item in self.tag["evidence"])


_WITNESS = {
    "photo": "seen",
    "printed": "read on the product",
    "catalog": "the merchant says",
    "attributes": "follows",
}


def numbered(tags: Iterable[Mapping[str, Any]]) -> tuple[Told, ...]:
    """The tags, those with a region on a photo numbered from 1; tags of one region share its number."""
    numbers: dict[Any, int] = {}
    told = []
    for tag in tags:
        region = next((key for key in map(_region, tag["evidence"]) if key), None)
        told.append(Told(tag, numbers.setdefault(region, len(numbers) + 1) if region else 0))
    return tuple(told)


def marks(
    tags: Sequence[Told], photo: Mapping[str, Any], texts: Iterable[Mapping[str, Any]]
) -> tuple[Mark, ...]:
    """What to draw on one photo: the region of each numbered tag that was seen on it, and what was read."""
    found: dict[int, Mark] = {}
    for told in tags:
        for item in told.tag["evidence"]:
            if (
                item["photo"] == photo["digest"]
                and _region(item)
                and told.number
                and told.number not in found
            ):
                corners = item["outline"] or _corners(item["box"])
                found[told.number] = _mark(told.number, corners, photo)
    read = (_mark(0, _corners(line["box"]), photo) for line in texts)
    return (*found.values(), *read)


def _region(item: Mapping[str, Any]) -> Any:
    shape = item["outline"] or item["box"]
    return (item["photo"], str(shape)) if item["photo"] and shape else None


def _corners(box: Sequence[float]) -> list[tuple[float, float]]:
    left, top, right, bottom = box
    return [(left, top), (right, top), (right, bottom), (left, bottom)]


def _mark(number: int, corners: Sequence[Sequence[float]], photo: Mapping[str, Any]) -> Mark:
    width, height = photo["width"], photo["height"]
    pixels = [(x * width, y * height) for x, y in corners]
    at = min(pixels, key=lambda point: (point[1], point[0]))
    points = " ".join(f"{x:.0f},{y:.0f}" for x, y in pixels)
    # A number at the photo's edge stands inside it.
    rim = 0.036 * max(width, height)
    x, y = min(max(at[0], rim), width - rim), min(max(at[1], rim), height - rim)
    return Mark(number, points, round(x), round(y))
