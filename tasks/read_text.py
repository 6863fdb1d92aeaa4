"""Read the text printed on a product or its pack."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from engines.protocols import Printed, TextReader
from pipeline.graph import Scope
from pipeline.outcomes import Outcome, Value
from tasks._runtime import Runtime
from tasks._stage import Item, stage
from tasks.photo import Photo
from tasks.screen import Screened


class LineValue(Value):
    """A line of text; ``box`` is left, top, right, bottom as shares of the photo's width and height."""

    text: str
    confidence: float
    box: tuple[float, float, float, float]


class ReadText(Outcome):
    """The lines of a photo, from top to bottom; none where nothing can be read."""

    lines: tuple[LineValue, ...]

    def printed(self) -> tuple[Printed, ...]:
        """The lines as engines take them."""
        return tuple(Printed(line.text, line.confidence, line.box) for line in self.lines)


def _present(outcome: ReadText) -> Mapping[str, Any]:
    return {"texts": outcome.model_dump(mode="json")["lines"]}


@stage(
    version=1,
    scope=Scope.IMAGE,
    produces=ReadText,
    needs=(Photo, Screened),
    role="text_reader",
    presents=_present,
)
def read_text(items: Sequence[Item], run: Runtime) -> list[Outcome]:
    """Read the photos of a batch together. What is read is data, as a title is: no stage obeys it."""
    reader: TextReader = run.engine("text_reader")
    pictures = [run.pixels(item.one(Photo).image) for item in items]
    return [
        ReadText(lines=tuple(_line(printed) for printed in found)) for found in reader.read_text(pictures)
    ]


def _line(printed: Printed) -> LineValue:
    left, top, right, bottom = (round(side, 4) for side in printed.box)
    return LineValue(
        text=printed.text, confidence=round(printed.confidence, 4), box=(left, top, right, bottom)
    )
