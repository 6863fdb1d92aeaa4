"""Pictures of the kit's products, good ones and spoilt ones, with what the certificate measures of them."""

from __future__ import annotations

import csv
import hashlib
import io
import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageOps

from engines.kit import Kit
from engines.looks.cutouts import shows_subject
from engines.protocols import RGB, Alpha, Bilingual, CatalogFacts, Segmenter, Subject, Tag
from engines.protocols.scenes import SceneRenderer, SceneRequest, Scenery, Setting, Source
from engines.registry import Engines
from engines.scenes.certificate import Judges, Work, bars_for, failed, measured
from engines.scenes.compositing import lay
from engines.scenes.matting import sharpened
from engines.scenes.placement import Aspect, place
from engines.scenes.presets import Pose, read_presets, suited
from engines.scenes.swatches import swatches
from engines.training.identity_report import GOOD, JPEG, UNUSABLE, Row
from engines.training.painted_plates import PLATES, Plate, painted
from engines.training.scene_damages import DAMAGES, Stage, composed
from pipeline.errors import RejectedInput

TABLES = Path(__file__).parents[1] / "evaluation"

FITTED = (
    "silhouette",
    "unmarked",
    "copy",
    "extra",
    "missed",
    "surrounding",
    "contact",
    "grown",
    "halo",
)
"""Scores whose bars are chosen here, the least telling first; the others follow from what they measure, and are
written by hand."""

_ASPECTS = (Aspect.SQUARE, Aspect.PORTRAIT, Aspect.WIDE)
NEEDED = (
    "photos-vendure",
    "photos-openvto",
    "u2netp",
    "efficientnet-lite2",
    "imagenet-labels",
    "pp-ocr-det",
    "pp-ocr-rec",
)
_SETTINGS = 2
"""That a product is shown in."""


@dataclass(frozen=True, slots=True)
class Photo:
    """A photograph of a product, what it shows, and whether its cut-out is good, by eye."""

    file: str
    path: Path
    kinds: tuple[str, ...]
    product: str
    usable: bool

    @property
    def chosen_on(self) -> bool:
        return int(self.product[:2], 16) < 128


def photographs(kit: Kit) -> list[Photo]:
    """Those whose cut-outs were judged; the back of a garment is in the same half as its front."""
    with (TABLES / "vendure.csv").open(encoding="utf-8", newline="") as stream:
        shown = {row["file"]: (row["category"], row["product_type"]) for row in csv.DictReader(stream)}
    found = []
    with (TABLES / "cutouts.csv").open(encoding="utf-8", newline="") as stream:
        for row in csv.DictReader(stream):
            file, garment = row["file"], "/" in row["file"]
            root = (
                kit.path("photos-openvto") / "clothes" if garment else kit.path("photos-vendure") / "images"
            )
            front = root / file.replace("_back", "_front")
            product = hashlib.sha256(front.read_bytes()).hexdigest()
            kinds = ("clothing",) if garment else tuple(filter(None, shown[file]))
            found.append(Photo(file, root / file, kinds, product, row["usable"] == "yes"))
    return found


def subject(photo: Photo, engines: Engines, read: bool = True) -> Subject:
    """The photograph with its sharpened cut-out and, where asked for, the text read in it."""
    with Image.open(photo.path) as image:
        picture = np.asarray(ImageOps.exif_transpose(image).convert("RGB"))
    (alpha,) = engines.get("u2netp").segment([picture])
    (printed,) = engines.get("rapidocr").read_text([picture]) if read else [[]]
    # As it comes out of its file: in 256 steps.
    return sharpened(Subject(picture, np.round(alpha * 255) / np.float32(255), tuple(printed)))


def stages(
    photo: Photo, pose: Pose, renderer: SceneRenderer | None, other: Subject
) -> Iterator[tuple[str, Pose, Stage]]:
    """Settings to make, by name, with how a product meets them."""
    if renderer is None:
        turn = int(photo.product[8:10], 16)
        for n in range(_SETTINGS):
            plate = PLATES[(turn + n) % len(PLATES)]
            yield plate, pose, _painted(plate, pose, other)
        return
    kind = [Tag("category", photo.kinds[0], 1.0), *(Tag("product_type", key, 1.0) for key in photo.kinds[1:])]
    for preset in suited(read_presets(), kind)[:_SETTINGS]:
        render = _rendered(renderer, preset.setting)

        def bare(request: SceneRequest, render: Callable[[SceneRequest], Scenery] = render) -> RGB | None:
            nothing = np.zeros_like(request.alpha)
            try:
                return render(
                    replace(request, alpha=nothing, foreground=np.zeros_like(request.foreground))
                ).picture
            except RejectedInput:
                return None

        yield preset.name, preset.pose, Stage(render, bare, other)


def _painted(plate: Plate, pose: Pose, other: Subject) -> Stage:
    return Stage(
        lambda r: Scenery(painted(plate, r, pose), Source.SYNTHETIC_COMPOSITE, {}),
        lambda r: painted(plate, r, pose, shadow=False),
        other,
    )


def _rendered(renderer: SceneRenderer, asked: Setting) -> Callable[[SceneRequest], Scenery]:
    def setting(request: SceneRequest) -> Scenery:
        (scenery,) = renderer.render([replace(request, setting=asked)])
        if isinstance(scenery, RejectedInput):
            raise scenery
        return scenery

    return setting


def work(photo: Photo, source: Subject, pose: Pose, aspect: Aspect, seed: int) -> Work:
    """The product on its canvas, before any setting."""
    placement = place(source.alpha, aspect, pose, photo.kinds, seed)
    colours, alpha = lay(source, placement)
    nothing = Bilingual("", "")
    asked, seen = Setting("", pose, "", "", ""), swatches(colours, alpha)
    request = SceneRequest(colours, alpha, placement, asked, seen, nothing, nothing, seed, 0.7)
    return Work(request, colours, colours, source, pose, photo.kinds)


def rows(
    photo: Photo, source: Subject, other: Subject, judges: Judges, renderer: SceneRenderer | None
) -> Iterator[Row]:
    """The good pictures of a product in every setting, and every damage in one of them, in turns."""
    seed = int(photo.product[2:8], 16)
    pose = Pose.LYING if "clothing" in photo.kinds else Pose.STANDING

    fixed = {name: bar for name, bar in bars_for(photo.kinds).items() if name not in FITTED}

    def row(what: str, plate: str, made: Work, parts: int) -> Row:
        scores: dict[str, float] = {}
        for part in islice(measured(made, judges), parts):
            scores |= {name: round(float(score), 5) for name, score in part.items()}
            # As in the shop: models are not asked about what pixels refuse, by bars that are not chosen here.
            if failed(scores, fixed):
                break
        return Row(photo.file, photo.chosen_on, what, plate, photo.kinds, scores)

    made = [
        (plate, stage, composed(work(photo, source, at, _ASPECTS[(seed + n) % 3], seed + n), stage.setting))
        for n, (plate, at, stage) in enumerate(stages(photo, pose, renderer, other))
    ]
    for plate, _, good in made:
        yield row(GOOD if photo.usable else UNUSABLE, plate, good, 3)
        if photo.usable:
            yield row(JPEG, plate, replace(good, picture=_as_jpeg(good.picture)), 1)
    for n, (name, damage) in enumerate(DAMAGES.items() if photo.usable else ()):
        plate, stage, good = made[(seed + n) % len(made)]
        spoilt = damage(good, stage, np.random.default_rng([seed, n]))
        if spoilt is not None:
            # Reading costs most, and tells of none of these more than pixels and models do.
            yield row(name, plate, spoilt, 2)


def _as_jpeg(picture: RGB) -> RGB:
    file = io.BytesIO()
    Image.fromarray(picture).save(file, "JPEG", quality=90)
    return np.asarray(Image.open(file).convert("RGB"))


class _Remembering:
    """A segmenter that answers the same picture once: a product's photo is looked at again for each of its pictures."""

    def __init__(self, segmenter: Segmenter) -> None:
        self._segmenter = segmenter
        self._told: dict[bytes, Alpha] = {}

    def segment(self, pictures: Sequence[RGB], facts: Sequence[CatalogFacts] = ()) -> list[Alpha]:
        for picture in pictures:
            key = hashlib.sha256(picture.tobytes()).digest()
            if key not in self._told:
                self._told |= {key: self._segmenter.segment([picture])[0]}
        return [self._told[hashlib.sha256(picture.tobytes()).digest()] for picture in pictures]


def gathered(engines: Engines, kit: Kit, renderer: SceneRenderer | None, cache: Path | None) -> list[Row]:
    """The rows of all photographs; ``cache`` keeps those of each for the next time."""
    judges = Judges(engines.get("u2netp"), engines.get("efficientnet_lite2"), engines.get("rapidocr"))
    found: list[Row] = []
    photos = photographs(kit)
    others = [photo for photo in photos if photo.usable]
    for n, photo in enumerate(photos):
        kept = cache / f"{photo.file.replace('/', '-')}.json" if cache else None
        if kept is None or not kept.exists():
            source = subject(photo, engines)
            if not shows_subject(source.alpha):
                continue
            strange = [one for one in others if one.kinds != photo.kinds]
            other = subject(strange[n * 7 % len(strange)], engines, read=False)
            judges = replace(judges, segmenter=_Remembering(engines.get("u2netp")))
            told = list(rows(photo, source, other, judges, renderer))
            if kept is not None:
                kept.parent.mkdir(parents=True, exist_ok=True)
                kept.write_text(json.dumps([asdict(one) for one in told]), "utf-8")
        else:
            told = [_row(one) for one in json.loads(kept.read_text("utf-8"))]
        found += told
    return found


def _row(kept: dict[str, Any]) -> Row:
    return Row(**{**kept, "kinds": tuple(kept["kinds"])})
