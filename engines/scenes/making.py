"""From a product's cut-out to a proven picture: place it, render a setting, lay it on, prove it, and try again."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace

from engines.protocols import RGB, Subject, Tag
from engines.protocols.scenes import SceneRenderer, SceneRequest, Scenery
from engines.scenes.certificate import Certificate, Judges, Work, certify
from engines.scenes.compositing import lay, paste
from engines.scenes.matting import sharpened
from engines.scenes.placement import Aspect, place
from engines.scenes.presets import Preset
from engines.scenes.prompts import negative, prompt
from engines.scenes.swatches import swatches
from pipeline.errors import RejectedInput

_HELD = (0.5, 0.75, 1.0)
"""How strictly structure is kept at each attempt."""


@dataclass(frozen=True, slots=True)
class Order:
    """A picture to be made: a product's photo with its cut-out, what it is, and where it is to be shown.

    ``photo`` is its SHA-256, ``tags`` hold; ``seed`` decides all that is left to chance.
    """

    photo: str
    subject: Subject
    tags: tuple[Tag, ...]
    preset: Preset
    aspect: Aspect
    seed: int

    @property
    def kinds(self) -> Collection[str]:
        """The product's categories and types."""
        return {tag.value for tag in self.tags if tag.attribute in ("category", "product_type")}


@dataclass(frozen=True, slots=True)
class Made:
    """A picture (H, W, 3), what it was made from and with, and its certificate; ``attempts`` counts from 1.

    Where no attempt was proven it is the one that fell short in the fewest points.
    """

    picture: RGB
    request: SceneRequest
    scenery: Scenery
    certificate: Certificate
    attempts: int


def make(
    orders: Sequence[Order], renderer: SceneRenderer, judges: Judges, attempts: int = len(_HELD)
) -> list[Made | RejectedInput]:
    """A picture an order, all of a batch rendered together; what is not proven is tried again, with another seed
    and structure kept more strictly, up to ``attempts`` times."""
    best: list[Made | RejectedInput | None] = [None] * len(orders)
    sources: dict[int, tuple[Subject, SceneRequest]] = {}
    for number, order in enumerate(orders):
        try:
            sources[number] = _request(order)
        except RejectedInput as error:
            best[number] = error
    for attempt in range(attempts):
        open_ = [number for number in sources if _is_open(best[number])]
        requests = [_again(sources[number][1], attempt) for number in open_]
        for number, request, scenery in zip(open_, requests, renderer.render(requests), strict=True):
            if isinstance(scenery, RejectedInput):
                best[number] = best[number] or scenery
                continue
            made = _judged(orders[number], sources[number][0], request, scenery, judges, attempt + 1)
            best[number] = _better(best[number], made)
    return [one for one in best if one is not None]


def _is_open(best: Made | RejectedInput | None) -> bool:
    """Whether another attempt may do better: nothing mends a bad cut-out."""
    if isinstance(best, Made):
        return not best.certificate.passes and not best.certificate.lasts
    return best is None


def _better(before: Made | RejectedInput | None, made: Made) -> Made:
    if not isinstance(before, Made) or len(made.certificate.failures) < len(before.certificate.failures):
        return made
    return replace(before, attempts=made.attempts)


def _request(order: Order) -> tuple[Subject, SceneRequest]:
    """The photo with the alpha that is laid, and the request for its first attempt."""
    sharp = sharpened(order.subject)
    placement = place(sharp.alpha, order.aspect, order.preset.pose, order.kinds, order.seed)
    foreground, alpha = lay(sharp, placement)
    return sharp, SceneRequest(
        foreground=foreground,
        alpha=alpha,
        placement=placement,
        setting=order.preset.setting,
        palette=swatches(foreground, alpha),
        prompt=prompt(order.tags, order.preset),
        negative=negative(order.preset),
        seed=order.seed,
        hold=_HELD[0],
    )


def _again(request: SceneRequest, attempt: int) -> SceneRequest:
    return replace(request, seed=request.seed + attempt, hold=_HELD[min(attempt, len(_HELD) - 1)])


def _judged(
    order: Order, source: Subject, request: SceneRequest, scenery: Scenery, judges: Judges, attempt: int
) -> Made:
    picture = paste(scenery.picture, request.foreground, request.alpha)
    work = Work(request, scenery.picture, picture, source, order.preset.pose, order.kinds, scenery.bare)
    return Made(picture, request, scenery, certify(work, judges), attempt)
