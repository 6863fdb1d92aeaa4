"""Say what speaks for a product, in sentences that each rest on something that holds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from engines.protocols import Brief, Pitcher, SellingPoint
from engines.words.trust import proven
from pipeline.errors import RejectedInput, VitrineError
from pipeline.graph import Scope
from pipeline.outcomes import Outcome, Value
from tasks._runtime import Runtime, catalog_facts
from tasks._stage import Item, stage
from tasks.cutout import CutOut
from tasks.photo import Photo
from tasks.read_text import ReadText
from tasks.screen import Screened
from tasks.tag import Tagged, read_facts, subjects_of


class Rest(Value):
    """What makes a selling point true: a tag's attribute and value, or ``catalog`` and one of its fields."""

    attribute: str
    value: str


class PointValue(Value):
    """A selling point in both languages and what it rests on."""

    en: str
    zh: str
    rests_on: tuple[Rest, ...]


class Pitched(Outcome):
    """The selling points that hold, strongest first; none where nothing can be said."""

    points: tuple[PointValue, ...]


def _present(outcome: Pitched) -> Mapping[str, Any]:
    return {"selling_points": outcome.model_dump(mode="json")["points"]}


@stage(
    version=1,
    scope=Scope.PRODUCT,
    produces=Pitched,
    needs=(Tagged,),
    uses=(Photo, Screened, CutOut, ReadText),
    reads=read_facts,
    role="pitcher",
    presents=_present,
)
def pitch(items: Sequence[Item], run: Runtime) -> list[Outcome | VitrineError]:
    """Ask for the selling points of a batch together, and keep those that rest on something."""
    pitcher: Pitcher = run.engine("pitcher")
    briefs = [_brief(item, run) for item in items]
    answers = pitcher.pitch(briefs)
    return [
        points
        if isinstance(points, RejectedInput)
        else Pitched(points=tuple(_point(point) for point in proven(points, brief.tags, brief.facts)))
        for brief, points in zip(briefs, answers, strict=True)
    ]


def _brief(item: Item, run: Runtime) -> Brief:
    printed = tuple(line for _, read in item.all(ReadText) for line in read.printed())
    return Brief(
        catalog_facts(item.product), item.one(Tagged).held(), printed, lambda: subjects_of(run, item)
    )


def _point(point: SellingPoint) -> PointValue:
    return PointValue(
        en=point.text.en,
        zh=point.text.zh,
        rests_on=tuple(Rest(attribute=attribute, value=value) for attribute, value in point.rests_on),
    )
