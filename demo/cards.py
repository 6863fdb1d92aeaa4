"""What the page says of one product, taken from its presentation and from the history of its runs. Pure."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from demo.evidence import Mark, Told, marks, numbered
from pipeline.graph import slot_of

_WORKED = frozenset({"done", "running"})
_SCENE_WIDTH = 640


@dataclass(frozen=True, slots=True)
class Shot:
    """One photo with what was made of it. Blobs are None where there is nothing to show."""

    id: str
    role: str
    photo: Mapping[str, Any] | None
    cutout: Mapping[str, Any] | None
    caption: Mapping[str, str] | None
    caption_engine: str
    template: bool
    marks: tuple[Mark, ...]
    texts: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Shown:
    """The product in a setting: the picture at a page's size and whole, and what was measured of it."""

    title: str
    alt: Mapping[str, str]
    picture: Mapping[str, Any]
    master: Mapping[str, Any]
    width: int
    height: int
    placeholder: str
    engine: str
    source: str
    scores: tuple[tuple[str, float, str], ...]
    failures: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Bar:
    """One run on the time axis: ``left`` and ``width`` in per cent of it, the rest in seconds.

    ``began`` is None for a run that was served at once, or not at all; ``settled`` is when it was over.
    """

    stage: str
    photo: str
    state: str
    engine: str
    reason: str
    attempts: int
    began: float | None
    settled: float
    left: float
    width: float


@dataclass(frozen=True, slots=True)
class Card:
    """A product as the page shows it."""

    key: str
    source: str
    product_id: str
    title: str
    category: str
    brand: str
    locale: str
    price: str
    verdict: str
    shots: tuple[Shot, ...]
    tags: tuple[Told, ...]
    keywords: tuple[Mapping[str, str], ...]
    points: tuple[Mapping[str, Any], ...]
    points_template: bool
    flags: tuple[Mapping[str, Any], ...]
    scenes: tuple[Shown, ...]
    bars: tuple[Bar, ...]
    span_s: float

    @property
    def group(self) -> str:
        """The first part of the category, to filter by."""
        return self.category.partition("/")[0].strip()

    @property
    def subject(self) -> tuple[Told, ...]:
        """What it is: the tags that need no reason."""
        return tuple(told for told in self.tags if not told.tag["reason"])

    @property
    def mood(self) -> tuple[Told, ...]:
        """How it feels and where it fits: the tags that say why."""
        return tuple(told for told in self.tags if told.tag["reason"])

    @property
    def troubles(self) -> tuple[tuple[str, str], ...]:
        """What did not happen, and why: each reason once, before it the stages it stopped."""
        stopped: dict[tuple[str, str], dict[str, None]] = {}
        for bar in self.bars:
            if bar.state in ("parked", "skipped"):
                stopped.setdefault((bar.state, bar.reason), {})[bar.stage] = None
        return tuple((f"{', '.join(stages)} {state}", why) for (state, why), stages in stopped.items())

    @property
    def text(self) -> str:
        """Everything that a search may find the product by, in lower case."""
        words = [self.title, self.product_id, self.category, self.brand]
        words += [shot.caption[language] for shot in self.shots if shot.caption for language in ("en", "zh")]
        words += [str(told.tag[language]) for told in self.tags for language in ("en", "zh")]
        words += [str(word[language]) for word in self.keywords for language in ("en", "zh")]
        words += [text for shot in self.shots for text in shot.texts]
        return " ".join(words).lower()


def card(
    key: str, document: Mapping[str, Any], history: Mapping[str, Any], is_template: Callable[[str], bool]
) -> Card:
    """The card of one product; ``is_template`` says of an engine whether it only fills in a sentence.

    ``document`` is as ``Presentations`` gives it, ``history`` as ``Timeline.show`` does.
    """
    photos = {image["id"]: image for image in document["images"]}
    tags = numbered(document.get("tags") or ())
    provenance = document["provenance"]
    shots = tuple(_shot(image, provenance, tags, is_template) for image in document["images"])
    bars, span_s = _bars(history, {id_: str(image["role"]) for id_, image in photos.items()})
    price = document.get("price")
    return Card(
        key=key,
        source=document["source"],
        product_id=document["product_id"],
        title=document.get("title") or document["product_id"],
        category=document.get("category") or "",
        brand=document.get("brand") or "",
        locale=document.get("locale") or "en",
        price=f"{price['amount']} {price['currency']}" if price else "",
        verdict=next((e["verdict"] for e in history["events"] if e["verdict"]), None) or "open",
        shots=shots,
        tags=tags,
        keywords=tuple(document.get("keywords") or ()),
        points=tuple(document.get("selling_points") or ()),
        points_template=is_template(provenance.get("selling_points", {}).get("engine", "")),
        flags=tuple(document.get("flags") or ()),
        scenes=tuple(
            shown(scene, provenance.get(f"scene/@{slot}", {}).get("engine", ""))
            for slot, scene in sorted((document.get("scene") or {}).items())
        ),
        bars=bars,
        span_s=span_s,
    )


def _shot(
    image: Mapping[str, Any],
    provenance: Mapping[str, Any],
    tags: Sequence[Told],
    is_template: Callable[[str], bool],
) -> Shot:
    texts = image.get("texts") or ()
    photo = image.get("photo")
    engine = provenance.get(f"caption/{image['id']}", {}).get("engine", "")
    return Shot(
        id=image["id"],
        role=image["role"],
        photo=photo,
        cutout=image.get("cutout"),
        caption=image.get("caption"),
        caption_engine=engine,
        template=is_template(engine),
        marks=marks(tags, photo, texts) if photo else (),
        texts=tuple(str(line["text"]) for line in texts),
    )


def shown(scene: Mapping[str, Any], engine: str) -> Shown:
    """A scene as it was recorded by the stage, for the page; ``engine`` is ``name@revision``."""
    page = min(
        (one for one in scene["renditions"] if one["picture"]["media_type"] == "image/webp"),
        key=lambda one: abs(one["width"] - _SCENE_WIDTH),
    )
    return Shown(
        title=scene["title"]["en"],
        alt=scene["alt"],
        picture=page["picture"],
        master=scene["master"]["picture"],
        width=page["width"],
        height=page["height"],
        placeholder=scene["placeholder"],
        engine=engine.partition("@")[0],
        source=scene["source"],
        scores=tuple(
            (name.replace("_", " "), score, _bar(scene["proof"]["bars"].get(name)))
            for name, score in scene["proof"]["scores"].items()
        ),
        failures=tuple(scene["proof"]["failures"]),
    )


def _bar(bar: Sequence[float | None] | None) -> str:
    least, most = bar or (None, None)
    told = (
        f"at least {least:g}" if least is not None else "",
        f"at most {most:g}" if most is not None else "",
    )
    return ", ".join(filter(None, told))


def _bars(history: Mapping[str, Any], roles: Mapping[str, str]) -> tuple[tuple[Bar, ...], float]:
    """The runs in order, on an axis from the event's arrival to the last run's end, and its length in seconds."""
    received: datetime = min((e["received_at"] for e in history["events"]), default=datetime.min)
    plan = history["plans"][0] if history["plans"] else None
    zero = plan["created_at"] if plan and plan["cause"] != "event" else received
    found = []
    for run in history["runs"]:
        settled = (run["settled_at"] - zero).total_seconds() if run["settled_at"] else None
        worked = run["state"] in _WORKED or (run["state"] == "parked" and run["started_at"])
        began = (run["started_at"] - zero).total_seconds() if worked and run["started_at"] else None
        found.append((run, began, settled))
    span = max([0.001, *(settled for _, _, settled in found if settled is not None)])
    bars = []
    for run, began, settled in found:
        end = span if settled is None else max(0.0, settled)
        start = max(0.0, min(end, end if began is None else began))
        bars.append(
            Bar(
                stage=run["stage"],
                photo=roles.get(run["target"], slot_of(run["target"]) or run["target"]),
                state=run["state"],
                engine=run["engine"] or "",
                reason=_reason(run),
                attempts=run["attempts"] or 0,
                began=None if began is None else start,
                settled=end,
                left=round(100 * start / span, 3),
                width=round(100 * (end - start) / span, 3),
            )
        )
    return tuple(bars), span


def _reason(run: Mapping[str, Any]) -> str:
    """The reason in words: a parked run has the error's message, another only its code."""
    parked = run["state"] == "parked"
    return str((run["error"] if parked else None) or run["reason"] or "")
