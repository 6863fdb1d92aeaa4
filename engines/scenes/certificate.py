"""The proof that the product in a scene picture is the product: what was measured, and what it was held against."""

from __future__ import annotations

import tomllib
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from pydantic import BaseModel, ConfigDict, ValidationError

from engines.looks.regions import window
from engines.protocols import RGB, ImageEncoder, Segmenter, Subject, TextReader
from engines.protocols.scenes import Placement, SceneRequest
from engines.scenes import halo, sameness, silhouette, standing
from engines.scenes.compositing import moved
from engines.scenes.presets import Pose
from pipeline.errors import ConfigurationError

FILE = "scenes/bars.toml"
"""Below the folder ``engines``. It is part of the fingerprints of what is held to it."""

_ANY = "any"

_AROUND = 0.12
"""Of the product's size: how much of its photo is looked at besides it."""

_SAYS: Mapping[str, str] = {
    "unchanged": "Only {score:.1%} of the product's pixels still have its photo's colours",
    "marred": "A patch of {score:.2%} of the product has other colours than in its photo",
    "edges": "The lines inside the product are not those of its photo (agreement {score:.2f})",
    "framed": "The photo's border cuts the product off along {score:.0%} of a side",
    "unmarked": "The cut-out ends where the photo shows no edge, for {score:.0%} of its size in one go: "
    "it leaves something of the product out, or takes background in",
    "halo": "Along {score:.0%} of its edge the product shows its old background",
    "gap": "The product's lowest point is {score:.1%} of the picture's height away from its ground",
    "contact": "The ground under the product has no shadow (darker than beside it by {score:.1f} of L*): it floats",
    "shade": "The product darkens the surface it touches by {score:.1f} of L* only: it floats",
    "surrounding": "The surface around the product has no shadow (darker close by, by {score:.1f} of L*): it floats",
    "copy": "Something beside the product looks just like it (correlation {score:.2f}): a second one",
    "size": "The product takes {score:.0%} of the picture's width or height: that is not its size",
    "silhouette": "Cut out of the finished picture, the product has another outline (overlap {score:.2f})",
    "grown": "Beside the product there is more that belongs to it, {score:.0%} of its area: a part has grown, or a "
    "second product stands there",
    "missed": "Its photo shows more of the product than the cut-out, {score:.0%} of its area",
    "extra": "In its photo {score:.0%} of the cut-out's area does not belong to the product",
    "likeness": "It does not look like the product in its photo (likeness {score:.3f})",
    "text": "Only {score:.0%} of the text printed on the product can still be read",
}
"""What each score means when it is past its bar, to an operator."""


_LASTING = frozenset(("framed", "unmarked", "size", "gap", "missed", "extra"))
"""Told by the photo, its cut-out and where it was placed: another setting changes none of them."""


class Bar(BaseModel):
    """The bounds within which a score is good."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    least: float | None = None
    most: float | None = None

    def admits(self, score: float) -> bool:
        return (self.least is None or score >= self.least) and (self.most is None or score <= self.most)

    def __str__(self) -> str:
        parts = (f"at least {self.least:g}" if self.least is not None else "",)
        return " and ".join(filter(None, (*parts, f"at most {self.most:g}" if self.most is not None else "")))


@dataclass(frozen=True, slots=True)
class Certificate:
    """What was measured of a picture, the bars it was held against, and in plain sentences what fell short.

    Where it fails, what would have cost more to measure was not.
    """

    scores: Mapping[str, float]
    bars: Mapping[str, Bar]
    failures: tuple[str, ...]

    @property
    def passes(self) -> bool:
        return not self.failures

    @property
    def lasts(self) -> bool:
        """Whether something fell short that another attempt with the same cut-out cannot mend."""
        return any(name in _LASTING and not bar.admits(self.scores[name]) for name, bar in self.bars.items())


@dataclass(frozen=True, slots=True)
class Judges:
    """The engines that look at a picture. Without a reader, printed text is not compared."""

    segmenter: Segmenter
    encoder: ImageEncoder
    reader: TextReader | None = None


@dataclass(frozen=True, slots=True)
class Work:
    """A finished picture and all it is judged by.

    ``scenery`` is what the engine made around the product, without it, ``bare`` the same without its shadow where the
    engine can make that; ``source`` the photo with the very alpha that was laid; ``kinds`` are the product's categories
    and types of the vocabulary.
    """

    request: SceneRequest
    scenery: RGB
    picture: RGB
    source: Subject
    pose: Pose
    kinds: Collection[str] = ()
    bare: RGB | None = None


def certify(work: Work, judges: Judges) -> Certificate:
    """Measure, cheapest first, and stop where something falls short."""
    bars = bars_for(work.kinds)
    scores: dict[str, float] = {}
    for told in measured(work, judges):
        scores |= {name: float(score) for name, score in told.items()}
        failures = failed(scores, bars)
        if failures:
            break
    return Certificate(scores, {name: bars[name] for name in scores if name in bars}, failures)


def failed(scores: Mapping[str, float], bars: Mapping[str, Bar]) -> tuple[str, ...]:
    """A sentence for each score past its bar."""
    return tuple(
        f"{_SAYS[name].format(score=score)}; the bar is {bars[name]}."
        for name, score in scores.items()
        if name in bars and not bars[name].admits(score)
    )


def measured(work: Work, judges: Judges) -> Iterator[dict[str, float]]:
    """All scores by name, in three parts: pixels alone, what models see, what can be read."""
    request, alpha = work.request, work.request.alpha
    photo = _photo(work.source, request.placement, work.picture)
    scores = dict(zip(("unchanged", "marred"), sameness.changed(photo, work.picture, alpha), strict=True))
    scores["unchanged"] = 1 - scores["unchanged"]
    scores["edges"] = sameness.edge_agreement(photo, work.picture, alpha)
    scores |= _mask(work.source, request.placement)
    scenery = sameness.lab(work.scenery)
    scores["halo"] = halo.halo(sameness.lab(work.picture), scenery, sameness.lab(photo), alpha)
    scores["size"] = standing.size(request.placement)
    scores["gap"] = standing.gap(alpha, request.placement)
    # What hangs from the picture's top, or goes on below it, touches no ground in it.
    touches = not silhouette.at_border(request.placement) & {"top", "bottom"}
    rests = touches or work.pose is Pose.LYING
    if work.bare is not None and rests:
        darker = sameness.lab(work.bare)[..., 0] - scenery[..., 0]
        scores["shade"] = standing.shade(darker, alpha, work.pose)
    elif rests and work.pose is Pose.STANDING:
        scores["contact"] = standing.contact(scenery[..., 0], alpha)
    elif rests:
        scores["surrounding"] = standing.surrounding(scenery[..., 0], alpha)
    scores["copy"] = standing.copy(work.scenery, photo, alpha)
    yield scores

    overlap, grown = silhouette.again(judges.segmenter, work.picture, alpha)
    missed, extra = silhouette.second_look(judges.segmenter, work.source)
    yield {
        "likeness": sameness.likeness(judges.encoder, photo, work.picture, alpha),
        "silhouette": overlap,
        "grown": grown,
        "missed": missed,
        "extra": extra,
    }

    lines = sameness.legible(work.source.printed, work.source.alpha, request.placement.scale)
    if judges.reader is not None and lines:
        views = sameness.close_ups(work.picture, lines, work.source.alpha, request.placement)
        read = [line for view in judges.reader.read_text(views) for line in view]
        yield {"text": sameness.text_agreement(lines, read)}


def _photo(source: Subject, placement: Placement, picture: RGB) -> RGB:
    """The finished picture with all of the source photo around the product laid over it."""
    around, _, to = moved(source, placement, _AROUND)
    laid = picture.copy()
    laid[window(to)] = around
    return laid


def _mask(source: Subject, placement: Placement) -> dict[str, float]:
    around, alpha, _ = moved(source, placement, _AROUND)
    stretch = silhouette.unmarked(sameness.lab(around), alpha)
    return {"framed": silhouette.framed(source.alpha, placement), "unmarked": stretch}


class _Bars(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    bars: dict[str, dict[str, Bar]]


def bars_for(kinds: Collection[str]) -> Mapping[str, Bar]:
    """The bar of each score for products of these categories and types."""
    tables = read_bars()
    found = dict(tables[_ANY])
    for kind in tables:
        if kind in kinds:
            found |= tables[kind]
    return found


@cache
def read_bars() -> Mapping[str, Mapping[str, Bar]]:
    """The bars of each score by category or type. Raises ConfigurationError that says what is wrong in the file."""
    path = Path(__file__).parents[1] / FILE
    try:
        tables = _Bars.model_validate(tomllib.loads(path.read_text("utf-8"))).bars
    except (OSError, tomllib.TOMLDecodeError, ValidationError) as error:
        raise ConfigurationError(f"the bars of scene pictures in {path}: {error}") from error
    strange = sorted({name for table in tables.values() for name in table} - set(_SAYS))
    if strange:
        raise ConfigurationError(f"{path} has a bar for {strange[0]!r}, which nothing measures")
    return tables
