"""Train the garment head on photographs of clothes: ``python -m engines.training.garment_head --data DIR``.

``DIR`` holds one folder of JPEG files a kind. A file whose SHA-256 begins with a byte under 51 is held out: the
model is neither fitted nor chosen on it.
"""

from __future__ import annotations

import argparse
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageOps

from engines.adapters.garment_head_classifier import KINDS, normalised, three_views, weights_path
from engines.devices import Device
from engines.evaluation.labels import fold, held_out
from engines.kit import Kit
from engines.looks.heads import softmax
from engines.protocols import ImageEncoder, Segmenter, Subject
from engines.registry import Engines
from engines.training.model_card import Measured, card, table
from engines.training.softmax_regression import Choice, Model, choose, fit
from pipeline.errors import ConfigurationError

CARD = Path("docs/model-cards/garment-head.md")

_FOLDS = 5
_DECAYS = (0.03, 0.1, 0.3, 1.0)
_SEGMENTER, _ENCODER = "u2netp", "efficientnet_lite2"


@dataclass(frozen=True, slots=True)
class Photograph:
    """A file with the SHA-256 of its content and the index of its kind."""

    path: Path
    sha256: str
    kind: int

    @property
    def held_out(self) -> bool:
        return held_out(self.sha256)

    @property
    def fold(self) -> int:
        return fold(self.sha256, _FOLDS)


def photographs(folder: Path) -> list[Photograph]:
    """Every photograph in the order of its content's SHA-256, so that file names decide nothing.

    Raises ConfigurationError where the folder or a kind in either part is missing.
    """
    if not folder.is_dir():
        raise ConfigurationError(
            f"there is no folder {folder}: name one that holds a folder a kind with --data"
        )
    found = {
        hashlib.sha256(path.read_bytes()).hexdigest(): (path, kind)
        for kind, name in enumerate(KINDS)
        for path in sorted((folder / name).glob("*.jpg"))
    }
    photos = [Photograph(path, sha256, kind) for sha256, (path, kind) in sorted(found.items())]
    for part, wanted in (("training", False), ("held-out", True)):
        missing = set(range(len(KINDS))) - {one.kind for one in photos if one.held_out is wanted}
        if missing:
            names = ", ".join(KINDS[kind] for kind in sorted(missing))
            raise ConfigurationError(f"{folder} has no {part} photograph of: {names}; add *.jpg files")
    return photos


def encode(photos: Sequence[Photograph], engines: Engines, cache: Path | None) -> npt.NDArray[np.float64]:
    """(N, D) features, each photograph's kept under ``cache`` by its content and the engines' revisions."""
    revisions = "-".join(engines.spec(name).revision for name in (_SEGMENTER, _ENCODER))
    folder = cache / revisions if cache else None
    if folder:
        folder.mkdir(parents=True, exist_ok=True)
    rows = []
    for photo in photos:
        kept = folder / f"{photo.sha256}.npy" if folder else None
        if kept and kept.exists():
            rows.append(np.load(kept))
            continue
        rows.append(_encode(photo.path, engines.get(_SEGMENTER), engines.get(_ENCODER)))
        if kept:
            np.save(kept, rows[-1])
    return normalised(np.stack(rows)).astype(np.float64)


def _encode(path: Path, segmenter: Segmenter, encoder: ImageEncoder) -> npt.NDArray[np.float32]:
    with Image.open(path) as image:
        picture = np.asarray(ImageOps.exif_transpose(image).convert("RGB"))
    (alpha,) = segmenter.segment([picture])
    return encoder.encode(three_views(Subject(picture, alpha)))


def train(
    x: npt.NDArray[np.float64], y: npt.NDArray[np.int64], folds: npt.NDArray[np.int64]
) -> tuple[Model, Choice]:
    """The model over all rows, its decay and temperature chosen by the folds, rounded to what is written."""
    choice = choose(x, y, folds, len(KINDS), _DECAYS)
    model = fit(x, y, len(KINDS), choice.decay)
    weight = (model.weight / choice.temperature).astype(np.float16)
    bias = (model.bias / choice.temperature).astype(np.float16)
    return Model(weight.astype(np.float64), bias.astype(np.float64)), choice


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        description="Train the garment head and write its weights and model card."
    )
    parser.add_argument("--data", type=Path, required=True, help="a folder of JPEG files for every kind")
    parser.add_argument("--cache", type=Path, help="keep the photographs' features here for the next time")
    parser.add_argument("--weights", type=Path, default=weights_path(), help="where to write the weights")
    parser.add_argument("--card", type=Path, default=CARD, help="where to write the model card")
    chosen = parser.parse_args(arguments)

    photos = photographs(chosen.data)
    x = encode(photos, Engines(Kit(), Device.choose()), chosen.cache)
    y = np.array([photo.kind for photo in photos])
    apart = np.array([photo.held_out for photo in photos])
    folds = np.array([photo.fold for photo in photos])[~apart]
    model, choice = train(x[~apart], y[~apart], folds)

    from safetensors.numpy import save

    tensors = {"weight": model.weight.astype(np.float16), "bias": model.bias.astype(np.float16)}
    content = save(tensors, {"kinds": ",".join(KINDS)})
    measured = Measured(
        training=y[~apart],
        by_folds=softmax((choice.scores / choice.temperature).astype(np.float32)),
        held_out=y[apart],
        answered=softmax(model.scores(x[apart]).astype(np.float32)),
    )
    chosen.weights.write_bytes(content)
    chosen.card.parent.mkdir(parents=True, exist_ok=True)
    sha256 = hashlib.sha256(content).hexdigest()
    chosen.card.write_text(card(measured, choice, sha256, len(content)), "utf-8")
    print(table(measured))


if __name__ == "__main__":
    main()
