"""Show a product in a setting, with proof that it is still that product."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from engines.protocols import Bilingual
from engines.protocols.scenes import SceneRenderer
from engines.scenes.certificate import Certificate, Judges
from engines.scenes.making import Made, Order, make
from engines.scenes.placement import Aspect
from engines.scenes.presets import Preset, suited
from engines.scenes.prompts import alt_text
from engines.scenes.standing import stands
from pipeline.errors import NeedsReview, RejectedInput, VitrineError
from pipeline.events import ImageRef, Product
from pipeline.graph import Scope
from pipeline.outcomes import Blob, Outcome, Value
from storage.provenance import Origin, xmp
from storage.renditions import master, placeholder, renditions
from tasks._runtime import Runtime
from tasks._stage import Item, stage
from tasks.caption import subject
from tasks.cutout import CutOut
from tasks.photo import Photo
from tasks.read_text import ReadText
from tasks.screen import Screened
from tasks.tag import Tagged, Words

BELOW_THE_BAR = "below-the-bar"

_ROLES = ("front", "detail", "back", "spin")
"""Which photo of a product is shown, the best first."""


class Proof(Value):
    """The certificate: what was measured and, where the picture is not proven, what fell short.

    ``bars`` are the bounds, ``least`` and ``most``, that each score was held against.
    """

    scores: dict[str, float]
    bars: dict[str, tuple[float | None, float | None]]
    failures: tuple[str, ...]


class Rendition(Value):
    """A size of the picture in one format."""

    picture: Blob
    width: int
    height: int


class Scene(Outcome):
    """A product in a setting. ``source`` is IPTC's digital source type; ``pixels`` the SHA-256 of the master's RGB.

    ``seed``, ``prompt``, ``negative`` and ``settings`` are what it was made with at the last of ``attempts``.
    """

    preset: str
    title: Words
    aspect: str
    photo: str
    master: Rendition
    renditions: tuple[Rendition, ...]
    placeholder: str
    alt: Words
    source: str
    seed: int
    prompt: Words
    negative: Words
    settings: dict[str, str | float | int]
    attempts: int
    pixels: str
    proof: Proof


def _present(outcome: Scene) -> Mapping[str, Any]:
    told = outcome.model_dump(mode="json")
    shown = (
        "preset",
        "title",
        "aspect",
        "photo",
        "master",
        "renditions",
        "placeholder",
        "alt",
        "source",
        "proof",
    )
    return {"scene": {name: told[name] for name in shown}}


def _read_roles(product: Product, _: ImageRef | None) -> Any:
    """Which photo is shown follows from the photos' roles."""
    return [[image.id, image.role] for image in product.images]


@stage(
    version=2,
    scope=Scope.PRODUCT,
    slots=tuple(Aspect),
    produces=Scene,
    needs=(Photo, Screened, CutOut, Tagged),
    uses=(ReadText,),
    reads=_read_roles,
    params={"presets": {}},
    role="scene_renderer",
    aids=("segmenter", "image_encoder", "text_reader"),
    presents=_present,
    queue="scenes",
    batch=4,
    deadline_s=900.0,
)
def scene(items: Sequence[Item], run: Runtime) -> list[Outcome | VitrineError]:
    """Render the pictures of a batch together; what is not proven after all attempts waits for a person."""
    renderer: SceneRenderer = run.engine("scene_renderer")
    orders: list[Order | RejectedInput] = []
    for item in items:
        try:
            known = Known(
                item.product,
                dict(item.all(Photo)),
                dict(item.all(CutOut)),
                dict(item.all(ReadText)),
                item.one(Tagged),
            )
            orders.append(order_of(run, known, Aspect(item.slot)))
        except RejectedInput as error:
            orders.append(error)
    good = [one for one in orders if isinstance(one, Order)]
    made = iter(make(good, renderer, judges(run)))
    return [one if isinstance(one, RejectedInput) else _outcome(run, one, next(made)) for one in orders]


@dataclass(frozen=True, slots=True)
class Known:
    """What is known of a product when a scene is to be made of it; photos, cut-outs and texts by the photo's id."""

    product: Product
    photos: Mapping[str, Photo]
    cuts: Mapping[str, CutOut]
    read: Mapping[str, ReadText]
    tagged: Tagged


def order_of(run: Runtime, known: Known, aspect: Aspect, preset: str = "") -> Order:
    """What is to be made of the product's best photo: in the preset that suits it, another for each aspect, or in
    the one that is asked for. Raises RejectedInput where no preset suits."""
    roles = {image.id: _ROLES.index(image.role) for image in known.product.images}
    image = min(known.cuts, key=lambda one: roles[one])
    photo, cut = known.photos[image], known.cuts[image]
    held = subject(run, known.product, photo, cut, known.read[image].printed() if image in known.read else ())
    tags = known.tagged.held()
    presets = {name: Preset.model_validate(told) for name, told in run.params["presets"].items()}
    fitting = [presets[preset]] if preset else suited(presets, tags, stands(held.alpha))
    return Order(
        photo=photo.image.digest,
        subject=held,
        tags=tags,
        preset=fitting[list(Aspect).index(aspect) % len(fitting)],
        aspect=aspect,
        seed=_seed(photo.image.digest, cut.mask.digest, aspect),
    )


def _seed(*parts: str) -> int:
    """Of the photo, its cut-out and the aspect: the same picture again gives the same scene again."""
    return int.from_bytes(hashlib.sha256(" ".join(parts).encode()).digest()[:4])


def judges(run: Runtime) -> Judges:
    """The engines that prove a picture."""
    return Judges(run.aid("segmenter"), run.aid("image_encoder"), run.aid("text_reader"))


def _outcome(run: Runtime, order: Order, made: Made | RejectedInput) -> Outcome | VitrineError:
    if isinstance(made, RejectedInput):
        return made
    outcome = record(run, order, made)
    if made.certificate.passes:
        return outcome
    return NeedsReview(BELOW_THE_BAR, " ".join(made.certificate.failures), outcome)


def record(run: Runtime, order: Order, made: Made) -> Scene:
    """Encode, sign and store a picture in all its shapes."""
    proof, request = _proof(made.certificate), made.request
    alt = alt_text(order.tags, order.preset)
    told = xmp(made.scenery.source, {"en": alt.en, "zh": alt.zh})
    facts = {
        "preset": order.preset.name,
        "seed": request.seed,
        "prompt": request.prompt.en,
        "settings": dict(made.scenery.settings),
        "certificate": {"passes": made.certificate.passes, **proof.model_dump(mode="json")},
    }
    origin = Origin(made.scenery.source, order.photo, run.recipe.label, facts)
    shapes = [master(made.picture, told), *renditions(made.picture, told)]
    signer = run.signing()
    blobs = run.store([(signer.sign(one.data, one.media_type, origin), one.media_type) for one in shapes])
    whole, *others = (
        Rendition(picture=blob, width=one.width, height=one.height)
        for blob, one in zip(blobs, shapes, strict=True)
    )
    return Scene(
        preset=order.preset.name,
        title=_words(order.preset.title),
        aspect=order.aspect,
        photo=order.photo,
        master=whole,
        renditions=tuple(others),
        placeholder=placeholder(made.picture),
        alt=_words(alt),
        source=made.scenery.source,
        seed=request.seed,
        prompt=_words(request.prompt),
        negative=_words(request.negative),
        settings=dict(made.scenery.settings),
        attempts=made.attempts,
        pixels=hashlib.sha256(made.picture.tobytes()).hexdigest(),
        proof=proof,
    )


def _proof(certificate: Certificate) -> Proof:
    return Proof(
        scores={name: round(float(score), 4) for name, score in certificate.scores.items()},
        bars={name: (bar.least, bar.most) for name, bar in certificate.bars.items()},
        failures=certificate.failures,
    )


def _words(text: Bilingual) -> Words:
    return Words(en=text.en, zh=text.zh)
