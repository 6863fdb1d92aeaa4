"""Fit how often a named colour is right: ``python -m engines.training.colour_confidence --data DIR``.

``DIR`` holds the photographs that ``engines/evaluation/clothing.csv`` names; the kit's catalog photos with the
labels in ``vendure.csv`` are added, and both weigh the same. Photographs held out by their content's SHA-256 are
only reported on; what is reported of the others is by models that never saw them.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageOps

from engines.devices import Device
from engines.evaluation.labels import held_out, read_labels
from engines.evaluation.metrics import bootstrap, wilson
from engines.kit import Kit
from engines.looks.calibration import FILE
from engines.looks.colours import LEAST_SHARE, ColourShare, evidence, palette
from engines.looks.cutouts import sureness
from engines.looks.evidence import Candidate
from engines.protocols import Segmenter, Subject
from engines.registry import Engines
from engines.training.understanding_calibration import Answer, Labelled, probabilities, report, write
from engines.words.vocabulary import vocabulary

LABELS = Path(__file__).parents[1] / "evaluation"

_FLOORS = (0.0, 0.4, 0.5, 0.6, 0.7)


@dataclass(frozen=True, slots=True)
class Measured:
    """A photograph, its colours by label, main first, and those measured with what speaks for each."""

    photo: Labelled
    truth: tuple[str, ...]
    shares: tuple[ColourShare, ...]
    sureness: float

    def answers(self) -> list[Answer]:
        return [
            Answer(self.photo, Candidate(one.name, features), one.name in self.truth)
            for one, features in zip(self.shares, evidence(self.shares, self.sureness), strict=True)
            if one.share >= LEAST_SHARE
        ]


def subject(path: Path, segmenter: Segmenter, cache: Path | None) -> Subject:
    """The photograph cut out, its alpha kept under ``cache`` by the file's name."""
    with Image.open(path) as image:
        picture = np.asarray(ImageOps.exif_transpose(image).convert("RGB"))
    kept = cache / f"{path.stem}.npy" if cache else None
    if kept and kept.exists():
        return Subject(picture, np.load(kept).astype(np.float32) / 255)
    (alpha,) = segmenter.segment([picture])
    if kept:
        np.save(kept, (alpha * 255).round().astype(np.uint8))
    return Subject(picture, alpha)


def measure(data: Path, kit: Kit, cache: Path | None) -> list[Measured]:
    """Both sources' photographs that have a colour by label."""
    segmenter, words, found = Engines(kit, Device.choose()).get("u2netp"), vocabulary(), []
    sources = {
        "catalog": read_labels(words, LABELS / "vendure.csv", kit.path("photos-vendure")),
        "clothes": read_labels(words, LABELS / "clothing.csv", data),
    }
    for source, labelled in sources.items():
        for one in labelled.examples:
            if truth := one.truth["colour"]:
                seen = subject(one.path, segmenter, cache)
                photo = Labelled(one.path, one.sha256, "", "", source, held_out(one.sha256))
                found.append(Measured(photo, truth, tuple(palette(seen)), sureness(seen.alpha)))
    return found


def agreement(measured: Sequence[Measured], by_answer: npt.NDArray[np.float64]) -> str:
    """Of each part and least probability: how often the likeliest is among the labelled colours and is the main
    one, and the mean overlap of the named set with the labelled (Jaccard), as Markdown."""
    lines = [
        "| photographs | least probability | named | one of the colours | main colour | sets' overlap |",
        "|---|---:|---:|---:|---:|---:|",
    ]
    rest, named = list(by_answer), []
    for one in measured:
        names = [answer.candidate.value for answer in one.answers()]
        own, rest = rest[: len(names)], rest[len(names) :]
        named.append(sorted(zip(own, names, strict=True), reverse=True))
    for source in ("catalog", "clothes"):
        for held in (False, True):
            part = [
                n
                for n, one in enumerate(measured)
                if (one.photo.source, one.photo.held_out) == (source, held)
            ]
            for floor in _FLOORS:
                lines.append(
                    _row(f"{source}, {'held out' if held else 'by folds'}", floor, measured, named, part)
                )
    return "\n".join(lines)


def _row(
    name: str,
    floor: float,
    measured: Sequence[Measured],
    named: Sequence[Sequence[tuple[float, str]]],
    part: Sequence[int],
) -> str:
    sets = [(measured[n].truth, [colour for p, colour in named[n] if p >= floor][:3]) for n in part]
    said = [(truth, names) for truth, names in sets if names]
    if not said:
        return f"| {name} | {floor:g} | 0 of {len(part)} | | | |"
    overlap = np.array([len({*truth} & {*names}) / len({*truth, *names}) for truth, names in said])
    among = wilson(sum(names[0] in truth for truth, names in said), len(said))
    main = wilson(sum(names[0] == truth[0] for truth, names in said), len(said))
    sets_agree = bootstrap(lambda draw: float(overlap[draw].mean()), len(said))
    return f"| {name} | {floor:g} | {len(said)} of {len(part)} | {among} | {main} | {sets_agree} |"


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description="Fit the confidence of colours.")
    parser.add_argument(
        "--data", type=Path, required=True, help="the folder that clothing.csv's files lie in"
    )
    parser.add_argument("--cache", type=Path, help="keep the cut-outs here for the next time")
    parser.add_argument(
        "--write", type=Path, default=Path(__file__).parents[1] / FILE, help="the file of the coefficients"
    )
    chosen = parser.parse_args(arguments)
    if chosen.cache:
        chosen.cache.mkdir(parents=True, exist_ok=True)

    kit = Kit()
    kit.fetch(["photos-vendure", "u2netp"])
    measured = measure(chosen.data, kit, chosen.cache)
    answers = [answer for one in measured for answer in one.answers()]
    model, found = probabilities(answers)
    print(report("colour", answers, found), end="\n\n")
    print(agreement(measured, found))
    write(chosen.write, {"colour": model})


if __name__ == "__main__":
    main()
