"""Fit how often a named category or product type is right:
``python -m engines.training.understanding_calibration --data DIR``.

``DIR`` holds one folder of photographs of clothes a kind (see ``engines.training.garment_head``); the kit's
catalog photos with the labels in ``engines/evaluation/vendure.csv`` are added. Both sources weigh the same, so
that a thousand phone photographs of clothes do not speak for furniture. Photographs held out are only reported
on, and what is reported of the others was answered by models that never saw them: the garment head and the
calibration are both fitted anew without the fold in question.
"""

from __future__ import annotations

import argparse
import csv
import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageOps

from engines.adapters.garment_head_classifier import KINDS, normalised, three_views
from engines.devices import Device
from engines.evaluation.metrics import calibration_error, wilson
from engines.kit import Kit
from engines.looks.calibration import FILE, Logistic
from engines.looks.evidence import Candidate, candidates
from engines.looks.heads import softmax
from engines.looks.hearing import hear
from engines.looks.sights import MODELS, Models, Sight, sights
from engines.protocols import Detection, Subject
from engines.registry import Engines
from engines.training.garment_head import photographs, train
from engines.training.logistic import fit
from engines.words.vocabulary import Vocabulary, vocabulary

LABELS = Path(__file__).parents[1] / "evaluation" / "vendure.csv"

_FOLDS = 5
_FLOORS = (0.0, 0.5, 0.6, 0.7, 0.75, 0.8, 0.9)
_SEGMENTER, _ENCODER, _DETECTOR, _HEAD = "u2netp", *MODELS


@dataclass(frozen=True, slots=True)
class Labelled:
    """A photograph with its content's SHA-256 and what it shows; the type is empty where no word fits."""

    path: Path
    sha256: str
    category: str
    product_type: str
    source: str
    held_out: bool

    @property
    def fold(self) -> int:
        return int(self.sha256[2:4], 16) % _FOLDS


@dataclass(frozen=True, slots=True)
class Answer:
    """The candidate for one attribute of a photograph, and whether it is right."""

    photo: Labelled
    candidate: Candidate
    right: bool


def labelled(words: Vocabulary, clothes: Path, kit: Kit) -> list[Labelled]:
    """The clothes of both parts, then the catalog's photos. Raises ConfigurationError for a folder missing."""
    found = []
    for one in photographs(clothes):
        category, product_type = words.garment(KINDS[one.kind])
        found.append(Labelled(one.path, one.sha256, category, product_type, "clothes", one.held_out))
    by_name = {path.name: path for path in kit.path("photos-vendure").rglob("*.jpg")}
    with LABELS.open(encoding="utf-8", newline="") as stream:
        for row in csv.DictReader(stream):
            path = by_name[row["file"]]
            sha256 = hashlib.sha256(path.read_bytes()).hexdigest()
            found.append(Labelled(path, sha256, row["category"], row["product_type"], "catalog", False))
    return found


def answers(
    words: Vocabulary, photos: Sequence[Labelled], seen: Sequence[Sight]
) -> tuple[list[Answer], list[Answer]]:
    """What is likeliest in every photograph: categories, and product types where there is a candidate."""
    categories, types = [], []
    for photo, sight in zip(photos, seen, strict=True):
        category, product_type = candidates(words, hear(words, sight))
        categories.append(Answer(photo, category, category.value == photo.category))
        if product_type is not None:
            types.append(Answer(photo, product_type, _same_kind(words, product_type.value, photo)))
    return categories, types


def _same_kind(words: Vocabulary, value: str, photo: Labelled) -> bool:
    """Whether a type is the labelled one, or a narrower or wider kind of it."""
    if not photo.product_type or words.category_of(value) != photo.category:
        return False
    types = words.categories[photo.category].types
    return (
        value == photo.product_type
        or photo.product_type in types[value].kind_of
        or value in types[photo.product_type].kind_of
    )


def probabilities(given: Sequence[Answer]) -> tuple[Logistic, npt.NDArray[np.float64]]:
    """The model over all that may be fitted on, and each answer's probability by a model that never saw it."""
    model = _fit([one for one in given if not one.photo.held_out])
    found = np.zeros(len(given))
    for fold in range(_FOLDS):
        others = _fit([one for one in given if not one.photo.held_out and one.photo.fold != fold])
        for index, one in enumerate(given):
            if one.photo.held_out:
                found[index] = model.probability(one.candidate.features)
            elif one.photo.fold == fold:
                found[index] = others.probability(one.candidate.features)
    return model, found


def _fit(given: Sequence[Answer]) -> Logistic:
    count = {source: sum(one.photo.source == source for one in given) for source in ("clothes", "catalog")}
    weights = [min(count.values()) / count[one.photo.source] for one in given]
    return fit([one.candidate.features for one in given], [one.right for one in given], weights)


def report(attribute: str, given: Sequence[Answer], found: npt.NDArray[np.float64]) -> str:
    """Reliability and what each floor leaves, as Markdown, a part of the photographs after the other."""
    parts = {
        "catalog, by folds": [one.photo.source == "catalog" for one in given],
        "clothes, by folds": [one.photo.source == "clothes" and not one.photo.held_out for one in given],
        "clothes, held out": [one.photo.held_out for one in given],
    }
    right = np.array([one.right for one in given])
    lines = [f"### {attribute}", ""]
    lines += [
        "| photographs | answers | mean probability | right | calibration error |",
        "|---|---:|---:|---:|---:|",
    ]
    for name, part in parts.items():
        mask = np.array(part)
        if mask.any():
            error = calibration_error(found[mask], right[mask])
            lines.append(
                f"| {name} | {mask.sum()} | {found[mask].mean():.3f} "
                f"| {wilson(int(right[mask].sum()), int(mask.sum()))} | {error:.3f} |"
            )
    lines += ["", "| photographs | least probability | named | of these right |", "|---|---:|---:|---:|"]
    for name, part in parts.items():
        for floor in _FLOORS:
            named = np.array(part) & (found >= floor)
            if named.any():
                share = wilson(int(right[named].sum()), int(named.sum()))
                lines.append(f"| {name} | {floor:g} | {named.sum() / sum(part):.0%} | {share} |")
    return "\n".join(lines)


def look(photos: Sequence[Labelled], engines: Engines, words: Vocabulary, cache: Path | None) -> list[Sight]:
    """What the models see in every photograph; of those a garment head was trained on, what one that was not
    trained on them says. Kept under ``cache`` by content, the engines' revisions and the vocabulary."""
    # The vocabulary decides what the garment head is asked about.
    revisions = [engines.spec(name).revision for name in (_SEGMENTER, *MODELS)]
    shaping = "-".join([*revisions, words.model_dump_json()])
    folder = cache / hashlib.sha256(shaping.encode()).hexdigest()[:12] if cache else None
    if folder:
        folder.mkdir(parents=True, exist_ok=True)
    seen, encoded = [], []
    for photo in photos:
        kept = folder / photo.sha256 if folder else None
        if kept is None or not kept.with_suffix(".json").exists():
            sight, rows = _look(photo.path, engines, words)
            if kept:
                np.save(kept.with_suffix(".npy"), rows)
                kept.with_suffix(".json").write_text(json.dumps(asdict(sight)), "utf-8")
        else:
            sight = _read(json.loads(kept.with_suffix(".json").read_text("utf-8")))
            rows = np.load(kept.with_suffix(".npy"))
        seen.append(sight)
        encoded.append(rows)
    trained = [n for n, photo in enumerate(photos) if photo.source == "clothes" and not photo.held_out]
    for index, by_kind in zip(trained, _unseen(words, photos, encoded, trained), strict=True):
        if seen[index].garments:
            seen[index] = replace(seen[index], garments=by_kind)
    return seen


def _look(path: Path, engines: Engines, words: Vocabulary) -> tuple[Sight, npt.NDArray[np.float32]]:
    with Image.open(path) as image:
        picture = np.asarray(ImageOps.exif_transpose(image).convert("RGB"))
    (alpha,) = engines.get(_SEGMENTER).segment([picture])
    subject = Subject(picture, alpha)
    models = Models(engines.get(_ENCODER), engines.get(_DETECTOR), engines.get(_HEAD))
    (sight,) = sights(words, models, [subject])
    return sight, engines.get(_ENCODER).encode(three_views(subject))


def _read(kept: dict[str, object]) -> Sight:
    values = dict(kept)
    values["objects"] = tuple(Detection(**{**one, "box": tuple(one["box"])}) for one in values["objects"])  # type: ignore[attr-defined]
    values["cutout"] = tuple(values["cutout"]) if values["cutout"] else None  # type: ignore[arg-type]
    return Sight(**values)  # type: ignore[arg-type]


def _unseen(
    words: Vocabulary,
    photos: Sequence[Labelled],
    encoded: Sequence[npt.NDArray[np.float32]],
    trained: Sequence[int],
) -> list[dict[str, float]]:
    """For each photograph trained on, the kinds' probabilities by a head fitted on the other folds."""
    kinds = {words.garment(kind): number for number, kind in enumerate(KINDS)}
    x = normalised(np.stack([encoded[index] for index in trained])).astype(np.float64)
    y = np.array([kinds[photos[index].category, photos[index].product_type] for index in trained])
    _, choice = train(x, y, np.array([photos[index].fold for index in trained]))
    rows = softmax((choice.scores / choice.temperature).astype(np.float32))
    return [{kind: float(row[number]) for number, kind in enumerate(KINDS)} for row in rows]


def table(name: str, model: Logistic) -> str:
    """A model as a table of TOML."""
    weights = ", ".join(f"{key} = {value:g}" for key, value in sorted(model.weights.items()))
    return f"[{name}]\nbias = {model.bias:g}\nweights = {{ {weights} }}\n"


def write(path: Path, tables: dict[str, Logistic]) -> None:
    """Replace the named tables of the file, and leave whatever else is in it."""
    blocks = path.read_text("utf-8").split("\n[") if path.exists() else []
    kept = [
        block if number == 0 else f"[{block}"
        for number, block in enumerate(blocks)
        if block.lstrip("[").split("]")[0] not in tables
    ]
    written = [block.strip() + "\n" for block in kept if block.strip()]
    path.write_text("\n".join([*written, *(table(name, model) for name, model in tables.items())]), "utf-8")


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description="Fit the confidences of category and product type.")
    parser.add_argument("--data", type=Path, required=True, help="a folder of JPEG files for every kind")
    parser.add_argument("--cache", type=Path, help="keep what the models see here for the next time")
    parser.add_argument(
        "--write", type=Path, default=Path(__file__).parents[1] / FILE, help="the file of the coefficients"
    )
    chosen = parser.parse_args(arguments)

    words, kit = vocabulary(), Kit()
    kit.fetch(["photos-vendure"])
    photos = labelled(words, chosen.data, kit)
    seen = look(photos, Engines(kit, Device.choose()), words, chosen.cache)
    models = {}
    for name, given in zip(("category", "product_type"), answers(words, photos, seen), strict=True):
        models[name], found = probabilities(given)
        print(report(name, given, found), end="\n\n")
    write(chosen.write, models)


if __name__ == "__main__":
    main()
